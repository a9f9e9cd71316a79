//! Factors copied into panels: a few rows (or columns) side by side, so that the innermost loop
//! reads both factors in one piece.

use std::arch::x86_64::{
    __m256, _mm256_loadu_ps, _mm256_permute2f128_ps, _mm256_shuffle_ps, _mm256_storeu_ps,
    _mm256_unpackhi_ps, _mm256_unpacklo_ps,
};

use super::Shared;
use crate::View;

/// Rows and columns of the squares that are turned over in registers.
const SIDE: usize = 8;

/// How a factor's panels lie in memory: block of the depth by block, in it panel by panel, in it
/// `[depth, lanes]`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Panels {
    /// Rows of the left factor, or columns of the right one, in a panel.
    pub(super) lanes: usize,
    /// Panels.
    pub(super) count: usize,
    /// Columns of the left factor, rows of the right one.
    pub(super) depth: usize,
    /// Depth of a block; the last may have less.
    pub(super) block: usize,
}

/// A factor as rows of lanes: the right one transposed.
#[derive(Clone, Copy)]
pub(super) struct Source {
    pub(super) view: View,
    /// Rows.
    pub(super) lanes: usize,
}

// SAFETY: it is only read, and its user promises that nobody writes meanwhile.
unsafe impl Send for Source {}
// SAFETY: as above.
unsafe impl Sync for Source {}

impl Panels {
    /// Blocks of the depth.
    pub(super) fn blocks(self) -> usize {
        self.depth.div_ceil(self.block)
    }

    /// Depth of one block.
    pub(super) fn block_depth(self, block: usize) -> usize {
        self.block.min(self.depth - block * self.block)
    }

    /// Where a panel's part of a block begins.
    pub(super) fn offset(self, block: usize, panel: usize) -> usize {
        self.lanes * (self.count * self.block * block + panel * self.block_depth(block))
    }

    /// Memory for all panels.
    pub(super) fn memory(self, kept: &mut Vec<f32>) -> Shared {
        let len = self.lanes * self.count * self.depth;
        if kept.len() < len {
            kept.resize(len, 0.0);
        }
        Shared(kept.as_mut_ptr())
    }

    /// Groups of `size` panels.
    pub(super) fn groups(self, size: usize) -> usize {
        self.count.div_ceil(size)
    }

    /// Copies one group of panels; lanes that the source does not have become zeros.
    ///
    /// # Safety
    /// The processor has AVX2. `memory` has room for all panels, and nobody else uses this
    /// group's; the source may be read, and one of its strides is 1.
    pub(super) unsafe fn copy<const LANES: usize>(
        self,
        memory: Shared,
        source: Source,
        group: usize,
        size: usize,
    ) {
        let first = group * size;
        let last = self.count.min(first + size);
        // Those whose lanes are all there; only the very last panel may lack some.
        let whole = last.min(source.lanes / LANES).max(first);
        for block in 0..self.blocks() {
            let depth = self.block_depth(block);
            let view = source.view.from(0, block * self.block);
            let panel = |panel: usize| {
                // SAFETY: promised by the caller.
                unsafe {
                    std::slice::from_raw_parts_mut(
                        memory.at(self.offset(block, panel)),
                        LANES * depth,
                    )
                }
            };
            if view.row_stride == 1 {
                // Row by row through all panels, as the source lies.
                let target = memory.at(self.offset(block, first));
                let view = view.from(first * LANES, 0);
                // SAFETY: promised by the caller; the panels of a block follow each other.
                unsafe { copy_lanes::<LANES>(target, view, depth, whole - first) };
            } else {
                for index in first..whole {
                    let view = view.from(index * LANES, 0);
                    let rows = std::array::from_fn(|lane| view.from(lane, 0).data);
                    // SAFETY: promised by the caller; a row's elements lie side by side.
                    unsafe { turn_lanes::<LANES>(panel(index), rows, depth) };
                }
            }
            for index in whole..last {
                let (view, lanes) = (view.from(index * LANES, 0), source.lanes - index * LANES);
                for (p, target) in panel(index).chunks_exact_mut(LANES).enumerate() {
                    target.fill(0.0);
                    for (lane, target) in target[..lanes].iter_mut().enumerate() {
                        // SAFETY: promised by the caller: this lane is there.
                        *target = unsafe { *view.from(lane, p).data };
                    }
                }
            }
        }
    }
}

