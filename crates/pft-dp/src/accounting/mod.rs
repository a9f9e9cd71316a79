//! How much privacy a row of Poisson-subsampled Gaussian steps spends.
//!
//! A step draws each unit with probability `sample_rate`, sums clipped gradients of norm at most
//! one (in units of the clipping norm) and adds noise of standard deviation `noise_multiplier`.
//! Neighbouring data sets differ by one unit added or removed. Three accountants answer for the
//! same [`Phase`]s: [`pld`] is tight and is what is reported, [`rdp`] is the classical bound, and
//! [`gdp`] is an approximation that bounds nothing.

mod calibrate;
mod compose;
mod discretize;
pub mod gdp;
mod inclusion;
mod loss;
pub(crate) mod normal;
pub mod pld;
pub mod rdp;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use calibrate::{calibrate_noise_multiplier, steps_within};

/// A run of identical steps; on command lines, their options.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema, clap::Args)]
pub struct Phase {
    /// Probability with which each unit takes part in a step
    #[arg(long, value_name = "Q")]
    pub sample_rate: f64,
    /// Standard deviation of the noise divided by the clipping norm
    #[arg(long, value_name = "SIGMA")]
    pub noise_multiplier: f64,
    /// Number of steps
    #[arg(long, value_name = "T")]
    pub steps: u64,
}

/// How neighbouring data sets differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Neighbours {
    /// Some units, which are sampled independently of each other, are added or removed together.
    AddOrRemove { members: u32 },
    /// One unit is replaced by another.
    ReplaceOne,
}

impl Neighbours {
    /// One unit is added or removed.
    pub(crate) const ONE: Self = Self::AddOrRemove { members: 1 };
}

/// A way to turn steps into ε.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Default,
    Serialize,
    Deserialize,
    JsonSchema,
    clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Accountant {
    /// Privacy loss distribution: numerically tight, with bounds on both sides.
    #[default]
    Pld,
    /// Rényi differential privacy: an upper bound, often loose.
    Rdp,
    /// Gaussian differential privacy by the central limit theorem: approximate, not a bound.
    Gdp,
}

impl Accountant {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Pld, Self::Rdp, Self::Gdp];

    /// The name used on command lines and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pld => "pld",
            Self::Rdp => "rdp",
            Self::Gdp => "gdp",
        }
    }

    /// ε of the phases one after the other, at `delta`.
    ///
    /// # Errors
    /// When a parameter is outside its range or the steps are too many to account for.
    pub fn epsilon(self, phases: &[Phase], delta: f64) -> Result<Epsilon, AccountingError> {
        match self {
            Self::Pld => pld::epsilon(phases, delta),
            Self::Rdp => rdp::epsilon(phases, delta).map(|upper| Epsilon {
                epsilon: upper,
                upper: Some(upper),
                lower: None,
            }),
            Self::Gdp => gdp::epsilon(phases, delta).map(|epsilon| Epsilon {
                epsilon,
                upper: None,
                lower: None,
            }),
        }
    }

    /// The value that must not exceed a budget: the upper bound where there is one.
    pub(crate) fn spent(self, phases: &[Phase], delta: f64) -> Result<f64, AccountingError> {
        match self {
            Self::Pld => pld::epsilon_upper(phases, delta),
            Self::Rdp => rdp::epsilon(phases, delta),
            Self::Gdp => gdp::epsilon(phases, delta),
        }
    }
}

impl std::fmt::Display for Accountant {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// An ε with what is known about it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Epsilon {
    /// The value to report: the upper bound where there is one, else the estimate.
    pub epsilon: f64,
    /// The true ε is at most this; absent for an approximation.
    pub upper: Option<f64>,
    /// The true ε is at least this; absent where the accountant has no lower bound.
    pub lower: Option<f64>,
}

/// A question that has no answer.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum AccountingError {
    /// A parameter is not a number or outside its range.
    #[error("{name} is {value}; it must be {range}")]
    Range {
        /// The parameter's name.
        name: &'static str,
        /// What was given.
        value: f64,
        /// What is allowed.
        range: &'static str,
    },
    /// No noise is enough.
    #[error("no noise multiplier up to {limit} reaches ε = {target} at δ = {delta}")]
    Unreachable {
        /// The ε asked for.
        target: f64,
        /// The δ asked for.
        delta: f64,
        /// The largest noise multiplier tried.
        limit: f64,
    },
    /// What ran before has spent the budget.
    #[error(
        "what ran before has spent ε = {spent:.4} at δ = {delta:e} already, of {target} that all may \
         spend together; ask for more, or begin from weights that have spent less"
    )]
    Spent {
        /// The ε spent.
        spent: f64,
        /// The ε asked for.
        target: f64,
        /// The δ asked for.
        delta: f64,
    },
    /// Numerical failure: the discretised distribution does not fit in memory.
    #[error("the steps cannot be accounted for: {0}")]
    Numerical(String),
}

/// Smaller δ than anyone means; the distributions' tails would reach far beyond what is ever seen.
const MIN_DELTA: f64 = 1e-50;

/// The noise multipliers that can be accounted for. With less noise a single step spends an ε of
/// thousands, no promise to anyone; with more nothing would be left of any gradient.
pub const NOISE_MULTIPLIERS: std::ops::RangeInclusive<f64> = 1e-2..=1e6;

/// Refuses a noise multiplier that is not one of [`NOISE_MULTIPLIERS`].
///
/// # Errors
/// When it is not.
pub fn check_noise_multiplier(noise_multiplier: f64) -> Result<(), AccountingError> {
    if NOISE_MULTIPLIERS.contains(&noise_multiplier) {
        return Ok(());
    }
    Err(AccountingError::Range {
        name: "noise_multiplier",
        value: noise_multiplier,
        range: "between 0.01 and 1000000",
    })
}

/// Steps of a run at most, some weeks of the fastest. With more, binomial probabilities would be lost
/// in rounding.
pub const MAX_STEPS: u64 = 1_000_000_000;

/// Refuses what no accountant can answer.
pub(crate) fn check(phases: &[Phase], delta: f64) -> Result<(), AccountingError> {
    let range = |name, value, range| Err(AccountingError::Range { name, value, range });
    if !(MIN_DELTA..1.0).contains(&delta) {
        return range("delta", delta, "at least 1e-50 and less than 1");
    }
    for phase in phases {
        if !(0.0..=1.0).contains(&phase.sample_rate) {
            return range("sample_rate", phase.sample_rate, "between 0 and 1");
        }
        check_noise_multiplier(phase.noise_multiplier)?;
        if phase.steps > MAX_STEPS {
            return range("steps", phase.steps as f64, "at most 1000000000");
        }
    }
    Ok(())
}

/// The phases that spend anything.
pub(crate) fn active(phases: &[Phase]) -> Vec<Phase> {
    phases.iter().copied().filter(|phase| phase.steps > 0 && phase.sample_rate > 0.0).collect()
}
