//! How llama.cpp lays out each family: its name, the names of tensors, and the order of numbers in them.
//!
//! As its converter (`convert_hf_to_gguf.py`) writes them and its graphs read them; tests/reference/
//! llama_cpp.py computes every family with llama.cpp itself.

use crate::config::{Architecture, Design, FeedForward, ModelConfig, NormKind, Projections};
use crate::names::Names;
use crate::parameters::{ParameterKind, ParameterSpec};

/// Families by `general.architecture`, which is the prefix of their keys too. Of two with one name the
/// first is what a file is read as.
const ARCHITECTURES: [(Architecture, &str); 13] = [
    (Architecture::Llama, "llama"),
    (Architecture::Mistral, "llama"),
    (Architecture::Gpt2, "gpt2"),
    (Architecture::GptNeoX, "gptneox"),
    (Architecture::Qwen2, "qwen2"),
    (Architecture::Qwen3, "qwen3"),
    (Architecture::Gemma2, "gemma2"),
    (Architecture::Gemma3, "gemma3"),
    (Architecture::Olmo2, "olmo2"),
    (Architecture::SmolLm3, "smollm3"),
    (Architecture::Granite, "granite"),
    (Architecture::Phi, "phi2"),
    (Architecture::Phi3, "phi3"),
];

/// llama.cpp's name of a family that can be written.
pub(super) fn name_of(family: Architecture) -> Option<&'static str> {
    ARCHITECTURES.into_iter().find(|(one, _)| *one == family).map(|(_, name)| name)
}

/// The family of a file.
pub(super) fn family_of(name: &str) -> Option<(Architecture, &'static str)> {
    ARCHITECTURES.into_iter().find(|(_, one)| *one == name)
}

/// The names of files that can be read, for messages.
pub(super) fn readable() -> String {
    let mut names: Vec<&str> = ARCHITECTURES.into_iter().map(|(_, name)| name).collect();
    names.dedup();
    names.join(", ")
}

/// llama.cpp's name of a parameter.
pub(super) fn gguf_name(name: &str, config: &ModelConfig) -> Option<String> {
    let names = Names::of(config.architecture);
    let (module, kind) = name.rsplit_once('.')?;
    for (ours, theirs) in [
        (names.tokens, "token_embd"),
        (crate::names::POSITIONS, "position_embd"),
        (names.norm, "output_norm"),
        (names.head, "output"),
    ] {
        if module == ours {
            return Some(format!("{theirs}.{kind}"));
        }
    }
    let (layer, part) = module.strip_prefix(names.layers)?.strip_prefix('.')?.split_once('.')?;
    let part = part_name(part, names, &config.design)?;
    Some(format!("blk.{layer}.{part}.{kind}"))
}

/// llama.cpp's name of a part of a block.
fn part_name(part: &str, names: &Names, design: &Design) -> Option<&'static str> {
    use crate::config::NormPlacement::{After, Before};
    let [queries, keys, values] = names.projections;
    let [gate, up, down] = names.feed_forward;
    let [query_norm, key_norm] = crate::names::QUERY_KEY_NORMS;
    let fused = design.projections != Projections::Split;
    let fused_gate = design.feed_forward == FeedForward::GatedFused;
    let norms = [
        (names.before_attention, "attn_norm", design.norms != After),
        (names.after_attention, "post_attention_norm", design.norms != Before),
        (names.before_feed_forward, "ffn_norm", design.norms != After),
        (names.after_feed_forward, "post_ffw_norm", design.norms != Before),
    ];
    let norm = norms.into_iter().find(|(ours, _, there)| *there && part == *ours);
    if let Some((_, theirs, _)) = norm {
        return Some(theirs);
    }
    let parts = [
        (queries, if fused { "attn_qkv" } else { "attn_q" }),
        (keys, "attn_k"),
        (values, "attn_v"),
        (query_norm, "attn_q_norm"),
        (key_norm, "attn_k_norm"),
        (names.output, "attn_output"),
        (gate, if fused_gate { "ffn_up" } else { "ffn_gate" }),
        (up, "ffn_up"),
        (down, "ffn_down"),
    ];
    parts.into_iter().find(|(ours, _)| part == *ours).map(|(_, theirs)| theirs)
}

/// How a parameter's numbers lie in GGUF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrangement {
    /// As in Hugging Face.
    Same,
    /// GPT-2's `Conv1D` weights are stored transposed.
    Transposed,
    /// Rows of queries and keys where neighbours turn together: within each head, first and second
    /// halves interleaved.
    Interleaved { heads: usize },
    /// GPT-NeoX's queries, keys and values: all of a kind together, not head by head.
    ByKind { heads: usize },
    /// Gemma's norms: one is added to the scale.
    FromOne,
}

