//! Writing a model as GGUF.

use std::path::Path;

use pft_gguf::{GgufWriter, WriteType};

use super::rope::llama3_factors;
use super::{Arrangement, ROPE_FREQS, arrangement, gguf_name, interleave, transpose};
use crate::checkpoint::CheckpointError;
use crate::config::{Architecture, ModelConfig, RopeScaling};
use crate::parameters::{ParameterKind, ParameterSpec, Parameters, Tensor};

/// Whether a model can be written as GGUF: one that llama.cpp computes as `llama` or `gpt2`.
///
/// # Errors
/// Names what the file could not say.
pub fn check_gguf(config: &ModelConfig) -> Result<(), CheckpointError> {
    let refuse = |what: String| {
        Err(CheckpointError::NotWritten(format!(
            "GGUF: {what} cannot be written yet; leave `gguf` out, or convert the exported folder with \
             llama.cpp's own converter"
        )))
    };
    let family = config.architecture;
    if !matches!(family, Architecture::Gpt2 | Architecture::Llama | Architecture::Mistral) {
        return refuse(format!("the family {}", family.class_name()));
    }
    if config.design.layers.iter().any(|layer| layer.window.is_some()) {
        return refuse("a sliding window".to_owned());
    }
    if matches!(config.rope_scaling, Some(RopeScaling::Yarn(_))) {
        return refuse("YaRN's rotary positions".to_owned());
    }
    Ok(())
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
    let prefix = if config.architecture == Architecture::Gpt2 { "gpt2" } else { "llama" };
    writer.string("general.architecture", prefix);
    writer.string("general.type", "model");
    let size = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
    for (key, value) in [
        ("embedding_length", config.hidden_size),
        ("block_count", config.num_hidden_layers),
        ("context_length", config.max_position_embeddings),
        ("feed_forward_length", config.intermediate_size),
        ("attention.head_count", config.num_attention_heads),
    ] {
        writer.u32(&format!("{prefix}.{key}"), size(value));
    }
    let mut rope_freqs = Vec::new();
    if config.architecture == Architecture::Gpt2 {
        writer.f32("gpt2.attention.layer_norm_epsilon", config.norm_eps as f32);
    } else {
        writer.u32("llama.vocab_size", size(config.vocab_size));
        writer.u32("llama.attention.head_count_kv", size(config.num_key_value_heads));
        writer.u32("llama.attention.key_length", size(config.head_dim));
        writer.u32("llama.attention.value_length", size(config.head_dim));
        writer.u32("llama.rope.dimension_count", size(config.head_dim));
        writer.f32("llama.rope.freq_base", config.rope_theta as f32);
        writer.f32("llama.attention.layer_norm_rms_epsilon", config.norm_eps as f32);
        match config.rope_scaling {
            Some(RopeScaling::Linear { factor }) => {
                writer.string("llama.rope.scaling.type", "linear");
                writer.f32("llama.rope.scaling.factor", factor as f32);
            }
            Some(scaling @ RopeScaling::Llama3 { .. }) => {
                rope_freqs = llama3_factors(scaling, config.rope_theta, config.head_dim);
            }
            Some(RopeScaling::Yarn(_)) | None => {}
        }
    }
    tokenizer(&mut writer);

    let mut sources: Vec<(String, &ParameterSpec, &Tensor)> = Vec::new();
    for (_, parameter) in parameters.iter() {
        let Some(name) = gguf_name(&parameter.spec.name) else { continue };
        let matrix =
            matches!(parameter.spec.kind, ParameterKind::Embedding | ParameterKind::Weight);
        let mut shape = parameter.spec.shape.clone();
        if arrangement(&parameter.spec.name, config) == Arrangement::Transposed {
            shape.reverse();
        }
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
        let values = tensor.to_f32();
        Ok(match arrangement(&spec.name, config) {
            Arrangement::Same => values,
            Arrangement::Transposed => transpose(&values, spec.shape[0], spec.shape[1]),
            Arrangement::Interleaved { heads } => {
                let width = if spec.shape.len() == 2 { spec.shape[1] } else { 1 };
                interleave(&values, heads, width, false)
            }
        })
    })?;
    Ok(())
}
