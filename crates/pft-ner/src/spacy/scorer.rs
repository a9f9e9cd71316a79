//! The upper part of the transition model: scores of moves.

use pft_pii::LoadError;

use super::features::POSITIONS;
use super::maxout::by_piece;
use super::thinc::ThincModel;
use crate::kernels::{Linear, add, add_rows, maxout, transpose};

/// The upper part of the transition model: from the features of a state to scores of moves.
pub(super) struct Scorer {
    /// Features of a state position without a word, `[features, pieces, hidden]`.
    padding: Vec<f32>,
    bias: Vec<f32>,
    pieces: usize,
    hidden: usize,
    /// The upper layer: `[moves, hidden]`, and its bias.
    upper: Linear,
}

impl Scorer {
    /// Takes the parameters out of the model.
    pub(super) fn load(ner: &ThincModel<'_>, moves: usize) -> Result<Self, LoadError> {
        let affine = ner.only("precomputable_affine")?;
        let (hidden, pieces) = (affine.dimension("nO")?, affine.dimension("nP")?);
        let linears = ner.named("linear");
        let [upper, _] = linears[..] else {
            return Err(ner.error("the transition model has no upper layer (use_upper = false)"));
        };
        let padding = affine.parameter("pad", &[1, POSITIONS, hidden, pieces])?;
        Ok(Self {
            padding: padding
                .chunks_exact(hidden * pieces)
                .flat_map(|feature| by_piece(feature, [hidden, pieces], 1))
                .collect(),
            bias: by_piece(&affine.parameter("b", &[hidden, pieces])?, [hidden, pieces], 1),
            pieces,
            hidden,
            upper: Linear {
                weight: upper.parameter("W", &[moves, hidden])?,
                bias: upper.parameter("b", &[moves])?,
            },
        })
    }

    /// What scores these moves.
    pub(super) fn choice(&self, moves: Vec<usize>) -> Choice {
        let rows = moves.iter().flat_map(|&m| &self.upper.weight[m * self.hidden..][..self.hidden]);
        let rows: Vec<f32> = rows.copied().collect();
        let bias = moves.iter().map(|&m| self.upper.bias[m]).collect();
        Choice { moves, weight: transpose(&rows, self.hidden), bias }
    }

    /// Scores of the moves of a choice in a state whose words have these features, by
    /// [`Position`](super::features::Position) (`None`: no word); `scratch` keeps its memory between
    /// calls.
    pub(super) fn score(
        &self,
        scores: &mut Vec<f32>,
        scratch: &mut Vec<f32>,
        features: [Option<&[f32]>; POSITIONS],
        choice: &Choice,
    ) {
        let size = self.pieces * self.hidden;
        scratch.clear();
        scratch.extend_from_slice(&self.bias);
        scratch.resize(size + self.hidden, 0.0);
        let (state, hidden) = scratch.split_at_mut(size);
        for (word, padding) in features.into_iter().zip(self.padding.chunks_exact(size)) {
            add(state, word.unwrap_or(padding));
        }
        maxout(hidden, state, self.pieces, self.hidden);
        scores.clear();
        scores.extend_from_slice(&choice.bias);
        add_rows(scores, hidden, &choice.weight);
    }
}

/// The part of the upper layer that scores some of the moves.
pub(super) struct Choice {
    /// The moves' numbers.
    pub(super) moves: Vec<usize>,
    /// `[hidden, moves]`.
    weight: Vec<f32>,
    bias: Vec<f32>,
}
