//! LayerNorm: y = (x − mean) · rstd · scale + shift over each row.
//!
//! Forward keeps mean and reciprocal standard deviation of each row; backward computes the
//! normalised input x̂ from them again instead of keeping it. With h = g · scale,
//! dx = rstd · (h − mean(h) − x̂ · mean(h · x̂)).

use rayon::prelude::*;

use crate::kernels::{dot, for_rows, for_rows2, simd, sum};

simd! {
    fn forward_rows(
        x: &[f32], y: &mut [f32], stats: &mut [f32], scale: &[f32], shift: &[f32], eps: f32,
    ) {
        let width = scale.len();
        let rows = x.chunks_exact(width).zip(y.chunks_exact_mut(width)).zip(stats.chunks_exact_mut(2));
        for ((x, y), stats) in rows {
            let mean = sum(x) / width as f32;
            for (y, x) in y.iter_mut().zip(x) {
                *y = x - mean;
            }
            let variance = dot(y, y) / width as f32;
            let rstd = 1.0 / (variance + eps).sqrt();
            for ((y, scale), shift) in y.iter_mut().zip(scale).zip(shift) {
                *y = *y * rstd * scale + shift;
            }
            stats.copy_from_slice(&[mean, rstd]);
        }
    }
}

/// Normalises the rows of `x` into `y`; `stats` gets two numbers a row for the backward.
pub(crate) fn forward(
    x: &[f32],
    y: &mut [f32],
    stats: &mut [f32],
    scale: &[f32],
    shift: &[f32],
    eps: f32,
) {
    let width = scale.len();
    for_rows2((y, width), (stats, 2), |first, y, stats| {
        forward_rows(&x[first * width..][..y.len()], y, stats, scale, shift, eps);
    });
}

simd! {
    fn backward_rows(
        g: &mut [f32], skip: &[f32], x: &[f32], stats: &[f32], scale: &[f32],
    ) {
        let width = scale.len();
        let rows = g.chunks_exact_mut(width).zip(skip.chunks_exact(width));
        let rows = rows.zip(x.chunks_exact(width)).zip(stats.chunks_exact(2));
        for (((g, skip), x), stats) in rows {
            let (mean, rstd) = (stats[0], stats[1]);
            for (g, scale) in g.iter_mut().zip(scale) {
                *g *= scale;
            }
            let mean_g = sum(g) / width as f32;
            // mean(h · x̂) = rstd · (Σ h·x − mean · Σ h) / width
            let mean_gx = (dot(g, x) / width as f32 - mean * mean_g) * rstd;
            for ((g, skip), x) in g.iter_mut().zip(skip).zip(x) {
                *g = skip + rstd * (*g - mean_g - (x - mean) * rstd * mean_gx);
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
        backward_rows(
            g,
            &skip[from..from + rows * width],
            &x[from..from + rows * width],
            &stats[2 * first..2 * (first + rows)],
            scale,
        );
    });
}

simd! {
    fn sequence_sums(
        scale: &mut [f32], shift: &mut [f32], g: &[f32], x: &[f32], stats: &[f32],
    ) {
        let width = scale.len();
        scale.fill(0.0);
        shift.fill(0.0);
        let rows = g.chunks_exact(width).zip(x.chunks_exact(width)).zip(stats.chunks_exact(2));
        for ((g, x), stats) in rows {
            let (mean, rstd) = (stats[0], stats[1]);
            let columns = scale.iter_mut().zip(shift.iter_mut()).zip(g).zip(x);
            for (((scale, shift), g), x) in columns {
                *scale += g * ((x - mean) * rstd);
                *shift += g;
            }
        }
    }
}

/// The gradients of scale and shift for each sequence, `[sequences, width]` each.
pub(crate) fn parameter_gradients(
    scale: &mut [f32],
    shift: &mut [f32],
    g: &[f32],
    x: &[f32],
    stats: &[f32],
    width: usize,
    sequences: &[usize],
) {
    scale
        .par_chunks_mut(width)
        .zip(shift.par_chunks_mut(width))
        .zip(sequences.par_windows(2))
        .for_each(|((scale, shift), range)| {
            let rows = range[0] * width..range[1] * width;
            let stats = &stats[2 * range[0]..2 * range[1]];
            sequence_sums(scale, shift, &g[rows.clone()], &x[rows], stats);
        });
}
