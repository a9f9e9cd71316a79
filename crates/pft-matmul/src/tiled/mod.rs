//! Large matrix products in tiles that threads take as they become free.
//!
//! The `gemm` crate gives each thread an equal share, so that one slowed by other work keeps all
//! the others waiting. Here both factors are copied into panels once (Goto and van de Geijn,
//! "Anatomy of High-Performance Matrix Multiplication", 2008), and the target's tiles are tasks
//! of the thread pool. An element's sum runs in the same order whatever the number of threads.
//!
//! Only for processors with AVX2 and without AVX-512, where it was measured against that crate;
//! small products stay with the crate, which needs no panels for them.

mod panels;
mod tile;

use std::cell::RefCell;

use rayon::prelude::*;

use crate::View;
use panels::{Panels, Source};
use tile::Tile;

/// Rows of the target that the innermost loop holds in registers: a panel of the left factor.
const ROWS: usize = 6;
/// Columns that it holds: a panel of the right factor.
const COLUMNS: usize = 16;
/// Depth of a panel's blocks: the right one's fits the first-level cache.
const BLOCK: usize = 384;
/// Panels of a tile. The left ones' block fits half of a second-level cache of 512 KB.
const TILE_PANELS: [usize; 2] = [120 / ROWS, 512 / COLUMNS];
/// Depth that is copied into panels at a time; little in tests, as the next two, so that small
/// products fall into several parts.
const DEPTH: usize = if cfg!(test) { 512 } else { 2048 };
/// Floats of the right factor that are copied at a time: 4 MB, for the last-level cache.
const RIGHT: usize = if cfg!(test) { 1 << 14 } else { 1 << 20 };
/// Floats of the left factor that are copied at a time: 8 MB.
const LEFT: usize = if cfg!(test) { 1 << 14 } else { 1 << 21 };
/// Panels that a task copies.
const COPIED_PANELS: usize = 8;
/// Tiles a thread gets at least, so that a late one costs little.
const TILES_PER_THREAD: usize = 6;

/// Whether [`product`] is the faster way for `[m, k, n]` on this processor.
pub(crate) fn suits(left: View, right: View, [m, k, n]: [usize; 3]) -> bool {
    let contiguous = |view: View| view.row_stride == 1 || view.column_stride == 1;
    m >= 64
        && n >= 64
        && k >= 32
        && m * k * n >= 1 << 21
        && contiguous(left)
        && contiguous(right)
        && runs()
        && !std::arch::is_x86_feature_detected!("avx512f")
}

/// Whether the processor has the instructions.
fn runs() -> bool {
    std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma")
}

/// A pointer that tasks share, each for elements of its own or for none but reading.
#[derive(Clone, Copy)]
struct Shared(*mut f32);

// SAFETY: every user hands each task its own elements; see the call sites.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    fn at(self, offset: usize) -> *mut f32 {
        self.0.wrapping_add(offset)
    }
}

thread_local! {
    /// The panels' memory, kept from product to product.
    static KEPT: RefCell<[Vec<f32>; 2]> = const { RefCell::new([Vec::new(), Vec::new()]) };
}

/// `target = scale · left · right`, or `+=` with `accumulate`; sizes are `[m, k, n]` of
/// `[m, k] · [k, n]`.
///
/// # Safety
/// The processor has AVX2 and FMA; the rest as for
/// [`product`](crate::product). One stride of each factor is 1.
pub(crate) unsafe fn product(
    (target, stride): (*mut f32, usize),
    left: View,
    right: View,
    [m, k, n]: [usize; 3],
    scale: f32,
    accumulate: bool,
) {
    // Taken out rather than borrowed: while this thread waits, it may run another product.
    let mut kept = KEPT.take();
    let depth = shares(k, DEPTH);
    for first in (0..k).step_by(depth) {
        let (left, right) = (left.from(0, first), right.from(first, 0));
        let sizes = [m, depth.min(k - first), n];
        let accumulate = accumulate || first > 0;
        // SAFETY: promised by the caller, for a part of the depth.
        unsafe { slice(&mut kept, (target, stride), left, right, sizes, scale, accumulate) };
    }
    KEPT.set(kept);
}

