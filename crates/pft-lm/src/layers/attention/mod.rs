//! Causal attention with grouped key and value heads: o = softmax(q·kᵀ / √d) · v.
//!
//! The matrix of scores exists only for one block of queries at a time. Forward keeps the
//! logarithm of each softmax's denominator; backward computes the probabilities P from it again.
//! With dP = dO·Vᵀ, D = Σ(P · dP) over a row and dS = P · (dP − D):
//! dQ = dS·K, dKᵀ = Qᵀ·dS, dVᵀ = dOᵀ·P, each with the scale 1/√d where due. The gradients
//! overwrite q, k and v.
//!
//! A product's right side is read fastest where its rows lie in one piece. So keys and values are
//! turned over once for a whole sequence, instead of by each block's products, and the gradients
//! of keys and values are summed turned over.
//!
//! With a window a query sees only the last `window` keys, itself among them, and a block's scores
//! begin at the first key that its first query sees. With a soft cap c, scores s become
//! c · tanh(s / c) before the softmax (Gemma 2), and dS is multiplied by 1 − tanh²(s / c).
//!
//! D is taken from P and dP, not as the equal Σ(dO · O): where there is one key, dS is then 0 and
//! no rounding of nothing, which clipping with privacy would scale up.

pub(crate) mod heads;
mod rows;

use pft_matmul::{View, product};
use rayon::prelude::*;

use crate::buffer::{Buffer, Pool};
use crate::gradient::Sequences;
use crate::kernels::math::exp;
use crate::kernels::{SharedMut, dot, max, simd};
use crate::layers::soft_cap;
use heads::{Columns, Heads};
use rows::Place;
pub(crate) use rows::Projected;

/// Rows of queries whose scores are held at a time.
const BLOCK: usize = 64;

simd! {
    /// Turns scores into probabilities times their denominators, row `i` over the last `window` of
    /// its first `diagonal + i + 1` columns, the rest zero; the logarithm of the sum goes to `lse`,
    /// the reciprocal of the denominator to `inverse`.
    fn softmax_rows(
        scores: &mut [f32], width: usize, diagonal: usize, window: usize, lse: &mut [f32],
        inverse: &mut [f32],
    ) {
        let rows = scores.chunks_exact_mut(width).zip(lse).zip(inverse);
        for (i, ((row, lse), inverse)) in rows.enumerate() {
            let (seen, hidden) = row.split_at_mut(diagonal + i + 1);
            let (passed, seen) = seen.split_at_mut((diagonal + i + 1).saturating_sub(window));
            passed.fill(0.0);
            let largest = max(seen);
            let mut lanes = [0.0f32; 16];
            let mut chunks = seen.chunks_exact_mut(16);
            for chunk in &mut chunks {
                for lane in 0..16 {
                    chunk[lane] = exp(chunk[lane] - largest);
                    lanes[lane] += chunk[lane];
                }
            }
            for (score, lane) in chunks.into_remainder().iter_mut().zip(&mut lanes) {
                *score = exp(*score - largest);
                *lane += *score;
            }
            let total = crate::kernels::add_lanes(lanes);
            hidden.fill(0.0);
            *lse = largest + total.ln();
            *inverse = 1.0 / total;
        }
    }
}

simd! {
    fn scale_row(row: &mut [f32], factor: f32) {
        for value in row {
            *value *= factor;
        }
    }
}

simd! {
    /// Overwrites scores with P, and dP with dS · scale.
    fn score_gradients(
        scores: &mut [f32], gradients: &mut [f32], width: usize, diagonal: usize, window: usize,
        lse: &[f32], scale: f32,
    ) {
        let rows = scores.chunks_exact_mut(width).zip(gradients.chunks_exact_mut(width));
        for (i, ((p, ds), &lse)) in rows.zip(lse).enumerate() {
            let seen = (diagonal + i + 1).saturating_sub(window)..diagonal + i + 1;
            for p in &mut p[seen.clone()] {
                *p = exp(*p - lse);
            }
            let delta = dot(&p[seen.clone()], &ds[seen.clone()]);
            for (ds, p) in ds[seen.clone()].iter_mut().zip(&p[seen.clone()]) {
                *ds = *p * (*ds - delta) * scale;
            }
            for row in [p, ds] {
                row[..seen.start].fill(0.0);
                row[seen.end..].fill(0.0);
            }
        }
    }
}

