//! AdamW and SGD on the device, over 32-bit weights; see [`crate::optimizer`] for the rules.

use candle_core::{DType, Result, Tensor};

use super::DeviceModel;
use super::ops::{download, upload};
use crate::optimizer::{Optimizer, OptimizerConfig, StateError};
use crate::parameters::{ParameterId, Parameters};

/// Moments of one parameter.
#[derive(Debug)]
struct Slot {
    id: ParameterId,
    name: String,
    decays: bool,
    moments: Vec<Tensor>,
}

/// An optimizer whose state is on a device.
#[derive(Debug)]
pub struct DeviceOptimizer {
    config: OptimizerConfig,
    slots: Vec<Slot>,
    steps: u64,
}

impl DeviceOptimizer {
    /// An optimizer of `model` that goes on from the state of `optimizer`, which is one of
    /// `parameters`, the model's on the host.
    ///
    /// # Errors
    /// When the device refuses.
    pub fn new(
        optimizer: &Optimizer,
        parameters: &Parameters,
        model: &DeviceModel,
    ) -> Result<Self> {
        let config = optimizer.config();
        let mut state = optimizer.state(parameters);
        let mut slots = Vec::new();
        for (id, parameter) in parameters.trainable() {
            let shape = &parameter.spec.shape;
            let moments = state
                .by_ref()
                .take(config.moments().len())
                .map(|(_, values)| upload(values, shape, DType::F32, model.device()))
                .collect::<Result<_>>()?;
            let name = parameter.spec.name.clone();
            slots.push(Slot { id, name, decays: parameter.spec.kind.decays(), moments });
        }
        Ok(Self { config, slots, steps: optimizer.steps() })
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// One step along `gradients`, one for each trainable parameter in order, in f32, times
    /// `scale`.
    ///
    /// # Errors
    /// When the device refuses.
    pub fn step(
        &mut self,
        model: &mut DeviceModel,
        gradients: &[Tensor],
        learning_rate: f64,
        scale: f64,
    ) -> Result<()> {
        self.steps += 1;
        for (slot, gradient) in self.slots.iter_mut().zip(gradients) {
            let Some(weight) = model.master(slot.id) else { continue };
            let gradient = (gradient * scale)?;
            let decay = if slot.decays { self.config.weight_decay() } else { 0.0 };
            let weight = match (self.config, &mut slot.moments[..]) {
                (OptimizerConfig::AdamW { beta1, beta2, epsilon, .. }, [means, squares]) => {
                    let steps = self.steps.min(i32::MAX as u64) as i32;
                    let rate = learning_rate / (1.0 - beta1.powi(steps));
                    let inverse_root = 1.0 / (1.0 - beta2.powi(steps)).sqrt();
                    *means = ((&*means * beta1)? + (&gradient * (1.0 - beta1))?)?;
                    *squares = ((&*squares * beta2)? + (gradient.sqr()? * (1.0 - beta2))?)?;
                    let spread = squares.sqrt()?.affine(inverse_root, epsilon)?;
                    let kept = (weight * (1.0 - learning_rate * decay))?;
                    (kept - ((&*means / spread)? * rate)?)?
                }
                (OptimizerConfig::Sgd { momentum, .. }, [velocity]) => {
                    let along = (gradient + (weight * decay)?)?;
                    *velocity = ((&*velocity * momentum)? + along)?;
                    (weight - (&*velocity * learning_rate)?)?
                }
                _ => {
                    let along = (gradient + (weight * decay)?)?;
                    (weight - (along * learning_rate)?)?
                }
            };
            model.set_master(slot.id, weight)?;
        }
        Ok(())
    }

    /// Copies the state to an optimizer of the same parameters on the host.
    ///
    /// # Errors
    /// When the device refuses, or `optimizer` is one of other parameters.
    pub fn store(&self, optimizer: &mut Optimizer, parameters: &Parameters) -> Result<()> {
        let mut state = std::collections::HashMap::new();
        for slot in &self.slots {
            for (moment, values) in self.config.moments().iter().zip(&slot.moments) {
                state.insert(format!("{moment}/{}", slot.name), download(values)?);
            }
        }
        optimizer
            .load_state(parameters, self.steps, |name| state.remove(name))
            .map_err(|error: StateError| candle_core::Error::wrap(error))
    }
}
