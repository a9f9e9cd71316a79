//! What a GGUF file's metadata says of the model, as fields of a `config.json`.

use pft_gguf::Gguf;
use serde_json::{Map, Value, json};

use super::ROPE_FREQS;
use super::rope::llama3_scaling;
use crate::checkpoint::CheckpointError;

/// Copies numbers of the metadata into fields of a config.
struct Metadata<'a> {
    file: &'a Gguf,
    prefix: &'static str,
    object: Map<String, Value>,
}

impl Metadata<'_> {
    fn new<'a>(file: &'a Gguf, prefix: &'static str, class: &str) -> Metadata<'a> {
        let mut object = Map::new();
        object.insert("architectures".to_owned(), json!([class]));
        object.insert("model_type".to_owned(), json!(prefix));
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

    /// What both architectures say in the same words.
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

/// The config of a model of the architecture `llama`.
pub(super) fn llama_config(file: &Gguf) -> Result<Map<String, Value>, CheckpointError> {
    let mut metadata = Metadata::new(file, "llama", "LlamaForCausalLM");
    let width = metadata.size("hidden_size", "embedding_length")?;
    let heads = metadata.size("num_attention_heads", "attention.head_count")?;
    metadata.size("num_hidden_layers", "block_count")?;
    metadata.size("intermediate_size", "feed_forward_length")?;
    metadata.size("max_position_embeddings", "context_length")?;
    let key_heads = file.u64("llama.attention.head_count_kv").unwrap_or(heads);
    metadata.set("num_key_value_heads", json!(key_heads));
    let head_dim = file
        .u64("llama.attention.key_length")
        .or_else(|| width.checked_div(heads))
        .unwrap_or_default();
    metadata.set("head_dim", json!(head_dim));
    metadata.number("rms_norm_eps", "attention.layer_norm_rms_epsilon");
    metadata.number("rope_theta", "rope.freq_base");
    metadata.set("hidden_act", json!("silu"));
    metadata.set("attention_bias", json!(file.tensor("blk.0.attn_q.bias").is_some()));
    metadata.set("mlp_bias", json!(file.tensor("blk.0.ffn_up.bias").is_some()));
    metadata.common();

    let unsupported = |problem: String| CheckpointError::unusable(file.path(), problem);
    if file.u64("llama.expert_count").unwrap_or(0) > 0 {
        return Err(unsupported("holds a mixture of experts, which is not supported".to_owned()));
    }
    if file.u64("llama.rope.dimension_count").is_some_and(|rotated| rotated != head_dim) {
        return Err(unsupported("rotates a part of each head, which is not supported".to_owned()));
    }
    match file.str("llama.rope.scaling.type") {
        None | Some("none") => {}
        Some("linear") => {
            let factor = meant(file.f64("llama.rope.scaling.factor").unwrap_or(1.0));
            metadata.set("rope_scaling", json!({ "rope_type": "linear", "factor": factor }));
        }
        Some(other) => {
            return Err(unsupported(format!("rope scaling {other:?} is not supported")));
        }
    }
    if file.tensor(ROPE_FREQS).is_some() {
        let theta = metadata.object.get("rope_theta").and_then(Value::as_f64).unwrap_or(10_000.0);
        let scaling = llama3_scaling(&file.dequantize(ROPE_FREQS)?, theta, head_dim as usize)
            .ok_or_else(|| {
                unsupported(format!(
                    "`{ROPE_FREQS}` holds factors that no constants of Llama 3's scaling give, and \
                     no other kind of them can be computed"
                ))
            })?;
        metadata.set("rope_scaling", scaling);
    }
    Ok(metadata.object)
}

/// The config of a model of the architecture `gpt2`.
pub(super) fn gpt2_config(file: &Gguf) -> Result<Map<String, Value>, CheckpointError> {
    let mut metadata = Metadata::new(file, "gpt2", "GPT2LMHeadModel");
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
