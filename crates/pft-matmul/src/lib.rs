//! Matrix products of `f32` into memory that is kept, and without transposed copies: what
//! training is mostly made of, for `pft-lm`'s layers and `pft-dp`'s clipped sums alike.
//!
//! Large products run in tiles that threads take as they become free, the others by
//! the `gemm` crate. It may depend on `gemm` and `rayon` alone, and knows of no model.

mod layout;
#[cfg(target_arch = "x86_64")]
mod tiled;

pub use layout::{Layout, weight_gradient};

use gemm::Parallelism;

/// Multiplications from which a product is shared among threads.
const SHARED_FROM: usize = 1 << 15;

/// A strided matrix to read: element (r, c) lies `r · row_stride + c · column_stride` beyond
/// `data`.
#[derive(Debug, Clone, Copy)]
pub struct View {
    /// The first element.
    pub data: *const f32,
    /// How far rows are apart.
    pub row_stride: usize,
    /// How far columns are apart.
    pub column_stride: usize,
}

impl View {
    /// Row-major, `width` elements a row.
    pub fn row_major(data: &[f32], width: usize) -> Self {
        Self { data: data.as_ptr(), row_stride: width, column_stride: 1 }
    }

    /// Rows as columns.
    #[must_use]
    pub fn transposed(self) -> Self {
        Self { row_stride: self.column_stride, column_stride: self.row_stride, ..self }
    }

    /// Without the rows and columns before `row` and `column`.
    #[must_use]
    pub fn from(self, row: usize, column: usize) -> Self {
        let at = row * self.row_stride + column * self.column_stride;
        Self { data: self.data.wrapping_add(at), ..self }
    }
}

/// `target = scale · left · right`, or `+=` with `accumulate`; sizes are `[m, k, n]` of
/// `[m, k] · [k, n]`. The target is its first element and how far its rows are apart. With
/// `parallel` the threads of the pool share the work; the result has the same bits.
///
/// # Safety
/// Every element of the three matrices lies in memory that may be read, and for `target`
/// written by nobody else meanwhile.
pub unsafe fn product(
    (target, target_row_stride): (*mut f32, usize),
    left: View,
    right: View,
    [m, k, n]: [usize; 3],
    scale: f32,
    accumulate: bool,
    parallel: bool,
) {
    #[cfg(target_arch = "x86_64")]
    if parallel && tiled::suits(left, right, [m, k, n]) {
        // SAFETY: promised by the caller.
        unsafe {
            tiled::product((target, target_row_stride), left, right, [m, k, n], scale, accumulate);
        }
        return;
    }
    let parallelism = if parallel && m * k * n > SHARED_FROM {
        Parallelism::Rayon(rayon::current_num_threads())
    } else {
        Parallelism::None
    };
    // SAFETY: promised by the caller.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            target,
            1,
            target_row_stride as isize,
            accumulate,
            left.data,
            left.column_stride as isize,
            left.row_stride as isize,
            right.data,
            right.column_stride as isize,
            right.row_stride as isize,
            1.0,
            scale,
            false,
            false,
            false,
            parallelism,
        );
    }
}
