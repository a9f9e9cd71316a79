//! AdamW and SGD: one pass over each parameter, its gradient and its state.

mod config;

use std::ops::Range;

use rayon::prelude::*;
use thiserror::Error;

use crate::gradient::GradientSum;
use crate::kernels::{dot, simd};
use crate::parameters::{ParameterId, Parameters, TensorData};

pub use config::OptimizerConfig;

/// Elements that one task updates.
const BLOCK: usize = 1 << 14;

/// A parameter's gradient, which is read a block at a time.
pub trait GradientBlocks: Sync {
    /// Elements `range`, which begins at a multiple of 16,384. `room` may hold them.
    fn block<'a>(&'a self, range: Range<usize>, room: &'a mut Vec<f32>) -> &'a [f32];
}

impl GradientBlocks for &[f32] {
    fn block<'a>(&'a self, range: Range<usize>, _room: &'a mut Vec<f32>) -> &'a [f32] {
        &self[range]
    }
}

/// A saved state that is not this optimizer's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StateError {
    /// A tensor is missing.
    #[error("the optimizer's state lacks `{0}`")]
    Missing(String),
    /// A tensor has the wrong length.
    #[error("the optimizer's state holds {found} numbers for `{name}`, which has {expected}")]
    Length {
        /// The state tensor's name.
        name: String,
        /// Its length.
        found: usize,
        /// The parameter's length.
        expected: usize,
    },
}

/// State of one parameter: Adam's two means, or SGD's momentum.
#[derive(Debug, Clone)]
struct Slot {
    id: ParameterId,
    decays: bool,
    moments: Vec<Vec<f32>>,
}

/// An optimizer with its state.
#[derive(Debug, Clone)]
pub struct Optimizer {
    config: OptimizerConfig,
    slots: Vec<Slot>,
    steps: u64,
}

/// The constants of one AdamW step, rounded once.
#[derive(Clone, Copy)]
struct Adam {
    beta1: f32,
    beta2: f32,
    rest1: f32,
    rest2: f32,
    epsilon: f32,
    /// 1 − learning rate · weight decay.
    keep: f32,
    /// learning rate / (1 − beta1^t).
    rate: f32,
    /// 1 / √(1 − beta2^t).
    inverse_root: f32,
    /// Multiplies gradients first.
    scale: f32,
}

simd! {
    fn adam_block(
        weights: &mut [f32], gradients: &[f32], means: &mut [f32], squares: &mut [f32], c: Adam,
    ) {
        let state = means.iter_mut().zip(squares);
        for ((w, g), (m, v)) in weights.iter_mut().zip(gradients).zip(state) {
            let g = g * c.scale;
            *m = c.beta1 * *m + c.rest1 * g;
            *v = c.beta2 * *v + c.rest2 * (g * g);
            *w = *w * c.keep - c.rate * (*m / (v.sqrt() * c.inverse_root + c.epsilon));
        }
    }
}

simd! {
    fn sgd_block(
        weights: &mut [f32], gradients: &[f32], rate: f32, decay: f32, scale: f32,
    ) {
        for (w, g) in weights.iter_mut().zip(gradients) {
            *w -= rate * (g * scale + decay * *w);
        }
    }
}

simd! {
    fn momentum_block(
        weights: &mut [f32], gradients: &[f32], velocity: &mut [f32], momentum: f32, rate: f32,
        decay: f32, scale: f32,
    ) {
        for ((w, g), velocity) in weights.iter_mut().zip(gradients).zip(velocity) {
            *velocity = momentum * *velocity + (g * scale + decay * *w);
            *w -= rate * *velocity;
        }
    }
}

impl Optimizer {
    /// An optimizer of the trainable parameters. Weight decay leaves biases and norms alone.
    pub fn new(config: OptimizerConfig, parameters: &Parameters) -> Self {
        let slots = parameters
            .trainable()
            .map(|(id, parameter)| Slot {
                id,
                decays: parameter.spec.kind.decays(),
                moments: vec![vec![0.0; parameter.spec.len()]; config.moments().len()],
            })
            .collect();
        Self { config, slots, steps: 0 }
    }

