//! Reading the fields of `config.json`.

use serde_json::{Map, Value};

use super::families;
use super::fields::Fields;
use super::{
    Architecture, ConfigError, Design, ModelConfig, RopeConfig, RopeScaling, Yarn, invalid,
};

/// Everything but the checks of one field against another.
pub(super) fn model_config(text: &str) -> Result<ModelConfig, ConfigError> {
    let object: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| ConfigError::NotJson(error.to_string()))?;
    let mut fields = Fields(object);
    match Architecture::read(&mut fields)? {
        Architecture::Gpt2 => gpt2(fields),
        architecture => rotary(fields, architecture),
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
    let layers = fields.required("n_layer")?;
    Ok(ModelConfig {
        architecture: Architecture::Gpt2,
        vocab_size: fields.required("vocab_size")?,
        hidden_size,
        num_hidden_layers: layers,
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
        design: Design::gpt2(layers, hidden_size / heads),
        bos_token_id: fields.tokens("bos_token_id")?.first().copied(),
        eos_token_ids: fields.tokens("eos_token_id")?,
        other: fields.0,
    })
}

/// Every family with rotary positions: LLaMA's fields, and what [`families`] make of the others.
fn rotary(mut fields: Fields, architecture: Architecture) -> Result<ModelConfig, ConfigError> {
    let defaults = architecture.defaults();
    let positions = fields.size("max_position_embeddings")?.unwrap_or(defaults.positions);
    let hidden_size = fields.required("hidden_size")?;
    let heads = fields.required("num_attention_heads")?;
    // GPT-NeoX has one key head for each query head, and heads share the width, whatever a config says.
    let says = |size: Option<usize>| size.filter(|_| architecture != Architecture::GptNeoX);
    let head_dim = match says(fields.size("head_dim")?).or(defaults.head_dim) {
        Some(head_dim) => head_dim,
        None if hidden_size.is_multiple_of(heads) => hidden_size / heads,
        None => {
            return Err(invalid(
                "num_attention_heads",
                format!("is {heads}, which does not divide hidden_size, and head_dim is absent"),
            ));
        }
    };
    let key_heads = says(fields.size("num_key_value_heads")?);
    let layers = fields.required("num_hidden_layers")?;
    let rope = rope(&mut fields, architecture, positions, head_dim)?;
    let mut config = ModelConfig {
        architecture,
        vocab_size: fields.required("vocab_size")?,
        hidden_size,
        num_hidden_layers: layers,
        num_attention_heads: heads,
        num_key_value_heads: key_heads.or(defaults.key_heads).unwrap_or(heads),
        head_dim,
        intermediate_size: fields.required("intermediate_size")?,
        max_position_embeddings: positions,
        norm_eps: fields.number(architecture.norm_eps_field(), defaults.norm_eps)?,
        rope_theta: rope.theta,
        rope_scaling: rope.scaling,
        tie_word_embeddings: fields.flag("tie_word_embeddings", defaults.tied)?,
        attention_bias: false,
        mlp_bias: false,
        activation: fields.activation(architecture.activation_field(), defaults.activation)?,
        initializer_range: fields.number("initializer_range", 0.02)?,
        design: Design::llama(layers, head_dim, rope),
        bos_token_id: fields.tokens("bos_token_id")?.first().copied(),
        eos_token_ids: fields.tokens("eos_token_id")?,
        other: Map::new(),
    };
    families::apply(&mut config, &mut fields)?;
    config.other = fields.0;
    Ok(config)
}

/// The rotary positions of (full) attention. transformers 5 keeps what belongs to them together under
/// `rope_parameters`, one object a kind of layer where there are several kinds.
fn rope(
    fields: &mut Fields,
    architecture: Architecture,
    positions: usize,
    head_dim: usize,
) -> Result<RopeConfig, ConfigError> {
    let defaults = architecture.defaults();
    let mut theta = fields.number("rope_theta", defaults.theta)?;
    theta = fields.number("rotary_emb_base", theta)?;
    let mut partial = defaults.partial_rotary_factor;
    for field in ["rotary_pct", "partial_rotary_factor"] {
        partial = fields.number(field, partial)?;
    }
    let parameters = match fields.keep("rope_parameters") {
        Some(Value::Object(object)) => match object.get("full_attention") {
            Some(Value::Object(full)) => Some(full.clone()),
            _ => Some(object.clone()),
        },
        Some(other) => {
            return Err(invalid("rope_parameters", format!("is {other}, not an object")));
        }
        None => None,
    };
    let scaling = match fields.take("rope_scaling") {
        None => None,
        Some(Value::Object(object)) => Some(object),
        Some(other) => {
            return Err(invalid("rope_scaling", format!("is {other}, not an object or null")));
        }
    };
    if let Some(parameters) = &parameters {
        let number = |name: &str| parameters.get(name).and_then(Value::as_f64);
        theta = number("rope_theta").unwrap_or(theta);
        partial = number("partial_rotary_factor").unwrap_or(partial);
    }
    let scaling = match parameters.or(scaling) {
        Some(object) => rope_scaling(&object, positions)?,
        None => None,
    };
    if !(partial > 0.0 && partial <= 1.0) {
        return Err(invalid("partial_rotary_factor", format!("is {partial}, not within 0 to 1")));
    }
    let rotary_dim = (head_dim as f64 * partial) as usize;
    Ok(RopeConfig { theta, scaling, rotary_dim, interleaved: false })
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
        Some("yarn") => {
            let original = object
                .get("original_max_position_embeddings")
                .and_then(Value::as_u64)
                .map_or(positions, |original| original as usize);
            Ok(Some(RopeScaling::Yarn(Yarn::read(object, original)?)))
        }
        Some(other) => Err(invalid(
            "rope_scaling",
            format!("has rope_type \"{other}\"; known are default, linear, llama3 and yarn"),
        )),
    }
}
