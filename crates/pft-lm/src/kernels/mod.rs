//! The arithmetic that layers are made of, on `f32` slices.
//!
//! Loops are plain Rust that the compiler vectorises; `simd!` compiles each once more for AVX2
//! and chooses at run time. Sums run in a fixed order of sixteen lanes, so that results depend
//! neither on the instruction set nor on the number of threads.

pub(crate) mod int8;
pub(crate) mod math;
pub mod matmul;
mod matvec;

use rayon::prelude::*;

/// Defines a function whose body is compiled for the baseline and for AVX2, chosen at run time.
macro_rules! simd {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn body($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma,bmi2")]
                fn avx2($($arg: $ty),*) $(-> $ret)? {
                    body($($arg),*)
                }
                if std::arch::is_x86_feature_detected!("avx2")
                    && std::arch::is_x86_feature_detected!("fma")
                    && std::arch::is_x86_feature_detected!("bmi2")
                {
                    // SAFETY: the three features were just found on this processor.
                    return unsafe { avx2($($arg),*) };
                }
            }
            body($($arg),*)
        }
    };
}
pub(crate) use simd;

/// A pointer that may be shared among tasks which touch disjoint elements.
#[derive(Clone, Copy)]
pub(crate) struct SharedMut(*mut f32);

// SAFETY: every user hands each task its own elements; see the call sites.
unsafe impl Send for SharedMut {}
// SAFETY: as above.
unsafe impl Sync for SharedMut {}

impl SharedMut {
    pub(crate) fn new(slice: &mut [f32]) -> Self {
        Self(slice.as_mut_ptr())
    }

    /// The elements `offset..offset + len`.
    ///
    /// # Safety
    /// They lie within the slice, and no other task touches them meanwhile.
    pub(crate) unsafe fn slice<'a>(self, offset: usize, len: usize) -> &'a mut [f32] {
        // SAFETY: promised by the caller.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(offset), len) }
    }

    /// The elements `offset..offset + len`, to be read.
    ///
    /// # Safety
    /// They lie within the slice, and no task writes to them meanwhile.
    pub(crate) unsafe fn read<'a>(self, offset: usize, len: usize) -> &'a [f32] {
        // SAFETY: promised by the caller.
        unsafe { std::slice::from_raw_parts(self.0.add(offset), len) }
    }

    pub(crate) fn pointer(self, offset: usize) -> *mut f32 {
        self.0.wrapping_add(offset)
    }
}

/// How many rows a task should take so that each thread gets a few tasks.
pub(crate) fn rows_per_task(rows: usize) -> usize {
    rows.div_ceil(4 * rayon::current_num_threads()).max(1)
}

/// Sum of products, in sixteen lanes.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 16];
    let (a_chunks, b_chunks) = (a.chunks_exact(16), b.chunks_exact(16));
    let (a_tail, b_tail) = (a_chunks.remainder(), b_chunks.remainder());
    for (x, y) in a_chunks.zip(b_chunks) {
        for lane in 0..16 {
            lanes[lane] += x[lane] * y[lane];
        }
    }
    for ((lane, x), y) in lanes.iter_mut().zip(a_tail).zip(b_tail) {
        *lane += x * y;
    }
    add_lanes(lanes)
}

/// Sum, in sixteen lanes.
#[inline(always)]
pub(crate) fn sum(values: &[f32]) -> f32 {
    let mut lanes = [0.0f32; 16];
    let chunks = values.chunks_exact(16);
    let tail = chunks.remainder();
    for chunk in chunks {
        for lane in 0..16 {
            lanes[lane] += chunk[lane];
        }
    }
    for (lane, value) in lanes.iter_mut().zip(tail) {
        *lane += value;
    }
    add_lanes(lanes)
}

#[inline(always)]
pub(crate) fn add_lanes(lanes: [f32; 16]) -> f32 {
    let mut lanes = lanes;
    for half in [8, 4, 2, 1] {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
    }
    lanes[0]
}

