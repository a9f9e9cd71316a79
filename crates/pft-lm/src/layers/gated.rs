//! The gated feed-forward: y = act(gate) · up, with act(x) = x · sigmoid(x) (SwiGLU) or GELU (Gemma).
//!
//! Backward overwrites gate and up with their gradients.

use crate::buffer::Pool;
use crate::config::Activation;
use crate::kernels::math::sigmoid;
use crate::kernels::{for_rows, for_rows2, simd};
use crate::layers::gelu;

simd! {
    fn silu_forward(gate: &[f32], up: &[f32], y: &mut [f32]) {
        for ((y, &gate), up) in y.iter_mut().zip(gate).zip(up) {
            *y = gate * sigmoid(gate) * up;
        }
    }
}

simd! {
    fn silu_backward(gate: &mut [f32], up: &mut [f32], g: &[f32]) {
        for ((gate, up), g) in gate.iter_mut().zip(up.iter_mut()).zip(g) {
            let s = sigmoid(*gate);
            let silu = *gate * s;
            let slope = s + silu * (1.0 - s);
            *gate = g * *up * slope;
            *up = g * silu;
        }
    }
}

simd! {
    fn multiply(target: &mut [f32], factors: &[f32]) {
        for (target, factor) in target.iter_mut().zip(factors) {
            *target *= factor;
        }
    }
}

simd! {
    /// `product` becomes g · up, and `up` becomes g · `activated`.
    fn split(product: &mut [f32], up: &mut [f32], g: &[f32], activated: &[f32]) {
        let rows = product.iter_mut().zip(up.iter_mut()).zip(g).zip(activated);
        for (((product, up), g), activated) in rows {
            *product = g * *up;
            *up = g * activated;
        }
    }
}

/// `y = act(gate) · up`.
pub(crate) fn forward(activation: Activation, gate: &[f32], up: &[f32], y: &mut [f32]) {
    if activation == Activation::Silu {
        for_rows(y, 1, |first, y| {
            let range = first..first + y.len();
            silu_forward(&gate[range.clone()], &up[range], y);
        });
        return;
    }
    gelu::forward(gate, y, activation == Activation::Gelu);
    for_rows(y, 1, |first, y| multiply(y, &up[first..first + y.len()]));
}

/// Overwrites `gate` and `up` with their gradients, given the output's gradient `g`.
pub(crate) fn backward(
    activation: Activation,
    pool: &Pool,
    gate: &mut [f32],
    up: &mut [f32],
    g: &[f32],
) {
    if activation == Activation::Silu {
        for_rows2((gate, 1), (up, 1), |first, gate, up| {
            silu_backward(gate, up, &g[first..first + gate.len()]);
        });
        return;
    }
    let exact = activation == Activation::Gelu;
    let (mut activated, mut product) = (pool.take(gate.len()), pool.take(gate.len()));
    gelu::forward(gate, &mut activated, exact);
    for_rows2((&mut product, 1), (up, 1), |first, product, up| {
        let range = first..first + product.len();
        split(product, up, &g[range.clone()], &activated[range]);
    });
    gelu::backward(gate, &product, exact);
}
