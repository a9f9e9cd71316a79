//! One row times a weight, for generation: bound by reading the weight once, which a bf16 weight
//! halves.

use half::bf16;
use rayon::prelude::*;

use crate::kernels::matmul::Layout;
use crate::kernels::{add_lanes, simd};
use crate::parameters::{Tensor, TensorData};

/// Outputs that one task computes.
const BLOCK: usize = 64;

/// A number as a weight stores it.
trait Element: Copy + Sync {
    fn wide(self) -> f32;
}

impl Element for f32 {
    #[inline(always)]
    fn wide(self) -> f32 {
        self
    }
}

impl Element for bf16 {
    #[inline(always)]
    fn wide(self) -> f32 {
        f32::from_bits(u32::from(self.to_bits()) << 16)
    }
}

/// Sum of products in thirty-two lanes, so that four vector units' worth is in flight.
#[inline(always)]
fn dot<T: Element>(weight: &[T], input: &[f32]) -> f32 {
    let mut lanes = [[0.0f32; 16]; 2];
    let (weights, inputs) = (weight.chunks_exact(32), input.chunks_exact(32));
    let tail = weights.remainder().iter().zip(inputs.remainder());
    let rest: f32 = tail.map(|(w, x)| w.wide() * x).sum();
    for (w, x) in weights.zip(inputs) {
        for half in 0..2 {
            for lane in 0..16 {
                lanes[half][lane] += w[16 * half + lane].wide() * x[16 * half + lane];
            }
        }
    }
    add_lanes(lanes[0]) + add_lanes(lanes[1]) + rest
}

/// Rows of an `[out, in]` weight.
#[inline(always)]
fn rows<T: Element>(output: &mut [f32], input: &[f32], weight: &[T], accumulate: bool) {
    for (output, row) in output.iter_mut().zip(weight.chunks_exact(input.len())) {
        let product = dot(row, input);
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
    }
}
