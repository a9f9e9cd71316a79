//! SwiGLU: y = silu(gate) · up, with silu(x) = x · sigmoid(x).
//!
//! Backward overwrites gate and up with their gradients.

use crate::kernels::math::sigmoid;
use crate::kernels::{for_rows, for_rows2, simd};

simd! {
    fn forward_block(gate: &[f32], up: &[f32], y: &mut [f32]) {
        for ((y, &gate), up) in y.iter_mut().zip(gate).zip(up) {
            *y = gate * sigmoid(gate) * up;
        }
    }
}

simd! {
    fn backward_block(gate: &mut [f32], up: &mut [f32], g: &[f32]) {
        for ((gate, up), g) in gate.iter_mut().zip(up.iter_mut()).zip(g) {
            let s = sigmoid(*gate);
            let silu = *gate * s;
            let slope = s + silu * (1.0 - s);
            *gate = g * *up * slope;
            *up = g * silu;
        }
    }
}

/// `y = silu(gate) · up`.
pub(crate) fn forward(gate: &[f32], up: &[f32], y: &mut [f32]) {
    for_rows(y, 1, |first, y| {
        let range = first..first + y.len();
        forward_block(&gate[range.clone()], &up[range], y);
    });
}

/// Overwrites `gate` and `up` with their gradients, given the output's gradient `g`.
pub(crate) fn backward(gate: &mut [f32], up: &mut [f32], g: &[f32]) {
    for_rows2((gate, 1), (up, 1), |first, gate, up| {
        backward_block(gate, up, &g[first..first + gate.len()]);
    });
}
