//! What a model looks like, as Hugging Face's `config.json` says it.

use serde_json::{Map, Value, json};
use thiserror::Error;

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

/// The decoder families, by the name of the class in transformers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// `GPT2LMHeadModel`: learned positions, LayerNorm, GELU, weights stored `[in, out]`.
    Gpt2,
    /// `LlamaForCausalLM`: rotary positions, RMSNorm, SwiGLU, grouped-query attention.
    Llama,
    /// `MistralForCausalLM` without a sliding window, which computes as LLaMA does.
    Mistral,
}

impl Architecture {
    /// The class name in transformers.
    pub fn class_name(self) -> &'static str {
        match self {
            Self::Gpt2 => "GPT2LMHeadModel",
            Self::Llama => "LlamaForCausalLM",
            Self::Mistral => "MistralForCausalLM",
        }
    }

    /// The `model_type` field.
    pub fn model_type(self) -> &'static str {
        match self {
            Self::Gpt2 => "gpt2",
            Self::Llama => "llama",
            Self::Mistral => "mistral",
        }
    }
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
}

/// The shape and constants of a decoder.
///
/// Field names are those of LLaMA's `config.json`; GPT-2's `n_embd`, `n_layer`, `n_head`,
/// `n_positions`, `n_inner` and `activation_function` are mapped onto them.
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
    /// Base of the rotary frequencies (unused by GPT-2).
    pub rope_theta: f64,
    /// Stretching of the rotary frequencies.
    pub rope_scaling: Option<RopeScaling>,
    /// Whether the head is the token embedding.
    pub tie_word_embeddings: bool,
    /// Whether the attention projections have biases (always true for GPT-2).
    pub attention_bias: bool,
    /// Whether the feed-forward projections have biases (always true for GPT-2).
    pub mlp_bias: bool,
    /// The feed-forward nonlinearity.
    pub activation: Activation,
    /// Standard deviation of random initial weights.
    pub initializer_range: f64,
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

/// Takes known fields out of the object, so that what is left is `other`.
struct Fields(Map<String, Value>);

impl Fields {
    fn take(&mut self, field: &'static str) -> Option<Value> {
        self.0.remove(field).filter(|value| !value.is_null())
    }

    fn size(&mut self, field: &'static str) -> Result<Option<usize>, ConfigError> {
        let Some(value) = self.take(field) else { return Ok(None) };
        // The bound keeps every product of two sizes far from overflow.
        match value.as_u64() {
            Some(size) if (1..=1 << 28).contains(&size) => Ok(Some(size as usize)),
            _ => Err(invalid(field, format!("is {value}, not a whole number from 1 to 2^28"))),
        }
    }

    fn required(&mut self, field: &'static str) -> Result<usize, ConfigError> {
        self.size(field)?.ok_or(ConfigError::Missing { field })
    }

    fn number(&mut self, field: &'static str, default: f64) -> Result<f64, ConfigError> {
        let Some(value) = self.take(field) else { return Ok(default) };
        match value.as_f64() {
            Some(number) if number.is_finite() && number > 0.0 => Ok(number),
            _ => Err(invalid(field, format!("is {value}, not a positive number"))),
        }
    }

    fn flag(&mut self, field: &'static str, default: bool) -> Result<bool, ConfigError> {
        let Some(value) = self.take(field) else { return Ok(default) };
        value.as_bool().ok_or_else(|| invalid(field, format!("is {value}, not true or false")))
    }

    fn tokens(&mut self, field: &'static str) -> Result<Vec<u32>, ConfigError> {
        let wrong = |value: &Value| invalid(field, format!("is {value}, not a token id"));
        let token = |value: &Value| {
            value.as_u64().and_then(|id| u32::try_from(id).ok()).ok_or_else(|| wrong(value))
        };
        match self.take(field) {
            None => Ok(Vec::new()),
            Some(Value::Array(list)) => list.iter().map(token).collect(),
            Some(value) => Ok(vec![token(&value)?]),
        }
    }

    fn activation(
        &mut self,
        field: &'static str,
        default: &str,
    ) -> Result<Activation, ConfigError> {
        match self.take(field) {
            None => Activation::parse(field, default),
            Some(Value::String(name)) => Activation::parse(field, &name),
            Some(value) => Err(invalid(field, format!("is {value}, not a name"))),
        }
    }
}

