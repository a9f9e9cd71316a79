//! What each family's keys say of a block, and how they are written: the one place that asks for a
//! family by name.

use serde_json::{Value, json};

use super::fields::Fields;
use super::{
    Architecture, ConfigError, FeedForward, LayerDesign, ModelConfig, NormKind, NormPlacement,
    Projections, QueryKeyNorm, Residual, RopeConfig, invalid, rope_scaling_json,
};

/// Sets the switches of a config that has been read as LLaMA's.
pub(super) fn apply(config: &mut ModelConfig, fields: &mut Fields) -> Result<(), ConfigError> {
    match config.architecture {
        Architecture::Gpt2 => {}
        Architecture::Llama => attention_and_mlp_bias(config, fields)?,
        Architecture::Granite => {
            attention_and_mlp_bias(config, fields)?;
            granite(config, fields)?;
        }
        Architecture::SmolLm3 => {
            attention_and_mlp_bias(config, fields)?;
            smollm3(config, fields)?;
        }
        Architecture::Mistral | Architecture::Ministral => windows(config, fields, |_| true)?,
        Architecture::Qwen2 => {
            config.attention_bias = true;
            qwen_windows(config, fields)?;
        }
        Architecture::Qwen3 => {
            attention_bias(config, fields)?;
            config.design.query_key_norm = Some(QueryKeyNorm::PerHead);
            qwen_windows(config, fields)?;
        }
        Architecture::Gemma2 | Architecture::Gemma3 | Architecture::VaultGemma => {
            gemma(config, fields)?;
        }
        Architecture::Olmo2 | Architecture::Olmo3 => {
            attention_bias(config, fields)?;
            config.design.norms = NormPlacement::After;
            config.design.query_key_norm = Some(QueryKeyNorm::WholeWidth);
            if config.architecture == Architecture::Olmo3 {
                windows(config, fields, |layer| !(layer + 1).is_multiple_of(4))?;
                unscaled_rope_within_windows(config, fields)?;
            }
        }
        Architecture::GptNeoX => gpt_neox(config, fields)?,
        Architecture::Phi => phi(config, fields)?,
        Architecture::Phi3 => {
            config.design.projections = Projections::FusedByKind;
            config.design.feed_forward = FeedForward::GatedFused;
            windows(config, fields, |_| true)?;
        }
    }
    Ok(())
}

/// The fields of a family beside those that all have.
pub(super) fn written(config: &ModelConfig) -> Vec<(&'static str, Value)> {
    use Architecture as A;
    let architecture = config.architecture;
    let mut fields = Vec::new();
    if architecture == A::Gpt2 {
        return fields;
    }
    if architecture != A::GptNeoX {
        fields.push(("num_key_value_heads", json!(config.num_key_value_heads)));
    }
    // Classes without such a key take the heads' share of the width, or what a config says all the same.
    let keyless =
        matches!(architecture, A::GptNeoX | A::Phi | A::Phi3 | A::Olmo2 | A::Olmo3 | A::SmolLm3);
    if !keyless || config.head_dim * config.num_attention_heads != config.hidden_size {
        fields.push(("head_dim", json!(config.head_dim)));
    }
    // What turns of a head, as transformers 4 reads it; 5 reads `rope_parameters`, or this.
    let ropes = &config.design.ropes;
    let turned = ropes[0].rotary_dim as f64 / config.head_dim as f64;
    if architecture == A::GptNeoX {
        fields.push(("rotary_emb_base", json!(config.rope_theta)));
        fields.push(("rotary_pct", json!(turned)));
    } else {
        if turned < 1.0 || architecture == A::Phi {
            fields.push(("partial_rotary_factor", json!(turned)));
        }
        if architecture == A::Gemma3 {
            let local = ropes.last().map_or(config.rope_theta, |rope| rope.theta);
            fields.push(("rope_local_base_freq", json!(local)));
        }
        // transformers 4 reads these two, and takes 10000 for a theta that only stands in
        // `rope_parameters`.
        fields.push(("rope_theta", json!(config.rope_theta)));
    }
    let scaling = config.rope_scaling.map_or(Value::Null, rope_scaling_json);
    fields.push(("rope_scaling", scaling));
    if matches!(architecture, A::Llama | A::Granite | A::SmolLm3) {
        fields.push(("mlp_bias", json!(config.mlp_bias)));
    }
    if !matches!(architecture, A::Mistral | A::Ministral | A::Qwen2 | A::Phi | A::Phi3) {
        fields.push(("attention_bias", json!(config.attention_bias)));
    }
    if architecture == A::Mistral && config.design.layers.iter().all(|layer| layer.window.is_none())
    {
        // The class takes 4096 where the key is absent.
        fields.push(("sliding_window", Value::Null));
    }
    fields
}

