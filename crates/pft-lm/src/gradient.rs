//! What the backward pass hands out, and the plain way to take it: summing.
//!
//! The model never holds gradients itself. Each layer, when its backward runs, gives the
//! [`GradientSink`] the pieces that a parameter's gradient is made of. The plain sink,
//! [`GradientSum`], multiplies them at once into kept buffers. A private sink keeps the pieces
//! (cheaply: a [`Matrix`] shares its buffer, and dropping it gives the memory back) until every
//! sequence's norm is known. Frozen parameters are never handed over and cost nothing.
//!
//! # Rows and sequences
//! A batch is packed: the rows of every matrix are the tokens of its sequences one after the
//! other, without padding. `sequences[i]..sequences[i + 1]` are the rows of sequence `i`.
//!
//! # Order
//! Calls come from the head to the embedding. Within one backward a parameter gets one call,
//! with these exceptions: the head gets one for every chunk of rows
//! ([`GradientSink::head_rows`]), and a tied embedding gets those of the head (as a linear
//! layer) and, last of all, those of the embedding.

use rayon::prelude::*;

use crate::buffer::Matrix;
use crate::kernels::matmul::{self, Layout};
use crate::parameters::{ParameterId, Parameters};

/// How the rows of a batch divide into sequences: `offsets[i]..offsets[i + 1]`.
pub type Sequences<'a> = &'a [usize];

/// The pieces of a linear layer's gradient: `output = input · weight (+ bias)`. `M` is where the
/// matrices are: [`Matrix`] on the CPU, a candle tensor on a [device](crate::device).
#[derive(Debug)]
pub struct LinearGradient<'a, M = Matrix> {
    /// The weight, if it is trainable.
    pub weight: Option<ParameterId>,
    /// The bias, if there is one and it is trainable.
    pub bias: Option<ParameterId>,
    /// How the weight is stored: `[out, in]`, or `[in, out]` for GPT-2's `Conv1D`.
    pub layout: Layout,
    /// The layer's input, `[rows, in]`.
    pub input: &'a M,
    /// The gradient of the loss by the layer's output, `[rows, out]`.
    pub output_gradient: &'a M,
    /// The batch row that row 0 of the two matrices is; not 0 only in chunks of the head.
    pub first_row: usize,
}

/// The pieces of a lookup table's gradient: row `ids[r]` gets `output_gradient[r]`.
#[derive(Debug)]
pub struct EmbeddingGradient<'a, M = Matrix> {
    /// The table.
    pub table: ParameterId,
    /// The row looked up for each row of the batch: token ids, or positions.
    pub ids: &'a [u32],
    /// The gradient of the loss by what was looked up, `[rows, hidden]`.
    pub output_gradient: &'a M,
}

/// The gradient of a small parameter (a norm's scale or shift), one for each sequence.
#[derive(Debug)]
pub struct SequenceGradient<'a, M = Matrix> {
    /// The parameter.
    pub parameter: ParameterId,
    /// `[sequences, elements of the parameter]`.
    pub gradient: &'a M,
}

/// How the head's rows are cut into calls of [`GradientSink::linear`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadRows {
    /// Wherever it suits the memory; a sequence may be cut.
    Any,
    /// Whole sequences only; the sink may keep the pieces.
    WholeSequences,
}