impl ModelConfig {
    /// Reads a Hugging Face `config.json`.
    ///
    /// # Errors
    /// When the text is no JSON object, the architecture is none of [`Architecture`], a required
    /// field is missing, or a field asks for something that is not computed here (sliding
    /// windows, cross attention, other rope scalings).
    pub fn from_json(text: &str) -> Result<Self, ConfigError> {
        let object: Map<String, Value> =
            serde_json::from_str(text).map_err(|error| ConfigError::NotJson(error.to_string()))?;
        let mut fields = Fields(object);
        let architecture = architecture(&mut fields)?;
        let config = match architecture {
            Architecture::Gpt2 => gpt2(fields)?,
            Architecture::Llama | Architecture::Mistral => llama(fields, architecture)?,
        };
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
        if self.architecture != Architecture::Gpt2 && !self.head_dim.is_multiple_of(2) {
            return Err(invalid(
                "head_dim",
                format!("is {}; rotary positions need an even one", self.head_dim),
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
        match self.architecture {
            Architecture::Gpt2 => {
                set("n_embd", json!(self.hidden_size));
                set("n_layer", json!(self.num_hidden_layers));
                set("n_head", json!(self.num_attention_heads));
                set("n_positions", json!(self.max_position_embeddings));
                set("n_inner", json!(self.intermediate_size));
                set("activation_function", json!(self.activation.as_str()));
                set("layer_norm_epsilon", json!(self.norm_eps));
            }
            Architecture::Llama | Architecture::Mistral => {
                set("hidden_size", json!(self.hidden_size));
                set("num_hidden_layers", json!(self.num_hidden_layers));
                set("num_attention_heads", json!(self.num_attention_heads));
                set("num_key_value_heads", json!(self.num_key_value_heads));
                set("head_dim", json!(self.head_dim));
                set("intermediate_size", json!(self.intermediate_size));
                set("max_position_embeddings", json!(self.max_position_embeddings));
                set("hidden_act", json!(self.activation.as_str()));
                set("rms_norm_eps", json!(self.norm_eps));
                set("rope_theta", json!(self.rope_theta));
                set("rope_scaling", self.rope_scaling.map_or(Value::Null, rope_scaling_json));
                if self.architecture == Architecture::Llama {
                    set("attention_bias", json!(self.attention_bias));
                    set("mlp_bias", json!(self.mlp_bias));
                } else {
                    set("sliding_window", Value::Null);
                }
            }
        }
        let mut text = serde_json::to_string_pretty(&Value::Object(object)).unwrap_or_default();
        text.push('\n');
        text
    }
}

fn architecture(fields: &mut Fields) -> Result<Architecture, ConfigError> {
    let class = match fields.take("architectures") {
        Some(Value::Array(names)) => {
            names.first().and_then(|name| name.as_str()).map(ToOwned::to_owned)
        }
        _ => None,
    };
    let model_type =
        fields.take("model_type").and_then(|name| name.as_str().map(ToOwned::to_owned));
    let name = class.or(model_type).ok_or(ConfigError::Missing { field: "architectures" })?;
    match name.as_str() {
        "GPT2LMHeadModel" | "GPT2Model" | "gpt2" => Ok(Architecture::Gpt2),
        "LlamaForCausalLM" | "LlamaModel" | "llama" => Ok(Architecture::Llama),
        "MistralForCausalLM" | "MistralModel" | "mistral" => Ok(Architecture::Mistral),
        other => Err(invalid(
            "architectures",
            format!(
                "is \"{other}\"; known are GPT2LMHeadModel, LlamaForCausalLM and MistralForCausalLM"
            ),
        )),
    }
}

fn gpt2(mut fields: Fields) -> Result<ModelConfig, ConfigError> {
    for field in ["scale_attn_by_inverse_layer_idx", "add_cross_attention"] {
        if fields.flag(field, false)? {
            return Err(invalid(field, "is true, which is not supported"));
        }
    }
    if !fields.flag("scale_attn_weights", true)? {
        return Err(invalid("scale_attn_weights", "is false, which is not supported"));
    }
    let hidden_size = fields.required("n_embd")?;
    let heads = fields.required("n_head")?;
    if !hidden_size.is_multiple_of(heads) {
        return Err(invalid("n_head", format!("is {heads}, which does not divide n_embd")));
    }
    let positions = match fields.size("n_positions")? {
        Some(positions) => positions,
        None => fields.required("n_ctx")?,
    };
    Ok(ModelConfig {
        architecture: Architecture::Gpt2,
        vocab_size: fields.required("vocab_size")?,
        hidden_size,
        num_hidden_layers: fields.required("n_layer")?,
        num_attention_heads: heads,
        num_key_value_heads: heads,
        head_dim: hidden_size / heads,
        intermediate_size: fields.size("n_inner")?.unwrap_or(4 * hidden_size),
        max_position_embeddings: positions,
        norm_eps: fields.number("layer_norm_epsilon", 1e-5)?,
        rope_theta: 10_000.0,
        rope_scaling: None,
        tie_word_embeddings: fields.flag("tie_word_embeddings", true)?,
        attention_bias: true,
        mlp_bias: true,
        activation: fields.activation("activation_function", "gelu_new")?,
        initializer_range: fields.number("initializer_range", 0.02)?,
        bos_token_id: fields.tokens("bos_token_id")?.first().copied(),
        eos_token_ids: fields.tokens("eos_token_id")?,
        other: fields.0,
    })
}

fn llama(mut fields: Fields, architecture: Architecture) -> Result<ModelConfig, ConfigError> {
    let positions = fields.size("max_position_embeddings")?.unwrap_or(2048);
    if let Some(window) = fields.size("sliding_window")?
        && window < positions
    {
        return Err(invalid(
            "sliding_window",
            format!("is {window}; only null (full attention) is supported"),
        ));
    }
    let hidden_size = fields.required("hidden_size")?;
    let heads = fields.required("num_attention_heads")?;
    let head_dim = match fields.size("head_dim")? {
        Some(head_dim) => head_dim,
        None if hidden_size.is_multiple_of(heads) => hidden_size / heads,
        None => {
            return Err(invalid(
                "num_attention_heads",
                format!("is {heads}, which does not divide hidden_size, and head_dim is absent"),
            ));
        }
    };
    let mut rope_theta = fields.number("rope_theta", 10_000.0)?;
    // transformers 5 keeps theta and scaling together under `rope_parameters`.
    let rope_scaling = match (fields.take("rope_scaling"), fields.take("rope_parameters")) {
        (_, Some(Value::Object(parameters))) => {
            if let Some(theta) = parameters.get("rope_theta").and_then(Value::as_f64) {
                rope_theta = theta;
            }
            rope_scaling(&parameters, positions)?
        }
        (Some(Value::Object(scaling)), _) => rope_scaling(&scaling, positions)?,
        (Some(other), _) => {
            return Err(invalid("rope_scaling", format!("is {other}, not an object or null")));
        }
        (None, _) => None,
    };
    let mistral = architecture == Architecture::Mistral;
    Ok(ModelConfig {
        architecture,
        vocab_size: fields.required("vocab_size")?,
        hidden_size,
        num_hidden_layers: fields.required("num_hidden_layers")?,
        num_attention_heads: heads,
        num_key_value_heads: fields.size("num_key_value_heads")?.unwrap_or(if mistral {
            8
        } else {
            heads
        }),
        head_dim,
        intermediate_size: fields.required("intermediate_size")?,
        max_position_embeddings: positions,
        norm_eps: fields.number("rms_norm_eps", 1e-6)?,
        rope_theta,
        rope_scaling,
        tie_word_embeddings: fields.flag("tie_word_embeddings", false)?,
        attention_bias: fields.flag("attention_bias", false)? && !mistral,
        mlp_bias: fields.flag("mlp_bias", false)? && !mistral,
        activation: fields.activation("hidden_act", "silu")?,
        initializer_range: fields.number("initializer_range", 0.02)?,
        bos_token_id: fields.tokens("bos_token_id")?.first().copied(),
        eos_token_ids: fields.tokens("eos_token_id")?,
        other: fields.0,
    })
}

fn rope_scaling(
    object: &Map<String, Value>,
    positions: usize,
) -> Result<Option<RopeScaling>, ConfigError> {
    let kind = object.get("rope_type").or_else(|| object.get("type")).and_then(Value::as_str);
    let number = |name: &str| {
        object
            .get(name)
            .and_then(Value::as_f64)
            .filter(|number| number.is_finite() && *number > 0.0)
            .ok_or_else(|| invalid("rope_scaling", format!("lacks a positive `{name}`")))
    };
    match kind {
        None | Some("default") => Ok(None),
        Some("linear") => Ok(Some(RopeScaling::Linear { factor: number("factor")? })),
        Some("llama3") => {
            let original = object
                .get("original_max_position_embeddings")
                .and_then(Value::as_u64)
                .map_or(positions, |original| original as usize);
            let (low, high) = (number("low_freq_factor")?, number("high_freq_factor")?);
            if high <= low {
                return Err(invalid(
                    "rope_scaling",
                    "needs high_freq_factor above low_freq_factor",
                ));
            }
            Ok(Some(RopeScaling::Llama3 {
                factor: number("factor")?,
                low_freq_factor: low,
                high_freq_factor: high,
                original_max_position_embeddings: original,
            }))
        }
        Some(other) => Err(invalid(
            "rope_scaling",
            format!("has rope_type \"{other}\"; known are default, linear and llama3"),
        )),
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
            (LLAMA.replace("llama3", "yarn"), "rope_scaling"),
            (LLAMA.replace("\"num_key_value_heads\":2", "\"num_key_value_heads\":3"), "num_key"),
            (LLAMA.replace("\"vocab_size\":100,", ""), "vocab_size"),
            (LLAMA.replace("\"eos_token_id\":[1,2]", "\"eos_token_id\":100"), "eos_token_id"),
            (LLAMA.replace("\"hidden_size\":16", "\"hidden_size\":-1"), "hidden_size"),
            (LLAMA.replace("\"vocab_size\"", "\"sliding_window\":8,\"vocab_size\""), "sliding"),
            (GPT2.replace("\"n_head\":4", "\"n_head\":5"), "n_head"),
            ("[]".to_owned(), "object"),
        ];
        for (text, field) in cases {
            let message = ModelConfig::from_json(&text).unwrap_err().to_string();
            assert!(message.contains(field), "{message} should name {field}");
        }
    }
}
