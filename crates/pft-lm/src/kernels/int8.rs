//! Weights in blocks of 8-bit integers, for generation: one row times such a weight reads a
//! quarter of the bytes, and reading is what takes the time.
//!
//! A block of 32 numbers has one scale, its largest magnitude over 127 (GGUF's Q8_0). The input is
//! rounded the same way, so that products are of integers and exact; only the two roundings are
//! not.

use rayon::prelude::*;

/// Numbers that share a scale.
const BLOCK: usize = 32;

/// A weight, `[outputs, inputs]`.
#[derive(Debug, Clone)]
pub(crate) struct Int8Rows {
    inputs: usize,
    values: Vec<i8>,
    /// `[outputs, inputs / 32]`
    scales: Vec<f32>,
}

impl Int8Rows {
    /// Rounds a weight, `[outputs, inputs]`; `None` where a row is not whole blocks.
    pub(crate) fn new(weight: &[f32], inputs: usize) -> Option<Self> {
        if inputs == 0 || !inputs.is_multiple_of(BLOCK) {
            return None;
        }
        let (values, scales) = quantize(weight);
        Some(Self { inputs, values, scales })
    }

    /// `output = weight · input`, or `+=` with `accumulate`.
    pub(crate) fn forward(&self, output: &mut [f32], input: &[f32], accumulate: bool) {
        debug_assert_eq!(input.len(), self.inputs);
        let (input, input_scales) = quantize(input);
        let input: Vec<i16> = input.into_iter().map(i16::from).collect();
        let rows = output.len().div_ceil(rayon::current_num_threads()).max(16);
        let weight = self.values.par_chunks(rows * self.inputs);
        let scales = self.scales.par_chunks(rows * self.inputs / BLOCK);
        output.par_chunks_mut(rows).zip(weight.zip(scales)).for_each(
            |(output, (weight, scales))| {
                multiply(output, (weight, scales), (&input, &input_scales), accumulate);
            },
        );
    }
}

/// Rounds whole blocks: the integers, and a scale for each block.
fn quantize(values: &[f32]) -> (Vec<i8>, Vec<f32>) {
    let mut integers = Vec::with_capacity(values.len());
    let mut scales = Vec::with_capacity(values.len() / BLOCK);
    for block in values.chunks_exact(BLOCK) {
        let largest = block.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
        integers.extend(block.iter().map(|value| (value * inverse).round_ties_even() as i8));
        scales.push(largest / 127.0);
    }
    (integers, scales)
}

/// Rows of a weight times an input, all in whole blocks; `input` is wide already.
fn multiply(
    output: &mut [f32],
    (weight, scales): (&[i8], &[f32]),
    (input, input_scales): (&[i16], &[f32]),
    accumulate: bool,
) {
    let (inputs, blocks) = (input.len(), input_scales.len());
    let rows = weight.chunks_exact(inputs).zip(scales.chunks_exact(blocks));
    for (output, (row, scales)) in output.iter_mut().zip(rows) {
        let lanes = row_lanes((row, scales), (input, input_scales));
        let product: f32 = lanes.iter().sum();
        *output = if accumulate { *output + product } else { product };
    }
}

/// A row's product as eight sums: lane l takes the numbers 2l and 2l + 1 of each half of a block.
/// All instruction sets add in this order, so that the bits are the same.
fn row_lanes(row: (&[i8], &[f32]), input: (&[i16], &[f32])) -> [f32; 8] {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the feature was just found on this processor.
        return unsafe { row_lanes_avx2(row, input) };
    }
    row_lanes_portable(row, input)
}

