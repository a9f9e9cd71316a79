//! The one plan that sampler, noise and accountant are made from, so that they cannot disagree.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::accounting::{
    Accountant, AccountingError, Epsilon, Phase, calibrate_noise_multiplier, check_noise_multiplier,
};
use crate::clipping::{Clipping, ClippingError};
use crate::noise::GaussianNoise;
use crate::sampler::{PoissonSampler, SamplerError};
use crate::secret::RunSecret;

/// Draws summed for each element's noise in a run for release.
pub const RELEASE_DRAWS: u32 = 4;

/// How much noise a run's steps get.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Noise {
    /// Of so many times the clipping norm's standard deviation.
    Multiplier(f64),
    /// As little as lets the run spend at most an ε.
    ForEpsilon {
        /// The ε.
        target: f64,
        /// Who says what is spent.
        accountant: Accountant,
    },
}

impl Noise {
    /// Refuses what cannot be accounted for, whatever the steps.
    ///
    /// # Errors
    /// When a multiplier or an ε is out of range.
    pub fn check(self) -> Result<(), AccountingError> {
        match self {
            Self::Multiplier(multiplier) => check_noise_multiplier(multiplier),
            Self::ForEpsilon { target, .. } if target > 0.0 && target.is_finite() => Ok(()),
            Self::ForEpsilon { target, .. } => Err(AccountingError::Range {
                name: "target_epsilon",
                value: target,
                range: "positive and finite",
            }),
        }
    }

    /// `steps` steps with this noise, after what `earlier` phases have spent of an ε.
    ///
    /// # Errors
    /// When something is out of range, or no noise is enough.
    pub fn phase(
        self,
        earlier: &[Phase],
        sample_rate: f64,
        steps: u64,
        delta: f64,
    ) -> Result<Phase, AccountingError> {
        self.check()?;
        let noise_multiplier = match self {
            Self::Multiplier(multiplier) => multiplier,
            Self::ForEpsilon { target, accountant } => {
                calibrate_noise_multiplier(accountant, earlier, sample_rate, steps, target, delta)?
            }
        };
        Ok(Phase { sample_rate, noise_multiplier, steps })
    }
}

/// What defines a private run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// N₀, the number of units as declared: a public number that the data do not exceed.
    pub declared_units: u64,
    /// Whether that number was counted in the data instead. Then it is not public, and ε holds only
    /// as if it had been.
    pub units_were_counted: bool,
    /// The steps planned.
    #[serde(flatten)]
    pub phase: Phase,
    /// δ.
    pub delta: f64,
    /// How each unit's gradient is bounded.
    pub clipping: Clipping,
    /// Examples of a unit that take part in a step, at most.
    pub max_examples_per_unit: u32,
    /// Normal draws summed for each element of noise.
    pub noise_draws: u32,
}

