//! One layer a file, forward and backward beside each other.
//!
//! A backward takes the gradient of the loss by the layer's output, gives its
//! [`GradientSink`](crate::gradient::GradientSink) the pieces of the trainable parameters'
//! gradients, and returns the gradient by the layer's input, overwriting activations that are
//! no longer needed.

pub mod attention;
pub mod cross_entropy;
pub mod embedding;
pub mod gated;
pub mod gelu;
pub mod layer_norm;
pub mod linear;
pub mod lora;
pub mod norm;
#[cfg(test)]
mod oracle;
pub mod rms_norm;
pub mod rope;
pub mod soft_cap;
pub mod targets;

use crate::buffer::Pool;
use crate::gradient::Sequences;
use crate::kernels::int8::Int8Rows;
use crate::parameters::{ParameterId, Parameters};
use rope::Rope;

/// What every layer of one pass looks at.
#[derive(Clone, Copy)]
pub(crate) struct Pass<'a> {
    pub(crate) parameters: &'a Parameters,
    pub(crate) pool: &'a Pool,
    /// The rotary positions that blocks choose from.
    pub(crate) ropes: &'a [Rope],
    pub(crate) sequences: Sequences<'a>,
    /// Each row's position in its sequence.
    pub(crate) positions: &'a [u32],
    /// Draw each row's dropout masks; `None` where nothing is dropped.
    pub(crate) seeds: Option<&'a [u64]>,
    /// Weights in 8 bits, by parameter; empty where there are none.
    pub(crate) int8: &'a [Option<Int8Rows>],
}

impl Pass<'_> {
    /// `id` if that parameter trains.
    pub(crate) fn trained(&self, id: ParameterId) -> Option<ParameterId> {
        self.parameters.get(id).trainable.then_some(id)
    }

    /// The pass of the batch's rows from `first` to `end` alone, for layers that take rows in chunks.
    pub(crate) fn of_rows(&self, first: usize, end: usize) -> Self {
        Self { seeds: self.seeds.map(|seeds| &seeds[first..end]), ..*self }
    }

    /// A weight in 8 bits, for a single row.
    pub(crate) fn int8(&self, id: ParameterId) -> Option<&Int8Rows> {
        self.int8.get(id.0)?.as_ref()
    }
}
