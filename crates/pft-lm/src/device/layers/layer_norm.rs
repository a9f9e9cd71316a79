//! LayerNorm: y = (x − mean) · rstd · scale + shift, with rstd = 1 / √(variance + eps) over each
//! row.
//!
//! Backward computes x̂ = (x − mean) · rstd again. With h = g · scale,
//! dx = rstd · (h − mean(h) − x̂ · mean(h · x̂)); the scale's gradient of a row is g · x̂, the
//! shift's is g.

use candle_core::{D, Result, Tensor};

use crate::device::ops::wide;

/// x̂ and rstd, in the wide type.
fn normalised(x: &Tensor, eps: f64) -> Result<(Tensor, Tensor)> {
    let x = wide(x)?;
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let rstd = (centred.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?.recip()?;
    Ok((centred.broadcast_mul(&rstd)?, rstd))
}

/// Normalised rows of `x`.
pub(crate) fn forward(x: &Tensor, scale: &Tensor, shift: &Tensor, eps: f64) -> Result<Tensor> {
    let normed = normalised(x, eps)?.0;
    normed.broadcast_mul(scale)?.broadcast_add(shift)?.to_dtype(x.dtype())
}

/// The gradients by the input and, if these are `wanted`, row by row in the wide type, by scale and
/// shift.
pub(crate) fn backward(
    x: &Tensor,
    g: &Tensor,
    scale: &Tensor,
    eps: f64,
    wanted: bool,
) -> Result<(Tensor, Option<[Tensor; 2]>)> {
    let (normed, rstd) = normalised(x, eps)?;
    let g = wide(g)?;
    let h = g.broadcast_mul(scale)?;
    let along = (&h * &normed)?.mean_keepdim(D::Minus1)?;
    let rest = h.broadcast_sub(&h.mean_keepdim(D::Minus1)?)?;
    let by_input = (rest - normed.broadcast_mul(&along)?)?.broadcast_mul(&rstd)?;
    let by_parameters = if wanted { Some([(&g * normed)?, g]) } else { None };
    Ok((by_input.to_dtype(x.dtype())?, by_parameters))
}