fn attention_bias(config: &mut ModelConfig, fields: &mut Fields) -> Result<(), ConfigError> {
    config.attention_bias = fields.flag("attention_bias", false)?;
    config.design.output_bias = config.attention_bias;
    Ok(())
}

fn attention_and_mlp_bias(
    config: &mut ModelConfig,
    fields: &mut Fields,
) -> Result<(), ConfigError> {
    attention_bias(config, fields)?;
    config.mlp_bias = fields.flag("mlp_bias", false)?;
    Ok(())
}

/// Windows of `sliding_window` keys in the layers that `layer_types` names, or else in those that
/// `slides` does.
fn windows(
    config: &mut ModelConfig,
    fields: &Fields,
    slides: impl Fn(usize) -> bool,
) -> Result<(), ConfigError> {
    let window = fields.kept_size("sliding_window")?;
    let named = layer_types(config, fields)?;
    for (index, layer) in config.design.layers.iter_mut().enumerate() {
        let slides = named.as_ref().map_or_else(|| slides(index), |named| named[index]);
        layer.window = window.filter(|_| slides);
        if slides && window.is_none() && named.is_some() {
            return Err(invalid("sliding_window", "is absent, but `layer_types` names windows"));
        }
    }
    Ok(())
}

/// Whether each layer's attention slides, where `layer_types` says so.
fn layer_types(config: &ModelConfig, fields: &Fields) -> Result<Option<Vec<bool>>, ConfigError> {
    let Some(value) = fields.keep("layer_types") else { return Ok(None) };
    let wrong = |problem: String| invalid("layer_types", problem);
    let Value::Array(types) = value else {
        return Err(wrong("is not a list".to_owned()));
    };
    if types.len() != config.num_hidden_layers {
        return Err(wrong(format!(
            "has {} entries for {} layers",
            types.len(),
            config.num_hidden_layers
        )));
    }
    let slides = |kind: &Value| match kind.as_str() {
        Some("sliding_attention") => Ok(true),
        Some("full_attention") => Ok(false),
        _ => Err(wrong(format!("holds {kind}; known are full_attention and sliding_attention"))),
    };
    types.iter().map(slides).collect::<Result<_, _>>().map(Some)
}

fn qwen_windows(config: &mut ModelConfig, fields: &Fields) -> Result<(), ConfigError> {
    let slides = fields.keep("use_sliding_window").and_then(Value::as_bool).unwrap_or(false);
    if !slides {
        return Ok(());
    }
    let first = fields.keep("max_window_layers").and_then(Value::as_u64).unwrap_or(28);
    windows(config, fields, |layer| layer as u64 >= first)
}

fn gemma(config: &mut ModelConfig, fields: &mut Fields) -> Result<(), ConfigError> {
    attention_bias(config, fields)?;
    let vault = config.architecture == Architecture::VaultGemma;
    let three = config.architecture == Architecture::Gemma3;
    if fields.keep("use_bidirectional_attention").and_then(Value::as_bool) == Some(true) {
        return Err(invalid(
            "use_bidirectional_attention",
            "is true: the model sees what comes after a token, which is not supported",
        ));
    }
    // Configs before transformers 5 say hidden_act, and mean the same function.
    let pattern = fields.kept_size("sliding_window_pattern")?.unwrap_or(if three { 6 } else { 2 });
    windows(config, fields, |layer| !(layer + 1).is_multiple_of(pattern))?;
    let design = &mut config.design;
    design.norm = NormKind::RmsFromOne;
    design.norms = if vault { NormPlacement::Before } else { NormPlacement::Both };
    // Rounded to 32 bits, as transformers keeps it.
    design.embedding_multiplier = f64::from((config.hidden_size as f64).sqrt() as f32);
    let scalar = fields.kept_number("query_pre_attn_scalar")?.unwrap_or(256.0);
    design.attention_multiplier = scalar.powf(-0.5);
    let cap = |field: &'static str, default: f64| match fields.keep(field) {
        // A key that is there and null turns the cap off.
        None if three || fields.has(field) => Ok(None),
        None => Ok(Some(default)),
        Some(_) => fields.kept_number(field),
    };
    design.attention_soft_cap = cap("attn_logit_softcapping", 50.0)?;
    design.logits_soft_cap = cap("final_logit_softcapping", 30.0)?;
    if three {
        design.query_key_norm = Some(QueryKeyNorm::PerHead);
        let theta = fields.number("rope_local_base_freq", 10_000.0)?;
        let local = nested_theta(fields, "sliding_attention").unwrap_or(theta);
        local_rope(config, local);
    }
    Ok(())
}

