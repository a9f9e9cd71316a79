//! One row times a weight, for generation: bound by reading the weight once, which a narrower
//! weight makes less of.

use half::bf16;
use pft_matmul::Layout;
use rayon::prelude::*;

use crate::blocks::Blocks;
use crate::kernels::{dot, simd};
use crate::parameters::{Tensor, TensorData};

/// Outputs that one task computes.
const BLOCK: usize = 64;

/// A number as a weight stores it.
trait Element: Copy + Sync {
    fn wide(self) -> f32;

    /// Sum of products.
    fn dot(weight: &[Self], input: &[f32]) -> f32;
}

impl Element for f32 {
    #[inline(always)]
    fn wide(self) -> f32 {
        self
    }

    #[inline(always)]
    fn dot(weight: &[Self], input: &[f32]) -> f32 {
        dot(weight, input)
    }
}

impl Element for bf16 {
    #[inline(always)]
    fn wide(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }

    /// Widens a stretch at a time into fast memory: the compiler vectorises the two loops, but
    /// not one that does both.
    #[inline(always)]
    fn dot(weight: &[Self], input: &[f32]) -> f32 {
        let mut wide = [0.0f32; 1024];
        let mut total = 0.0;
        for (weight, input) in weight.chunks(1024).zip(input.chunks(1024)) {
            let wide = &mut wide[..weight.len()];
            for (wide, weight) in wide.iter_mut().zip(weight) {
                *wide = weight.wide();
            }
            total += dot(wide, input);
        }
        total
    }
}

/// Rows of an `[out, in]` weight.
#[inline(always)]
fn rows<T: Element>(output: &mut [f32], input: &[f32], weight: &[T], accumulate: bool) {
    for (output, row) in output.iter_mut().zip(weight.chunks_exact(input.len())) {
        let product = T::dot(row, input);
        *output = if accumulate { *output + product } else { product };
    }
}

/// Columns `first..` of an `[in, out]` weight with rows of `width`.
#[inline(always)]
fn columns<T: Element>(
    output: &mut [f32],
    input: &[f32],
    weight: &[T],
    width: usize,
    first: usize,
    accumulate: bool,
) {
    if !accumulate {
        output.fill(0.0);
    }
    for (x, row) in input.iter().zip(weight.chunks_exact(width)) {
        for (output, w) in output.iter_mut().zip(&row[first..]) {
            *output += x * w.wide();
        }
    }
}

/// Rows of an `[out, in]` weight in blocks, from row `first` on.
fn rows_of_blocks(
    output: &mut [f32],
    input: &[f32],
    weight: &Blocks,
    first: usize,
    accumulate: bool,
) {
    let mut wide = [0.0f32; 1024];
    for (row, output) in output.iter_mut().enumerate() {
        let (start, mut total) = ((first + row) * input.len(), 0.0);
        for (index, input) in input.chunks(1024).enumerate() {
            let wide = &mut wide[..input.len()];
            weight.widen(start + index * 1024, wide);
            total += dot_f32(wide, input);
        }
        *output = if accumulate { *output + total } else { total };
    }
}

/// [`columns`] of a weight in blocks; `first` begins one.
fn columns_of_blocks(
    output: &mut [f32],
    input: &[f32],
    weight: &Blocks,
    width: usize,
    first: usize,
    accumulate: bool,
) {
    let mut wide = [0.0f32; BLOCK];
    let wide = &mut wide[..output.len()];
    if !accumulate {
        output.fill(0.0);
    }
    for (row, x) in input.iter().enumerate() {
        weight.widen(row * width + first, wide);
        for (output, w) in output.iter_mut().zip(&*wide) {
            *output += x * w;
        }
    }
}

simd! {
    fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
        dot(a, b)
    }
}

simd! {
    fn rows_f32(output: &mut [f32], input: &[f32], weight: &[f32], accumulate: bool) {
        rows(output, input, weight, accumulate);
    }
}

simd! {
    fn rows_bf16(output: &mut [f32], input: &[f32], weight: &[bf16], accumulate: bool) {
        rows(output, input, weight, accumulate);
    }
}

simd! {
    fn columns_f32(
        output: &mut [f32], input: &[f32], weight: &[f32], width: usize, first: usize,
        accumulate: bool,
    ) {
        columns(output, input, weight, width, first, accumulate);
    }
}

simd! {
    fn columns_bf16(
        output: &mut [f32], input: &[f32], weight: &[bf16], width: usize, first: usize,
        accumulate: bool,
    ) {
        columns(output, input, weight, width, first, accumulate);
    }
}

/// `output = input · weight`, or `+=` with `accumulate`; neither is empty.
pub(crate) fn forward(
    layout: Layout,
    output: &mut [f32],
    input: &[f32],
    weight: &Tensor,
    accumulate: bool,
) {
    let (inputs, outputs) = (input.len(), output.len());
    let blocks = output.par_chunks_mut(BLOCK).enumerate();
    match (layout, &weight.data) {
        (Layout::OutIn, TensorData::F32(weight)) => blocks.for_each(|(index, output)| {
            let first = index * BLOCK * inputs;
            rows_f32(output, input, &weight[first..first + output.len() * inputs], accumulate);
        }),
        (Layout::OutIn, TensorData::Bf16(weight)) => blocks.for_each(|(index, output)| {
            let first = index * BLOCK * inputs;
            rows_bf16(output, input, &weight[first..first + output.len() * inputs], accumulate);
        }),
        (Layout::InOut, TensorData::F32(weight)) => blocks.for_each(|(index, output)| {
            columns_f32(output, input, weight, outputs, index * BLOCK, accumulate);
        }),
        (Layout::InOut, TensorData::Bf16(weight)) => blocks.for_each(|(index, output)| {
            columns_bf16(output, input, weight, outputs, index * BLOCK, accumulate);
        }),
        (Layout::OutIn, TensorData::Blocks(weight)) => blocks.for_each(|(index, output)| {
            rows_of_blocks(output, input, weight, index * BLOCK, accumulate);
        }),
        (Layout::InOut, TensorData::Blocks(weight)) => blocks.for_each(|(index, output)| {
            columns_of_blocks(output, input, weight, outputs, index * BLOCK, accumulate);
        }),
    }
}
