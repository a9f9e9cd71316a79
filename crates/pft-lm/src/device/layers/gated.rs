//! The gated feed-forward: y = act(gate) · up, with act(x) = x · sigmoid(x) (SwiGLU) or GELU.

use candle_core::{Result, Tensor};

use super::gelu;
use crate::config::Activation;
use crate::device::ops::wide;

/// act(gate) · up.
pub(crate) fn forward(activation: Activation, gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    match activation {
        Activation::Silu => gate.silu()? * up,
        _ => gelu::forward(gate, activation == Activation::Gelu)? * up,
    }
}

/// The gradients by gate and up: g · up · act′(gate) and g · act(gate).
pub(crate) fn backward(
    activation: Activation,
    gate: &Tensor,
    up: &Tensor,
    g: &Tensor,
) -> Result<[Tensor; 2]> {
    if activation != Activation::Silu {
        let exact = activation == Activation::Gelu;
        let by_gate = gelu::backward(gate, &(g * up)?, exact)?;
        return Ok([by_gate, (g * gelu::forward(gate, exact)?)?]);
    }
    let dtype = gate.dtype();
    let (gate, up, g) = (wide(gate)?, wide(up)?, wide(g)?);
    // silu(x) / x would be 0 / 0 at 0.
    let sigmoid = (gate.neg()?.exp()? + 1.0)?.recip()?;
    let silu = (gate * &sigmoid)?;
    // With s the sigmoid of gate, silu′ = s + silu · (1 − s).
    let slope = (&sigmoid + (&silu * sigmoid.affine(-1.0, 1.0)?)?)?;
    let by_gate = ((&g * up)? * slope)?;
    let by_up = (g * silu)?;
    Ok([by_gate.to_dtype(dtype)?, by_up.to_dtype(dtype)?])
}
