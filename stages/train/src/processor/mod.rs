//! Where steps are computed: by pft's own kernels on the CPU, or on a device of candle's.
//!
//! Both do the same arithmetic on the same batches, so that what samples, clips, adds noise,
//! accounts and saves knows one interface.

mod cpu;
mod device;

use pft_dp::{ClippedSum, Clipping, StepMean, UnitOutcome};
use pft_lm::batch::Batch;
use pft_lm::model::{LanguageModel, Losses};
use pft_lm::optimizer::Optimizer;
use pft_stage::StageError;

pub(crate) use cpu::Cpu;
pub(crate) use device::OnDevice;

/// What became of the units of one pass.
pub(crate) struct Pass {
    pub(crate) losses: Losses,
    pub(crate) outcomes: Vec<UnitOutcome>,
    /// Norms of the units' gradients before clipping. Private.
    pub(crate) unit_norms: Vec<f64>,
}

/// A model and its optimizer, and how they are stepped.
pub(crate) trait Processor {
    /// A sum of gradients.
    type Sum;
    /// A sum of clipped gradients of units.
    type Units;

    /// Room for a sum.
    fn sum(&self) -> Self::Sum;

    /// Room for a sum that is clipped.
    fn units(&self, clipping: Clipping) -> Self::Units;

    /// Losses alone.
    fn evaluate(&mut self, batch: &Batch) -> Result<Losses, StageError>;

    /// Adds the gradient of a batch's loss to `sum`.
    fn add(
        &mut self,
        batch: &Batch,
        dropout_seed: u64,
        sum: &mut Self::Sum,
    ) -> Result<Losses, StageError>;

    /// The norm of a sum.
    fn norm(&mut self, sum: &mut Self::Sum) -> Result<f64, StageError>;

    /// Steps along a sum times `scale`, and empties the sum.
    fn step(
        &mut self,
        sum: &mut Self::Sum,
        learning_rate: f64,
        scale: f64,
    ) -> Result<(), StageError>;

    /// Adds the clipped gradients of a batch's units to `units`. Unit `u` owns the next
    /// `sequences_of_unit[u]` sequences.
    fn add_units(
        &mut self,
        batch: &Batch,
        sequences_of_unit: &[usize],
        dropout_seed: u64,
        units: &mut Self::Units,
    ) -> Result<Pass, StageError>;

    /// The clipped sum since the last call.
    fn take(&mut self, units: &mut Self::Units) -> Result<ClippedSum, StageError>;

    /// Steps along a private mean, whose memory goes back to `units`.
    fn step_private(
        &mut self,
        mean: StepMean,
        learning_rate: f64,
        units: &mut Self::Units,
    ) -> Result<(), StageError>;

    /// Model and optimizer on the host, as they are now.
    fn state(&mut self) -> Result<(&LanguageModel, &Optimizer), StageError>;

    /// The model, at the end.
    fn into_model(self) -> Result<LanguageModel, StageError>;
}
