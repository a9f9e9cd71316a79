//! The one plan that sampler, noise and accountant are made from, so that they cannot disagree.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::accounting::{Accountant, AccountingError, Epsilon, Phase, calibrate_after};
use crate::clipping::{Clipping, ClippingError};
use crate::noise::GaussianNoise;
use crate::sampler::{PoissonSampler, SamplerError};
use crate::secret::RunSecret;

/// Draws summed for each element's noise in a run for release.
pub const RELEASE_DRAWS: u32 = 4;

/// What defines a private run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// N₀, the number of units as declared: a public number, near the true one but not counted
    /// from the data.
    pub declared_units: u64,
    /// Probability with which each unit takes part in a step.
    pub sample_rate: f64,
    /// Standard deviation of the noise divided by `clipping.max_grad_norm`.
    pub noise_multiplier: f64,
    /// Steps planned.
    pub steps: u64,
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

/// The largest δ that is a default: with few units N₀^−1.1 would be no promise at all.
const MAX_DEFAULT_DELTA: f64 = 1e-3;

/// How much further than C a unit may move a sum, relatively, because norms, factors and sums are
/// rounded to single precision: noise is as much larger. That is 1,700 units of the last place.
/// Norms that are sums of products of inner products, whose rounding grows with the square of how
/// much cancels, come with a bound of it (`gradient/product.rs`); `tests/rounding.rs` lets all but a
/// three-thousandth of a unit's gradient cancel. It is a margin, not a proof.
const ROUNDING: f64 = 1e-4;

/// δ where none is given: N₀^−1.1, but at most 10⁻³.
pub fn default_delta(declared_units: u64) -> f64 {
    (declared_units.max(2) as f64).powf(-1.1).min(MAX_DEFAULT_DELTA)
}

impl Plan {
    /// q·N₀, the public constant that noised sums are divided by.
    pub fn expected_batch_size(&self) -> f64 {
        self.sample_rate * self.declared_units as f64
    }
}

/// A validated [`Plan`].
#[derive(Debug, Clone, PartialEq)]
pub struct Mechanism {
    plan: Plan,
}

impl Mechanism {
    /// A mechanism from its plan. `force_delta` lets a δ of 1/N₀ or more pass.
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
        plan.clipping.validate()?;
        let phase = Phase {
            sample_rate: plan.sample_rate,
            noise_multiplier: plan.noise_multiplier,
            steps: plan.steps,
        };
        crate::accounting::check(&[phase], plan.delta)?;
        if plan.sample_rate == 0.0 {
            return Err(MechanismError::Accounting(AccountingError::Range {
                name: "sample_rate",
                value: 0.0,
                range: "above 0 and at most 1",
            }));
        }
        if plan.delta >= 1.0 / plan.declared_units as f64 && !force_delta {
            return Err(MechanismError::Delta {
                delta: plan.delta,
                declared_units: plan.declared_units,
                default: default_delta(plan.declared_units),
            });
        }
        Ok(Self { plan })
    }

    /// The mechanism with the least noise that spends at most `target_epsilon` over the plan's
    /// steps; the plan's own noise multiplier is ignored.
    ///
    /// # Errors
    /// As [`Mechanism::new`], and when no noise is enough.
    pub fn calibrated(
        plan: Plan,
        accountant: Accountant,
        target_epsilon: f64,
        force_delta: bool,
    ) -> Result<Self, MechanismError> {
        Self::calibrated_after(&[], plan, accountant, target_epsilon, force_delta)
    }

    /// The mechanism with the least noise whose steps, together with what `earlier` phases spent
    /// before them, spend at most `target_epsilon`.
    ///
    /// # Errors
    /// As [`Mechanism::calibrated`], and when `earlier` has spent all of it.
    pub fn calibrated_after(
        earlier: &[Phase],
        plan: Plan,
        accountant: Accountant,
        target_epsilon: f64,
        force_delta: bool,
    ) -> Result<Self, MechanismError> {
        let plan = Self::new(Plan { noise_multiplier: 1.0, ..plan }, force_delta)?.plan;
        let phase =
            Phase { sample_rate: plan.sample_rate, noise_multiplier: 1.0, steps: plan.steps };
        let noise_multiplier =
            calibrate_after(accountant, earlier, &[phase], target_epsilon, plan.delta)?;
        Self::new(Plan { noise_multiplier, ..plan }, force_delta)
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
        self.plan.noise_multiplier * self.l2_sensitivity() * (1.0 + ROUNDING)
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
        PoissonSampler::new(secret, self.plan.sample_rate, examples, units)
    }

    /// The noise of this mechanism.
    pub fn noise(&self, secret: &RunSecret) -> GaussianNoise {
        GaussianNoise::new(secret, self.plan.noise_draws)
    }

    /// What `steps` steps are to an accountant.
    pub fn phase(&self, steps: u64) -> Phase {
        Phase {
            sample_rate: self.plan.sample_rate,
            noise_multiplier: self.plan.noise_multiplier,
            steps,
        }
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

    fn plan() -> Plan {
        Plan {
            declared_units: 1000,
            sample_rate: 0.05,
            noise_multiplier: 1.0,
            steps: 100,
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
    fn large_delta_needs_force() {
        let loose = Plan { delta: 1e-3, ..plan() };
        assert!(matches!(Mechanism::new(loose, false), Err(MechanismError::Delta { .. })));
        assert!(Mechanism::new(loose, true).is_ok());
        assert!(default_delta(1000) < 1e-3);
    }

    #[test]
    fn what_is_no_mechanism_is_refused() {
        for wrong in [
            Plan { declared_units: 0, ..plan() },
            Plan { sample_rate: 0.0, ..plan() },
            Plan { sample_rate: f64::NAN, ..plan() },
            Plan { noise_multiplier: 0.0, ..plan() },
            Plan { max_examples_per_unit: 0, ..plan() },
            Plan { noise_draws: 0, ..plan() },
        ] {
            assert!(Mechanism::new(wrong, false).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn calibration_meets_its_target() {
        let mechanism = Mechanism::calibrated(plan(), Accountant::Pld, 3.0, false).unwrap();
        let spent = mechanism.epsilon(Accountant::Pld, 100).unwrap().epsilon;
        assert!(spent <= 3.0 && spent > 2.99, "{spent}");
    }
}