/// Largest element, in sixteen lanes; negative infinity for none.
#[inline(always)]
pub(crate) fn max(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; 16];
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let chunks = values.chunks_exact(16);
    let tail = chunks.remainder();
    for chunk in chunks {
        for lane in 0..16 {
            lanes[lane] = larger(lanes[lane], chunk[lane]);
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(tail) {
        *lane = larger(*lane, value);
    }
    lanes.into_iter().fold(f32::NEG_INFINITY, larger)
}

simd! {
    /// `target += source`, element by element.
    pub(crate) fn add(target: &mut [f32], source: &[f32]) {
        for (target, source) in target.iter_mut().zip(source) {
            *target += source;
        }
    }
}

simd! {
    fn add_block_sums(sums: &mut [f32], matrix: &[f32], width: usize, first: usize) {
        for row in matrix.chunks_exact(width) {
            for (sum, value) in sums.iter_mut().zip(&row[first..]) {
                *sum += value;
            }
        }
    }
}

/// Adds to each of `sums` the sum of a column of the row-major `matrix`.
pub fn add_column_sums(sums: &mut [f32], matrix: &[f32]) {
    const BLOCK: usize = 128;
    let width = sums.len();
    let block = |(index, sums): (usize, &mut [f32])| {
        add_block_sums(sums, matrix, width, index * BLOCK);
    };
    if matrix.len() < 1 << 15 {
        sums.chunks_mut(BLOCK).enumerate().for_each(block);
    } else {
        sums.par_chunks_mut(BLOCK).enumerate().for_each(block);
    }
}

/// Adds row `r` of `source` to row `ids[r]` of `table`; both have rows of `width`.
pub fn scatter_rows(table: &mut [f32], ids: &[u32], source: &[f32], width: usize) {
    for (&id, row) in ids.iter().zip(source.chunks_exact(width)) {
        add(&mut table[id as usize * width..][..width], row);
    }
}

/// Runs `task` on blocks of rows of one matrix, in parallel; it gets the first row's index.
pub(crate) fn for_rows(
    matrix: &mut [f32],
    width: usize,
    task: impl Fn(usize, &mut [f32]) + Sync + Send,
) {
    let block = rows_per_task(matrix.len() / width.max(1));
    matrix
        .par_chunks_mut(block * width)
        .enumerate()
        .for_each(|(index, rows)| task(index * block, rows));
}

/// [`for_rows`] over two matrices with the same number of rows.
pub(crate) fn for_rows2(
    (a, a_width): (&mut [f32], usize),
    (b, b_width): (&mut [f32], usize),
    task: impl Fn(usize, &mut [f32], &mut [f32]) + Sync + Send,
) {
    let block = rows_per_task(a.len() / a_width.max(1));
    a.par_chunks_mut(block * a_width)
        .zip(b.par_chunks_mut(block * b_width))
        .enumerate()
        .for_each(|(index, (a, b))| task(index * block, a, b));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reductions_agree_with_f64() {
        let values: Vec<f32> = (0..77u32).map(|i| (i * 37 % 19) as f32 - 9.0).collect();
        let wide = |f: &dyn Fn(f64) -> f64| values.iter().map(|&v| f(f64::from(v))).sum::<f64>();
        assert_eq!(f64::from(sum(&values)), wide(&|v| v));
        assert_eq!(f64::from(dot(&values, &values)), wide(&|v| v * v));
        assert_eq!(max(&values), 9.0);
    }

    #[test]
    fn column_sums_and_scatter_match_their_definition() {
        let (rows, width) = (300, 150);
        let matrix: Vec<f32> = (0..rows * width).map(|i| (i % 23) as f32).collect();
        let mut sums = vec![1.0; width];
        add_column_sums(&mut sums, &matrix);
        for (column, &sum) in sums.iter().enumerate() {
            let expected: f32 = (0..rows).map(|row| matrix[row * width + column]).sum();
            assert_eq!(sum, 1.0 + expected);
        }
        let mut table = vec![0.0; 3 * 2];
        scatter_rows(&mut table, &[2, 0, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2);
        assert_eq!(table, [3.0, 4.0, 0.0, 0.0, 6.0, 8.0]);
    }
}
