//! GGUF models of the architectures `llama` (which Mistral uses too) and `gpt2`, in the layout
//! that llama.cpp's converter gives them.

use std::path::Path;

use half::bf16;
use pft_gguf::{Gguf, GgufWriter, WriteType};
use serde_json::{Map, Value, json};

use super::{CheckpointError, Precision, check_layers};
use crate::config::{Architecture, ModelConfig, RopeScaling};
use crate::parameters::{ParameterKind, ParameterSpec, Parameters, Tensor};

/// Parts of Hugging Face's LLaMA names and what llama.cpp calls them.
const LLAMA_NAMES: [(&str, &str); 9] = [
    ("input_layernorm", "attn_norm"),
    ("self_attn.q_proj", "attn_q"),
    ("self_attn.k_proj", "attn_k"),
    ("self_attn.v_proj", "attn_v"),
    ("self_attn.o_proj", "attn_output"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "ffn_gate"),
    ("mlp.up_proj", "ffn_up"),
    ("mlp.down_proj", "ffn_down"),
];

/// The same for GPT-2.
const GPT2_NAMES: [(&str, &str); 6] = [
    ("ln_1", "attn_norm"),
    ("attn.c_attn", "attn_qkv"),
    ("attn.c_proj", "attn_output"),
    ("ln_2", "ffn_norm"),
    ("mlp.c_fc", "ffn_up"),
    ("mlp.c_proj", "ffn_down"),
];

/// Llama 3's factors of the rotary frequencies, which GGUF keeps as a tensor.
const ROPE_FREQS: &str = "rope_freqs.weight";

/// llama.cpp's name of a parameter.
fn gguf_name(name: &str) -> Option<String> {
    let whole = match name {
        "model.embed_tokens.weight" | "transformer.wte.weight" => Some("token_embd.weight"),
        "transformer.wpe.weight" => Some("position_embd.weight"),
        "model.norm.weight" | "transformer.ln_f.weight" => Some("output_norm.weight"),
        "transformer.ln_f.bias" => Some("output_norm.bias"),
        "lm_head.weight" => Some("output.weight"),
        _ => None,
    };
    if let Some(whole) = whole {
        return Some(whole.to_owned());
    }
    let (rest, names): (_, &[(&str, &str)]) = match name.strip_prefix("model.layers.") {
        Some(rest) => (rest, &LLAMA_NAMES),
        None => (name.strip_prefix("transformer.h.")?, &GPT2_NAMES),
    };
    let (layer, rest) = rest.split_once('.')?;
    let (module, kind) = rest.rsplit_once('.')?;
    let (_, part) = names.iter().find(|(theirs, _)| *theirs == module)?;
    Some(format!("blk.{layer}.{part}.{kind}"))
}

/// How a parameter's numbers lie in GGUF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arrangement {
    /// As in Hugging Face.
    Same,
    /// GPT-2's `Conv1D` weights are stored transposed.
    Transposed,
    /// Rows of LLaMA's queries and keys: within each head, first and second halves interleaved.
    Interleaved { heads: usize },
}

fn arrangement(name: &str, config: &ModelConfig) -> Arrangement {
    if config.architecture == Architecture::Gpt2 {
        let conv = name.ends_with(".weight") && (name.contains(".c_"));
        return if conv { Arrangement::Transposed } else { Arrangement::Same };
    }
    if name.contains(".q_proj.") {
        Arrangement::Interleaved { heads: config.num_attention_heads }
    } else if name.contains(".k_proj.") {
        Arrangement::Interleaved { heads: config.num_key_value_heads }
    } else {
        Arrangement::Same
    }
}

/// Undoes (`to_hf`) or does the interleaving of rows of `width` numbers. Within a head of `d`
/// rows, row `2·i + s` of GGUF is row `s·d/2 + i` of Hugging Face.
fn interleave(values: &[f32], heads: usize, width: usize, to_hf: bool) -> Vec<f32> {
    let rows = values.len() / width;
    let head = rows / heads;
    let mut out = vec![0.0; values.len()];
    for row in 0..rows {
        let (first, within) = (row / head * head, row % head);
        let theirs = first + within % (head / 2) * 2 + within / (head / 2);
        let (from, to) = if to_hf { (theirs, row) } else { (row, theirs) };
        out[to * width..(to + 1) * width]
            .copy_from_slice(&values[from * width..(from + 1) * width]);
    }
    out
}

fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut out = vec![0.0; values.len()];
    for (row, line) in values.chunks_exact(columns).enumerate() {
        for (column, value) in line.iter().enumerate() {
            out[column * rows + row] = *value;
        }
    }
    out
}

/// An open GGUF model.
#[derive(Debug)]
pub(crate) struct GgufSource {
    file: Gguf,
}

impl GgufSource {
    pub(crate) fn open(path: &Path) -> Result<(Self, ModelConfig), CheckpointError> {
        let file = Gguf::open(path)?;
        let object = match file.str("general.architecture") {
            Some("llama") => llama_config(&file)?,
            Some("gpt2") => gpt2_config(&file)?,
            other => {
                return Err(CheckpointError::unusable(
                    path,
                    format!(
                        "holds a model of architecture {:?}; llama and gpt2 can be read",
                        other.unwrap_or("unknown")
                    ),
                ));
            }
        };
        let config = ModelConfig::from_json(&Value::Object(object).to_string())
            .map_err(|source| CheckpointError::Config { path: path.to_path_buf(), source })?;
        check_layers(path, &config, file.tensors().len())?;
        Ok((Self { file }, config))
    }

