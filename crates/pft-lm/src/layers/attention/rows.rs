//! Rows of queries, keys and values in memory, and turned over.

use pft_matmul::View;

use super::heads::{Columns, Heads, Order, columns};
use crate::buffer::Buffer;
use crate::kernels::{SharedMut, simd};

/// Rows that are turned over together: a cache line of the turned ones.
const TILE: usize = 16;

/// Queries, keys and values of all rows: one matrix or three.
#[derive(Debug)]
pub(crate) enum Projected {
    Fused(Buffer, Order),
    Split { q: Buffer, k: Buffer, v: Buffer },
}

impl Projected {
    pub(super) fn places(&mut self, heads: Heads) -> [Place; 3] {
        match self {
            Self::Fused(buffer, order) => {
                let base = SharedMut::new(buffer);
                columns(heads, Some(*order)).map(|columns| Place { base, columns })
            }
            Self::Split { q, k, v } => {
                let [of_q, of_k, of_v] = columns(heads, None);
                let place = |buffer, columns| Place { base: SharedMut::new(buffer), columns };
                [place(q, of_q), place(k, of_k), place(v, of_v)]
            }
        }
    }

    pub(super) fn rows(&self, heads: Heads) -> usize {
        match self {
            Self::Fused(buffer, _) => buffer.len() / (heads.query_width() + 2 * heads.key_width()),
            Self::Split { q, .. } => q.len() / heads.query_width(),
        }
    }
}

/// Rows in memory that several tasks read or write.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) base: SharedMut,
    pub(super) columns: Columns,
}

impl Place {
    pub(super) fn view(self, row: usize, column: usize) -> View {
        View {
            data: self.pointer(row, column).cast_const(),
            row_stride: self.columns.stride,
            column_stride: 1,
        }
    }

    pub(super) fn pointer(self, row: usize, column: usize) -> *mut f32 {
        self.base.pointer(self.at(row, column))
    }

    pub(super) fn at(self, row: usize, column: usize) -> usize {
        row * self.columns.stride + column
    }

    /// Copies `dim` columns from `column` on of `length` rows from `first` on into `turned`,
    /// `[dim, length]`.
    ///
    /// # Safety
    /// The rows are there, and no other task writes to these columns of them meanwhile.
    pub(super) unsafe fn turn_into(
        self,
        turned: &mut [f32],
        first: usize,
        column: usize,
        length: usize,
    ) {
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
    pub(super) unsafe fn turn_from(
        self,
        turned: &[f32],
        first: usize,
        column: usize,
        length: usize,
    ) {
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
