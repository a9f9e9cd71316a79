//! What a model looks like, as Hugging Face's `config.json` says it.

mod architecture;
mod design;
mod families;
mod fields;
mod read;
mod yarn;

use serde_json::{Map, Value, json};
use thiserror::Error;

pub use architecture::Architecture;
pub use design::{
    Design, FeedForward, LayerDesign, NormKind, NormPlacement, Projections, QueryKeyNorm, Residual,
    RopeConfig,
};
pub use yarn::Yarn;

/// A `config.json` that cannot be used, with the field that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// The text is not a JSON object.
    #[error("config.json is not a JSON object: {0}")]
    NotJson(String),
    /// A required field is missing.
    #[error("config.json lacks `{field}`")]
    Missing {
        /// The field's name.
        field: &'static str,
    },
    /// A field holds something that this crate cannot use.
    #[error("config.json: `{field}` {problem}")]
    Invalid {
        /// The field's name.
        field: &'static str,
        /// What is wrong with it, and what is accepted.
        problem: String,
    },
}

/// The nonlinearity of the feed-forward layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// GELU by its tanh approximation (`gelu_new`, `gelu_pytorch_tanh`).
    GeluNew,
    /// GELU by the error function (`gelu`).
    Gelu,
    /// x·sigmoid(x) (`silu`, `swish`).
    Silu,
}

impl Activation {
    fn parse(field: &'static str, name: &str) -> Result<Self, ConfigError> {
        match name {
            "gelu_new" | "gelu_pytorch_tanh" => Ok(Self::GeluNew),
            "gelu" => Ok(Self::Gelu),
            "silu" | "swish" => Ok(Self::Silu),
            other => Err(invalid(
                field,
                format!("is \"{other}\"; known are gelu_new, gelu_pytorch_tanh, gelu and silu"),
            )),
        }
    }

    /// The name in `config.json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GeluNew => "gelu_new",
            Self::Gelu => "gelu",
            Self::Silu => "silu",
        }
    }
}

/// How rotary frequencies are stretched for longer contexts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RopeScaling {
    /// Positions are divided by `factor`.
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// Llama 3.1: low frequencies are divided by `factor`, high ones kept, and those between
    /// interpolated.
    Llama3 {
        /// Divisor of the low frequencies.
        factor: f64,
        /// Wavelengths longer than the original context over this are divided by `factor`.
        low_freq_factor: f64,
        /// Wavelengths shorter than the original context over this are kept.
        high_freq_factor: f64,
        /// The context that the model was first trained with.
        original_max_position_embeddings: usize,
    },
    /// YaRN.
    Yarn(Yarn),
}

/// The shape and constants of a decoder.
///
/// Field names are those of LLaMA's `config.json`; those of other families (GPT-2's `n_embd`,
/// GPT-NeoX's `rotary_pct`) are mapped onto them.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// The family.
    pub architecture: Architecture,
    /// Rows of the token embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Number of blocks.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads; divides `num_attention_heads`.
    pub num_key_value_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Longest sequence.
    pub max_position_embeddings: usize,
    /// Epsilon of LayerNorm or RMSNorm.
    pub norm_eps: f64,
    /// Base of the rotary frequencies, of full attention where there are several (unused by GPT-2).
    pub rope_theta: f64,
    /// Stretching of the rotary frequencies.
    pub rope_scaling: Option<RopeScaling>,
    /// Whether the head is the token embedding.
    pub tie_word_embeddings: bool,
    /// Whether the projections of queries, keys and values have biases (always true for GPT-2).
    pub attention_bias: bool,
    /// Whether the feed-forward projections have biases (always true for GPT-2).
    pub mlp_bias: bool,
    /// The feed-forward nonlinearity.
    pub activation: Activation,
    /// Standard deviation of random initial weights.
    pub initializer_range: f64,
    /// What blocks compute beyond plain LLaMA.
    pub design: Design,
    /// Beginning-of-sequence token.
    pub bos_token_id: Option<u32>,
    /// End-of-sequence tokens; generation stops at any of them.
    pub eos_token_ids: Vec<u32>,
    /// Fields of `config.json` that this crate does not use, written back unchanged.
    pub other: Map<String, Value>,
}

fn invalid(field: &'static str, problem: impl Into<String>) -> ConfigError {
    ConfigError::Invalid { field, problem: problem.into() }
}

impl ModelConfig {
    /// Reads a Hugging Face `config.json`.
    ///
    /// # Errors
    /// When the text is no JSON object, the architecture is none of [`Architecture`], a required
    /// field is missing, or a field asks for something that is not computed here (sliding
    /// windows, cross attention, other rope scalings).
    pub fn from_json(text: &str) -> Result<Self, ConfigError> {
        let config = read::model_config(text)?;
        config.check()?;
        Ok(config)
    }

    /// Checks that the sizes fit each other.
    ///
    /// # Errors
    /// Names the first field that does not fit.
    pub fn check(&self) -> Result<(), ConfigError> {
        if !self.num_attention_heads.is_multiple_of(self.num_key_value_heads) {
            return Err(invalid(
                "num_key_value_heads",
                format!(
                    "is {}, which does not divide the {} attention heads",
                    self.num_key_value_heads, self.num_attention_heads
                ),
            ));
        }
        for rope in &self.design.ropes {
            if !rope.rotary_dim.is_multiple_of(2) || rope.rotary_dim > self.head_dim {
                return Err(invalid(
                    "head_dim",
                    format!(
                        "is {}, of which {} turn; rotary positions need an even number within it",
                        self.head_dim, rope.rotary_dim
                    ),
                ));
            }
        }
        let plain = self.design.feed_forward == FeedForward::Plain;
        if plain && self.activation == Activation::Silu {
            return Err(invalid(
                self.architecture.activation_field(),
                "is \"silu\"; this family computes gelu_new, gelu_pytorch_tanh and gelu",
            ));
        }
        let vocabulary = self.vocab_size as u64;
        let outside = |id: &u32| u64::from(*id) >= vocabulary;
        if let Some(id) = self.bos_token_id.filter(|id| outside(id)) {
            return Err(invalid("bos_token_id", format!("is {id}, outside the vocabulary")));
        }
        if let Some(id) = self.eos_token_ids.iter().find(|id| outside(id)) {
            return Err(invalid("eos_token_id", format!("is {id}, outside the vocabulary")));
        }
        Ok(())
    }

