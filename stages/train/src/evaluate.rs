//! Perplexity: over all tokens, over those in personal data, and over the others.

use pft_stage::StageError;
use serde::{Deserialize, Serialize};

use crate::data::{Sequence, batch_of, micro_batches};
use crate::processor::Processor;

/// Sums of negative log-likelihoods (nats) by class of token.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Predicted tokens.
    pub tokens: u64,
    /// Those that touch personal data.
    pub pii_tokens: u64,
    /// Sum over all predicted tokens.
    pub nll: f64,
    /// Sum over those that touch personal data.
    pub pii_nll: f64,
}

impl Scores {
    /// exp of the mean over all tokens; `None` without tokens.
    pub fn perplexity(&self) -> Option<f64> {
        exp_mean(self.nll, self.tokens)
    }

    /// exp of the mean over tokens that touch personal data.
    pub fn pii_perplexity(&self) -> Option<f64> {
        exp_mean(self.pii_nll, self.pii_tokens)
    }

    /// exp of the mean over the other tokens.
    pub fn other_perplexity(&self) -> Option<f64> {
        exp_mean(self.nll - self.pii_nll, self.tokens - self.pii_tokens)
    }

    /// Whether the model's answers are no numbers, or its perplexity beyond any.
    pub(crate) fn are_lost(&self) -> bool {
        self.perplexity().is_some_and(|perplexity| !perplexity.is_finite())
    }
}

fn exp_mean(sum: f64, count: u64) -> Option<f64> {
    (count > 0).then(|| (sum / count as f64).exp())
}

/// Scores a model on sequences.
///
/// # Errors
/// When a sequence does not fit the model.
pub(crate) fn evaluate<P: Processor>(
    processor: &mut P,
    sequences: &[&Sequence],
    micro_batch_tokens: usize,
) -> Result<Scores, StageError> {
    let mut scores = Scores::default();
    let groups = sequences.iter().map(|sequence| vec![*sequence]).collect();
    for groups in micro_batches(groups, micro_batch_tokens) {
        let batch = batch_of(&groups)?;
        let losses = processor.evaluate(&batch)?;
        let mut rows = losses.per_token.iter();
        for sequence in groups.iter().flatten() {
            for (index, (&pii, &nll)) in sequence.pii.iter().zip(rows.by_ref()).enumerate() {
                if index == 0 {
                    continue;
                }
                scores.tokens += 1;
                scores.nll += f64::from(nll);
                if pii {
                    scores.pii_tokens += 1;
                    scores.pii_nll += f64::from(nll);
                }
            }
        }
    }
    Ok(scores)
}