    /// The rule.
    pub fn config(&self) -> OptimizerConfig {
        self.config
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// One step along `gradients`, one for each trainable parameter in order, times `scale` (a
    /// clipping factor, or 1 over the batch size).
    pub fn step<G: GradientBlocks>(
        &mut self,
        parameters: &mut Parameters,
        gradients: impl IntoIterator<Item = G>,
        learning_rate: f64,
        scale: f32,
    ) {
        self.steps += 1;
        for (slot, gradients) in self.slots.iter_mut().zip(gradients) {
            let TensorData::F32(weights) = &mut parameters.get_mut(slot.id).tensor.data else {
                continue;
            };
            let decay = if slot.decays { self.config.weight_decay() } else { 0.0 };
            let blocks = weights.par_chunks_mut(BLOCK).enumerate();
            let gradient_of = |index: usize, len: usize| index * BLOCK..index * BLOCK + len;
            match (self.config, &mut slot.moments[..]) {
                (OptimizerConfig::AdamW { beta1, beta2, epsilon, .. }, [means, squares]) => {
                    let steps = self.steps.min(i32::MAX as u64) as i32;
                    let constants = Adam {
                        beta1: beta1 as f32,
                        beta2: beta2 as f32,
                        rest1: (1.0 - beta1) as f32,
                        rest2: (1.0 - beta2) as f32,
                        epsilon: epsilon as f32,
                        keep: (1.0 - learning_rate * decay) as f32,
                        rate: (learning_rate / (1.0 - beta1.powi(steps))) as f32,
                        inverse_root: (1.0 / (1.0 - beta2.powi(steps)).sqrt()) as f32,
                        scale,
                    };
                    blocks
                        .zip(means.par_chunks_mut(BLOCK).zip(squares.par_chunks_mut(BLOCK)))
                        .for_each_init(Vec::new, |room, ((index, weights), (means, squares))| {
                            let range = gradient_of(index, weights.len());
                            let gradient = gradients.block(range, room);
                            adam_block(weights, gradient, means, squares, constants);
                        });
                }
                (OptimizerConfig::Sgd { momentum, .. }, [velocity]) => {
                    blocks.zip(velocity.par_chunks_mut(BLOCK)).for_each_init(
                        Vec::new,
                        |room, ((index, weights), velocity)| {
                            let range = gradient_of(index, weights.len());
                            let gradient = gradients.block(range, room);
                            let (momentum, rate) = (momentum as f32, learning_rate as f32);
                            let decay = decay as f32;
                            momentum_block(
                                weights, gradient, velocity, momentum, rate, decay, scale,
                            );
                        },
                    );
                }
                _ => blocks.for_each_init(Vec::new, |room, (index, weights)| {
                    let gradient = gradients.block(gradient_of(index, weights.len()), room);
                    sgd_block(weights, gradient, learning_rate as f32, decay as f32, scale);
                }),
            }
        }
    }

    /// The state as named tensors, `exp_avg/PARAMETER` and so on, in order. Together with
    /// [`Optimizer::steps`] it makes an optimizer that goes on with the same bits.
    pub fn state<'a>(
        &'a self,
        parameters: &'a Parameters,
    ) -> impl Iterator<Item = (String, &'a [f32])> {
        self.slots.iter().flat_map(|slot| {
            let name = &parameters.get(slot.id).spec.name;
            self.config
                .moments()
                .iter()
                .zip(&slot.moments)
                .map(move |(moment, values)| (format!("{moment}/{name}"), &values[..]))
        })
    }

