//! Dequantization, block by block, as ggml defines the formats (ggml-quants.c), and quantization to
//! Q8_0 and Q4_0.

use half::{bf16, f16};
use rayon::prelude::*;

use crate::GgmlType;

/// Blocks handed to a thread at once; small tensors stay on one.
const BLOCKS_PER_TASK: usize = 4096;

/// Turns the blocks of a supported format into numbers. `bytes` holds whole blocks.
pub(crate) fn dequantize(kind: GgmlType, bytes: &[u8]) -> Vec<f32> {
    match kind {
        GgmlType::F32 => blocks(bytes, |block: &[u8; 4], out: &mut [f32; 1]| {
            out[0] = f32::from_le_bytes(*block);
        }),
        GgmlType::F64 => blocks(bytes, |block: &[u8; 8], out: &mut [f32; 1]| {
            out[0] = f64::from_le_bytes(*block) as f32;
        }),
        GgmlType::F16 => blocks(bytes, |block: &[u8; 2], out: &mut [f32; 1]| {
            out[0] = f16::from_le_bytes(*block).to_f32();
        }),
        GgmlType::BF16 => blocks(bytes, |block: &[u8; 2], out: &mut [f32; 1]| {
            out[0] = bf16::from_le_bytes(*block).to_f32();
        }),
        GgmlType::Q4_0 => blocks(bytes, q4_0),
        GgmlType::Q4_1 => blocks(bytes, q4_1),
        GgmlType::Q5_0 => blocks(bytes, q5_0),
        GgmlType::Q5_1 => blocks(bytes, q5_1),
        GgmlType::Q8_0 => blocks(bytes, q8_0),
        GgmlType::Q4_K => blocks(bytes, q4_k),
        GgmlType::Q5_K => blocks(bytes, q5_k),
        GgmlType::Q6_K => blocks(bytes, q6_k),
        GgmlType::Unsupported(_) => Vec::new(),
    }
}

fn blocks<const BYTES: usize, const LEN: usize>(
    bytes: &[u8],
    dequantize: impl Fn(&[u8; BYTES], &mut [f32; LEN]) + Sync,
) -> Vec<f32> {
    let (blocks, _) = bytes.as_chunks::<BYTES>();
    let mut out = vec![0.0; blocks.len() * LEN];
    let (chunks, _) = out.as_chunks_mut::<LEN>();
    blocks.par_chunks(BLOCKS_PER_TASK).zip(chunks.par_chunks_mut(BLOCKS_PER_TASK)).for_each(
        |(blocks, chunks)| {
            for (block, chunk) in blocks.iter().zip(chunks) {
                dequantize(block, chunk);
            }
        },
    );
    out
}

