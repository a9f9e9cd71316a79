//! Frozen weights in GGUF's blocks of 32 numbers.

use pft_gguf::{BLOCK_LEN, BlockFormat};

/// Rows of numbers in blocks; no row ends within one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocks {
    format: BlockFormat,
    bytes: Vec<u8>,
}

impl Blocks {
    /// No numbers, with room for `count`.
    pub fn with_capacity(format: BlockFormat, count: usize) -> Self {
        let bytes = Vec::with_capacity(count / BLOCK_LEN * format.block_bytes());
        Self { format, bytes }
    }

    /// Rounds and appends whole blocks.
    pub fn push(&mut self, values: &[f32]) {
        self.bytes.extend(self.format.quantize(values));
    }

    /// The format.
    pub fn format(&self) -> BlockFormat {
        self.format
    }

    /// How many numbers there are.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.format.block_bytes() * BLOCK_LEN
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn bytes_of(&self, start: usize, count: usize) -> &[u8] {
        debug_assert!(start.is_multiple_of(BLOCK_LEN) && count.is_multiple_of(BLOCK_LEN));
        let size = self.format.block_bytes();
        &self.bytes[start / BLOCK_LEN * size..(start + count) / BLOCK_LEN * size]
    }

    /// Widens the numbers from `start` on, which begins a block, as many as fill `values`.
    pub(crate) fn widen(&self, start: usize, values: &mut [f32]) {
        self.format.dequantize(self.bytes_of(start, values.len()), values);
    }

    /// [`Blocks::widen`] on all threads.
    pub(crate) fn par_widen(&self, start: usize, values: &mut [f32]) {
        self.format.par_dequantize(self.bytes_of(start, values.len()), values);
    }

    /// All numbers.
    pub fn to_f32(&self) -> Vec<f32> {
        let mut values = vec![0.0; self.len()];
        self.par_widen(0, &mut values);
        values
    }
}
