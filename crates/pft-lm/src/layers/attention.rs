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
//! D is taken from P and dP, not as the equal Σ(dO · O): where there is one key, dS is then 0 and
//! no rounding of nothing, which clipping with privacy would scale up.

use pft_matmul::{View, product};
use rayon::prelude::*;

use crate::buffer::{Buffer, Pool};
use crate::gradient::Sequences;
use crate::kernels::math::exp;
use crate::kernels::{SharedMut, dot, max, simd};

/// Rows of queries whose scores are held at a time.
const BLOCK: usize = 64;
/// Rows that are turned over together: a cache line of the turned ones.
const TILE: usize = 16;

/// The heads of one attention layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heads {
    pub(crate) queries: usize,
    /// Divides `queries`; query head `h` reads key and value head `h / (queries / keys)`.
    pub(crate) keys: usize,
    pub(crate) dim: usize,
}

impl Heads {
    fn group(self) -> usize {
        self.queries / self.keys
    }

    pub(crate) fn scale(self) -> f32 {
        (1.0 / (self.dim as f64).sqrt()) as f32
    }

    /// Width of all query heads.
    pub(crate) fn query_width(self) -> usize {
        self.queries * self.dim
    }

    /// Width of all key heads.
    pub(crate) fn key_width(self) -> usize {
        self.keys * self.dim
    }
}

/// Queries, keys and values of all rows: one matrix `[rows, 3 · width]` (GPT-2) or three.
#[derive(Debug)]
pub(crate) enum Projected {
    Fused(Buffer),
    Split { q: Buffer, k: Buffer, v: Buffer },
}

/// Where one head's rows begin, and how far they are apart.
#[derive(Clone, Copy)]
struct Place {
    base: SharedMut,
    offset: usize,
    stride: usize,
}

impl Place {
    fn view(self, row: usize, column: usize) -> View {
        View {
            data: self.pointer(row, column).cast_const(),
            row_stride: self.stride,
            column_stride: 1,
        }
    }

    fn pointer(self, row: usize, column: usize) -> *mut f32 {
        self.base.pointer(self.at(row, column))
    }

    fn at(self, row: usize, column: usize) -> usize {
        self.offset + row * self.stride + column
    }

    /// Copies `dim` columns from `column` on of `length` rows from `first` on into `turned`,
    /// `[dim, length]`.
    ///
    /// # Safety
    /// The rows are there, and no other task writes to these columns of them meanwhile.
    unsafe fn turn_into(self, turned: &mut [f32], first: usize, column: usize, length: usize) {
        let dim = turned.len() / length;
        for start in (0..length).step_by(TILE) {
            let count = TILE.min(length - start);
            let row = |i: usize| first + start + i.min(count - 1);
            // SAFETY: promised by the caller.
            let rows: [&[f32]; TILE] =
                std::array::from_fn(|i| unsafe { self.base.read(self.at(row(i), column), dim) });
            turn_tile(turned, &rows[..count], start, length);
        }
    }

    /// The way back.
    ///
    /// # Safety
    /// As for [`Place::turn_into`], and no other task reads them either.
    unsafe fn turn_from(self, turned: &[f32], first: usize, column: usize, length: usize) {
        let dim = turned.len() / length;
        // In square tiles, so that what is read across stays in the fastest cache.
        for start in (0..length).step_by(TILE) {
            for left in (0..dim).step_by(TILE) {
                let width = TILE.min(dim - left);
                for row in start..length.min(start + TILE) {
                    let at = self.at(first + row, column + left);
                    // SAFETY: promised by the caller.
                    let target = unsafe { self.base.slice(at, width) };
                    turn_row(target, &turned[left * length + row..], length);
                }
            }
        }
    }
}

simd! {
    /// `turned[c, start + r] = rows[r][c]`, `turned` with rows of `width`.
    fn turn_tile(turned: &mut [f32], rows: &[&[f32]], start: usize, width: usize) {
        for (column, turned) in turned.chunks_exact_mut(width).enumerate() {
            for (target, row) in turned[start..start + rows.len()].iter_mut().zip(rows) {
                *target = row[column];
            }
        }
    }
}

simd! {
    /// `row[c] = turned[c · width]`.
    fn turn_row(row: &mut [f32], turned: &[f32], width: usize) {
        for (target, source) in row.iter_mut().zip(turned.iter().step_by(width)) {
            *target = *source;
        }
    }
}

impl Projected {
    fn places(&mut self, heads: Heads) -> [Place; 3] {
        let (queries, keys) = (heads.query_width(), heads.key_width());
        match self {
            Self::Fused(buffer) => {
                let base = SharedMut::new(buffer);
                let stride = queries + 2 * keys;
                [0, queries, queries + keys].map(|offset| Place { base, offset, stride })
            }
            Self::Split { q, k, v } => {
                let place =
                    |buffer, stride| Place { base: SharedMut::new(buffer), offset: 0, stride };
                [place(q, queries), place(k, keys), place(v, keys)]
            }
        }
    }

    fn rows(&self, heads: Heads) -> usize {
        match self {
            Self::Fused(buffer) => buffer.len() / (heads.query_width() + 2 * heads.key_width()),
            Self::Split { q, .. } => q.len() / heads.query_width(),
        }
    }
}

