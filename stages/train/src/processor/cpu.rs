//! Steps by pft's own kernels.

use pft_dp::{ClippedSum, Clipping, StepMean};
use pft_lm::batch::{Batch, BatchError};
use pft_lm::gradient::GradientSum;
use pft_lm::model::{LanguageModel, Losses};
use pft_lm::optimizer::{Optimizer, global_norm};
use pft_stage::StageError;

use super::{Pass, Processor};
use crate::private::{Noised, UnitGradients};

/// A model on the CPU.
pub(crate) struct Cpu {
    model: LanguageModel,
    optimizer: Optimizer,
}

impl Cpu {
    /// A model and an optimizer of its parameters.
    pub(crate) fn new(model: LanguageModel, optimizer: Optimizer) -> Self {
        Self { model, optimizer }
    }
}

/// Runs `work` on a thread of the pool, whose many parallel parts then start without waking this
/// one in between.
fn in_pool<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| work())
}

fn wrong_batch(error: BatchError) -> StageError {
    StageError::input(error.to_string())
}

impl Processor for Cpu {
    type Sum = GradientSum;
    type Units = UnitGradients;

    fn sum(&self) -> GradientSum {
        GradientSum::new(self.model.parameters())
    }

    fn units(&self, clipping: Clipping) -> UnitGradients {
        UnitGradients::new(&self.model, clipping)
    }

    fn evaluate(&mut self, batch: &Batch) -> Result<Losses, StageError> {
        in_pool(|| self.model.evaluate(batch)).map_err(wrong_batch)
    }

    fn add(
        &mut self,
        batch: &Batch,
        dropout_seed: u64,
        sum: &mut GradientSum,
    ) -> Result<Losses, StageError> {
        in_pool(|| self.model.forward_backward(batch, dropout_seed, sum)).map_err(wrong_batch)
    }

    fn norm(&mut self, sum: &mut GradientSum) -> Result<f64, StageError> {
        Ok(in_pool(|| global_norm(sum)))
    }

    fn step(
        &mut self,
        sum: &mut GradientSum,
        learning_rate: f64,
        scale: f64,
    ) -> Result<(), StageError> {
        in_pool(|| {
            let parameters = self.model.parameters_mut();
            self.optimizer.step(parameters, sum.in_order(), learning_rate, scale as f32);
        });
        sum.clear();
        Ok(())
    }

    fn add_units(
        &mut self,
        batch: &Batch,
        sequences_of_unit: &[usize],
        dropout_seed: u64,
        units: &mut UnitGradients,
    ) -> Result<Pass, StageError> {
        units.expect(sequences_of_unit);
        let losses = in_pool(|| self.model.forward_backward(batch, dropout_seed, units))
            .map_err(wrong_batch)?;
        let outcomes =
            in_pool(|| units.clip()).map_err(|error| StageError::config(error.to_string()))?;
        Ok(Pass { losses, outcomes, unit_norms: units.unit_norms() })
    }

    fn take(&mut self, units: &mut UnitGradients) -> Result<ClippedSum, StageError> {
        Ok(units.take())
    }

    fn step_private(
        &mut self,
        mean: StepMean,
        learning_rate: f64,
        units: &mut UnitGradients,
    ) -> Result<(), StageError> {
        in_pool(|| {
            let gradients = Noised::all(&mean);
            self.optimizer.step(self.model.parameters_mut(), gradients, learning_rate, 1.0);
        });
        units.recycle(mean);
        Ok(())
    }

    fn state(&mut self) -> Result<(&LanguageModel, &Optimizer), StageError> {
        Ok((&self.model, &self.optimizer))
    }

    fn into_model(self) -> Result<LanguageModel, StageError> {
        Ok(self.model)
    }
}
