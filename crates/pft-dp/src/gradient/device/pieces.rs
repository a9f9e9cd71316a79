//! What a pass hands over, and what is kept of it until the factors are known.

use candle_core::Tensor;

use super::super::WeightLayout;

/// The pieces of a linear map's gradients on a device. Its rows are those of whole units.
#[derive(Debug)]
pub struct DevicePieces<'a> {
    /// Index of the weight, if it is trainable, and how it lies.
    pub weight: Option<(usize, WeightLayout)>,
    /// Index of the bias, if there is one and it is trainable.
    pub bias: Option<usize>,
    /// Inputs, `[rows, inputs]`.
    pub input: &'a Tensor,
    /// Gradient of the loss by the outputs, `[rows, outputs]`.
    pub output_gradient: &'a Tensor,
    /// The batch row that the first row is.
    pub first_row: usize,
}

/// A linear map's pieces, kept until the factors are known.
#[derive(Debug)]
pub(super) struct Linear {
    pub(super) weight: usize,
    pub(super) layout: WeightLayout,
    pub(super) input: Tensor,
    pub(super) output: Tensor,
    pub(super) first_row: usize,
    pub(super) rows: usize,
}

/// A lookup's pieces.
#[derive(Debug)]
pub(super) struct Lookup {
    pub(super) table: usize,
    pub(super) ids: Vec<u32>,
    pub(super) gradient: Tensor,
}

/// Gradients of a parameter for some units, `[units, elements]` in f32.
#[derive(Debug)]
pub(super) struct Formed {
    pub(super) parameter: usize,
    pub(super) units: Vec<usize>,
    pub(super) gradients: Tensor,
}

/// Squared norms of a parameter for some units, `[units]` in f64.
#[derive(Debug)]
pub(super) struct Norms {
    pub(super) parameter: usize,
    pub(super) units: Vec<usize>,
    pub(super) squared: Tensor,
}
