//! RMSNorm: y = x · rstd · scale, with rstd = 1 / √(mean(x²) + eps) over each row.
//!
//! Backward computes rstd and x̂ = x · rstd again. With h = g · scale,
//! dx = rstd · (h − x̂ · mean(h · x̂)), and the scale's gradient of a row is g · x̂.

use candle_core::{D, Result, Tensor};

use crate::device::ops::wide;

/// x̂ and rstd, in the wide type.
fn normalised(x: &Tensor, eps: f64) -> Result<(Tensor, Tensor)> {
    let x = wide(x)?;
    let rstd = (x.sqr()?.mean_keepdim(D::Minus1)? + eps)?.sqrt()?.recip()?;
    Ok((x.broadcast_mul(&rstd)?, rstd))
}

/// Normalised rows of `x`.
pub(crate) fn forward(x: &Tensor, scale: &Tensor, eps: f64) -> Result<Tensor> {
    normalised(x, eps)?.0.broadcast_mul(scale)?.to_dtype(x.dtype())
}

/// The gradients by the input and, if that is `wanted`, row by row in the wide type, by the scale.
pub(crate) fn backward(
    x: &Tensor,
    g: &Tensor,
    scale: &Tensor,
    eps: f64,
    wanted: bool,
) -> Result<(Tensor, Option<Tensor>)> {
    let (normed, rstd) = normalised(x, eps)?;
    let g = wide(g)?;
    let h = g.broadcast_mul(scale)?;
    let mean = (&h * &normed)?.mean_keepdim(D::Minus1)?;
    let by_input = (h - normed.broadcast_mul(&mean)?)?.broadcast_mul(&rstd)?;
    let by_scale = if wanted { Some((g * normed)?) } else { None };
    Ok((by_input.to_dtype(x.dtype())?, by_scale))
}
