//! RMSNorm: y = x · rstd · scale, with rstd = 1 / √(mean(x²) + eps) over each row.
//!
//! Forward keeps rstd of each row; backward computes x̂ = x · rstd from it again. With
//! h = g · scale, dx = rstd · (h − x̂ · mean(h · x̂)).

use rayon::prelude::*;

use crate::kernels::{dot, for_rows, for_rows2, simd};

simd! {
    fn forward_rows(x: &[f32], y: &mut [f32], stats: &mut [f32], scale: &[f32], eps: f32) {
        let width = scale.len();
        let rows = x.chunks_exact(width).zip(y.chunks_exact_mut(width)).zip(stats);
        for ((x, y), stats) in rows {
            let rstd = 1.0 / (dot(x, x) / width as f32 + eps).sqrt();
            for ((y, x), scale) in y.iter_mut().zip(x).zip(scale) {
                *y = x * rstd * scale;
            }
            *stats = rstd;
        }
    }
}

/// Normalises the rows of `x` into `y`; `stats` gets one number a row for the backward.
pub(crate) fn forward(x: &[f32], y: &mut [f32], stats: &mut [f32], scale: &[f32], eps: f32) {
    let width = scale.len();
    for_rows2((y, width), (stats, 1), |first, y, stats| {
        forward_rows(&x[first * width..][..y.len()], y, stats, scale, eps);
    });
}

simd! {
    fn backward_rows(g: &mut [f32], skip: &[f32], x: &[f32], stats: &[f32], scale: &[f32]) {
        let width = scale.len();
        let rows = g.chunks_exact_mut(width).zip(skip.chunks_exact(width));
        let rows = rows.zip(x.chunks_exact(width)).zip(stats);
        for (((g, skip), x), &rstd) in rows {
            for (g, scale) in g.iter_mut().zip(scale) {
                *g *= scale;
            }
            let mean_gx = dot(g, x) * rstd / width as f32;
            for ((g, skip), x) in g.iter_mut().zip(skip).zip(x) {
                *g = skip + rstd * (*g - x * rstd * mean_gx);
            }
        }
    }
}

/// Turns the output's gradient `g` into the input's, plus `skip` (the gradient that went around
/// the layer).
pub(crate) fn backward(g: &mut [f32], skip: &[f32], x: &[f32], stats: &[f32], scale: &[f32]) {
    let width = scale.len();
    for_rows(g, width, |first, g| {
        let (from, rows) = (first * width, g.len() / width);
        let range = from..from + rows * width;
        backward_rows(g, &skip[range.clone()], &x[range], &stats[first..first + rows], scale);
    });
}

simd! {
    fn sequence_sums(scale: &mut [f32], g: &[f32], x: &[f32], stats: &[f32]) {
        let width = scale.len();
        scale.fill(0.0);
        for ((g, x), &rstd) in g.chunks_exact(width).zip(x.chunks_exact(width)).zip(stats) {
            for ((scale, g), x) in scale.iter_mut().zip(g).zip(x) {
                *scale += g * (x * rstd);
            }
        }
    }
}

/// The gradient of the scale for each sequence, `[sequences, width]`.
pub(crate) fn parameter_gradient(
    scale: &mut [f32],
    g: &[f32],
    x: &[f32],
    stats: &[f32],
    width: usize,
    sequences: &[usize],
) {
    scale.par_chunks_mut(width).zip(sequences.par_windows(2)).for_each(|(scale, range)| {
        let rows = range[0] * width..range[1] * width;
        sequence_sums(scale, &g[rows.clone()], &x[rows], &stats[range[0]..range[1]]);
    });
}
