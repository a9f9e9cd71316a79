//! Poisson sampling and clipping without noise: a baseline that shows what noise alone costs.
//!
//! Such a run promises nothing, ε is infinite. It is no [`Mechanism`](crate::Mechanism), has no
//! ledger, and its means come from a method of their own, so that no private run can take its way.

use crate::clipping::Clipping;
use crate::mechanism::{Mechanism, MechanismError};
use crate::sampler::{PoissonSampler, SamplerError};
use crate::secret::RunSecret;

/// A run whose units are sampled and clipped as in a private one, and whose sums get no noise.
#[derive(Debug, Clone, PartialEq)]
pub struct ClipOnly {
    sample_rate: f64,
    expected_batch_size: f64,
    clipping: Clipping,
    max_examples_per_unit: u32,
}

impl ClipOnly {
    /// `units` units, of which each takes part in a step with probability `sample_rate`.
    ///
    /// # Errors
    /// When nothing can be sampled, or the clipping settings are none.
    pub fn new(
        units: u64,
        sample_rate: f64,
        clipping: Clipping,
        max_examples_per_unit: u32,
    ) -> Result<Self, MechanismError> {
        clipping.validate()?;
        if units == 0 || !(sample_rate > 0.0 && sample_rate <= 1.0) {
            return Err(MechanismError::Zero("declared_units"));
        }
        if max_examples_per_unit == 0 {
            return Err(MechanismError::Zero("max_examples_per_unit"));
        }
        let expected_batch_size = sample_rate * units as f64;
        Ok(Self { sample_rate, expected_batch_size, clipping, max_examples_per_unit })
    }

    /// Probability with which each unit takes part in a step.
    pub fn sample_rate(&self) -> f64 {
        self.sample_rate
    }

    /// The constant that sums are divided by.
    pub fn expected_batch_size(&self) -> f64 {
        self.expected_batch_size
    }

    /// The sampler over units by name.
    ///
    /// # Errors
    /// When a unit occurs twice.
    pub fn sampler<S: AsRef<str>>(
        &self,
        secret: &RunSecret,
        units: &[S],
    ) -> Result<PoissonSampler, SamplerError> {
        let examples = self.max_examples_per_unit as usize;
        PoissonSampler::new(secret, self.sample_rate, examples, units)
    }
}

impl From<&ClipOnly> for Clipping {
    fn from(run: &ClipOnly) -> Self {
        run.clipping
    }
}

impl From<&Mechanism> for Clipping {
    fn from(mechanism: &Mechanism) -> Self {
        mechanism.plan().clipping
    }
}
