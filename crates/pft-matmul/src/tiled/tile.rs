//! One tile of the target: the loops around the innermost product, and that product.

use std::arch::x86_64::{
    __m256, _MM_HINT_T0, _mm_prefetch, _mm256_broadcast_ss, _mm256_fmadd_ps, _mm256_loadu_ps,
    _mm256_mul_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps,
};
use std::ops::Range;

use super::panels::Panels;
use super::{COLUMNS, ROWS, Shared};

/// A tile and what it is made of.
pub(super) struct Tile {
    /// The left factor's panels.
    pub(super) rows: Range<usize>,
    /// The right factor's panels.
    pub(super) columns: Range<usize>,
    /// Rows and columns of the target, which the last panels may reach beyond.
    pub(super) sizes: [usize; 2],
    pub(super) left: (Panels, Shared),
    pub(super) right: (Panels, Shared),
    /// The target's first element, and how far its rows are apart.
    pub(super) target: (Shared, usize),
    pub(super) scale: f32,
    pub(super) accumulate: bool,
}

/// `ROWS` by `COLUMNS` sums, eight a register.
type Sums = [[__m256; COLUMNS / 8]; ROWS];

impl Tile {
    /// Computes it.
    ///
    /// # Safety
    /// The processor has AVX2 and FMA. The panels are there and nobody writes to them; the
    /// tile's part of the target may be written, and nobody else touches it.
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn multiply(&self) {
        let ((left, left_memory), (right, right_memory)) = (self.left, self.right);
        let (target, stride) = self.target;
        for block in 0..left.blocks() {
            let (depth, accumulate) = (left.block_depth(block), self.accumulate || block > 0);
            for column in self.columns.clone() {
                let width = COLUMNS.min(self.sizes[1] - column * COLUMNS);
                let right = right_memory.at(right.offset(block, column)).cast_const();
                for row in self.rows.clone() {
                    let height = ROWS.min(self.sizes[0] - row * ROWS);
                    let left = left_memory.at(left.offset(block, row)).cast_const();
                    let at = target.at(row * ROWS * stride + column * COLUMNS);
                    if height == ROWS && width == COLUMNS {
                        // SAFETY: promised by the caller.
                        unsafe {
                            store(
                                at,
                                stride,
                                products(left, right, depth, at, stride),
                                self.scale,
                                accumulate,
                            )
                        };
                    } else {
                        let mut whole = [0.0; ROWS * COLUMNS];
                        // SAFETY: promised by the caller; `whole` has room for all sums.
                        unsafe {
                            let sums = products(left, right, depth, at, stride);
                            store(whole.as_mut_ptr(), COLUMNS, sums, self.scale, false);
                            for (i, sums) in whole.chunks_exact(COLUMNS).enumerate().take(height) {
                                let row = std::slice::from_raw_parts_mut(at.add(i * stride), width);
                                for (target, sum) in row.iter_mut().zip(sums) {
                                    *target = if accumulate { *target + sum } else { *sum };
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// `sums[i][j] = Σ left[p, i] · right[p, j]` over `depth`, while the target's rows come into the
/// cache.
///
/// # Safety
/// The two panels have `depth` times `ROWS` and `COLUMNS` elements.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn products(
    mut left: *const f32,
    mut right: *const f32,
    depth: usize,
    target: *const f32,
    stride: usize,
) -> Sums {
    let mut sums = [[_mm256_setzero_ps(); COLUMNS / 8]; ROWS];
    for row in 0..ROWS {
        // The first and the last element: a row may lie in two cache lines.
        for column in [0, COLUMNS - 1] {
            _mm_prefetch::<_MM_HINT_T0>(target.wrapping_add(row * stride + column).cast());
        }
    }
    for _ in 0..depth {
        // SAFETY: promised by the caller.
        unsafe {
            let columns: [__m256; COLUMNS / 8] =
                [_mm256_loadu_ps(right), _mm256_loadu_ps(right.add(8))];
            for (i, sums) in sums.iter_mut().enumerate() {
                let row = _mm256_broadcast_ss(&*left.add(i));
                for (sum, &columns) in sums.iter_mut().zip(&columns) {
                    *sum = _mm256_fmadd_ps(row, columns, *sum);
                }
            }
            (left, right) = (left.add(ROWS), right.add(COLUMNS));
        }
    }
    sums
}

/// Writes the sums, scaled, or adds them.
///
/// # Safety
/// `ROWS` rows of `COLUMNS` elements, `stride` apart, may be written.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn store(target: *mut f32, stride: usize, sums: Sums, scale: f32, accumulate: bool) {
    let scale = _mm256_set1_ps(scale);
    for (i, sums) in sums.into_iter().enumerate() {
        for (j, sum) in sums.into_iter().enumerate() {
            // SAFETY: promised by the caller.
            unsafe {
                let at = target.add(i * stride + j * 8);
                let value = if accumulate {
                    _mm256_fmadd_ps(sum, scale, _mm256_loadu_ps(at))
                } else {
                    _mm256_mul_ps(sum, scale)
                };
                _mm256_storeu_ps(at, value);
            }
        }
    }
}
