//! Perplexity: over all tokens, over those in personal data, and over the others; of examples with a loss
//! mask over their answers alone.

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
                // Nothing predicts the first token; what is context alone was counted before.
                if !sequence.is_target(index) || index < sequence.context {
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

#[cfg(test)]
mod tests {
    use pft_lm::config::ModelConfig;
    use pft_lm::model::{LanguageModel, init};
    use pft_lm::optimizer::{Optimizer, OptimizerConfig};

    use super::*;
    use crate::processor::Cpu;

    fn processor() -> Cpu {
        let config = serde_json::json!({
            "model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 64,
            "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
            "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 32,
            "rms_norm_eps": 1e-5, "tie_word_embeddings": true,
        });
        let config = ModelConfig::from_json(&config.to_string()).unwrap();
        let parameters = init::random(&config, 7).unwrap();
        let model = LanguageModel::new(config, parameters, None, 1).unwrap();
        let rule = OptimizerConfig::Sgd { momentum: 0.0, weight_decay: 0.0 };
        let optimizer = Optimizer::new(rule, model.parameters());
        Cpu::new(model, optimizer)
    }

    /// Hugging Face's recipe for models of fixed length: windows that begin `stride` tokens apart, of
    /// which each counts what lies behind the end of the window before.
    #[test]
    fn overlapping_windows_count_each_token_once() {
        let mut processor = processor();
        let tokens: Vec<u32> = (0..75).map(|i| (i * i * 7 + 3) % 64).collect();
        for (length, stride) in [(20, 8), (20, 20), (9, 1), (32, 31)] {
            let mut windows = Vec::new();
            let (mut begin, mut previous_end, mut count, mut nll) = (0, 0, 0_u64, 0.0);
            loop {
                let end = (begin + length).min(tokens.len());
                let window = Sequence {
                    input_ids: tokens[begin..end].to_vec(),
                    pii: vec![false; end - begin],
                    context: previous_end - begin,
                    loss_mask: Vec::new(),
                };
                let batch = batch_of(&[vec![&window]]).unwrap();
                let losses = processor.evaluate(&batch).unwrap().per_token;
                let counted = (end - previous_end).min(end - begin - 1);
                count += counted as u64;
                nll += losses[end - begin - counted..].iter().map(|&x| f64::from(x)).sum::<f64>();
                windows.push(window);
                previous_end = end;
                if end == tokens.len() {
                    break;
                }
                begin += stride;
            }
            let windows: Vec<&Sequence> = windows.iter().collect();
            let scores = evaluate(&mut processor, &windows, 50).unwrap();
            assert_eq!(scores.tokens, count, "{length} {stride}");
            assert!((scores.nll - nll).abs() < 1e-4 * nll, "{} {nll}", scores.nll);
            if stride < length {
                assert_eq!(scores.tokens, 74, "each but the first");
            }
        }
    }

    /// By hand: the mean over the answers' tokens, whatever else is in the sequences.
    #[test]
    fn of_masked_sequences_answers_alone_are_scored() {
        let mut processor = processor();
        let sequence = |seed: u32, mask: &[bool]| Sequence {
            input_ids: (0..mask.len() as u32).map(|i| (i * i * 5 + seed) % 64).collect(),
            pii: mask.iter().enumerate().map(|(i, _)| i % 2 == 0).collect(),
            context: 0,
            loss_mask: mask.to_vec(),
        };
        let sequences = [
            sequence(1, &[true, false, true, true]),
            sequence(9, &[false, false, true, false, false, true]),
        ];
        let counted = [vec![2, 3], vec![2, 5]];
        let (mut nll, mut pii_nll, mut pii) = (0.0, 0.0, 0);
        for (sequence, counted) in sequences.iter().zip(&counted) {
            let losses = processor.evaluate(&batch_of(&[vec![sequence]]).unwrap()).unwrap();
            for &at in counted {
                nll += f64::from(losses.per_token[at]);
                if at % 2 == 0 {
                    pii += 1;
                    pii_nll += f64::from(losses.per_token[at]);
                }
            }
        }
        let sequences: Vec<&Sequence> = sequences.iter().collect();
        let scores = evaluate(&mut processor, &sequences, 50).unwrap();
        assert_eq!((scores.tokens, scores.pii_tokens), (4, pii));
        assert!((scores.nll - nll).abs() < 1e-5 && (scores.pii_nll - pii_nll).abs() < 1e-5);
    }
}