/// Takes the gradients of one or more backward passes.
pub trait GradientSink {
    /// A backward pass starts, over a batch whose rows divide so.
    fn begin(&mut self, sequences: Sequences<'_>);

    /// A linear layer. At least one of weight and bias is trainable.
    fn linear(&mut self, pieces: LinearGradient<'_>);

    /// A token or position embedding.
    fn embedding(&mut self, pieces: EmbeddingGradient<'_>);

    /// A parameter whose gradients are small enough to have one for each sequence.
    fn sequence(&mut self, pieces: SequenceGradient<'_>);

    /// How the head's rows shall be cut.
    fn head_rows(&self) -> HeadRows {
        HeadRows::Any
    }

    /// The backward pass is over.
    fn end(&mut self) {}
}

/// Sums gradients over rows, and over backward passes until [`GradientSum::clear`].
#[derive(Debug)]
pub struct GradientSum {
    gradients: Vec<Option<Accumulator>>,
}

#[derive(Debug)]
struct Accumulator {
    values: Vec<f32>,
    /// Whether `values` are still those of an earlier step, to be overwritten.
    stale: bool,
}

impl Accumulator {
    /// Makes the values ready to be added to.
    fn ready(&mut self) -> &mut [f32] {
        if self.stale {
            self.values.par_chunks_mut(1 << 16).for_each(|values| values.fill(0.0));
            self.stale = false;
        }
        &mut self.values
    }
}

impl GradientSum {
    /// A buffer for every trainable parameter.
    pub fn new(parameters: &Parameters) -> Self {
        let gradients = parameters
            .iter()
            .map(|(_, parameter)| {
                parameter
                    .trainable
                    .then(|| Accumulator { values: vec![0.0; parameter.spec.len()], stale: true })
            })
            .collect();
        Self { gradients }
    }

    /// Forgets what was summed; the memory is kept.
    pub fn clear(&mut self) {
        for gradient in self.gradients.iter_mut().flatten() {
            gradient.stale = true;
        }
    }

    /// The gradient of one parameter, in its own layout, or `None` if it is frozen.
    pub fn get(&mut self, id: ParameterId) -> Option<&[f32]> {
        self.gradients[id.0].as_mut().map(|gradient| &*gradient.ready())
    }

    /// The gradient of one parameter, to be changed.
    pub fn get_mut(&mut self, id: ParameterId) -> Option<&mut [f32]> {
        self.gradients[id.0].as_mut().map(Accumulator::ready)
    }

    /// Every trainable parameter's gradient, in order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (ParameterId, &mut [f32])> {
        self.gradients.iter_mut().enumerate().filter_map(|(index, gradient)| {
            gradient.as_mut().map(|gradient| (ParameterId(index), gradient.ready()))
        })
    }

    /// Every trainable parameter's gradient, in order, as the optimizer takes them.
    pub fn in_order(&mut self) -> impl Iterator<Item = &[f32]> {
        self.iter_mut().map(|(_, gradient)| &*gradient)
    }

    /// Adds `inputᵀ · output_gradient` to a weight's gradient: `input` is `[rows, in]`,
    /// `output_gradient` is `[rows, out]`.
    fn add_product(
        &mut self,
        id: ParameterId,
        layout: Layout,
        input: &[f32],
        output_gradient: &[f32],
        rows: usize,
    ) {
        let Some(gradient) = &mut self.gradients[id.0] else { return };
        let (inputs, outputs) = (input.len() / rows.max(1), output_gradient.len() / rows.max(1));
        let accumulate = !gradient.stale;
        matmul::weight_gradient(
            layout,
            &mut gradient.values,
            [input, output_gradient],
            [inputs, outputs],
            accumulate,
            true,
        );
        gradient.stale = false;
    }
}

impl GradientSink for GradientSum {
    fn begin(&mut self, _sequences: Sequences<'_>) {}

    fn linear(&mut self, pieces: LinearGradient<'_>) {
        let (input, output) = (pieces.input, pieces.output_gradient);
        if let Some(weight) = pieces.weight {
            self.add_product(
                weight,
                pieces.layout,
                input.as_slice(),
                output.as_slice(),
                input.rows(),
            );
        }
        if let Some(bias) = pieces.bias
            && let Some(gradient) = self.get_mut(bias)
        {
            crate::kernels::add_column_sums(gradient, output.as_slice());
        }
    }

    fn embedding(&mut self, pieces: EmbeddingGradient<'_>) {
        let width = pieces.output_gradient.columns();
        if let Some(gradient) = self.get_mut(pieces.table) {
            crate::kernels::scatter_rows(
                gradient,
                pieces.ids,
                pieces.output_gradient.as_slice(),
                width,
            );
        }
    }

    fn sequence(&mut self, pieces: SequenceGradient<'_>) {
        if let Some(gradient) = self.get_mut(pieces.parameter) {
            crate::kernels::add_column_sums(gradient, pieces.gradient.as_slice());
        }
    }
}
