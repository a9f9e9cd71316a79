//! What a GGUF file's metadata says of the model, as fields of a `config.json`.

use pft_gguf::Gguf;
use serde_json::{Map, Value, json};

use super::ROPE_FREQS;
use super::limits::{LOCAL_THETA, SMOLLM3_INTERVAL, query_scalar, window_pattern};
use super::rope::llama3_scaling;
use crate::checkpoint::CheckpointError;
use crate::config::Architecture;

/// Copies numbers of the metadata into fields of a config.
struct Metadata<'a> {
    file: &'a Gguf,
    prefix: &'static str,
    object: Map<String, Value>,
}

impl Metadata<'_> {
    fn new<'a>(file: &'a Gguf, prefix: &'static str, family: Architecture) -> Metadata<'a> {
        let mut object = Map::new();
        object.insert("architectures".to_owned(), json!([family.class_name()]));
        object.insert("model_type".to_owned(), json!(family.model_type()));
        Metadata { file, prefix, object }
    }

    fn set(&mut self, field: &str, value: Value) {
        self.object.insert(field.to_owned(), value);
    }

    fn size(&mut self, field: &str, key: &str) -> Result<u64, CheckpointError> {
        let key = format!("{}.{key}", self.prefix);
        let value = self.file.u64(&key).ok_or_else(|| {
            CheckpointError::unusable(
                self.file.path(),
                format!("metadata lacks the whole number `{key}`"),
            )
        })?;
        self.set(field, json!(value));
        Ok(value)
    }

    fn number(&mut self, field: &str, key: &str) {
        if let Some(value) = self.file.f64(&format!("{}.{key}", self.prefix)) {
            self.set(field, json!(meant(value)));
        }
    }

    /// What all families say in the same words.
    fn common(&mut self) {
        for (field, key) in [("bos_token_id", "bos_token_id"), ("eos_token_id", "eos_token_id")] {
            if let Some(id) = self.file.u64(&format!("tokenizer.ggml.{key}")) {
                self.set(field, json!(id));
            }
        }
        let rows = self.file.tensor("token_embd.weight").map_or(0, |info| info.shape[0]);
        self.set("vocab_size", json!(rows));
        self.set("tie_word_embeddings", json!(self.file.tensor("output.weight").is_none()));
        self.set("torch_dtype", json!("float32"));
    }
}

/// Numbers are stored in 32 bits: the shortest decimal is the one that was meant.
fn meant(value: f64) -> f64 {
    (value as f32).to_string().parse().unwrap_or(value)
}

/// The config of a model of that family, whose keys begin with `prefix`.
pub(super) fn read(
    file: &Gguf,
    family: Architecture,
    prefix: &'static str,
) -> Result<Map<String, Value>, CheckpointError> {
    let metadata = Metadata::new(file, prefix, family);
    if family == Architecture::Gpt2 { gpt2(metadata) } else { rotary(metadata, family) }
}

/// A model with rotary positions.
fn rotary(
    mut metadata: Metadata<'_>,
    family: Architecture,
) -> Result<Map<String, Value>, CheckpointError> {
    let (file, prefix) = (metadata.file, metadata.prefix);
    let key = |name: &str| format!("{prefix}.{name}");
    let width = metadata.size("hidden_size", "embedding_length")?;
    let heads = metadata.size("num_attention_heads", "attention.head_count")?;
    let layers = metadata.size("num_hidden_layers", "block_count")?;
    metadata.size("intermediate_size", "feed_forward_length")?;
    metadata.size("max_position_embeddings", "context_length")?;
    let key_heads = file.u64(&key("attention.head_count_kv")).unwrap_or(heads);
    metadata.set("num_key_value_heads", json!(key_heads));
    let share = width.checked_div(heads).unwrap_or_default();
    let head_dim = file.u64(&key("attention.key_length")).unwrap_or(share);
    metadata.set("head_dim", json!(head_dim));
    metadata.number("rope_theta", "rope.freq_base");
    metadata.common();
    let unsupported = |problem: String| CheckpointError::unusable(file.path(), problem);
    if file.u64(&key("expert_count")).unwrap_or(0) > 0 {
        return Err(unsupported("holds a mixture of experts, which is not supported".to_owned()));
    }
    let rotated = file.u64(&key("rope.dimension_count")).unwrap_or(head_dim);
    let of_head = json!(rotated as f64 / head_dim.max(1) as f64);
    let (neox, phi) = (Architecture::GptNeoX, [Architecture::Phi, Architecture::Phi3]);
    if rotated != head_dim && family != neox && !phi.contains(&family) {
        return Err(unsupported("rotates a part of each head, which is not supported".to_owned()));
    }
    match family {
        Architecture::GptNeoX => {
            metadata.number("layer_norm_eps", "attention.layer_norm_epsilon");
            metadata.set("rotary_pct", of_head);
            let parallel = file.bool(&key("use_parallel_residual")).unwrap_or(true);
            metadata.set("use_parallel_residual", json!(parallel));
            // llama.cpp computes it by its tanh approximation.
            metadata.set("hidden_act", json!("gelu_new"));
        }
        Architecture::Phi => {
            metadata.number("layer_norm_eps", "attention.layer_norm_epsilon");
            metadata.set("partial_rotary_factor", of_head);
            metadata.set("hidden_act", json!("gelu_new"));
        }
        Architecture::Phi3 => {
            metadata.number("rms_norm_eps", "attention.layer_norm_rms_epsilon");
            metadata.set("partial_rotary_factor", of_head);
        }
        _ => metadata.number("rms_norm_eps", "attention.layer_norm_rms_epsilon"),
    }
    let scalar = query_scalar(family, layers as usize, head_dim as usize, share as usize);
    metadata.switches(family, scalar);
    metadata.scaling(head_dim as usize)?;
    Ok(metadata.object)
}

