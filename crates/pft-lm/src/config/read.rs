//! Reading the fields of `config.json`.

use serde_json::{Map, Value};

use super::{Activation, Architecture, ConfigError, ModelConfig, RopeScaling, invalid};

/// Everything but the checks of one field against another.
pub(super) fn model_config(text: &str) -> Result<ModelConfig, ConfigError> {
    let object: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| ConfigError::NotJson(error.to_string()))?;
    let mut fields = Fields(object);
    let architecture = architecture(&mut fields)?;
    match architecture {
        Architecture::Gpt2 => gpt2(fields),
        Architecture::Llama | Architecture::Mistral => llama(fields, architecture),
    }
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