fn row_lanes_portable(
    (row, scales): (&[i8], &[f32]),
    (input, input_scales): (&[i16], &[f32]),
) -> [f32; 8] {
    let mut lanes = [[0.0f32; 8]; 2];
    let (row, input) = (row.as_chunks::<BLOCK>().0, input.as_chunks::<BLOCK>().0);
    for (block, (weight, input)) in row.iter().zip(input).enumerate() {
        let scale = scales[block] * input_scales[block];
        for (lane, sum) in lanes[block % 2].iter_mut().enumerate() {
            let products = [0, 1, BLOCK / 2, BLOCK / 2 + 1].map(|offset| {
                let at = 2 * lane + offset;
                i32::from(weight[at]) * i32::from(input[at])
            });
            *sum += products.iter().sum::<i32>() as f32 * scale;
        }
    }
    std::array::from_fn(|lane| lanes[0][lane] + lanes[1][lane])
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn row_lanes_avx2(
    (row, scales): (&[i8], &[f32]),
    (input, input_scales): (&[i16], &[f32]),
) -> [f32; 8] {
    use std::arch::x86_64::{
        __m128i, __m256i, _mm_loadu_si128, _mm256_add_epi32, _mm256_add_ps, _mm256_cvtepi8_epi16,
        _mm256_cvtepi32_ps, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_mul_ps, _mm256_set1_ps,
        _mm256_setzero_ps, _mm256_storeu_ps,
    };
    let half = |weight: &[i8; BLOCK], input: &[i16; BLOCK], first: usize| {
        let (weight, input) = (&weight[first..first + 16], &input[first..first + 16]);
        // SAFETY: both slices have the sixteen numbers that are loaded.
        let (weight, input) = unsafe {
            (
                _mm_loadu_si128(weight.as_ptr().cast::<__m128i>()),
                _mm256_loadu_si256(input.as_ptr().cast::<__m256i>()),
            )
        };
        _mm256_madd_epi16(_mm256_cvtepi8_epi16(weight), input)
    };
    // Two sums, so that one addition need not wait for the other.
    let mut lanes = [_mm256_setzero_ps(); 2];
    let (row, input) = (row.as_chunks::<BLOCK>().0, input.as_chunks::<BLOCK>().0);
    for (block, (weight, input)) in row.iter().zip(input).enumerate() {
        let sums = _mm256_add_epi32(half(weight, input, 0), half(weight, input, BLOCK / 2));
        let scale = _mm256_set1_ps(scales[block] * input_scales[block]);
        let product = _mm256_mul_ps(_mm256_cvtepi32_ps(sums), scale);
        lanes[block % 2] = _mm256_add_ps(lanes[block % 2], product);
    }
    let mut out = [0.0; 8];
    // SAFETY: eight floats fill `out`.
    unsafe { _mm256_storeu_ps(out.as_mut_ptr(), _mm256_add_ps(lanes[0], lanes[1])) };
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(count: usize, seed: u64) -> Vec<f32> {
        let mut state = seed;
        (0..count)
            .map(|_| {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                (state >> 40) as f32 / 8_388_608.0 - 1.0
            })
            .collect()
    }

    #[test]
    fn rounding_is_to_the_nearest_of_255_steps() {
        let mut values = noise(64, 1);
        values.extend([0.0; 32]);
        let (integers, scales) = quantize(&values);
        for (index, value) in values.iter().enumerate() {
            let scale = scales[index / 32];
            let error = (value - f32::from(integers[index]) * scale).abs();
            assert!(error <= 0.5001 * scale, "{value}: {error} of {scale}");
        }
        assert_eq!(scales[2], 0.0);
        assert!(integers[..32].iter().any(|&integer| integer.unsigned_abs() == 127));
    }

    #[test]
    fn products_are_those_of_the_rounded_numbers() {
        for (inputs, outputs) in [(32, 1), (96, 50), (576, 37)] {
            let (weight, input) = (noise(inputs * outputs, 2), noise(inputs, 3));
            let rounded = |values: &[f32]| -> Vec<f64> {
                let (integers, scales) = quantize(values);
                let value = |(i, &n): (usize, &i8)| f64::from(n) * f64::from(scales[i / 32]);
                integers.iter().enumerate().map(value).collect()
            };
            let (exact_weight, exact_input) = (rounded(&weight), rounded(&input));
            let rows = Int8Rows::new(&weight, inputs).unwrap();
            let mut output = vec![1.0; outputs];
            rows.forward(&mut output, &input, true);
            for (index, found) in output.iter().enumerate() {
                let row = &exact_weight[index * inputs..(index + 1) * inputs];
                let expected: f64 = row.iter().zip(&exact_input).map(|(w, x)| w * x).sum();
                let apart = (f64::from(*found) - 1.0 - expected).abs();
                assert!(apart < 1e-5 * inputs as f64, "{inputs}, {index}: {apart}");
            }
        }
        assert!(Int8Rows::new(&[0.0; 40], 40).is_none());
    }

    #[test]
    fn all_instruction_sets_give_the_same_bits() {
        let (weight, scales) = quantize(&noise(32 * 19, 4));
        let (input, input_scales) = quantize(&noise(32 * 19, 5));
        let input: Vec<i16> = input.into_iter().map(i16::from).collect();
        let (row, input) = ((&weight[..], &scales[..]), (&input[..], &input_scales[..]));
        assert_eq!(row_lanes(row, input), row_lanes_portable(row, input));
    }
}
