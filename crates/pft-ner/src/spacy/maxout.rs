//! A maxout layer with layer norm, as thinc stores it.

use pft_pii::LoadError;

use super::thinc::Node;
use crate::kernels::{LayerNorm, Linear};

/// thinc's layer norm adds this to the variance.
const EPSILON: f32 = 1e-8;

/// A maxout layer with layer norm. The outputs of its linear part are ordered by piece, so that
/// the maximum is taken over whole blocks.
pub(super) struct Maxout {
    pub(super) linear: Linear,
    pub(super) pieces: usize,
    pub(super) norm: LayerNorm,
}

impl Maxout {
    pub(super) fn load(layer: Node<'_>, norm: Node<'_>, inputs: usize) -> Result<Self, LoadError> {
        let (outputs, pieces) = (layer.dimension("nO")?, layer.dimension("nP")?);
        let weight = layer.parameter("W", &[outputs, pieces, inputs])?;
        let bias = layer.parameter("b", &[outputs, pieces])?;
        Ok(Self {
            linear: Linear {
                weight: by_piece(&weight, [outputs, pieces], inputs),
                bias: by_piece(&bias, [outputs, pieces], 1),
            },
            pieces,
            norm: LayerNorm {
                weight: norm.parameter("G", &[outputs])?,
                bias: norm.parameter("b", &[outputs])?,
                epsilon: EPSILON,
            },
        })
    }

    pub(super) fn outputs(&self) -> usize {
        self.linear.bias.len() / self.pieces
    }
}

/// `[outputs, pieces, width]` to `[pieces, outputs, width]`.
pub(super) fn by_piece(values: &[f32], [outputs, pieces]: [usize; 2], width: usize) -> Vec<f32> {
    let mut ordered = Vec::with_capacity(values.len());
    for piece in 0..pieces {
        for output in 0..outputs {
            ordered.extend_from_slice(&values[(output * pieces + piece) * width..][..width]);
        }
    }
    ordered
}