/// Copies lanes that lie side by side already into `panels` panels.
///
/// # Safety
/// The view has `depth` columns of `panels · LANES` rows, and `target` room for them.
unsafe fn copy_lanes<const LANES: usize>(
    target: *mut f32,
    view: View,
    depth: usize,
    panels: usize,
) {
    for p in 0..depth {
        let row = view.from(0, p).data;
        for panel in 0..panels {
            // SAFETY: promised by the caller.
            unsafe {
                let lanes = row.add(panel * LANES).cast::<[f32; LANES]>().read_unaligned();
                let at = target.add((panel * depth + p) * LANES);
                at.cast::<[f32; LANES]>().write_unaligned(lanes);
            }
        }
    }
}

/// `target[p, lane] = rows[lane][p]`, by square tiles in registers.
///
/// # Safety
/// The processor has AVX2; every row has `depth` elements, and `target` room for all.
#[target_feature(enable = "avx2")]
unsafe fn turn_lanes<const LANES: usize>(
    target: &mut [f32],
    rows: [*const f32; LANES],
    depth: usize,
) {
    let turned = depth / SIDE * SIDE;
    for first in (0..turned).step_by(SIDE) {
        for lane in (0..LANES).step_by(SIDE) {
            let lanes = SIDE.min(LANES - lane);
            let tile: [__m256; SIDE] = std::array::from_fn(|i| {
                // SAFETY: promised by the caller. Lanes that are not there repeat the last.
                unsafe { _mm256_loadu_ps(rows[lane + i.min(lanes - 1)].add(first)) }
            });
            for (p, lanes_of) in turn_tile(tile).into_iter().enumerate() {
                let mut values = [0.0; SIDE];
                // SAFETY: `values` has that many elements.
                unsafe { _mm256_storeu_ps(values.as_mut_ptr(), lanes_of) };
                target[(first + p) * LANES + lane..][..lanes].copy_from_slice(&values[..lanes]);
            }
        }
    }
    for p in turned..depth {
        for (lane, row) in rows.iter().enumerate() {
            // SAFETY: promised by the caller.
            target[p * LANES + lane] = unsafe { *row.add(p) };
        }
    }
}

/// Rows as columns.
#[inline]
#[target_feature(enable = "avx2")]
fn turn_tile(rows: [__m256; SIDE]) -> [__m256; SIDE] {
    // Pairs of rows, then fours, then eights are woven together.
    let [a, b, c, d, e, f, g, h] = rows;
    let low = [
        _mm256_unpacklo_ps(a, b),
        _mm256_unpacklo_ps(c, d),
        _mm256_unpacklo_ps(e, f),
        _mm256_unpacklo_ps(g, h),
    ];
    let high = [
        _mm256_unpackhi_ps(a, b),
        _mm256_unpackhi_ps(c, d),
        _mm256_unpackhi_ps(e, f),
        _mm256_unpackhi_ps(g, h),
    ];
    let fours = |half: [__m256; 4]| {
        let [ab, cd, ef, gh] = half;
        [
            _mm256_shuffle_ps::<0x44>(ab, cd),
            _mm256_shuffle_ps::<0xEE>(ab, cd),
            _mm256_shuffle_ps::<0x44>(ef, gh),
            _mm256_shuffle_ps::<0xEE>(ef, gh),
        ]
    };
    let ([s0, s1, s4, s5], [s2, s3, s6, s7]) = (fours(low), fours(high));
    [
        _mm256_permute2f128_ps::<0x20>(s0, s4),
        _mm256_permute2f128_ps::<0x20>(s1, s5),
        _mm256_permute2f128_ps::<0x20>(s2, s6),
        _mm256_permute2f128_ps::<0x20>(s3, s7),
        _mm256_permute2f128_ps::<0x31>(s0, s4),
        _mm256_permute2f128_ps::<0x31>(s1, s5),
        _mm256_permute2f128_ps::<0x31>(s2, s6),
        _mm256_permute2f128_ps::<0x31>(s3, s7),
    ]
}