    /// Writes a `config.json` that transformers loads.
    pub fn to_json(&self) -> String {
        let mut object = self.other.clone();
        let mut set = |field: &str, value: Value| {
            object.insert(field.to_owned(), value);
        };
        set("architectures", json!([self.architecture.class_name()]));
        set("model_type", json!(self.architecture.model_type()));
        set("vocab_size", json!(self.vocab_size));
        set("tie_word_embeddings", json!(self.tie_word_embeddings));
        set("initializer_range", json!(self.initializer_range));
        set("bos_token_id", json!(self.bos_token_id));
        set(
            "eos_token_id",
            match self.eos_token_ids.as_slice() {
                [] => Value::Null,
                [one] => json!(one),
                several => json!(several),
            },
        );
        if self.architecture == Architecture::Gpt2 {
            set("n_embd", json!(self.hidden_size));
            set("n_layer", json!(self.num_hidden_layers));
            set("n_head", json!(self.num_attention_heads));
            set("n_positions", json!(self.max_position_embeddings));
            set("n_inner", json!(self.intermediate_size));
        } else {
            set("hidden_size", json!(self.hidden_size));
            set("num_hidden_layers", json!(self.num_hidden_layers));
            set("num_attention_heads", json!(self.num_attention_heads));
            set("intermediate_size", json!(self.intermediate_size));
            set("max_position_embeddings", json!(self.max_position_embeddings));
        }
        set(self.architecture.activation_field(), json!(self.activation.as_str()));
        set(self.architecture.norm_eps_field(), json!(self.norm_eps));
        for (field, value) in families::written(self) {
            set(field, value);
        }
        let mut text = serde_json::to_string_pretty(&Value::Object(object)).unwrap_or_default();
        text.push('\n');
        text
    }
}

fn rope_scaling_json(scaling: RopeScaling) -> Value {
    match scaling {
        RopeScaling::Linear { factor } => json!({ "rope_type": "linear", "factor": factor }),
        RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_max_position_embeddings,
        } => json!({
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": low_freq_factor,
            "high_freq_factor": high_freq_factor,
            "original_max_position_embeddings": original_max_position_embeddings,
        }),
        RopeScaling::Yarn(yarn) => yarn.to_json(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LLAMA: &str = r#"{"architectures":["LlamaForCausalLM"],"vocab_size":100,"hidden_size":16,
        "num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,
        "intermediate_size":32,"max_position_embeddings":64,"eos_token_id":[1,2],
        "rope_scaling":{"rope_type":"llama3","factor":8.0,"low_freq_factor":1.0,
        "high_freq_factor":4.0,"original_max_position_embeddings":32},"torch_dtype":"bfloat16"}"#;
    const GPT2: &str = r#"{"model_type":"gpt2","vocab_size":100,"n_embd":16,"n_layer":2,
        "n_head":4,"n_positions":64,"bos_token_id":3,"eos_token_id":3}"#;

    #[test]
    fn both_families_survive_a_round_trip() {
        for text in [LLAMA, GPT2] {
            let config = ModelConfig::from_json(text).unwrap();
            assert_eq!(ModelConfig::from_json(&config.to_json()).unwrap(), config);
        }
        let llama = ModelConfig::from_json(LLAMA).unwrap();
        assert_eq!(llama.head_dim, 4);
        assert_eq!(llama.other.get("torch_dtype"), Some(&json!("bfloat16")));
        assert_eq!(ModelConfig::from_json(GPT2).unwrap().intermediate_size, 64);
    }

    #[test]
    fn what_cannot_be_computed_is_refused_by_field() {
        let cases = [
            (LLAMA.replace("LlamaForCausalLM", "BertModel"), "architectures"),
            (LLAMA.replace("llama3", "longrope"), "rope_scaling"),
            (LLAMA.replace("\"num_key_value_heads\":2", "\"num_key_value_heads\":3"), "num_key"),
            (LLAMA.replace("\"vocab_size\":100,", ""), "vocab_size"),
            (LLAMA.replace("\"eos_token_id\":[1,2]", "\"eos_token_id\":100"), "eos_token_id"),
            (LLAMA.replace("\"hidden_size\":16", "\"hidden_size\":-1"), "hidden_size"),
            (GPT2.replace("\"n_head\":4", "\"n_head\":5"), "n_head"),
            (
                LLAMA.replace("\"vocab_size\"", "\"hidden_act\":\"relu\",\"vocab_size\""),
                "hidden_act",
            ),
            (
                GPT2.replace("\"n_embd\"", "\"activation_function\":\"silu\",\"n_embd\""),
                "activation",
            ),
            ("[]".to_owned(), "object"),
        ];
        for (text, field) in cases {
            let message = ModelConfig::from_json(&text).unwrap_err().to_string();
            assert!(message.contains(field), "{message} should name {field}");
        }
    }
}