    /// Takes over a saved state.
    ///
    /// # Errors
    /// When `find` lacks one of the tensors of [`Optimizer::state`], or gives one of another
    /// length; the optimizer is unchanged then.
    pub fn load_state(
        &mut self,
        parameters: &Parameters,
        steps: u64,
        mut find: impl FnMut(&str) -> Option<Vec<f32>>,
    ) -> Result<(), StateError> {
        let mut loaded = self.slots.clone();
        for slot in &mut loaded {
            let name = &parameters.get(slot.id).spec.name;
            for (moment, values) in self.config.moments().iter().zip(&mut slot.moments) {
                let name = format!("{moment}/{name}");
                let found = find(&name).ok_or_else(|| StateError::Missing(name.clone()))?;
                if found.len() != values.len() {
                    let (found, expected) = (found.len(), values.len());
                    return Err(StateError::Length { name, found, expected });
                }
                *values = found;
            }
        }
        self.slots = loaded;
        self.steps = steps;
        Ok(())
    }
}

simd! {
    fn sum_of_squares(values: &[f32]) -> f32 {
        dot(values, values)
    }
}

/// The Euclidean norm of all gradients together. Summed in blocks of one size, so that it does
/// not depend on the number of threads.
pub fn global_norm(gradients: &mut GradientSum) -> f64 {
    let mut total = 0.0f64;
    for (_, gradient) in gradients.iter_mut() {
        let blocks: Vec<f32> = gradient.par_chunks(1 << 12).map(sum_of_squares).collect();
        total += blocks.into_iter().map(f64::from).sum::<f64>();
    }
    total.sqrt()
}

/// The factor that brings a gradient of `norm` down to `max_norm`, as PyTorch's
/// `clip_grad_norm_`.
pub fn clip_factor(norm: f64, max_norm: f64) -> f32 {
    (max_norm / (norm + 1e-6)).min(1.0) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::{ParameterKind, ParameterSpec, Tensor};

    /// A weight and a bias of one element, both 1.
    fn pair() -> Parameters {
        let mut parameters = Parameters::new();
        for (name, kind) in [("weight", ParameterKind::Weight), ("bias", ParameterKind::Bias)] {
            let tensor = Tensor::new(&[1], vec![1.0]).unwrap();
            parameters.insert(ParameterSpec::new(name, &[1], kind), tensor, true).unwrap();
        }
        parameters
    }

    fn values(parameters: &Parameters) -> Vec<f32> {
        parameters.iter().map(|(_, parameter)| parameter.tensor.as_f32().unwrap()[0]).collect()
    }

    fn run(config: OptimizerConfig, steps: usize) -> Vec<f32> {
        let mut parameters = pair();
        let mut optimizer = Optimizer::new(config, &parameters);
        let mut sum = GradientSum::new(&parameters);
        for (_, gradient) in sum.iter_mut() {
            gradient[0] = 1.0;
        }
        for _ in 0..steps {
            optimizer.step(&mut parameters, sum.in_order(), 0.1, 0.5);
        }
        values(&parameters)
    }

    fn close(found: &[f32], expected: [f32; 2]) {
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
    }

    #[test]
    fn sgd_takes_pytorchs_steps_and_decays_weights_alone() {
        // torch.optim.SGD(lr=0.1, momentum=0.9, weight_decay=0.1) on a gradient of 0.5:
        // velocity 0.6, then 0.9 · 0.6 + 0.5 + 0.1 · 0.94.
        let momentum = OptimizerConfig::Sgd { momentum: 0.9, weight_decay: 0.1 };
        close(&run(momentum, 1), [0.94, 0.95]);
        close(&run(momentum, 2), [0.8266, 0.855]);
        let plain = OptimizerConfig::Sgd { momentum: 0.0, weight_decay: 0.1 };
        close(&run(plain, 2), [0.8806, 0.9]);
    }

    #[test]
    fn the_norm_is_over_all_parameters_and_clips_as_pytorch_does() {
        let mut sum = GradientSum::new(&pair());
        for ((_, gradient), value) in sum.iter_mut().zip([3.0, -4.0]) {
            gradient[0] = value;
        }
        assert_eq!(global_norm(&mut sum), 5.0);
        assert!((clip_factor(5.0, 1.0) - 0.2).abs() < 1e-6);
        assert_eq!(clip_factor(0.5, 1.0), 1.0);
        sum.clear();
        assert_eq!(global_norm(&mut sum), 0.0);
    }
}