impl Metadata<'_> {
    /// What single families say beyond the rest.
    fn switches(&mut self, family: Architecture, query_scalar: usize) {
        match family {
            Architecture::Llama => {
                let bias = |name: &str| self.file.tensor(name).is_some();
                let (attention, mlp) = (bias("blk.0.attn_q.bias"), bias("blk.0.ffn_up.bias"));
                self.set("attention_bias", json!(attention));
                self.set("mlp_bias", json!(mlp));
                self.set("hidden_act", json!("silu"));
            }
            Architecture::Granite => {
                self.number("attention_multiplier", "attention.scale");
                self.number("embedding_multiplier", "embedding_scale");
                self.number("residual_multiplier", "residual_scale");
                self.number("logits_scaling", "logit_scale");
            }
            Architecture::SmolLm3 => {
                self.set("no_rope_layer_interval", json!(SMOLLM3_INTERVAL));
            }
            Architecture::Gemma2 | Architecture::Gemma3 => {
                self.set("hidden_activation", json!("gelu_pytorch_tanh"));
                self.set("query_pre_attn_scalar", json!(query_scalar));
                self.set("sliding_window_pattern", json!(window_pattern(family)));
                if family == Architecture::Gemma3 {
                    self.set("rope_local_base_freq", json!(LOCAL_THETA));
                }
                self.number("attn_logit_softcapping", "attn_logit_softcapping");
                self.number("final_logit_softcapping", "final_logit_softcapping");
                let window = self.file.u64(&format!("{}.attention.sliding_window", self.prefix));
                self.set("sliding_window", json!(window.unwrap_or(4096)));
            }
            _ => {}
        }
    }

    /// How rotary positions are stretched.
    fn scaling(&mut self, head_dim: usize) -> Result<(), CheckpointError> {
        let file = self.file;
        let key = |name: &str| format!("{}.{name}", self.prefix);
        let unsupported = |problem: String| CheckpointError::unusable(file.path(), problem);
        match file.str(&key("rope.scaling.type")) {
            None | Some("none") => {}
            Some("linear") => {
                let factor = meant(file.f64(&key("rope.scaling.factor")).unwrap_or(1.0));
                self.set("rope_scaling", json!({ "rope_type": "linear", "factor": factor }));
            }
            Some(other) => {
                return Err(unsupported(format!("rope scaling {other:?} is not supported")));
            }
        }
        if file.tensor(ROPE_FREQS).is_some() {
            let theta = self.object.get("rope_theta").and_then(Value::as_f64).unwrap_or(10_000.0);
            let scaling = llama3_scaling(&file.dequantize(ROPE_FREQS)?, theta, head_dim)
                .ok_or_else(|| {
                    unsupported(format!(
                        "`{ROPE_FREQS}` holds factors that no constants of Llama 3's scaling give, \
                         and no other kind of them can be computed"
                    ))
                })?;
            self.set("rope_scaling", scaling);
        }
        Ok(())
    }
}

/// A GPT-2.
fn gpt2(mut metadata: Metadata<'_>) -> Result<Map<String, Value>, CheckpointError> {
    let file = metadata.file;
    metadata.size("n_embd", "embedding_length")?;
    metadata.size("n_layer", "block_count")?;
    metadata.size("n_head", "attention.head_count")?;
    metadata.size("n_positions", "context_length")?;
    metadata.size("n_inner", "feed_forward_length")?;
    metadata.number("layer_norm_epsilon", "attention.layer_norm_epsilon");
    metadata.set("activation_function", json!("gelu_new"));
    metadata.common();
    // Converters of old wrote the tied head a second time.
    let copied = match file.tensor("output.weight") {
        Some(_) => file.dequantize("output.weight")? == file.dequantize("token_embd.weight")?,
        None => true,
    };
    metadata.set("tie_word_embeddings", json!(copied));
    Ok(metadata.object)
}
