//! Steps on a device of candle's. The host's model and optimizer are what is loaded and saved;
//! they are behind the device's until [`Processor::state`] is asked for.

use candle_core::{DType, Device};
use pft_dp::{ClippedSum, Clipping, GradientError, StepMean};
use pft_lm::batch::Batch;
use pft_lm::device::{DeviceError, DeviceGradientSum, DeviceModel, DeviceOptimizer};
use pft_lm::model::{LanguageModel, Losses};
use pft_lm::optimizer::Optimizer;
use pft_stage::StageError;

use super::{Pass, Processor};
use crate::private::DeviceUnitGradients;

/// A model on a device.
pub(crate) struct OnDevice {
    model: DeviceModel,
    optimizer: DeviceOptimizer,
    host_model: LanguageModel,
    host_optimizer: Optimizer,
}

fn refused(error: &dyn std::fmt::Display) -> StageError {
    StageError::config(format!("device: {error}")).with_help(
        "if its memory is short, set a smaller micro_batch_tokens, dtype: bf16 or \
         checkpoint_activations: true",
    )
}

fn device_error(error: DeviceError) -> StageError {
    match error {
        DeviceError::Batch(error) => StageError::input(error.to_string()),
        error => refused(&error),
    }
}

fn gradient_error(error: GradientError) -> StageError {
    match error {
        GradientError::Missing(_) => StageError::config(error.to_string()),
        GradientError::Device(_) => refused(&error),
    }
}

impl OnDevice {
    /// Copies a model and an optimizer of its parameters to a device.
    pub(crate) fn new(
        model: LanguageModel,
        optimizer: Optimizer,
        device: &Device,
        dtype: DType,
    ) -> Result<Self, StageError> {
        let on_device = DeviceModel::new(&model, device, dtype).map_err(device_error)?;
        let stepping = DeviceOptimizer::new(&optimizer, model.parameters(), &on_device)
            .map_err(|error| refused(&error))?;
        Ok(Self {
            model: on_device,
            optimizer: stepping,
            host_model: model,
            host_optimizer: optimizer,
        })
    }

    /// Brings the host's model and optimizer up to date.
    fn store(&mut self) -> Result<(), StageError> {
        self.model.store(self.host_model.parameters_mut()).map_err(device_error)?;
        self.optimizer
            .store(&mut self.host_optimizer, self.host_model.parameters())
            .map_err(|error| refused(&error))
    }
}

impl Processor for OnDevice {
    type Sum = DeviceGradientSum;
    type Units = DeviceUnitGradients;

    fn sum(&self) -> DeviceGradientSum {
        self.model.gradient_sum()
    }

    fn units(&self, clipping: Clipping) -> DeviceUnitGradients {
        DeviceUnitGradients::new(&self.host_model, clipping, self.model.device())
    }

    fn evaluate(&mut self, batch: &Batch) -> Result<Losses, StageError> {
        self.model.evaluate(batch).map_err(device_error)
    }

    fn add(
        &mut self,
        batch: &Batch,
        dropout_seed: u64,
        sum: &mut DeviceGradientSum,
    ) -> Result<Losses, StageError> {
        self.model.forward_backward(batch, dropout_seed, sum).map_err(device_error)
    }

    fn norm(&mut self, sum: &mut DeviceGradientSum) -> Result<f64, StageError> {
        sum.global_norm().map_err(|error| refused(&error))
    }

    fn step(
        &mut self,
        sum: &mut DeviceGradientSum,
        learning_rate: f64,
        scale: f64,
    ) -> Result<(), StageError> {
        let gradients = sum.in_order().map_err(|error| refused(&error))?;
        sum.clear();
        self.optimizer
            .step(&mut self.model, &gradients, learning_rate, scale)
            .map_err(|error| refused(&error))
    }

    fn add_units(
        &mut self,
        batch: &Batch,
        sequences_of_unit: &[usize],
        dropout_seed: u64,
        units: &mut DeviceUnitGradients,
    ) -> Result<Pass, StageError> {
        units.expect(sequences_of_unit);
        let losses =
            self.model.forward_backward(batch, dropout_seed, units).map_err(device_error)?;
        let outcomes = units.clip().map_err(gradient_error)?;
        Ok(Pass { losses, outcomes, unit_norms: units.unit_norms() })
    }

    fn take(&mut self, units: &mut DeviceUnitGradients) -> Result<ClippedSum, StageError> {
        units.take().map_err(gradient_error)
    }

    fn step_private(
        &mut self,
        mean: StepMean,
        learning_rate: f64,
        _units: &mut DeviceUnitGradients,
    ) -> Result<(), StageError> {
        let gradients = self.model.upload(&mean.into_tensors()).map_err(device_error)?;
        self.optimizer
            .step(&mut self.model, &gradients, learning_rate, 1.0)
            .map_err(|error| refused(&error))
    }

    fn state(&mut self) -> Result<(&LanguageModel, &Optimizer), StageError> {
        self.store()?;
        Ok((&self.host_model, &self.host_optimizer))
    }

    fn into_model(mut self) -> Result<LanguageModel, StageError> {
        self.store()?;
        Ok(self.host_model)
    }
}