/// θ of one kind of layer in `rope_parameters`.
fn nested_theta(fields: &Fields, kind: &str) -> Option<f64> {
    fields.keep("rope_parameters")?.get(kind)?.get("rope_theta")?.as_f64()
}

/// Layers with a window get rotary positions of their own, unscaled.
fn local_rope(config: &mut ModelConfig, theta: f64) {
    let design = &mut config.design;
    design.ropes.push(RopeConfig { theta, scaling: None, ..design.ropes[0] });
    for layer in design.layers.iter_mut().filter(|layer| layer.window.is_some()) {
        layer.rope = Some(1);
    }
}

/// OLMo 3 stretches the positions of full attention alone.
fn unscaled_rope_within_windows(
    config: &mut ModelConfig,
    fields: &Fields,
) -> Result<(), ConfigError> {
    let theta = nested_theta(fields, "sliding_attention").unwrap_or(config.rope_theta);
    if config.rope_scaling.is_some() || theta != config.rope_theta {
        local_rope(config, theta);
    }
    Ok(())
}

fn granite(config: &mut ModelConfig, fields: &Fields) -> Result<(), ConfigError> {
    let number = |field| Ok::<_, ConfigError>(fields.kept_number(field)?.unwrap_or(1.0));
    let design = &mut config.design;
    design.embedding_multiplier = number("embedding_multiplier")?;
    design.attention_multiplier = number("attention_multiplier")?;
    design.residual_multiplier = number("residual_multiplier")?;
    design.logits_multiplier = 1.0 / number("logits_scaling")?;
    Ok(())
}

fn smollm3(config: &mut ModelConfig, fields: &Fields) -> Result<(), ConfigError> {
    let interval = fields.kept_size("no_rope_layer_interval")?.unwrap_or(4);
    let listed = match fields.keep("no_rope_layers") {
        None => None,
        Some(Value::Array(list)) if list.len() == config.num_hidden_layers => Some(list),
        Some(_) => {
            return Err(invalid("no_rope_layers", "is not a list with an entry for each layer"));
        }
    };
    // Despite its name the list holds 1 for layers that do turn.
    let turns = |layer: usize| match listed {
        Some(list) => list[layer].as_u64() != Some(0),
        None => !(layer + 1).is_multiple_of(interval),
    };
    for (index, layer) in config.design.layers.iter_mut().enumerate() {
        *layer = LayerDesign { window: None, rope: turns(index).then_some(0) };
    }
    if fields.keep("use_sliding_window").and_then(Value::as_bool) == Some(true) {
        windows(config, fields, |layer| !turns(layer))?;
    }
    Ok(())
}

fn gpt_neox(config: &mut ModelConfig, fields: &mut Fields) -> Result<(), ConfigError> {
    config.attention_bias = fields.flag("attention_bias", true)?;
    config.mlp_bias = true;
    let parallel = fields.keep("use_parallel_residual").and_then(Value::as_bool).unwrap_or(true);
    let design = &mut config.design;
    design.output_bias = config.attention_bias;
    design.norm = NormKind::LayerNorm;
    design.projections = Projections::FusedByHead;
    design.feed_forward = FeedForward::Plain;
    design.residual = if parallel { Residual::Parallel } else { Residual::Serial };
    Ok(())
}

fn phi(config: &mut ModelConfig, fields: &Fields) -> Result<(), ConfigError> {
    if fields.keep("qk_layernorm").and_then(Value::as_bool) == Some(true) {
        return Err(invalid("qk_layernorm", "is true, which is not supported"));
    }
    if config.tie_word_embeddings {
        return Err(invalid("tie_word_embeddings", "is true, which is not supported for Phi"));
    }
    config.attention_bias = true;
    config.mlp_bias = true;
    let design = &mut config.design;
    design.output_bias = true;
    design.head_bias = true;
    design.norm = NormKind::LayerNorm;
    design.feed_forward = FeedForward::Plain;
    design.residual = Residual::ParallelSharedNorm;
    Ok(())
}
