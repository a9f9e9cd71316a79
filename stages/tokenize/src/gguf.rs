//! The tokenizer inside a GGUF file, rebuilt as a `tokenizer.json`.

use std::collections::HashMap;
use std::path::Path;

use pft_gguf::{Array, Gguf};
use pft_stage::StageError;
use serde_json::{Map, Value, json};

use crate::load::{LoadedTokenizer, parse};

/// Token types of `tokenizer.ggml.token_type`.
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;

/// Llama 3's pre-tokenizer: a regular expression and no merging across its pieces.
const LLAMA_BPE: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The `tokenizer.ggml.*` entries of a GGUF file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GgufVocabulary {
    /// `gpt2` (byte-level BPE) or `llama` (SentencePiece BPE).
    pub model: String,
    /// The pre-tokenizer of a `gpt2` model.
    pub pre: String,
    /// Token texts by id.
    pub tokens: Vec<String>,
    /// Scores by id, of a `llama` model.
    pub scores: Vec<f32>,
    /// Token types by id.
    pub token_types: Vec<i32>,
    /// Merges of a `gpt2` model, two pieces with a space between.
    pub merges: Vec<String>,
    /// Id of BOS.
    pub bos: Option<u32>,
    /// Id of EOS.
    pub eos: Option<u32>,
    /// Id of the unknown token.
    pub unknown: Option<u32>,
    /// Whether texts begin with BOS.
    pub add_bos: bool,
    /// Whether a `llama` model sets a space before the text.
    pub add_space_prefix: bool,
    /// The chat template.
    pub chat_template: Option<String>,
}

pub(crate) fn added_token(id: u64, content: &str, special: bool) -> Value {
    json!({
        "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": special,
    })
}

/// The `tokenizer.json` of a GGUF vocabulary.
///
/// # Errors
/// When the model or pre-tokenizer is none of those known here.
pub fn tokenizer_json(vocabulary: &GgufVocabulary) -> Result<Value, String> {
    let vocab: Map<String, Value> =
        vocabulary.tokens.iter().enumerate().map(|(id, t)| (t.clone(), json!(id))).collect();
    let added: Vec<Value> = vocabulary
        .tokens
        .iter()
        .zip(&vocabulary.token_types)
        .enumerate()
        .filter(|(_, (_, kind))| matches!(**kind, CONTROL | USER_DEFINED))
        .map(|(id, (token, kind))| added_token(id as u64, token, *kind == CONTROL))
        .collect();
    match vocabulary.model.as_str() {
        "gpt2" => byte_level(vocabulary, vocab, added),
        "llama" => Ok(sentence_piece(vocabulary, vocab, added)),
        other => Err(format!("its tokenizer model is {other:?}; known are gpt2 and llama")),
    }
}

fn byte_level(
    vocabulary: &GgufVocabulary,
    vocab: Map<String, Value>,
    added: Vec<Value>,
) -> Result<Value, String> {
    let bytes = |use_regex: bool| json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex });
    let sequence = |parts: Vec<Value>| json!({ "type": "Sequence", "pretokenizers": parts });
    let (pre_tokenizer, ignore_merges) = match vocabulary.pre.as_str() {
        "gpt-2" | "default" | "" => (bytes(true), false),
        "smollm" => (
            sequence(vec![json!({ "type": "Digits", "individual_digits": true }), bytes(true)]),
            false,
        ),
        "llama-bpe" | "llama3" | "llama-v3" => {
            let split = json!({
                "type": "Split", "pattern": { "Regex": LLAMA_BPE }, "behavior": "Isolated", "invert": false,
            });
            (sequence(vec![split, bytes(false)]), true)
        }
        other => {
            return Err(format!(
                "its pre-tokenizer is {other:?}; known are gpt-2, smollm and llama-bpe"
            ));
        }
    };
    Ok(json!({
        "version": "1.0",
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": null,
        "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true },
        "model": {
            "type": "BPE", "vocab": vocab, "merges": vocabulary.merges, "ignore_merges": ignore_merges,
        },
    }))
}

/// SentencePiece BPE: the merge that makes the piece with the best score goes first.
fn sentence_piece(
    vocabulary: &GgufVocabulary,
    vocab: Map<String, Value>,
    added: Vec<Value>,
) -> Value {
    let merges = merges_from_scores(&vocabulary.tokens, &vocabulary.scores);
    let unknown = vocabulary.unknown.and_then(|id| vocabulary.tokens.get(id as usize));
    let replace = json!({ "type": "Replace", "pattern": { "String": " " }, "content": "▁" });
    let normalizer = if vocabulary.add_space_prefix {
        json!({ "type": "Sequence", "normalizers": [{ "type": "Prepend", "prepend": "▁" }, replace] })
    } else {
        replace
    };
    json!({
        "version": "1.0",
        "added_tokens": added,
        "normalizer": normalizer,
        "pre_tokenizer": null,
        "post_processor": null,
        "decoder": { "type": "Sequence", "decoders": [
            { "type": "Replace", "pattern": { "String": "▁" }, "content": " " },
            { "type": "ByteFallback" },
            { "type": "Fuse" },
            { "type": "Strip", "content": " ", "start": usize::from(vocabulary.add_space_prefix), "stop": 0 },
        ]},
        "model": {
            "type": "BPE", "vocab": vocab, "merges": merges, "unk_token": unknown,
            "fuse_unk": true, "byte_fallback": true,
        },
    })
}

