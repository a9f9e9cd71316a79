//! GELU, by its tanh approximation (GPT-2's `gelu_new`) or by the error function.
//!
//! Backward overwrites the layer's input with its gradient.

use crate::kernels::math::{erf, exp, sigmoid};
use crate::kernels::{for_rows, simd};

/// 2·√(2/π), and the cubic coefficient of the approximation. With ½(1 + tanh u) = sigmoid(2u)
/// there is one division an element.
const TWICE_SQRT_2_OVER_PI: f32 = 1.595_769;
const CUBIC: f32 = 0.044_715;

simd! {
    fn tanh_forward(x: &[f32], y: &mut [f32]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = x * sigmoid(TWICE_SQRT_2_OVER_PI * (x + CUBIC * x * x * x));
        }
    }
}

simd! {
    fn tanh_backward(x: &mut [f32], g: &[f32]) {
        for (x, g) in x.iter_mut().zip(g) {
            let value = *x;
            let square = value * value;
            let s = sigmoid(TWICE_SQRT_2_OVER_PI * (value + CUBIC * square * value));
            let inner = TWICE_SQRT_2_OVER_PI * (1.0 + 3.0 * CUBIC * square);
            *x = g * (s + value * (s - s * s) * inner);
        }
    }
}

simd! {
    fn erf_forward(x: &[f32], y: &mut [f32]) {
        for (y, &x) in y.iter_mut().zip(x) {
            *y = 0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2));
        }
    }
}

simd! {
    fn erf_backward(x: &mut [f32], g: &[f32]) {
        /// 1 / √(2π).
        const DENSITY: f32 = 0.398_942_3;
        for (x, g) in x.iter_mut().zip(g) {
            let value = *x;
            let cumulative = 0.5 * (1.0 + erf(value * std::f32::consts::FRAC_1_SQRT_2));
            *x = g * (cumulative + value * DENSITY * exp(-0.5 * value * value));
        }
    }
}

/// `y = gelu(x)`; `exact` chooses the error function.
pub(crate) fn forward(x: &[f32], y: &mut [f32], exact: bool) {
    let kernel = if exact { erf_forward } else { tanh_forward };
    for_rows(y, 1, |first, y| kernel(&x[first..first + y.len()], y));
}

/// Overwrites `x` with `g · gelu′(x)`.
pub(crate) fn backward(x: &mut [f32], g: &[f32], exact: bool) {
    let kernel = if exact { erf_backward } else { tanh_backward };
    for_rows(x, 1, |first, x| kernel(x, &g[first..first + x.len()]));
}