    pub(crate) fn load(
        &self,
        spec: &ParameterSpec,
        config: &ModelConfig,
        precision: Precision,
    ) -> Result<Tensor, CheckpointError> {
        let missing = |name: &str| {
            CheckpointError::unusable(self.file.path(), format!("tensor `{name}` is missing"))
        };
        let name = gguf_name(&spec.name).ok_or_else(|| missing(&spec.name))?;
        let info = self.file.tensor(&name).ok_or_else(|| missing(&name))?;
        let arrangement = arrangement(&spec.name, config);
        let mut expected = spec.shape.clone();
        if arrangement == Arrangement::Transposed {
            expected.reverse();
        }
        if info.shape != expected {
            return Err(CheckpointError::Shape {
                path: self.file.path().to_path_buf(),
                name,
                found: info.shape.clone(),
                expected,
            });
        }
        let values = self.file.dequantize(&name)?;
        let values = match arrangement {
            Arrangement::Same => values,
            Arrangement::Transposed => transpose(&values, expected[0], expected[1]),
            Arrangement::Interleaved { heads } => {
                let width = if spec.shape.len() == 2 { spec.shape[1] } else { 1 };
                interleave(&values, heads, width, true)
            }
        };
        let matrix = matches!(spec.kind, ParameterKind::Embedding | ParameterKind::Weight);
        if precision == Precision::Bf16 && matrix {
            let narrow = values.into_iter().map(bf16::from_f32).collect();
            return Ok(Tensor::new_bf16(&spec.shape, narrow)?);
        }
        Ok(Tensor::new(&spec.shape, values)?)
    }
}

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
            // Stored in 32 bits: the shortest decimal is the number that was meant.
            let shortest = (value as f32).to_string().parse::<f64>().unwrap_or(value);
            self.set(field, json!(shortest));
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

fn llama_config(file: &Gguf) -> Result<Map<String, Value>, CheckpointError> {
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
            let factor = file.f64("llama.rope.scaling.factor").unwrap_or(1.0);
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
                unsupported(format!("`{ROPE_FREQS}` holds other factors than Llama 3's"))
            })?;
        metadata.set("rope_scaling", scaling);
    }
    Ok(metadata.object)
}

/// The divisors of the rotary frequencies that Llama 3's scaling means.
fn llama3_factors(scaling: RopeScaling, theta: f64, head_dim: usize) -> Vec<f32> {
    let RopeScaling::Llama3 {
        factor,
        low_freq_factor,
        high_freq_factor,
        original_max_position_embeddings,
    } = scaling
    else {
        return Vec::new();
    };
    let original = original_max_position_embeddings as f64;
    (0..head_dim / 2)
        .map(|i| {
            let wavelength = std::f64::consts::TAU * theta.powf(2.0 * i as f64 / head_dim as f64);
            if wavelength < original / high_freq_factor {
                1.0
            } else if wavelength > original / low_freq_factor {
                factor as f32
            } else {
                let smooth = (original / wavelength - low_freq_factor)
                    / (high_freq_factor - low_freq_factor);
                (1.0 / ((1.0 - smooth) / factor + smooth)) as f32
            }
        })
        .collect()
}

/// GGUF keeps only the factors that follow from the scaling. Every released Llama 3 has the same
/// settings but for the greatest factor, so try those.
fn llama3_scaling(found: &[f32], theta: f64, head_dim: usize) -> Option<Value> {
    let factor = f64::from(found.iter().copied().fold(0.0, f32::max));
    let scaling = RopeScaling::Llama3 {
        factor,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 8192,
    };
    let expected = llama3_factors(scaling, theta, head_dim);
    let same = found.len() == expected.len()
        && found.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= 1e-3 * b);
    same.then(|| {
        json!({
            "rope_type": "llama3", "factor": factor, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
        })
    })
}

fn gpt2_config(file: &Gguf) -> Result<Map<String, Value>, CheckpointError> {
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

/// Writes a model as GGUF: matrices as `kind`, norms and biases in 32 bits. `tokenizer` adds the
/// `tokenizer.ggml.*` entries.
///
/// # Errors
/// When the disk refuses.
pub fn save_gguf(
    path: &Path,
    config: &ModelConfig,
    parameters: &Parameters,
    kind: WriteType,
    tokenizer: impl FnOnce(&mut GgufWriter),
) -> Result<(), CheckpointError> {
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
            Some(RopeScaling::Yarn(yarn)) => {
                writer.string("llama.rope.scaling.type", "yarn");
                writer.f32("llama.rope.scaling.factor", yarn.factor as f32);
                writer.u32(
                    "llama.rope.scaling.original_context_length",
                    size(yarn.original_max_position_embeddings),
                );
            }
            None => {}
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interleaving_is_llama_cpps_permute_and_undoes_itself() {
        // reshape(heads, 2, d/2, width).swapaxes(1, 2) of the rows 0..8, two heads of four.
        let rows: Vec<f32> = (0..8).map(|row| row as f32).collect();
        let theirs = interleave(&rows, 2, 1, false);
        assert_eq!(theirs, [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
        assert_eq!(interleave(&theirs, 2, 1, true), rows);
    }

    #[test]
    fn llama3_scaling_is_recognised_by_its_factors() {
        let scaling = RopeScaling::Llama3 {
            factor: 32.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 8192,
        };
        let mut factors = llama3_factors(scaling, 500_000.0, 64);
        assert_eq!((factors[0], factors[31]), (1.0, 32.0));
        let found = llama3_scaling(&factors, 500_000.0, 64).unwrap();
        assert_eq!(found["factor"], json!(32.0));
        factors[20] *= 1.1;
        assert!(llama3_scaling(&factors, 500_000.0, 64).is_none());
    }
}
