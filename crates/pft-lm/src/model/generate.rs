//! Sampling from a model, one token at a time, with the keys and values of earlier ones kept.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use thiserror::Error;

use super::LanguageModel;
use super::block::KeyValues;
use super::init::uniform;
use crate::kernels::int8::Int8Rows;
use crate::kernels::matmul::Layout;
use crate::layers::Pass;
use crate::names::layout_of;
use crate::parameters::{ParameterKind, parameter_specs};

/// How the next token is drawn.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// Divides the logits; 0 takes the likeliest token always.
    pub temperature: f64,
    /// Draw among the likeliest `top_k` tokens only.
    pub top_k: Option<usize>,
    /// Draw among the fewest likeliest tokens whose probabilities reach `top_p`.
    pub top_p: Option<f64>,
    /// Most tokens to add.
    pub max_new_tokens: usize,
    /// Stop after one of these; usually the config's `eos_token_ids`.
    pub stop_tokens: Vec<u32>,
}

/// A prompt that cannot be continued.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GenerateError {
    /// There is no token to start from.
    #[error("the prompt is empty; start it with the model's BOS token")]
    Empty,
    /// The prompt fills the context.
    #[error("the prompt has {length} tokens; the model takes at most {limit}")]
    TooLong {
        /// Tokens of the prompt.
        length: usize,
        /// `max_position_embeddings`.
        limit: usize,
    },
    /// A token id is outside the vocabulary.
    #[error("the prompt holds the token {token}, outside the vocabulary of {vocabulary}")]
    Vocabulary {
        /// The token.
        token: u32,
        /// The size of the vocabulary.
        vocabulary: usize,
    },
}

impl LanguageModel {
    /// Continues `prompt`; returns the new tokens, a stop token included. The same seed gives the
    /// same tokens.
    ///
    /// # Errors
    /// When the prompt is empty, longer than the context, or holds unknown tokens.
    pub fn generate(
        &mut self,
        prompt: &[u32],
        sampling: &Sampling,
        seed: u64,
    ) -> Result<Vec<u32>, GenerateError> {
        let limit = self.config.max_position_embeddings;
        let vocabulary = self.config.vocab_size;
        if prompt.is_empty() {
            return Err(GenerateError::Empty);
        }
        if prompt.len() > limit {
            return Err(GenerateError::TooLong { length: prompt.len(), limit });
        }
        if let Some(&token) = prompt.iter().find(|&&token| token as usize >= vocabulary) {
            return Err(GenerateError::Vocabulary { token, vocabulary });
        }
        let end = (prompt.len() + sampling.max_new_tokens).min(limit);
        self.ropes.iter_mut().for_each(|rope| rope.reach(end));
        // In the pool, so that no operation waits for a thread to take it up.
        Ok(rayon::scope(|_| self.continued(prompt, end, sampling, seed)))
    }

    /// Tokens after `prompt`, up to a length of `end`.
    fn continued(&self, prompt: &[u32], end: usize, sampling: &Sampling, seed: u64) -> Vec<u32> {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        let mut caches: Vec<KeyValues> =
            self.layers.blocks.iter().map(|block| KeyValues::new(block.heads, end)).collect();
        let mut new = Vec::new();
        let mut fed = prompt.to_vec();
        let mut past = 0;
        for _ in prompt.len()..end {
            let logits = self.extend(&fed, past, &mut caches);
            past += fed.len();
            let token = draw(&logits, sampling, &mut generator);
            new.push(token);
            if sampling.stop_tokens.contains(&token) {
                break;
            }
            fed = vec![token];
        }
        new
    }