/// The attention's output `[rows, queries · dim]` and, for the backward, the logarithms of the
/// denominators `[queries, rows]`.
pub(crate) fn forward(
    pool: &Pool,
    projected: &mut Projected,
    heads: Heads,
    sequences: Sequences<'_>,
) -> (Buffer, Buffer) {
    let rows = projected.rows(heads);
    let width = heads.query_width();
    let [q, k, v] = projected.places(heads);
    let mut output = pool.take(rows * width);
    let mut lse = pool.take(heads.queries * rows);
    let out = Columns { first: 0, step: heads.dim, stride: width };
    let out = Place { base: SharedMut::new(&mut output), columns: out };
    let window = heads.window.unwrap_or(usize::MAX);
    let logs = SharedMut::new(&mut lse);
    tasks(sequences, heads.queries).into_par_iter().for_each(|(first, end, head)| {
        let (dim, length) = (heads.dim, end - first);
        let key_head = head / heads.group();
        let (key_column, value_column) = (k.columns.of(key_head), v.columns.of(key_head));
        let mut scores = pool.take(BLOCK.min(length) * length);
        let mut keys = pool.take(dim * length);
        // SAFETY: q, k and v are only read. `tasks` bounds the rows.
        unsafe { k.turn_into(&mut keys, first, key_column, length) };
        let mut inverse = [0.0; BLOCK];
        for start in (0..length).step_by(BLOCK) {
            let count = BLOCK.min(length - start);
            // Columns of scores are the keys from `low` on.
            let low = heads.first_seen(start + 1);
            let seen = start + count - low;
            let scores = &mut scores[..count * seen];
            let row = first + start;
            // SAFETY: this task alone touches the scores, and its rows of its head's columns of
            // the output and of the logarithms; q, k and v are only read. `tasks` bounds rows.
            unsafe {
                let keys = View::row_major(&keys, length).from(0, low);
                let target = (scores.as_mut_ptr(), seen);
                let sizes = [count, dim, seen];
                let queries = q.view(row, q.columns.of(head));
                product(target, queries, keys, sizes, heads.scale, false, false);
                if let Some(cap) = heads.soft_cap {
                    soft_cap::apply(scores, cap);
                }
                let lse = logs.slice(head * rows + row, count);
                softmax_rows(scores, seen, start - low, window, lse, &mut inverse[..count]);
                let target = out.pointer(row, out.columns.of(head));
                let values = v.view(first + low, value_column);
                let sizes = [count, seen, dim];
                product(
                    (target, width),
                    View::row_major(scores, seen),
                    values,
                    sizes,
                    1.0,
                    false,
                    false,
                );
                for (i, factor) in inverse[..count].iter().enumerate() {
                    let at = out.at(row + i, out.columns.of(head));
                    scale_row(out.base.slice(at, dim), *factor);
                }
            }
        }
    });
    (output, lse)
}

