//! GGUF models of the architectures `llama` (which Mistral uses too) and `gpt2`, in the layout
//! that llama.cpp's converter gives them.

mod config;
mod rope;
mod write;

use std::collections::BTreeSet;
use std::path::Path;

use half::bf16;
use pft_gguf::Gguf;
use pft_hub::{Origin, mistaken};
use serde_json::Value;

use super::{CheckpointError, Precision, check_layers};
use crate::config::{Architecture, ModelConfig};
use crate::parameters::{ParameterKind, ParameterSpec, Tensor};
use config::{gpt2_config, llama_config};
pub use write::{check_gguf, save_gguf};

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
        if let Some(problem) = mistaken(path) {
            return Err(CheckpointError::unusable(path, problem));
        }
        let file = Gguf::open(path)?;
        refuse_parts(&file)?;
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

    /// Refuses tensors that the model does not have: they would silently be left out.
    pub(crate) fn check_unexpected(
        &self,
        specs: &[ParameterSpec],
        config: &ModelConfig,
    ) -> Result<(), CheckpointError> {
        let wanted: BTreeSet<String> =
            specs.iter().filter_map(|spec| gguf_name(&spec.name)).collect();
        let gpt2 = config.architecture == Architecture::Gpt2;
        let unexpected = self.file.tensors().iter().map(|info| &info.name).find(|name| {
            // Read with the config: the scaling of the frequencies, and whether a head is a copy.
            let read = if gpt2 { "output.weight" } else { ROPE_FREQS };
            !wanted.contains(*name) && *name != read
        });
        match unexpected {
            None => Ok(()),
            Some(name) => Err(CheckpointError::unusable(
                self.file.path(),
                format!("tensor `{name}` has no place in the model that can be computed here"),
            )),
        }
    }

    /// Where the model comes from, as the file's metadata says it.
    pub(crate) fn origin(&self) -> Origin {
        let text =
            |key: &str| self.file.str(key).filter(|text| !text.is_empty()).map(ToOwned::to_owned);
        let origin = Origin {
            repository: None,
            license: text("general.license"),
            license_name: text("general.license.name"),
            license_link: text("general.license.link"),
        };
        // What was converted goes before the place of the conversion.
        [
            "general.source.repo_url",
            "general.source.huggingface.repository",
            "general.source.url",
            "general.repo_url",
            "general.url",
        ]
        .iter()
        .fold(origin, |origin, key| origin.or_repository(self.file.str(key)))
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

/// Refuses files that are no whole model.
fn refuse_parts(file: &Gguf) -> Result<(), CheckpointError> {
    let parts = file.u64("split.count").unwrap_or(1);
    if parts > 1 {
        return Err(CheckpointError::unusable(
            file.path(),
            format!(
                "is one of {parts} parts of a model; `llama-gguf-split --merge` makes one file"
            ),
        ));
    }
    match file.str("general.type") {
        None | Some("model") => Ok(()),
        Some(other) => Err(CheckpointError::unusable(
            file.path(),
            format!("holds no model, but what GGUF calls {other:?}"),
        )),
    }
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
}
