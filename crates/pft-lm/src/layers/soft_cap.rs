//! The soft cap of Gemma 2's scores and logits: y = c · tanh(x / c), whose slope is 1 − (y / c)².

use crate::kernels::math::tanh;
use crate::kernels::simd;

simd! {
    /// Overwrites `values` with c · tanh(value / c).
    pub(crate) fn apply(values: &mut [f32], cap: f32) {
        let inverse = 1.0 / cap;
        for value in values {
            *value = cap * tanh(*value * inverse);
        }
    }
}

simd! {
    /// The slopes at capped values.
    pub(crate) fn slopes(capped: &[f32], slopes: &mut [f32], cap: f32) {
        let inverse = 1.0 / cap;
        for (slope, capped) in slopes.iter_mut().zip(capped) {
            let t = capped * inverse;
            *slope = 1.0 - t * t;
        }
    }
}

simd! {
    /// Multiplies gradients by slopes, element by element.
    pub(crate) fn multiply(gradients: &mut [f32], slopes: &[f32]) {
        for (gradient, slope) in gradients.iter_mut().zip(slopes) {
            *gradient *= slope;
        }
    }
}
