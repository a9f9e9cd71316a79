//! The encoder's forward pass over packed sequences.
//!
//! Sequences of a batch lie one behind the other without padding: dense layers see one tall
//! matrix, attention goes sequence by sequence. Nothing is computed for padding, so sequences
//! need not be of like length.

use std::ops::Range;

use pft_pii::LoadError;

use super::config::{Activation, Config, Family};
use super::disentangled::RelativeAttention;
use crate::kernels::{LayerNorm, Linear, Matrix, add, gelu, gelu_tanh, product, softmax};
use crate::weights::Weights;

/// An encoder: word pieces to hidden states.
pub(crate) struct Encoder {
    config: Config,
    words: Vec<f32>,
    /// Absolute positions plus the embedding of token type 0, `[max_tokens, hidden]`.
    positions: Option<Vec<f32>>,
    /// Token type 0 where there are no absolute positions.
    token_type: Option<Vec<f32>>,
    norm: LayerNorm,
    layers: Vec<Layer>,
    relative: Option<RelativeAttention>,
}

/// One block; `qkv` holds the three projections below each other, `[3 · hidden, hidden]`.
struct Layer {
    qkv: Linear,
    attention_output: Linear,
    attention_norm: LayerNorm,
    intermediate: Linear,
    output: Linear,
    output_norm: LayerNorm,
}

/// Parameter names of one block, below its prefix.
pub(super) struct Names {
    pub(super) prefix: &'static str,
    pub(super) query: &'static str,
    pub(super) key: &'static str,
    pub(super) value: &'static str,
    pub(super) attention_output: &'static str,
    pub(super) attention_norm: &'static str,
    pub(super) intermediate: &'static str,
    pub(super) output: &'static str,
    pub(super) output_norm: &'static str,
}

impl Names {
    /// The names of a family, and what those of a model with a head begin with.
    pub(super) fn of(family: Family) -> (&'static str, &'static Self) {
        match family {
            Family::Bert => ("bert", &BERT),
            Family::DistilBert => ("distilbert", &DISTILBERT),
            Family::Roberta => ("roberta", &BERT),
            Family::DebertaV2 => ("deberta", &DEBERTA),
        }
    }
}

static BERT: Names = Names {
    prefix: "encoder.layer",
    query: "attention.self.query",
    key: "attention.self.key",
    value: "attention.self.value",
    attention_output: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    intermediate: "intermediate.dense",
    output: "output.dense",
    output_norm: "output.LayerNorm",
};
static DISTILBERT: Names = Names {
    prefix: "transformer.layer",
    query: "attention.q_lin",
    key: "attention.k_lin",
    value: "attention.v_lin",
    attention_output: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    intermediate: "ffn.lin1",
    output: "ffn.lin2",
    output_norm: "output_layer_norm",
};
static DEBERTA: Names = Names {
    prefix: "encoder.layer",
    query: "attention.self.query_proj",
    key: "attention.self.key_proj",
    value: "attention.self.value_proj",
    attention_output: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    intermediate: "intermediate.dense",
    output: "output.dense",
    output_norm: "output.LayerNorm",
};