/// [`product`] of a depth whose panels fit memory.
///
/// # Safety
/// As for [`product`].
unsafe fn slice(
    [left_kept, right_kept]: &mut [Vec<f32>; 2],
    (target, stride): (*mut f32, usize),
    left: View,
    right: View,
    [m, k, n]: [usize; 3],
    scale: f32,
    accumulate: bool,
) {
    let block = shares(k, BLOCK);
    let row_panels = shares(m.div_ceil(ROWS), (LEFT / (k * ROWS)).max(1));
    let column_panels = shares(n.div_ceil(COLUMNS), (RIGHT / (k * COLUMNS)).max(1));
    let tops = (0..m).step_by(row_panels * ROWS);
    let parts =
        tops.flat_map(|top| (0..n).step_by(column_panels * COLUMNS).map(move |first| (top, first)));
    // The columns whose panels are in memory: where there is one part of them, for all rows.
    let mut held = None;
    for (top, first) in parts {
        let rows = (row_panels * ROWS).min(m - top);
        let columns = (column_panels * COLUMNS).min(n - first);
        let left_panels = Panels { lanes: ROWS, count: rows.div_ceil(ROWS), depth: k, block };
        let right_panels =
            Panels { lanes: COLUMNS, count: columns.div_ceil(COLUMNS), ..left_panels };
        let left_memory = left_panels.memory(left_kept);
        let right_memory = right_panels.memory(right_kept);
        let left_source = Source { view: left.from(top, 0), lanes: rows };
        let right_source = Source { view: right.from(0, first).transposed(), lanes: columns };
        let tasks =
            |panels: Panels, wanted: bool| if wanted { panels.groups(COPIED_PANELS) } else { 0 };
        let left_tasks = tasks(left_panels, first == 0);
        let right_tasks = tasks(right_panels, held.replace(first) != Some(first));
        (0..left_tasks + right_tasks).into_par_iter().with_max_len(1).for_each(|task| {
            // SAFETY: each task writes its own panels; the factors are read as promised.
            unsafe {
                match task.checked_sub(left_tasks) {
                    None => left_panels.copy::<ROWS>(left_memory, left_source, task, COPIED_PANELS),
                    Some(task) => {
                        right_panels.copy::<COLUMNS>(
                            right_memory,
                            right_source,
                            task,
                            COPIED_PANELS,
                        );
                    }
                }
            }
        });
        let [tile_rows, tile_columns] = tile_panels(left_panels.count, right_panels.count);
        let across = right_panels.count.div_ceil(tile_columns);
        let tiles = left_panels.count.div_ceil(tile_rows) * across;
        let whole = Shared(target.wrapping_add(top * stride + first));
        (0..tiles).into_par_iter().with_max_len(1).for_each(|index| {
            let (row, column) = (index / across * tile_rows, index % across * tile_columns);
            let tile = Tile {
                rows: row..(row + tile_rows).min(left_panels.count),
                columns: column..(column + tile_columns).min(right_panels.count),
                sizes: [rows, columns],
                left: (left_panels, left_memory),
                right: (right_panels, right_memory),
                target: (whole, stride),
                scale,
                accumulate,
            };
            // SAFETY: tiles are disjoint, and the panels are complete.
            unsafe { tile.multiply() };
        });
    }
}

/// The size of parts of `whole`, none larger than `most`, as even as they come.
fn shares(whole: usize, most: usize) -> usize {
    whole.div_ceil(whole.div_ceil(most))
}