/// The arrangement of a parameter.
pub(super) fn arrangement(spec: &ParameterSpec, config: &ModelConfig) -> Arrangement {
    use Architecture::{Gpt2, Granite, Llama, Mistral, SmolLm3};
    let (name, design) = (&spec.name, &config.design);
    if spec.kind == ParameterKind::NormScale && design.norm == NormKind::RmsFromOne {
        return Arrangement::FromOne;
    }
    let conv = config.architecture == Gpt2 && name.ends_with(".weight") && name.contains(".c_");
    if conv {
        return Arrangement::Transposed;
    }
    if design.projections == Projections::FusedByHead && name.contains(".query_key_value.") {
        return Arrangement::ByKind { heads: config.num_attention_heads };
    }
    if matches!(config.architecture, Llama | Mistral | Granite | SmolLm3) {
        if name.contains(".q_proj.") {
            return Arrangement::Interleaved { heads: config.num_attention_heads };
        }
        if name.contains(".k_proj.") {
            return Arrangement::Interleaved { heads: config.num_key_value_heads };
        }
    }
    Arrangement::Same
}

impl Arrangement {
    /// The shape in GGUF of a tensor of `shape`.
    pub(super) fn shape(self, shape: &[usize]) -> Vec<usize> {
        let mut shape = shape.to_vec();
        if self == Self::Transposed {
            shape.reverse();
        }
        shape
    }

    /// Numbers of a tensor of `shape` in Hugging Face, as they lie in GGUF.
    pub(super) fn to_gguf(self, values: Vec<f32>, shape: &[usize]) -> Vec<f32> {
        let width = if shape.len() == 2 { shape[1] } else { 1 };
        match self {
            Self::Same => values,
            Self::Transposed => transpose(&values, shape[0], shape[1]),
            Self::Interleaved { heads } => moved(&values, width, interleaved(heads), false),
            Self::ByKind { heads } => moved(&values, width, by_kind(heads), false),
            Self::FromOne => values.into_iter().map(|scale| scale + 1.0).collect(),
        }
    }

    /// The numbers of GGUF, as they lie in a tensor of `shape` in Hugging Face.
    pub(super) fn to_hugging_face(self, values: Vec<f32>, shape: &[usize]) -> Vec<f32> {
        let width = if shape.len() == 2 { shape[1] } else { 1 };
        match self {
            Self::Same => values,
            Self::Transposed => transpose(&values, shape[1], shape[0]),
            Self::Interleaved { heads } => moved(&values, width, interleaved(heads), true),
            Self::ByKind { heads } => moved(&values, width, by_kind(heads), true),
            Self::FromOne => values.into_iter().map(|scale| scale - 1.0).collect(),
        }
    }
}

/// The row of GGUF that a row of Hugging Face is, given how many there are: within a head of `d` rows,
/// row `s·d/2 + i` is row `2·i + s`.
fn interleaved(heads: usize) -> impl Fn(usize, usize) -> usize {
    move |row, rows| {
        let head = rows / heads;
        let (first, within) = (row / head * head, row % head);
        first + within % (head / 2) * 2 + within / (head / 2)
    }
}

/// The same for rows `[head][query, key, value][d]`, which become `[query, key, value][head][d]`.
fn by_kind(heads: usize) -> impl Fn(usize, usize) -> usize {
    move |row, rows| {
        let width = rows / heads / 3;
        let (head, kind, within) = (row / width / 3, row / width % 3, row % width);
        (kind * heads + head) * width + within
    }
}

/// Moves rows of `width` numbers to where `place` says that they lie in GGUF, or back.
fn moved(
    values: &[f32],
    width: usize,
    place: impl Fn(usize, usize) -> usize,
    back: bool,
) -> Vec<f32> {
    let rows = values.len() / width;
    let mut out = vec![0.0; values.len()];
    for row in 0..rows {
        let theirs = place(row, rows);
        let (from, to) = if back { (theirs, row) } else { (row, theirs) };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_moved_as_llama_cpp_s_converter_does_and_back() {
        // reshape(heads, 2, d/2, width).swapaxes(1, 2) of the rows 0..8, two heads of four.
        let rows: Vec<f32> = (0..8).map(|row| row as f32).collect();
        let two = Arrangement::Interleaved { heads: 2 };
        let theirs = two.to_gguf(rows.clone(), &[8, 1]);
        assert_eq!(theirs, [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
        assert_eq!(two.to_hugging_face(theirs, &[8, 1]), rows);
        // reshape(heads, 3, d, width).swapaxes(0, 1) of the rows 0..12, two heads of two.
        let rows: Vec<f32> = (0..12).map(|row| row as f32).collect();
        let kinds = Arrangement::ByKind { heads: 2 };
        let theirs = kinds.to_gguf(rows.clone(), &[12]);
        assert_eq!(theirs, [0.0, 1.0, 6.0, 7.0, 2.0, 3.0, 8.0, 9.0, 4.0, 5.0, 10.0, 11.0]);
        assert_eq!(kinds.to_hugging_face(theirs, &[12]), rows);
    }
}