/// A plan that is no private mechanism.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum MechanismError {
    /// δ is so large that publishing a few units whole would be allowed.
    #[error(
        "delta is {delta}, but must be below 1 / {declared_units} units: a larger one allows \
         publishing whole units; leave it out for the default {default:e}"
    )]
    Delta {
        /// The δ asked for.
        delta: f64,
        /// N₀.
        declared_units: u64,
        /// The default for that number.
        default: f64,
    },
    /// δ is the chance of no promise at all, and not small.
    #[error(
        "delta is {delta}, but must be at most {MAX_DELTA}: it is the chance that the promise does not \
         hold at all; leave it out for the default {default:e}"
    )]
    LargeDelta {
        /// The δ asked for.
        delta: f64,
        /// The default for the number of units.
        default: f64,
    },
    /// More units than anybody has.
    #[error("{0} units are declared; {MAX_UNITS} is the most")]
    Units(u64),
    /// A count that must not be zero is.
    #[error("{0} is 0; it must be at least 1")]
    Zero(&'static str),
    /// Clipping settings.
    #[error(transparent)]
    Clipping(#[from] ClippingError),
    /// Rates and noise.
    #[error(transparent)]
    Accounting(#[from] AccountingError),
}

/// The largest δ that is a promise, however few the units; also the largest default, since N₀^−1.1
/// is more with few of them.
const MAX_DELTA: f64 = 1e-3;

/// The most units that can be declared.
const MAX_UNITS: u64 = 1_000_000_000_000;

/// How much further than C a unit may move a sum, relatively, because norms, factors and sums are
/// rounded to single precision: noise is as much larger. That is 1,700 units of the last place.
/// Norms that are sums of products of inner products, whose rounding grows with the square of how
/// much cancels, come with a bound of it (`gradient/product.rs`); `tests/rounding.rs` lets all but a
/// three-thousandth of a unit's gradient cancel. It is a margin, not a proof.
const ROUNDING: f64 = 1e-4;

/// δ where none is given: N₀^−1.1, but at most 10⁻³.
pub fn default_delta(declared_units: u64) -> f64 {
    (declared_units.max(2) as f64).powf(-1.1).min(MAX_DELTA)
}

impl Plan {
    /// q·N₀, the public constant that noised sums are divided by.
    pub fn expected_batch_size(&self) -> f64 {
        self.phase.sample_rate * self.declared_units as f64
    }

    /// Whether δ is too large to promise anything: 1/N₀ or more allows publishing a unit whole, and
    /// whatever N₀, more than 10⁻³ is no small chance of no promise at all.
    pub fn delta_is_large(&self) -> bool {
        refuse_large_delta(self.delta, self.declared_units).is_err()
    }
}

/// Refuses a δ that promises nothing to any of `declared_units` units, whatever the rest of the plan.
///
/// # Errors
/// When δ is 1/N₀ or more, or above 10⁻³.
pub fn refuse_large_delta(delta: f64, declared_units: u64) -> Result<(), MechanismError> {
    let default = default_delta(declared_units);
    if delta >= 1.0 / declared_units as f64 {
        return Err(MechanismError::Delta { delta, declared_units, default });
    }
    if delta > MAX_DELTA {
        return Err(MechanismError::LargeDelta { delta, default });
    }
    Ok(())
}

/// A validated [`Plan`].
#[derive(Debug, Clone, PartialEq)]
pub struct Mechanism {
    plan: Plan,
}

impl Mechanism {
    /// A mechanism from its plan. `force_delta` lets a δ pass that promises nothing; the run is then
    /// not for release.
    ///
    /// # Errors
    /// When the plan is not a private mechanism.
    pub fn new(plan: Plan, force_delta: bool) -> Result<Self, MechanismError> {
        for (name, value) in [
            ("declared_units", plan.declared_units),
            ("max_examples_per_unit", u64::from(plan.max_examples_per_unit)),
            ("noise_draws", u64::from(plan.noise_draws)),
        ] {
            if value == 0 {
                return Err(MechanismError::Zero(name));
            }
        }
        if plan.declared_units > MAX_UNITS {
            return Err(MechanismError::Units(plan.declared_units));
        }
        plan.clipping.validate()?;
        crate::accounting::check(&[plan.phase], plan.delta)?;
        if plan.phase.sample_rate == 0.0 {
            return Err(MechanismError::Accounting(AccountingError::Range {
                name: "sample_rate",
                value: 0.0,
                range: "above 0 and at most 1",
            }));
        }
        if !force_delta {
            refuse_large_delta(plan.delta, plan.declared_units)?;
        }
        Ok(Self { plan })
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// q·N₀, the public constant that noised sums are divided by.
    pub fn expected_batch_size(&self) -> f64 {
        self.plan.expected_batch_size()
    }

    /// How far one unit can move a step's sum.
    pub fn l2_sensitivity(&self) -> f64 {
        self.plan.clipping.max_grad_norm
    }

    /// Standard deviation of the noise on the sum: σ·C, and a ten-thousandth more for rounding.
    pub fn noise_deviation(&self) -> f64 {
        self.plan.phase.noise_multiplier * self.l2_sensitivity() * (1.0 + ROUNDING)
    }

    /// The sampler of this mechanism over units by name.
    ///
    /// # Errors
    /// When a unit occurs twice.
    pub fn sampler<S: AsRef<str>>(
        &self,
        secret: &RunSecret,
        units: &[S],
    ) -> Result<PoissonSampler, SamplerError> {
        let examples = self.plan.max_examples_per_unit as usize;
        PoissonSampler::new(secret, self.plan.phase.sample_rate, examples, units)
    }

    /// The noise of this mechanism.
    pub fn noise(&self, secret: &RunSecret) -> GaussianNoise {
        GaussianNoise::new(secret, self.plan.noise_draws)
    }

    /// What `steps` steps are to an accountant.
    pub fn phase(&self, steps: u64) -> Phase {
        Phase { steps, ..self.plan.phase }
    }

    /// ε spent by `steps` steps.
    ///
    /// # Errors
    /// When the steps cannot be accounted for.
    pub fn epsilon(&self, accountant: Accountant, steps: u64) -> Result<Epsilon, AccountingError> {
        accountant.epsilon(&[self.phase(steps)], self.plan.delta)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phase() -> Phase {
        Phase { sample_rate: 0.05, noise_multiplier: 1.0, steps: 100 }
    }

    fn plan() -> Plan {
        Plan {
            declared_units: 1000,
            units_were_counted: false,
            phase: phase(),
            delta: default_delta(1000),
            clipping: Clipping { max_grad_norm: 0.5, ..Clipping::default() },
            max_examples_per_unit: 2,
            noise_draws: 1,
        }
    }

    #[test]
    fn constants_follow_from_the_plan() {
        let mechanism = Mechanism::new(plan(), false).unwrap();
        assert_eq!(mechanism.expected_batch_size(), 50.0);
        assert_eq!(mechanism.noise_deviation(), 0.50005);
        assert_eq!(mechanism.phase(7).steps, 7);
    }

    #[test]
    fn a_delta_that_promises_nothing_needs_force() {
        for (declared_units, delta) in [(1000, 1e-3), (1000, 0.5), (2, 0.4), (1, 0.01), (1, 0.9)] {
            let loose = Plan { declared_units, delta, ..plan() };
            let refused = Mechanism::new(loose, false).unwrap_err();
            assert!(
                refused.to_string().starts_with(&format!("delta is {delta}, but")),
                "{refused}"
            );
            assert!(loose.delta_is_large());
            assert!(Mechanism::new(loose, true).is_ok());
        }
        for declared_units in [1, 2, 30, 531, 532, 1000, MAX_UNITS] {
            let default = Plan { declared_units, delta: default_delta(declared_units), ..plan() };
            assert!(!default.delta_is_large() && Mechanism::new(default, false).is_ok());
        }
    }

    #[test]
    fn what_is_no_mechanism_is_refused() {
        let norm = |max_grad_norm| Clipping { max_grad_norm, ..Clipping::default() };
        for wrong in [
            Plan { declared_units: 0, ..plan() },
            Plan { declared_units: u64::MAX, ..plan() },
            Plan { phase: Phase { sample_rate: 0.0, ..phase() }, ..plan() },
            Plan { phase: Phase { sample_rate: f64::NAN, ..phase() }, ..plan() },
            Plan { phase: Phase { noise_multiplier: 0.0, ..phase() }, ..plan() },
            Plan { phase: Phase { noise_multiplier: 1e30, ..phase() }, ..plan() },
            Plan { phase: Phase { noise_multiplier: f64::NAN, ..phase() }, ..plan() },
            Plan { phase: Phase { steps: 1_000_000_000_000_000_000, ..phase() }, ..plan() },
            Plan { clipping: norm(1e30), ..plan() },
            Plan { clipping: norm(1e-30), ..plan() },
            Plan { clipping: norm(f64::NAN), ..plan() },
            Plan { max_examples_per_unit: 0, ..plan() },
            Plan { noise_draws: 0, ..plan() },
            Plan { delta: f64::NAN, ..plan() },
        ] {
            assert!(Mechanism::new(wrong, true).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn noise_for_an_epsilon_meets_it() {
        let Phase { sample_rate, steps, .. } = phase();
        let spent = |phases: &[Phase]| Accountant::Pld.epsilon(phases, 1e-5).unwrap().epsilon;
        let noise = Noise::ForEpsilon { target: 3.0, accountant: Accountant::Pld };
        let alone = noise.phase(&[], sample_rate, steps, 1e-5).unwrap();
        assert!(spent(&[alone]) <= 3.0 && spent(&[alone]) > 2.99, "{alone:?}");
        let earlier = [Phase { noise_multiplier: 1.5, ..phase() }];
        let after = noise.phase(&earlier, sample_rate, steps, 1e-5).unwrap();
        let both = spent(&[earlier[0], after]);
        assert!(both <= 3.0 && both > 2.99 && after.noise_multiplier > alone.noise_multiplier);
        let all = Noise::ForEpsilon { target: 0.1, accountant: Accountant::Pld };
        let error = all.phase(&earlier, sample_rate, steps, 1e-5).unwrap_err().to_string();
        assert!(error.contains("already"), "{error}");
    }

    /// ε of thousands is no promise, but what was asked for.
    #[test]
    fn large_budgets_have_an_answer_too() {
        for target in [50.0, 2_000.0, 7_000.0, 30_000.0, 1e9] {
            let noise = Noise::ForEpsilon { target, accountant: Accountant::Pld };
            let phase = noise.phase(&[], 0.13, 10, 1e-3).unwrap();
            let spent = Accountant::Pld.epsilon(&[phase], 1e-3).unwrap().epsilon;
            let is_least = phase.noise_multiplier == 0.01;
            assert!(spent <= target && (is_least || spent > 0.99 * target), "{target}: {spent}");
        }
    }

    /// The ledger's lines have the plan's numbers side by side, as ever.
    #[test]
    fn a_plan_is_one_flat_object() {
        let value = serde_json::to_value(plan()).unwrap();
        assert_eq!((&value["noise_multiplier"], &value["steps"]), (&1.0.into(), &100.into()));
        assert_eq!(serde_json::from_value::<Plan>(value.clone()).unwrap(), plan());
        let mut more = value;
        more["other"] = 1.into();
        assert!(serde_json::from_value::<Plan>(more).is_err());
    }
}