    /// Feeds `tokens` after `past` earlier ones; returns the logits after the last.
    fn extend(&self, tokens: &[u32], past: usize, caches: &mut [KeyValues]) -> Vec<f32> {
        let positions: Vec<u32> = (past as u32..(past + tokens.len()) as u32).collect();
        let sequences = [0, tokens.len()];
        let pass = Pass {
            parameters: &self.parameters,
            pool: &self.pool,
            ropes: &self.ropes,
            sequences: &sequences,
            positions: &positions,
            seeds: None,
            int8: &self.int8,
        };
        let mut x = self.embed(tokens, &positions);
        for (block, cache) in self.layers.blocks.iter().zip(caches) {
            x = block.extend(&pass, &x, cache);
        }
        let last = x.view_rows(x.rows() - 1, 1);
        let hidden = self.layers.norm.forward(&pass, last.as_slice()).0;
        self.layers.head.logits(&pass, &hidden).0.to_vec()
    }

    /// Lets [`generate`](Self::generate) read weights that are rounded to 8 bits, as llama.cpp
    /// does with a Q8_0 file: several times as fast, with logits that are off by about a
    /// hundredth of their spread. It lasts until parameters change. Adapters stay as they are.
    pub fn round_for_generation(&mut self) {
        let head = self.layers.head.weight;
        let specs: Vec<_> = parameter_specs(&self.config);
        let base = |name: &str| specs.iter().any(|spec| spec.name == name);
        self.int8 = self
            .parameters
            .iter()
            .map(|(id, parameter)| {
                let spec = &parameter.spec;
                let multiplies = spec.kind == ParameterKind::Weight && base(&spec.name);
                if spec.shape.len() != 2 || !(multiplies || id == head) {
                    return None;
                }
                let values = parameter.tensor.to_f32();
                if layout_of(&spec.name) == Layout::InOut {
                    let (inputs, outputs) = (spec.shape[0], spec.shape[1]);
                    return Int8Rows::new(&transposed(&values, outputs), inputs);
                }
                Int8Rows::new(&values, spec.shape[1])
            })
            .collect();
    }
}

/// The columns of a matrix with rows of `width`, one after the other.
fn transposed(values: &[f32], width: usize) -> Vec<f32> {
    (0..width).flat_map(|column| values[column..].iter().step_by(width).copied()).collect()
}

/// How many of the likeliest tokens are sorted before it is seen whether `top_p` needs more.
const NUCLEUS: usize = 512;

/// Draws a token from its logits.
fn draw(logits: &[f32], sampling: &Sampling, generator: &mut ChaCha8Rng) -> u32 {
    // Ties go to the smaller id, so that the order is one whatever the sort does.
    let likelier =
        |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
    let mut ids: Vec<u32> = (0..logits.len() as u32).collect();
    let best = ids.iter().copied().min_by(likelier).unwrap_or(0);
    if sampling.temperature <= 0.0 || logits.is_empty() {
        return best;
    }
    let largest = f64::from(logits[best as usize]);
    let weight =
        |id: &u32| ((f64::from(logits[*id as usize]) - largest) / sampling.temperature).exp();
    if let Some(top_k) = sampling.top_k {
        keep_likeliest(&mut ids, top_k.max(1), likelier);
    }
    if let Some(top_p) = sampling.top_p {
        let wanted = top_p * ids.iter().map(weight).sum::<f64>();
        let mut head = ids.clone();
        keep_likeliest(&mut head, NUCLEUS, likelier);
        if head.iter().map(weight).sum::<f64>() >= wanted {
            ids = head;
        }
        ids.sort_unstable_by(likelier);
        let mut reached = 0.0;
        let enough = ids.iter().position(|id| {
            reached += weight(id);
            reached >= wanted
        });
        ids.truncate(enough.map_or(ids.len(), |last| last + 1));
    } else {
        ids.sort_unstable();
    }
    let weights: Vec<f64> = ids.iter().map(weight).collect();
    let mut left = uniform(generator) * weights.iter().sum::<f64>();
    for (&id, weight) in ids.iter().zip(&weights) {
        left -= weight;
        if left < 0.0 {
            return id;
        }
    }
    ids[ids.len() - 1]
}