simd! {
    /// Turns scores into probabilities times their denominators, row `i` over its first
    /// `diagonal + i + 1` columns, the rest zero; the logarithm of the sum goes to `lse`, the
    /// reciprocal of the denominator to `inverse`.
    fn softmax_rows(
        scores: &mut [f32], width: usize, diagonal: usize, lse: &mut [f32], inverse: &mut [f32],
    ) {
        let rows = scores.chunks_exact_mut(width).zip(lse).zip(inverse);
        for (i, ((row, lse), inverse)) in rows.enumerate() {
            let (seen, hidden) = row.split_at_mut(diagonal + i + 1);
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
        scores: &mut [f32], gradients: &mut [f32], width: usize, diagonal: usize,
        lse: &[f32], scale: f32,
    ) {
        let rows = scores.chunks_exact_mut(width).zip(gradients.chunks_exact_mut(width));
        for (i, ((p, ds), &lse)) in rows.zip(lse).enumerate() {
            let seen = diagonal + i + 1;
            for p in &mut p[..seen] {
                *p = exp(*p - lse);
            }
            let delta = dot(&p[..seen], &ds[..seen]);
            for (ds, p) in ds[..seen].iter_mut().zip(&p[..seen]) {
                *ds = *p * (*ds - delta) * scale;
            }
            p[seen..].fill(0.0);
            ds[seen..].fill(0.0);
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
    let out = Place { base: SharedMut::new(&mut output), offset: 0, stride: width };
    let logs = SharedMut::new(&mut lse);
    tasks(sequences, heads.queries).into_par_iter().for_each(|(first, end, head)| {
        let (dim, length) = (heads.dim, end - first);
        let column = head * dim;
        let key_column = head / heads.group() * dim;
        let mut scores = pool.take(BLOCK.min(length) * length);
        let mut keys = pool.take(dim * length);
        // SAFETY: q, k and v are only read. `tasks` bounds the rows.
        unsafe { k.turn_into(&mut keys, first, key_column, length) };
        let mut inverse = [0.0; BLOCK];
        for start in (0..length).step_by(BLOCK) {
            let count = BLOCK.min(length - start);
            let seen = start + count;
            let scores = &mut scores[..count * seen];
            let row = first + start;
            // SAFETY: this task alone touches the scores, and its rows of its head's columns of
            // the output and of the logarithms; q, k and v are only read. `tasks` bounds rows.
            unsafe {
                let keys = View::row_major(&keys, length);
                let target = (scores.as_mut_ptr(), seen);
                let sizes = [count, dim, seen];
                product(target, q.view(row, column), keys, sizes, heads.scale(), false, false);
                let lse = logs.slice(head * rows + row, count);
                softmax_rows(scores, seen, start, lse, &mut inverse[..count]);
                let (target, values) = (out.pointer(row, column), v.view(first, key_column));
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
                    scale_row(out.base.slice((row + i) * width + column, dim), *factor);
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
    tasks(sequences, heads.keys).into_par_iter().for_each(|(first, end, key_head)| {
        let (dim, length) = (heads.dim, end - first);
        let key_column = key_head * dim;
        let mut scores = pool.take(BLOCK.min(length) * length);
        let mut gradients = pool.take(BLOCK.min(length) * length);
        let (mut keys, mut values) = (pool.take(dim * length), pool.take(dim * length));
        let (mut by_key, mut by_value) = (pool.zeros(dim * length), pool.zeros(dim * length));
        // SAFETY: this task alone touches its rows of its heads' columns of k and v; `tasks`
        // bounds the rows.
        unsafe {
            k.turn_into(&mut keys, first, key_column, length);
            v.turn_into(&mut values, first, key_column, length);
        }
        let (keys, values) = (View::row_major(&keys, length), View::row_major(&values, length));
        for head in key_head * heads.group()..(key_head + 1) * heads.group() {
            let column = head * dim;
            for start in (0..length).step_by(BLOCK) {
                let count = BLOCK.min(length - start);
                let seen = start + count;
                let row = first + start;
                let scores = &mut scores[..count * seen];
                let gradients = &mut gradients[..count * seen];
                let from_output = View::row_major(&gradient[row * width + column..], width);
                let queries = q.view(row, column);
                let (inward, turned) = ([count, dim, seen], [dim, count, seen]);
                // SAFETY: this task alone touches its rows of its heads' columns of q, k and v,
                // and its scratch buffers; `tasks` bounds the rows.
                unsafe {
                    let target = (scores.as_mut_ptr(), seen);
                    let scale = heads.scale();
                    product(target, queries, keys, inward, scale, false, false);
                    let target = (gradients.as_mut_ptr(), seen);
                    product(target, from_output, values, inward, 1.0, false, false);
                    let lse = &lse[head * rows + row..][..count];
                    score_gradients(scores, gradients, seen, start, lse, scale);
                    let (p, ds) = (View::row_major(scores, seen), View::row_major(gradients, seen));
                    let target = (by_value.as_mut_ptr(), length);
                    product(target, from_output.transposed(), p, turned, 1.0, true, false);
                    let target = (by_key.as_mut_ptr(), length);
                    product(target, queries.transposed(), ds, turned, 1.0, true, false);
                    // The block's queries are not needed any more.
                    let target = (q.pointer(row, column), q.stride);
                    let keys = k.view(first, key_column);
                    product(target, ds, keys, [count, seen, dim], 1.0, false, false);
                }
            }
        }
        // SAFETY: as above.
        unsafe {
            k.turn_from(&by_key, first, key_column, length);
            v.turn_from(&by_value, first, key_column, length);
        }
    });
}

simd! {
    /// One query over `keys` and `values`, each `[places, dim]` with rows `stride` apart.
    fn attend_one(
        query: &[f32], keys: &[f32], values: &[f32], stride: usize, places: usize, scale: f32,
        scores: &mut [f32], output: &mut [f32],
    ) {
        let dim = query.len();
        for (place, score) in scores[..places].iter_mut().enumerate() {
            *score = dot(query, &keys[place * stride..][..dim]) * scale;
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
            let places = past + row + 1;
            let mut scores = pool.take(places);
            let (keys, values) = (&keys[column..], &values[column..]);
            let scale = heads.scale();
            attend_one(query, keys, values, stride, places, scale, &mut scores, output);
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