/// Panels of a tile, by rows and columns: fewer than usual where threads would get too few tiles.
fn tile_panels(row_panels: usize, column_panels: usize) -> [usize; 2] {
    let [mut rows, mut columns] = TILE_PANELS;
    let wanted = TILES_PER_THREAD * rayon::current_num_threads();
    while row_panels.div_ceil(rows) * column_panels.div_ceil(columns) < wanted && columns > 4 {
        columns /= 2;
        if columns == 8 {
            rows /= 2;
        }
    }
    [shares(row_panels, rows), shares(column_panels, columns)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: u32) -> Vec<f32> {
        let value = |i: u32| ((i.wrapping_mul(2_654_435_761).wrapping_add(seed)) >> 20) as f32;
        (0..count as u32).map(|i| value(i) / 2048.0 - 1.0).collect()
    }

    /// The product of two row-major matrices.
    fn multiplied(a: &[f32], b: &[f32], sizes @ [m, k, n]: [usize; 3], scale: f32) -> Vec<f32> {
        let mut target = vec![0.0; m * n];
        let (left, right) = (View::row_major(a, k), View::row_major(b, n));
        // SAFETY: the slices have the sizes given.
        unsafe { product((target.as_mut_ptr(), n), left, right, sizes, scale, false) };
        target
    }

    /// In f64, element by element.
    fn expected(
        at: impl Fn(usize, usize) -> f32,
        by: impl Fn(usize, usize) -> f32,
        [m, k, n]: [usize; 3],
    ) -> Vec<f64> {
        let element = |i: usize| {
            (0..k).map(|p| f64::from(at(i / n, p)) * f64::from(by(p, i % n))).sum::<f64>()
        };
        (0..m * n).map(element).collect()
    }

    /// Products of every orientation, with edges in all three directions, into rows that lie
    /// apart.
    #[test]
    fn agrees_with_the_definition() {
        if !runs() {
            return;
        }
        for sizes @ [m, k, n] in
            [[7, 5, 17], [6, 16, 16], [67, 2100, 19], [125, 330, 530], [1, 1, 1]]
        {
            let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
            for (left_across, right_across) in
                [(false, false), (true, false), (false, true), (true, true)]
            {
                let left = View::row_major(&a, if left_across { m } else { k });
                let right = View::row_major(&b, if right_across { k } else { n });
                let left = if left_across { left.transposed() } else { left };
                let right = if right_across { right.transposed() } else { right };
                let at = |i: usize, p: usize| if left_across { a[p * m + i] } else { a[i * k + p] };
                let by =
                    |p: usize, j: usize| if right_across { b[j * k + p] } else { b[p * n + j] };
                let expected = expected(at, by, sizes);
                let stride = n + 3;
                for accumulate in [false, true] {
                    let mut target = vec![0.5; m * stride];
                    // SAFETY: the slices have the sizes given.
                    unsafe {
                        let target = (target.as_mut_ptr(), stride);
                        product(target, left, right, sizes, 0.25, accumulate);
                    }
                    for (i, row) in target.chunks(stride).enumerate() {
                        for (j, &found) in row[..n].iter().enumerate() {
                            let start = if accumulate { 0.5 } else { 0.0 };
                            let expected = start + 0.25 * expected[i * n + j];
                            let error = (f64::from(found) - expected).abs();
                            assert!(error < 1e-6 * k as f64, "{sizes:?} at {i}, {j}: {error}");
                        }
                        assert_eq!(row[n..], [0.5; 3], "between the rows");
                    }
                }
            }
        }
    }

    #[test]
    fn has_the_same_bits_on_any_number_of_threads() {
        if !runs() {
            return;
        }
        let sizes @ [m, k, n] = [301, 700, 640];
        let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| multiplied(&a, &b, sizes, 1.0))
        };
        let one = run(1);
        assert!([2, 3, 8].into_iter().all(|threads| run(threads) == one));
    }

    /// A thread that waits for its product may take up another one meanwhile.
    #[test]
    fn products_within_tasks_do_not_meet() {
        if !runs() {
            return;
        }
        let sizes @ [m, k, n] = [150, 90, 170];
        let (a, b) = (numbers(m * k, 1), numbers(k * n, 2));
        let run = |task: u8| multiplied(&a, &b, sizes, task.into());
        let alone: Vec<Vec<f32>> = (0..32).map(run).collect();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        let together: Vec<Vec<f32>> = pool.install(|| (0..32).into_par_iter().map(run).collect());
        assert!(alone == together);
    }

    #[test]
    fn shares_cover_the_whole_evenly() {
        assert_eq!(shares(10, 4), 4);
        assert_eq!(shares(9, 4), 3);
        assert_eq!(shares(4, 4), 4);
        assert_eq!(shares(1, 4), 1);
    }
}
