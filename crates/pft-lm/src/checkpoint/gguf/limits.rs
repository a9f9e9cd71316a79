//! What llama.cpp computes for a family whatever a file says, and so which models a file can hold.

use crate::config::{Activation, Architecture, LayerDesign, ModelConfig, RopeScaling};

/// Of how many layers the last one sees everything, in families that have windows in llama.cpp.
pub(super) fn window_pattern(family: Architecture) -> Option<usize> {
    match family {
        Architecture::Gemma2 => Some(2),
        Architecture::Gemma3 => Some(6),
        _ => None,
    }
}

/// Of how many layers the last one knows no positions.
pub(super) const SMOLLM3_INTERVAL: usize = 4;

/// Base of the rotary frequencies within Gemma 3's windows.
pub(super) const LOCAL_THETA: f64 = 10_000.0;

/// What Gemma's scores are divided by the root of: the width of a head, but in the models of 27 B, which
/// llama.cpp knows by their number of layers.
pub(super) fn query_scalar(
    family: Architecture,
    layers: usize,
    head_dim: usize,
    head_share: usize,
) -> usize {
    match (family, layers) {
        (Architecture::Gemma2, 46) | (Architecture::Gemma3, 62) => head_share,
        _ => head_dim,
    }
}

/// The first part of a model that a file could not say, in words.
pub(super) fn unsaid(config: &ModelConfig) -> Option<String> {
    use Architecture::{Gemma2, Gemma3, Gpt2, GptNeoX, Llama, Mistral, Phi, SmolLm3};
    let (family, design) = (config.architecture, &config.design);
    if super::layout::name_of(family).is_none() {
        return Some(format!("the family {}", family.class_name()));
    }
    if matches!(config.rope_scaling, Some(RopeScaling::Yarn(_))) {
        return Some("YaRN's rotary positions".to_owned());
    }
    let biases = config.mlp_bias || (config.attention_bias && family != Architecture::Qwen2);
    if biases && !matches!(family, Llama | Mistral | Gpt2 | GptNeoX | Phi) {
        return Some(format!("a {} with biases", family.class_name()));
    }
    if family == GptNeoX && !config.attention_bias {
        return Some("a GPT-NeoX without biases".to_owned());
    }
    if family == Phi && config.tie_word_embeddings {
        return Some("a Phi without a head of its own".to_owned());
    }
    let gated = match family {
        Gemma2 | Gemma3 => Activation::GeluNew,
        _ => Activation::Silu,
    };
    if !matches!(family, Gpt2 | GptNeoX | Phi) && config.activation != gated {
        let name = config.activation.as_str();
        return Some(format!("a {} with {name}", family.class_name()));
    }
    if let Some(pattern) = window_pattern(family) {
        return gemma(config, pattern);
    }
    if family == SmolLm3 {
        let turns = |(index, layer): (usize, &LayerDesign)| {
            layer.rope.is_some() != (index + 1).is_multiple_of(SMOLLM3_INTERVAL)
        };
        if !design.layers.iter().enumerate().all(turns) {
            return Some("positions left out elsewhere than in every fourth layer".to_owned());
        }
    }
    let reaches =
        |layer: &LayerDesign| layer.window.is_some_and(|at| at < config.max_position_embeddings);
    design.layers.iter().any(reaches).then(|| "a sliding window".to_owned())
}

fn gemma(config: &ModelConfig, pattern: usize) -> Option<String> {
    let design = &config.design;
    let windowed = |(index, layer): (usize, &LayerDesign)| {
        layer.window.is_some() != (index + 1).is_multiple_of(pattern)
    };
    if !design.layers.iter().enumerate().all(windowed) {
        return Some(format!("a window in other layers than all but every {pattern}th"));
    }
    if !config.tie_word_embeddings {
        return Some("a Gemma with a head of its own".to_owned());
    }
    let share = config.hidden_size / config.num_attention_heads.max(1);
    let scalar =
        query_scalar(config.architecture, config.num_hidden_layers, config.head_dim, share);
    if design.attention_multiplier != (scalar as f64).powf(-0.5) {
        return Some(format!("query_pre_attn_scalar other than {scalar}"));
    }
    let caps = (design.attention_soft_cap.is_some(), design.logits_soft_cap.is_some());
    let second = config.architecture == Architecture::Gemma2;
    if caps != (second, second) {
        return Some("soft caps other than its family's".to_owned());
    }
    let local = design.ropes.get(1).is_none_or(|rope| rope.theta == LOCAL_THETA);
    (!local).then(|| format!("a rotary base within windows other than {LOCAL_THETA}"))
}