/// Overwrites q, k and v with their gradients, given the output's gradient.
pub(crate) fn backward(
    pool: &Pool,
    projected: &mut Projected,
    heads: Heads,
    sequences: Sequences<'_>,
    lse: &[f32],
    gradient: &[f32],
) {
    let rows = projected.rows(heads);
    let width = heads.query_width();
    let [q, k, v] = projected.places(heads);
    let window = heads.window.unwrap_or(usize::MAX);
    tasks(sequences, heads.keys).into_par_iter().for_each(|(first, end, key_head)| {
        let (dim, length) = (heads.dim, end - first);
        let (key_column, value_column) = (k.columns.of(key_head), v.columns.of(key_head));
        let mut scores = pool.take(BLOCK.min(length) * length);
        let mut gradients = pool.take(BLOCK.min(length) * length);
        let mut slopes = pool.take(if heads.soft_cap.is_some() { scores.len() } else { 0 });
        let (mut keys, mut values) = (pool.take(dim * length), pool.take(dim * length));
        let (mut by_key, mut by_value) = (pool.zeros(dim * length), pool.zeros(dim * length));
        // SAFETY: this task alone touches its rows of its heads' columns of k and v; `tasks`
        // bounds the rows.
        unsafe {
            k.turn_into(&mut keys, first, key_column, length);
            v.turn_into(&mut values, first, value_column, length);
        }
        let (keys, values) = (View::row_major(&keys, length), View::row_major(&values, length));
        for head in key_head * heads.group()..(key_head + 1) * heads.group() {
            let column = q.columns.of(head);
            for start in (0..length).step_by(BLOCK) {
                let count = BLOCK.min(length - start);
                let low = heads.first_seen(start + 1);
                let seen = start + count - low;
                let row = first + start;
                let scores = &mut scores[..count * seen];
                let gradients = &mut gradients[..count * seen];
                let from_output = View::row_major(&gradient[row * width + head * dim..], width);
                let (keys, values) = (keys.from(0, low), values.from(0, low));
                let queries = q.view(row, column);
                let (inward, turned) = ([count, dim, seen], [dim, count, seen]);
                // SAFETY: this task alone touches its rows of its heads' columns of q, k and v,
                // and its scratch buffers; `tasks` bounds the rows.
                unsafe {
                    let target = (scores.as_mut_ptr(), seen);
                    product(target, queries, keys, inward, heads.scale, false, false);
                    if let Some(cap) = heads.soft_cap {
                        soft_cap::apply(scores, cap);
                        soft_cap::slopes(scores, &mut slopes[..count * seen], cap);
                    }
                    let target = (gradients.as_mut_ptr(), seen);
                    product(target, from_output, values, inward, 1.0, false, false);
                    let lse = &lse[head * rows + row..][..count];
                    let scale = heads.scale;
                    score_gradients(scores, gradients, seen, start - low, window, lse, scale);
                    if heads.soft_cap.is_some() {
                        soft_cap::multiply(gradients, &slopes);
                    }
                    let (p, ds) = (View::row_major(scores, seen), View::row_major(gradients, seen));
                    let target = (by_value[low..].as_mut_ptr(), length);
                    product(target, from_output.transposed(), p, turned, 1.0, true, false);
                    let target = (by_key[low..].as_mut_ptr(), length);
                    product(target, queries.transposed(), ds, turned, 1.0, true, false);
                    // The block's queries are not needed any more.
                    let target = (q.pointer(row, column), q.columns.stride);
                    let keys = k.view(first + low, key_column);
                    product(target, ds, keys, [count, seen, dim], 1.0, false, false);
                }
            }
        }
        // SAFETY: as above.
        unsafe {
            k.turn_from(&by_key, first, key_column, length);
            v.turn_from(&by_value, first, value_column, length);
        }
    });
}

simd! {
    /// One query over `keys` and `values`, each `[places, dim]` with rows `stride` apart.
    fn attend_one(
        query: &[f32], keys: &[f32], values: &[f32], stride: usize, places: usize, scale: f32,
        cap: Option<f32>, scores: &mut [f32], output: &mut [f32],
    ) {
        let dim = query.len();
        for (place, score) in scores[..places].iter_mut().enumerate() {
            *score = dot(query, &keys[place * stride..][..dim]) * scale;
        }
        if let Some(cap) = cap {
            soft_cap::apply(&mut scores[..places], cap);
        }
        let largest = max(&scores[..places]);
        for score in &mut scores[..places] {
            *score = exp(*score - largest);
        }
        let inverse = 1.0 / crate::kernels::sum(&scores[..places]);
        output.fill(0.0);
        for (place, score) in scores[..places].iter().enumerate() {
            let weight = score * inverse;
            for (output, value) in output.iter_mut().zip(&values[place * stride..][..dim]) {
                *output += weight * value;
            }
        }
    }
}

/// Attention of new queries over kept keys and values, `[past + new, key width]` each; the new
/// ones are the last.
pub(crate) fn extend(
    pool: &Pool,
    queries: &[f32],
    (keys, values): (&[f32], &[f32]),
    heads: Heads,
    past: usize,
) -> Buffer {
    let (dim, stride) = (heads.dim, heads.key_width());
    let mut output = pool.take(queries.len());
    output.par_chunks_mut(dim).zip(queries.par_chunks(dim)).enumerate().for_each(
        |(index, (output, query))| {
            let (row, head) = (index / heads.queries, index % heads.queries);
            let column = head / heads.group() * dim;
            let seen = past + row + 1;
            let low = heads.first_seen(seen);
            let mut scores = pool.take(seen - low);
            let from = low * stride + column;
            let (keys, values) = (&keys[from..], &values[from..]);
            let (scale, cap) = (heads.scale, heads.soft_cap);
            attend_one(query, keys, values, stride, seen - low, scale, cap, &mut scores, output);
        },
    );
    output
}

/// `(first row, end row, head)` of each piece of work.
fn tasks(sequences: Sequences<'_>, heads: usize) -> Vec<(usize, usize, usize)> {
    sequences
        .windows(2)
        .flat_map(|range| (0..heads).map(move |head| (range[0], range[1], head)))
        .collect()
}
