//! SwiGLU: y = silu(gate) · up, with silu(x) = x · sigmoid(x).

use candle_core::{Result, Tensor};

use crate::device::ops::wide;

/// silu(gate) · up.
pub(crate) fn forward(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    gate.silu()? * up
}

/// The gradients by gate and up: g · up · (s + silu · (1 − s)) and g · silu, with s the sigmoid of
/// gate.
pub(crate) fn backward(gate: &Tensor, up: &Tensor, g: &Tensor) -> Result<[Tensor; 2]> {
    let dtype = gate.dtype();
    let (gate, up, g) = (wide(gate)?, wide(up)?, wide(g)?);
    // silu(x) / x would be 0 / 0 at 0.
    let sigmoid = (gate.neg()?.exp()? + 1.0)?.recip()?;
    let silu = (gate * &sigmoid)?;
    let slope = (&sigmoid + (&silu * sigmoid.affine(-1.0, 1.0)?)?)?;
    let by_gate = ((&g * up)? * slope)?;
    let by_up = (g * silu)?;
    Ok([by_gate.to_dtype(dtype)?, by_up.to_dtype(dtype)?])
}
