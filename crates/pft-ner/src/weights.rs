//! Named tensors of a model, whatever file they come from.

use pft_pii::LoadError;

use crate::kernels::{LayerNorm, Linear};

/// A source of tensors.
pub(crate) trait Weights {
    /// Whether a tensor of this name exists.
    fn has(&self, name: &str) -> bool;

    /// A tensor of exactly this shape.
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, LoadError>;

    /// `NAME.weight` `[outputs, inputs]` and `NAME.bias`.
    fn linear(&self, name: &str, [outputs, inputs]: [usize; 2]) -> Result<Linear, LoadError> {
        Ok(Linear {
            weight: self.tensor(&format!("{name}.weight"), &[outputs, inputs])?,
            bias: self.tensor(&format!("{name}.bias"), &[outputs])?,
        })
    }

    /// A layer norm, under its present names or TensorFlow's old ones.
    fn norm(&self, name: &str, width: usize, epsilon: f32) -> Result<LayerNorm, LoadError> {
        let old = self.has(&format!("{name}.gamma"));
        let (weight, bias) = if old { ("gamma", "beta") } else { ("weight", "bias") };
        Ok(LayerNorm {
            weight: self.tensor(&format!("{name}.{weight}"), &[width])?,
            bias: self.tensor(&format!("{name}.{bias}"), &[width])?,
            epsilon,
        })
    }
}
