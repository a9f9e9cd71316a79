//! One layer a file, forward and backward beside each other, over candle tensors.
//!
//! A backward takes the gradient of the loss by the layer's output, gives its
//! [`DeviceSink`](super::DeviceSink) the pieces of the trainable parameters' gradients, and
//! returns the gradient by the layer's input. Nothing is recorded for automatic differentiation,
//! so that only what a backward here asks for is kept. What the layers are, indices into the
//! parameters, is shared with the CPU's layers of the same names.

pub(crate) mod attention;
pub(crate) mod embedding;
pub(crate) mod gated;
pub(crate) mod gelu;
pub(crate) mod head;
pub(crate) mod layer_norm;
pub(crate) mod linear;
pub(crate) mod lora;
pub(crate) mod mlp;
pub(crate) mod norm;
#[cfg(test)]
mod oracle;
pub(crate) mod projection;
pub(crate) mod rms_norm;
pub(crate) mod rope;
pub(crate) mod soft_cap;

use candle_core::Tensor;

use super::rows::Rows;
use crate::parameters::ParameterId;
use rope::Turns;

/// What every layer of one pass looks at.
#[derive(Clone, Copy)]
pub(crate) struct Pass<'a> {
    /// Every parameter's values, norms in the wide type and the others in the model's.
    pub(crate) weights: &'a [Tensor],
    /// Whether each trains.
    pub(crate) trainable: &'a [bool],
    /// The batch's rows.
    pub(crate) rows: &'a Rows,
    /// The turns of each position that blocks choose from; none where positions are learned.
    pub(crate) turns: &'a [Turns],
    /// Draw each row's dropout masks; `None` where nothing is dropped.
    pub(crate) seeds: Option<&'a [u64]>,
}

impl Pass<'_> {
    /// The pass of `count` of the batch's rows, for layers that take rows in chunks.
    pub(crate) fn of_rows(&self, first: usize, count: usize) -> Self {
        Self { seeds: self.seeds.map(|seeds| &seeds[first..first + count]), ..*self }
    }

    /// A parameter's values.
    pub(crate) fn weight(&self, id: ParameterId) -> &Tensor {
        &self.weights[id.0]
    }

    /// `id` if that parameter trains.
    pub(crate) fn trained(&self, id: ParameterId) -> Option<ParameterId> {
        self.trainable[id.0].then_some(id)
    }
}
