//! Rotary positions: each pair `x[i], x[i + d/2]` of a head turns by position · `frequency[i]`.
//!
//! The backward is the same turn the other way.

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::rotary_emb::rope;

use crate::device::ops::upload;
use crate::layers::rope::Rope;

/// Cosines and sines of each position and frequency, `[positions, head_dim / 2]`.
#[derive(Debug, Clone)]
pub(crate) struct Turns {
    cosines: Tensor,
    sines: Tensor,
    back: Tensor,
}

impl Turns {
    /// The turns of `positions` positions.
    pub(crate) fn new(
        rope: &mut Rope,
        positions: usize,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        rope.reach(positions);
        let [cosines, sines] = rope.tables();
        let shape = [positions, cosines.len() / positions.max(1)];
        let [cosines, sines] = [cosines, sines].map(|table| upload(table, &shape, dtype, device));
        let sines = sines?;
        Ok(Self { cosines: cosines?, back: sines.neg()?, sines })
    }

    /// Positions that the tables hold.
    pub(crate) fn reach(&self) -> usize {
        self.cosines.dims()[0]
    }

    /// Turns `x`, `[sequences, heads, positions, head_dim]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        rope(x, &self.cosines, &self.sines)
    }

    /// Turns a gradient back.
    pub(crate) fn backward(&self, g: &Tensor) -> Result<Tensor> {
        rope(g, &self.cosines, &self.back)
    }
}