impl Encoder {
    /// Takes the parameters out of a checkpoint, each with the shape that the config asks for. Their
    /// names begin with `root`: by default that of a model with a head of its family.
    pub(crate) fn load(
        config: Config,
        checkpoint: &dyn Weights,
        root: Option<&str>,
    ) -> Result<Self, LoadError> {
        let (hidden, epsilon) = (config.hidden, config.epsilon);
        let (family_root, names) = Names::of(config.family);
        let root = root.unwrap_or(family_root);
        let embedding = |name: &str, rows: usize| {
            checkpoint.tensor(&format!("{root}.embeddings.{name}.weight"), &[rows, hidden])
        };
        let words = embedding("word_embeddings", config.vocabulary)?;
        let token_type = if config.family != Family::DistilBert && config.token_types > 0 {
            let mut table = embedding("token_type_embeddings", config.token_types)?;
            table.truncate(hidden);
            Some(table)
        } else {
            None
        };
        let absolute = config.relative.as_ref().is_none_or(|relative| relative.absolute);
        let (positions, token_type) = if absolute {
            let mut table = embedding("position_embeddings", config.positions)?;
            table.drain(..(config.positions - config.max_tokens) * hidden);
            if let Some(token_type) = &token_type {
                table.chunks_exact_mut(hidden).for_each(|row| add(row, token_type));
            }
            (Some(table), None)
        } else {
            (None, token_type)
        };
        let norm = checkpoint.norm(&format!("{root}.embeddings.LayerNorm"), hidden, epsilon)?;
        let layers = (0..config.layers)
            .map(|index| {
                let prefix = format!("{root}.{}.{index}", names.prefix);
                Layer::load(checkpoint, &prefix, names, &config)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let relative = config
            .relative
            .as_ref()
            .map(|relative| {
                let qkv: Vec<_> = layers.iter().map(|layer| &layer.qkv).collect();
                RelativeAttention::load(checkpoint, root, &config, relative, &qkv)
            })
            .transpose()?;
        Ok(Self { config, words, positions, token_type, norm, layers, relative })
    }

    /// The configuration it was made from.
    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Last hidden states `[tokens, hidden]` of packed sequences: `ids` of all, and each one's range.
    /// Sequences hold at most `max_tokens` ids, each below the vocabulary size.
    pub(crate) fn forward(&self, ids: &[u32], sequences: &[Range<usize>]) -> Vec<f32> {
        let hidden = self.config.hidden;
        let mut state = self.embed(ids, sequences);
        let (mut qkv, mut context, mut projected, mut wide) =
            (Vec::new(), vec![0.0; state.len()], Vec::new(), Vec::new());
        let mut scores = Vec::new();
        for (index, layer) in self.layers.iter().enumerate() {
            layer.qkv.forward(&mut qkv, &state);
            for sequence in sequences {
                for head in 0..self.config.heads {
                    let size = hidden / self.config.heads;
                    let (length, start) = (sequence.len(), sequence.start);
                    let part = |which: usize| Matrix {
                        data: &qkv,
                        offset: start * 3 * hidden + which * hidden + head * size,
                        row_stride: 3 * hidden,
                        column_stride: 1,
                    };
                    let (query, key, value) = (part(0), part(1), part(2));
                    scores.resize(length * length, 0.0);
                    match &self.relative {
                        None => {
                            let scale = 1.0 / (size as f32).sqrt();
                            let sizes = [length, size, length];
                            let target = (&mut scores[..], 0, length);
                            product(target, query, key.transposed(), sizes, scale, false);
                        }
                        Some(relative) => {
                            relative.scores(&mut scores, (index, head), query, key, length);
                        }
                    }
                    softmax(&mut scores, length);
                    let target = (&mut context[..], start * hidden + head * size, hidden);
                    let weights = Matrix::rows(&scores, length);
                    product(target, weights, value, [length, length, size], 1.0, false);
                }
            }
            layer.attention_output.forward(&mut projected, &context);
            add(&mut state, &projected);
            layer.attention_norm.apply(&mut state);
            layer.intermediate.forward(&mut wide, &state);
            match self.config.activation {
                Activation::Gelu => gelu(&mut wide),
                Activation::GeluTanh => gelu_tanh(&mut wide),
                Activation::Relu => wide.iter_mut().for_each(|x| *x = x.max(0.0)),
            }
            layer.output.forward(&mut projected, &wide);
            add(&mut state, &projected);
            layer.output_norm.apply(&mut state);
        }
        state
    }

    fn embed(&self, ids: &[u32], sequences: &[Range<usize>]) -> Vec<f32> {
        let hidden = self.config.hidden;
        let mut state = Vec::with_capacity(ids.len() * hidden);
        for &id in ids {
            state.extend_from_slice(&self.words[id as usize * hidden..][..hidden]);
        }
        if let Some(positions) = &self.positions {
            for sequence in sequences {
                let rows = &mut state[sequence.start * hidden..sequence.end * hidden];
                add(rows, &positions[..rows.len()]);
            }
        }
        if let Some(token_type) = &self.token_type {
            state.chunks_exact_mut(hidden).for_each(|row| add(row, token_type));
        }
        self.norm.apply(&mut state);
        state
    }
}

impl Layer {
    fn load(
        checkpoint: &dyn Weights,
        prefix: &str,
        names: &Names,
        config: &Config,
    ) -> Result<Self, LoadError> {
        let (hidden, intermediate) = (config.hidden, config.intermediate);
        let name = |part: &str| format!("{prefix}.{part}");
        let mut qkv = checkpoint.linear(&name(names.query), [hidden, hidden])?;
        for part in [names.key, names.value] {
            let more = checkpoint.linear(&name(part), [hidden, hidden])?;
            qkv.weight.extend(more.weight);
            qkv.bias.extend(more.bias);
        }
        let norm = |part: &str| checkpoint.norm(&name(part), hidden, config.epsilon);
        let linear = |part: &str, shape| checkpoint.linear(&name(part), shape);
        Ok(Self {
            qkv,
            attention_output: linear(names.attention_output, [hidden, hidden])?,
            attention_norm: norm(names.attention_norm)?,
            intermediate: linear(names.intermediate, [intermediate, hidden])?,
            output: linear(names.output, [hidden, intermediate])?,
            output_norm: norm(names.output_norm)?,
        })
    }
}