fn half(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// [`blocks`] into `out`, on the calling thread.
pub(crate) fn each_block<const BYTES: usize, const LEN: usize>(
    bytes: &[u8],
    out: &mut [f32],
    dequantize: impl Fn(&[u8; BYTES], &mut [f32; LEN]),
) {
    let (blocks, _) = bytes.as_chunks::<BYTES>();
    let (chunks, _) = out.as_chunks_mut::<LEN>();
    blocks.iter().zip(chunks).for_each(|(block, chunk)| dequantize(block, chunk));
}

/// Scale, 32 nibbles around 8.
pub(crate) fn q4_0(block: &[u8; 18], out: &mut [f32; 32]) {
    let d = half(block, 0);
    for (j, byte) in block[2..].iter().enumerate() {
        out[j] = (f32::from(byte & 15) - 8.0) * d;
        out[j + 16] = (f32::from(byte >> 4) - 8.0) * d;
    }
}

/// Scale, minimum, 32 nibbles.
fn q4_1(block: &[u8; 20], out: &mut [f32; 32]) {
    let (d, m) = (half(block, 0), half(block, 2));
    for (j, byte) in block[4..].iter().enumerate() {
        out[j] = f32::from(byte & 15) * d + m;
        out[j + 16] = f32::from(byte >> 4) * d + m;
    }
}

/// The 5-bit values of a Q5_0 or Q5_1 block: nibbles in `low`, fifth bits in `high`.
fn five_bits(high: &[u8], low: &[u8], j: usize) -> (f32, f32) {
    let high = u32::from_le_bytes([high[0], high[1], high[2], high[3]]);
    let first = (low[j] & 15) | (((high >> j) as u8 & 1) << 4);
    let second = (low[j] >> 4) | (((high >> (j + 16)) as u8 & 1) << 4);
    (f32::from(first), f32::from(second))
}

fn q5_0(block: &[u8; 22], out: &mut [f32; 32]) {
    let d = half(block, 0);
    for j in 0..16 {
        let (first, second) = five_bits(&block[2..6], &block[6..], j);
        out[j] = (first - 16.0) * d;
        out[j + 16] = (second - 16.0) * d;
    }
}

fn q5_1(block: &[u8; 24], out: &mut [f32; 32]) {
    let (d, m) = (half(block, 0), half(block, 2));
    for j in 0..16 {
        let (first, second) = five_bits(&block[4..8], &block[8..], j);
        out[j] = first * d + m;
        out[j + 16] = second * d + m;
    }
}

pub(crate) fn q8_0(block: &[u8; 34], out: &mut [f32; 32]) {
    let d = half(block, 0);
    for (value, byte) in out.iter_mut().zip(&block[2..]) {
        *value = f32::from(*byte as i8) * d;
    }
}

/// The 6-bit scale and minimum of sub-block `j` of a Q4_K or Q5_K block.
fn scale_and_min(scales: &[u8], j: usize) -> (f32, f32) {
    let (scale, min) = if j < 4 {
        (scales[j] & 63, scales[j + 4] & 63)
    } else {
        (
            (scales[j + 4] & 15) | ((scales[j - 4] >> 6) << 4),
            (scales[j + 4] >> 4) | ((scales[j] >> 6) << 4),
        )
    };
    (f32::from(scale), f32::from(min))
}

fn q4_k(block: &[u8; 144], out: &mut [f32; 256]) {
    let (d, dmin) = (half(block, 0), half(block, 2));
    let (scales, quants) = (&block[4..16], &block[16..]);
    for (pair, (out, quants)) in out.chunks_exact_mut(64).zip(quants.chunks_exact(32)).enumerate() {
        let (scale, min) = scale_and_min(scales, 2 * pair);
        let (d1, m1) = (d * scale, dmin * min);
        let (scale, min) = scale_and_min(scales, 2 * pair + 1);
        let (d2, m2) = (d * scale, dmin * min);
        for (l, byte) in quants.iter().enumerate() {
            out[l] = d1 * f32::from(byte & 15) - m1;
            out[l + 32] = d2 * f32::from(byte >> 4) - m2;
        }
    }
}

fn q5_k(block: &[u8; 176], out: &mut [f32; 256]) {
    let (d, dmin) = (half(block, 0), half(block, 2));
    let (scales, high, low) = (&block[4..16], &block[16..48], &block[48..]);
    for (pair, (out, low)) in out.chunks_exact_mut(64).zip(low.chunks_exact(32)).enumerate() {
        let (scale, min) = scale_and_min(scales, 2 * pair);
        let (d1, m1) = (d * scale, dmin * min);
        let (scale, min) = scale_and_min(scales, 2 * pair + 1);
        let (d2, m2) = (d * scale, dmin * min);
        for l in 0..32 {
            let first = (low[l] & 15) | (((high[l] >> (2 * pair)) & 1) << 4);
            let second = (low[l] >> 4) | (((high[l] >> (2 * pair + 1)) & 1) << 4);
            out[l] = d1 * f32::from(first) - m1;
            out[l + 32] = d2 * f32::from(second) - m2;
        }
    }
}

fn q6_k(block: &[u8; 210], out: &mut [f32; 256]) {
    let d = half(block, 208);
    for n in 0..2 {
        let low = &block[64 * n..64 * (n + 1)];
        let high = &block[128 + 32 * n..128 + 32 * (n + 1)];
        let scales = &block[192 + 8 * n..192 + 8 * (n + 1)];
        let out = &mut out[128 * n..128 * (n + 1)];
        for l in 0..32 {
            let quarter = [low[l] & 15, low[l + 32] & 15, low[l] >> 4, low[l + 32] >> 4];
            for (k, nibble) in quarter.into_iter().enumerate() {
                let quant = (nibble | (((high[l] >> (2 * k)) & 3) << 4)) as i8 - 32;
                let scale = scales[l / 16 + 2 * k] as i8;
                out[l + 32 * k] = d * f32::from(scale) * f32::from(quant);
            }
        }
    }
}

/// The scale as it is stored; NaN for a block that is not all numbers, which would else be rounded to
/// some.
fn stored_scale(values: &[f32; 32], scale: f32) -> [u8; 2] {
    let numbers = values.iter().all(|value| value.is_finite());
    f16::from_f32(if numbers { scale } else { f32::NAN }).to_le_bytes()
}

/// One block of Q8_0.
pub(crate) fn quantize_q8_0(values: &[f32; 32], block: &mut [u8]) {
    let largest = values.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    let d = largest / 127.0;
    let inverse = if d > 0.0 { 1.0 / d } else { 0.0 };
    block[..2].copy_from_slice(&stored_scale(values, d));
    for (byte, value) in block[2..].iter_mut().zip(values) {
        *byte = (value * inverse).round() as i8 as u8;
    }
}

/// One block of Q4_0: the number of the largest magnitude becomes the integer -8.
pub(crate) fn quantize_q4_0(values: &[f32; 32], block: &mut [u8]) {
    let further = |far: f32, &value: &f32| if value.abs() > far.abs() { value } else { far };
    let d = values.iter().fold(0.0, further) / -8.0;
    let inverse = if d != 0.0 { 1.0 / d } else { 0.0 };
    block[..2].copy_from_slice(&stored_scale(values, d));
    let nibble = |value: f32| ((value * inverse + 8.5) as u8).min(15);
    for (j, byte) in block[2..].iter_mut().enumerate() {
        *byte = nibble(values[j]) | (nibble(values[j + 16]) << 4);
    }
}