fn merges_from_scores(tokens: &[String], scores: &[f32]) -> Vec<[String; 2]> {
    let ids: HashMap<&str, usize> =
        tokens.iter().enumerate().map(|(id, token)| (token.as_str(), id)).collect();
    let mut merges: Vec<(f32, usize, usize, &str, &str)> = Vec::new();
    for (token, &score) in tokens.iter().zip(scores) {
        let mut local: Vec<(usize, usize, &str, &str)> = token
            .char_indices()
            .skip(1)
            .filter_map(|(at, _)| {
                let (left, right) = token.split_at(at);
                Some((*ids.get(left)?, *ids.get(right)?, left, right))
            })
            .collect();
        local.sort_unstable();
        let count = |text: &str| text.chars().count();
        merges.extend(local.into_iter().map(|(_, _, l, r)| (score, count(l), count(r), l, r)));
    }
    // Best score first, then the longer pieces; equals keep their order.
    merges.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.cmp(&a.1)).then(b.2.cmp(&a.2)));
    merges.into_iter().map(|(_, _, _, left, right)| [left.to_string(), right.to_string()]).collect()
}

pub(crate) fn from_vocabulary(
    vocabulary: &GgufVocabulary,
    path: &Path,
) -> Result<LoadedTokenizer, StageError> {
    let json = tokenizer_json(vocabulary).map_err(|message| {
        StageError::config(format!("tokenizer: {}: {message}", path.display()))
    })?;
    Ok(LoadedTokenizer {
        tokenizer: parse(json.to_string().as_bytes(), path)?,
        bos: vocabulary.bos,
        eos: vocabulary.eos,
        add_bos: vocabulary.add_bos,
        carried: vocabulary
            .chat_template
            .iter()
            .map(|template| ("chat_template".to_string(), json!(template)))
            .collect(),
    })
}

/// Loads the tokenizer inside a GGUF file.
///
/// # Errors
/// When the file is not GGUF, or holds no tokenizer that is known here.
pub(crate) fn load(path: &Path) -> Result<LoadedTokenizer, StageError> {
    let file =
        Gguf::open(path).map_err(|error| StageError::config(format!("tokenizer: {error}")))?;
    let vocabulary = read_vocabulary(&file).map_err(|message| {
        StageError::config(format!("tokenizer: {}: {message}", path.display()))
    })?;
    from_vocabulary(&vocabulary, path)
}

fn read_vocabulary(file: &Gguf) -> Result<GgufVocabulary, String> {
    let strings = |key: &str| file.strings(key).map(<[String]>::to_vec);
    let id = |key: &str| file.u64(key).and_then(|id| u32::try_from(id).ok());
    let model = file
        .str("tokenizer.ggml.model")
        .ok_or("the file holds no tokenizer (no tokenizer.ggml.model)")?
        .to_string();
    let tokens = strings("tokenizer.ggml.tokens").ok_or("tokenizer.ggml.tokens is missing")?;
    let token_types = match file.array("tokenizer.ggml.token_type") {
        Some(Array::Signed(kinds)) => kinds.iter().map(|&kind| kind as i32).collect(),
        Some(_) => return Err("tokenizer.ggml.token_type is not a list of integers".to_string()),
        None => vec![1; tokens.len()],
    };
    let scores = match file.array("tokenizer.ggml.scores") {
        Some(Array::Float(scores)) => scores.iter().map(|&score| score as f32).collect(),
        _ => Vec::new(),
    };
    let is_llama = model == "llama";
    for (name, length) in [("token_type", token_types.len()), ("scores", scores.len())] {
        if length != tokens.len() && (name != "scores" || is_llama) {
            return Err(format!(
                "tokenizer.ggml.{name} has {length} entries for {} tokens",
                tokens.len()
            ));
        }
    }
    let merges = strings("tokenizer.ggml.merges");
    if !is_llama && merges.is_none() {
        return Err("tokenizer.ggml.merges is missing".to_string());
    }
    Ok(GgufVocabulary {
        pre: file.str("tokenizer.ggml.pre").unwrap_or_default().to_string(),
        merges: merges.unwrap_or_default(),
        bos: id("tokenizer.ggml.bos_token_id"),
        eos: id("tokenizer.ggml.eos_token_id"),
        unknown: id("tokenizer.ggml.unknown_token_id"),
        add_bos: file.bool("tokenizer.ggml.add_bos_token").unwrap_or(is_llama),
        add_space_prefix: file.bool("tokenizer.ggml.add_space_prefix").unwrap_or(is_llama),
        chat_template: file.str("tokenizer.chat_template").map(str::to_string),
        model,
        tokens,
        scores,
        token_types,
    })
}