/// Drops all but the `count` likeliest ids; the order is arbitrary then.
fn keep_likeliest(
    ids: &mut Vec<u32>,
    count: usize,
    likelier: impl Fn(&u32, &u32) -> std::cmp::Ordering,
) {
    if count < ids.len() {
        ids.select_nth_unstable_by(count - 1, likelier);
        ids.truncate(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampling(temperature: f64, top_k: Option<usize>, top_p: Option<f64>) -> Sampling {
        Sampling { temperature, top_k, top_p, max_new_tokens: 1, stop_tokens: Vec::new() }
    }

    /// Both families: the logits after a prompt, one token at a time, exact and rounded.
    #[test]
    fn rounded_weights_move_logits_by_little() {
        let llama = r#"{"model_type":"llama","vocab_size":96,"hidden_size":64,
            "intermediate_size":96,"num_hidden_layers":3,"num_attention_heads":4,
            "num_key_value_heads":2,"max_position_embeddings":32,"tie_word_embeddings":true}"#;
        let gpt2 = r#"{"model_type":"gpt2","vocab_size":96,"n_embd":64,"n_layer":3,"n_head":4,
            "n_positions":32}"#;
        for text in [llama, gpt2] {
            let config = crate::config::ModelConfig::from_json(text).unwrap();
            let parameters = super::super::init::random(&config, 3).unwrap();
            let mut model = LanguageModel::new(config, parameters, None, 3).unwrap();
            for rope in &mut model.ropes {
                rope.reach(32);
            }
            let logits = |model: &LanguageModel| -> Vec<f32> {
                let mut caches: Vec<KeyValues> = model
                    .layers
                    .blocks
                    .iter()
                    .map(|block| KeyValues::new(block.heads, 32))
                    .collect();
                let tokens = [5, 17, 80, 3, 44];
                (0..5).map(|at| model.extend(&tokens[at..=at], at, &mut caches)).last().unwrap()
            };
            let exact = logits(&model);
            model.round_for_generation();
            assert!(model.int8.iter().flatten().count() >= 3 * 4);
            let rounded = logits(&model);
            let norm = |values: &mut dyn Iterator<Item = f32>| -> f32 {
                values.map(|value| value * value).sum::<f32>().sqrt()
            };
            let apart = norm(&mut exact.iter().zip(&rounded).map(|(e, r)| e - r));
            let size = norm(&mut exact.iter().copied());
            assert!(apart > 0.0 && apart < 0.02 * size, "{apart} of {size}");
            model.parameters_mut();
            assert_eq!(logits(&model), exact, "changed parameters are read as they are");
        }
    }

    #[test]
    fn draws_follow_the_softmax_within_what_top_k_and_top_p_leave() {
        let logits = [0.0f32, 2.0, 1.0, -1.0];
        let mut generator = ChaCha8Rng::seed_from_u64(5);
        let mut share = |sampling: &Sampling| {
            let mut counts = [0.0; 4];
            for _ in 0..20_000 {
                counts[draw(&logits, sampling, &mut generator) as usize] += 1.0 / 20_000.0;
            }
            counts
        };
        let total: f64 = logits.iter().map(|&l| f64::from(l).exp()).sum();
        for (share, logit) in share(&sampling(1.0, None, None)).into_iter().zip(logits) {
            assert!((share - f64::from(logit).exp() / total).abs() < 0.015);
        }
        let two = share(&sampling(1.0, Some(2), None));
        assert!(two[0] == 0.0 && two[3] == 0.0 && (two[1] - 0.731).abs() < 0.015);
        // 0.644 of the mass is the likeliest token's, 0.881 the first two tokens'.
        assert_eq!(share(&sampling(1.0, None, Some(0.6)))[1].round(), 1.0);
        let nucleus = share(&sampling(1.0, None, Some(0.8)));
        assert!(nucleus[0] == 0.0 && nucleus[2] > 0.2);
        assert_eq!(draw(&logits, &sampling(0.0, None, None), &mut generator), 1);
    }
}
