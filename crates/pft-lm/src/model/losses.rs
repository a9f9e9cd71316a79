//! What a pass over a batch found, by token and by sequence.

use crate::batch::Batch;

/// What a pass over a batch found.
#[derive(Debug, Clone, PartialEq)]
pub struct Losses {
    /// Each token's negative log-likelihood (nats) given those before it, as the batch's rows;
    /// 0 for the first token of a sequence.
    pub per_token: Vec<f32>,
    /// Each sequence's loss: its tokens' values summed with the batch's weights.
    pub per_sequence: Vec<f32>,
}

impl Losses {
    /// From each row's loss, which is that of predicting the next row's token.
    pub(crate) fn new(batch: &Batch, by_row: &[f32]) -> Self {
        let mut per_token = vec![0.0; batch.rows()];
        let mut per_sequence = Vec::with_capacity(batch.len());
        for range in batch.offsets().windows(2) {
            let (first, end) = (range[0], range[1]);
            per_token[first + 1..end].copy_from_slice(&by_row[first..end - 1]);
            let weights = &batch.loss_weights()[first + 1..end];
            let losses = &per_token[first + 1..end];
            let sum: f64 =
                weights.iter().zip(losses).map(|(w, l)| f64::from(*w) * f64::from(*l)).sum();
            per_sequence.push(sum as f32);
        }
        Self { per_token, per_sequence }
    }

    /// The batch's loss: the sum over its sequences.
    pub fn total(&self) -> f64 {
        self.per_sequence.iter().map(|&loss| f64::from(loss)).sum()
    }
}
