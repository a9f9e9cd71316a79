//! What a batch's layout makes of each row: its place, what it predicts, and how much that counts.

use crate::batch::Batch;
use crate::layers::cross_entropy::Targets;

/// What follows from a batch's layout, a value for each row.
#[derive(Debug)]
pub(crate) struct Inputs {
    /// The row's place in its sequence.
    pub(crate) positions: Vec<u32>,
    /// The token that it is to predict; any where there is none.
    pub(crate) targets: Vec<u32>,
    /// How much its loss counts.
    pub(crate) weights: Vec<f32>,
}

impl Inputs {
    /// Row `r` predicts the token of row `r + 1`; the last row of a sequence predicts nothing.
    pub(crate) fn new(batch: &Batch) -> Self {
        let mut inputs = Self { positions: Vec::new(), targets: Vec::new(), weights: Vec::new() };
        for range in batch.offsets().windows(2) {
            let (first, end) = (range[0], range[1]);
            inputs.positions.extend(0..(end - first) as u32);
            inputs.targets.extend_from_slice(&batch.input_ids()[first + 1..end]);
            inputs.targets.push(0);
            inputs.weights.extend_from_slice(&batch.loss_weights()[first + 1..end]);
            inputs.weights.push(0.0);
        }
        inputs
    }

    pub(crate) fn targets(&self) -> Targets<'_> {
        Targets { tokens: &self.targets, weights: &self.weights }
    }
}
