//! Rotary positions: pairs of a head's numbers, halves or neighbours, turn by position ·
//! `frequency[i]`; numbers beyond the first `rotary_dim` stay.
//!
//! The backward is the same turn the other way.

use candle_core::{D, DType, Device, Result, Tensor};
use candle_nn::rotary_emb::{rope, rope_i};

use crate::device::ops::upload;
use crate::layers::rope::Rope;

/// Cosines and sines of each position and frequency, `[positions, head_dim / 2]`.
#[derive(Debug, Clone)]
pub(crate) struct Turns {
    cosines: Tensor,
    sines: Tensor,
    back: Tensor,
    interleaved: bool,
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
        let interleaved = rope.interleaved();
        Ok(Self { cosines: cosines?, back: sines.neg()?, sines, interleaved })
    }

    /// Positions that the tables hold.
    pub(crate) fn reach(&self) -> usize {
        self.cosines.dims()[0]
    }

    /// Turns `x`, `[sequences, heads, positions, head_dim]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.turn(x, &self.sines)
    }

    /// Turns a gradient back.
    pub(crate) fn backward(&self, g: &Tensor) -> Result<Tensor> {
        self.turn(g, &self.back)
    }

    fn turn(&self, x: &Tensor, sines: &Tensor) -> Result<Tensor> {
        let turn = if self.interleaved { rope_i } else { rope };
        let (width, turned) = (x.dim(D::Minus1)?, 2 * sines.dim(1)?);
        if turned == width {
            return turn(x, &self.cosines, sines);
        }
        let first = turn(&x.narrow(D::Minus1, 0, turned)?.contiguous()?, &self.cosines, sines)?;
        Tensor::cat(&[first, x.narrow(D::Minus1, turned, width - turned)?], D::Minus1)
    }
}
