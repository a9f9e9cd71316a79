//! Writing a model as GGUF.

use std::path::Path;

use pft_gguf::{GgufWriter, WriteType};

use super::ROPE_FREQS;
use super::layout::{arrangement, gguf_name, name_of};
use super::limits::{unsaid, window_pattern};
use super::rope::llama3_factors;
use crate::checkpoint::CheckpointError;
use crate::checkpoint::digest::{DIGEST_KEY, UNKNOWN_DIGEST, stamp};
use crate::config::{Architecture, ModelConfig, NormKind, Residual, RopeScaling};
use crate::parameters::{ParameterKind, ParameterSpec, Parameters, Tensor};

/// Whether a model can be written as GGUF: one that llama.cpp computes as pft does.
///
/// # Errors
/// Names what the file could not say.
pub fn check_gguf(config: &ModelConfig) -> Result<(), CheckpointError> {
    match unsaid(config) {
        None => Ok(()),
        Some(what) => Err(CheckpointError::NotWritten(format!(
            "GGUF: {what} cannot be written; leave `gguf` out, or convert the exported folder with \
             llama.cpp's own converter"
        ))),
    }
}

/// Writes a model as GGUF: matrices as `kind`, norms and biases in 32 bits. `tokenizer` adds the
/// `tokenizer.ggml.*` entries.
///
/// # Errors
/// When the disk refuses, or as [`check_gguf`].
pub fn save_gguf(
    path: &Path,
    config: &ModelConfig,
    parameters: &Parameters,
    kind: WriteType,
    tokenizer: impl FnOnce(&mut GgufWriter),
) -> Result<(), CheckpointError> {
    check_gguf(config)?;
    let mut writer = GgufWriter::new();
    let prefix = name_of(config.architecture).unwrap_or_default();
    let rope_freqs = describe(&mut writer, prefix, config);
    tokenizer(&mut writer);
    writer.string(DIGEST_KEY, UNKNOWN_DIGEST);

    let mut sources: Vec<(String, &ParameterSpec, &Tensor)> = Vec::new();
    for (_, parameter) in parameters.iter() {
        let Some(name) = gguf_name(&parameter.spec.name, config) else { continue };
        let matrix =
            matches!(parameter.spec.kind, ParameterKind::Embedding | ParameterKind::Weight);
        let shape = arrangement(&parameter.spec, config).shape(&parameter.spec.shape);
        writer.tensor(&name, &shape, if matrix { kind } else { WriteType::F32 });
        sources.push((name, &parameter.spec, &parameter.tensor));
    }
    if !rope_freqs.is_empty() {
        writer.tensor(ROPE_FREQS, &[rope_freqs.len()], WriteType::F32);
    }
    let mut sources = sources.into_iter();
    writer.write(path, |name| {
        let Some((_, spec, tensor)) = sources.next().filter(|(source, ..)| source == name) else {
            return Ok(rope_freqs.clone());
        };
        Ok(arrangement(spec, config).to_gguf(tensor.to_f32(), &spec.shape))
    })?;
    stamp(path)
}

/// Writes what the model is, and returns the divisors of its rotary frequencies, if it has some.
fn describe(writer: &mut GgufWriter, prefix: &str, config: &ModelConfig) -> Vec<f32> {
    writer.string("general.architecture", prefix);
    writer.string("general.type", "model");
    let size = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    let key = |name: &str| format!("{prefix}.{name}");
    for (name, value) in [
        ("embedding_length", config.hidden_size),
        ("block_count", config.num_hidden_layers),
        ("context_length", config.max_position_embeddings),
        ("feed_forward_length", config.intermediate_size),
        ("attention.head_count", config.num_attention_heads),
    ] {
        writer.u32(&key(name), size(value));
    }
    let epsilon = match config.design.norm {
        NormKind::LayerNorm => "attention.layer_norm_epsilon",
        NormKind::Rms | NormKind::RmsFromOne => "attention.layer_norm_rms_epsilon",
    };
    writer.f32(&key(epsilon), config.norm_eps as f32);
    let Some(rope) = config.design.ropes.first() else { return Vec::new() };
    writer.u32(&key("vocab_size"), size(config.vocab_size));
    writer.u32(&key("attention.head_count_kv"), size(config.num_key_value_heads));
    writer.u32(&key("attention.key_length"), size(config.head_dim));
    writer.u32(&key("attention.value_length"), size(config.head_dim));
    writer.u32(&key("rope.dimension_count"), size(rope.rotary_dim));
    writer.f32(&key("rope.freq_base"), config.rope_theta as f32);
    describe_switches(writer, prefix, config);
    match config.rope_scaling {
        Some(RopeScaling::Linear { factor }) => {
            writer.string(&key("rope.scaling.type"), "linear");
            writer.f32(&key("rope.scaling.factor"), factor as f32);
            Vec::new()
        }
        Some(scaling @ RopeScaling::Llama3 { .. }) => {
            llama3_factors(scaling, config.rope_theta, config.head_dim)
        }
        Some(RopeScaling::Yarn(_)) | None => Vec::new(),
    }
}

/// What single families say beyond the rest.
fn describe_switches(writer: &mut GgufWriter, prefix: &str, config: &ModelConfig) {
    let design = &config.design;
    let key = |name: &str| format!("{prefix}.{name}");
    if config.architecture == Architecture::GptNeoX {
        writer.bool(&key("use_parallel_residual"), design.residual == Residual::Parallel);
    }
    if config.architecture == Architecture::Granite {
        writer.f32(&key("attention.scale"), design.attention_multiplier as f32);
        writer.f32(&key("embedding_scale"), design.embedding_multiplier as f32);
        writer.f32(&key("residual_scale"), design.residual_multiplier as f32);
        writer.f32(&key("logit_scale"), (1.0 / design.logits_multiplier) as f32);
    }
    if window_pattern(config.architecture).is_some() {
        let window = design.layers.iter().find_map(|layer| layer.window);
        let window = window.unwrap_or(config.max_position_embeddings);
        writer.u32(&key("attention.sliding_window"), u32::try_from(window).unwrap_or(u32::MAX));
    }
    for (name, cap) in [
        ("attn_logit_softcapping", design.attention_soft_cap),
        ("final_logit_softcapping", design.logits_soft_cap),
    ] {
        if let Some(cap) = cap {
            writer.f32(&key(name), cap as f32);
        }
    }
}
