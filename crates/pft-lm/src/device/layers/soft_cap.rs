//! The soft cap of Gemma 2's scores and logits: y = c · tanh(x / c), whose slope is 1 − (y / c)².

use candle_core::{Result, Tensor};

/// Bounded values.
pub(crate) fn forward(x: &Tensor, cap: f64) -> Result<Tensor> {
    x.affine(1.0 / cap, 0.0)?.tanh()?.affine(cap, 0.0)
}

/// The slopes at bounded values.
pub(crate) fn slopes(bounded: &Tensor, cap: f64) -> Result<Tensor> {
    bounded.affine(1.0 / cap, 0.0)?.sqr()?.affine(-1.0, 1.0)
}
