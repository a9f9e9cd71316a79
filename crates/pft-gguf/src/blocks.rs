//! Numbers in blocks of 32 that share a scale, for weights that stay so in memory and are widened
//! where they are used.

use rayon::prelude::*;

use crate::quant;

/// Numbers in a block.
pub const BLOCK_LEN: usize = 32;

/// Blocks that a thread takes at once.
const BLOCKS_PER_TASK: usize = 512;

/// A format of blocks, as GGUF files have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(non_camel_case_types)]
pub enum BlockFormat {
    /// 8-bit integers: 8.5 bits a number.
    Q8_0,
    /// 4-bit integers: 4.5 bits a number.
    Q4_0,
}

impl BlockFormat {
    /// The bytes of a block: a 16-bit scale and the integers.
    pub fn block_bytes(self) -> usize {
        match self {
            Self::Q8_0 => 34,
            Self::Q4_0 => 18,
        }
    }

    /// Rounds whole blocks of numbers as ggml does. A block that holds NaN or an infinity comes back
    /// as NaN.
    pub fn quantize(self, values: &[f32]) -> Vec<u8> {
        let (values, _) = values.as_chunks::<BLOCK_LEN>();
        let mut bytes = vec![0; values.len() * self.block_bytes()];
        let quantize = match self {
            Self::Q8_0 => quant::quantize_q8_0,
            Self::Q4_0 => quant::quantize_q4_0,
        };
        let blocks = bytes.par_chunks_mut(BLOCKS_PER_TASK * self.block_bytes());
        blocks.zip(values.par_chunks(BLOCKS_PER_TASK)).for_each(|(bytes, values)| {
            let blocks = bytes.chunks_exact_mut(self.block_bytes());
            blocks.zip(values).for_each(|(block, values)| quantize(values, block));
        });
        bytes
    }

    /// Widens as many blocks as fill `values`, on the calling thread.
    pub fn dequantize(self, blocks: &[u8], values: &mut [f32]) {
        match self {
            Self::Q8_0 => quant::each_block(blocks, values, quant::q8_0),
            Self::Q4_0 => quant::each_block(blocks, values, quant::q4_0),
        }
    }

    /// [`BlockFormat::dequantize`] on all threads.
    pub fn par_dequantize(self, blocks: &[u8], values: &mut [f32]) {
        let blocks = blocks.par_chunks(BLOCKS_PER_TASK * self.block_bytes());
        values
            .par_chunks_mut(BLOCKS_PER_TASK * BLOCK_LEN)
            .zip(blocks)
            .for_each(|(values, blocks)| self.dequantize(blocks, values));
    }
}
