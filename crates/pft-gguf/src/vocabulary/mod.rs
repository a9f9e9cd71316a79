//! The vocabulary of a GGUF file: its `tokenizer.*` entries.

mod pre_tokenizer;
mod sentence_piece;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::{Array, Gguf, GgufWriter};
pub use pre_tokenizer::PreTokenizer;

/// What a token is for (`tokenizer.ggml.token_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum TokenType {
    /// Text.
    Normal = 1,
    /// Stands for what has no token.
    Unknown = 2,
    /// A mark, such as the end of a text.
    Control = 3,
    /// A text that is never cut.
    UserDefined = 4,
    /// A row of the model without a token.
    Unused = 5,
    /// A byte.
    Byte = 6,
}

impl TokenType {
    fn of(kind: i64) -> Self {
        match kind {
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            5 => Self::Unused,
            6 => Self::Byte,
            _ => Self::Normal,
        }
    }
}

/// The `tokenizer.*` entries of a GGUF file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Vocabulary {
    /// `gpt2` (byte-level BPE) or `llama` (SentencePiece BPE).
    pub model: String,
    /// The pre-tokenizer of a `gpt2` model, by llama.cpp's name.
    pub pre: String,
    /// Token texts by id.
    pub tokens: Vec<String>,
    /// Scores by id, of a `llama` model.
    pub scores: Vec<f32>,
    /// Token types by id.
    pub token_types: Vec<TokenType>,
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
    /// Further chat templates by name.
    pub chat_templates: BTreeMap<String, String>,
}

impl Vocabulary {
    /// Reads the entries of a file.
    ///
    /// # Errors
    /// Says which entry is missing or is not what it should be.
    pub fn read(file: &Gguf) -> Result<Self, String> {
        let strings = |key: &str| file.strings(key).map(<[String]>::to_vec);
        let id = |key: &str| file.u64(key).and_then(|id| u32::try_from(id).ok());
        let model = file
            .str("tokenizer.ggml.model")
            .ok_or("the file holds no tokenizer (no tokenizer.ggml.model)")?
            .to_string();
        let tokens = strings("tokenizer.ggml.tokens").ok_or("tokenizer.ggml.tokens is missing")?;
        let token_types = match file.array("tokenizer.ggml.token_type") {
            Some(Array::Signed(kinds)) => kinds.iter().copied().map(TokenType::of).collect(),
            Some(_) => return Err("tokenizer.ggml.token_type is not a list of integers".into()),
            None => vec![TokenType::Normal; tokens.len()],
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
        let pre = file.str("tokenizer.ggml.pre").unwrap_or_default().to_string();
        let adds_bos = is_llama || PreTokenizer::named(&pre).is_ok_and(|pre| pre.add_bos);
        let names = strings("tokenizer.chat_templates").unwrap_or_default();
        let named = |name: String| {
            let template = file.str(&format!("tokenizer.chat_template.{name}"))?.to_string();
            Some((name, template))
        };
        Ok(Self {
            merges: merges.unwrap_or_default(),
            bos: id("tokenizer.ggml.bos_token_id"),
            eos: id("tokenizer.ggml.eos_token_id"),
            unknown: id("tokenizer.ggml.unknown_token_id"),
            add_bos: file.bool("tokenizer.ggml.add_bos_token").unwrap_or(adds_bos),
            add_space_prefix: file.bool("tokenizer.ggml.add_space_prefix").unwrap_or(is_llama),
            chat_template: file.str("tokenizer.chat_template").map(str::to_string),
            chat_templates: names.into_iter().filter_map(named).collect(),
            pre,
            model,
            tokens,
            scores,
            token_types,
        })
    }

    /// Adds the entries of a byte-level vocabulary to a file.
    pub fn write(&self, writer: &mut GgufWriter) {
        let kinds: Vec<i32> = self.token_types.iter().map(|kind| *kind as i32).collect();
        writer.string("tokenizer.ggml.model", &self.model);
        writer.string("tokenizer.ggml.pre", &self.pre);
        writer.strings("tokenizer.ggml.tokens", &self.tokens);
        writer.i32s("tokenizer.ggml.token_type", &kinds);
        writer.strings("tokenizer.ggml.merges", &self.merges);
        writer.bool("tokenizer.ggml.add_bos_token", self.add_bos);
        for (key, id) in [("bos", self.bos), ("eos", self.eos)] {
            if let Some(id) = id {
                writer.u32(&format!("tokenizer.ggml.{key}_token_id"), id);
            }
        }
        if let Some(template) = &self.chat_template {
            writer.string("tokenizer.chat_template", template);
        }
        if !self.chat_templates.is_empty() {
            let names: Vec<&String> = self.chat_templates.keys().collect();
            writer.strings("tokenizer.chat_templates", &names);
            for (name, template) in &self.chat_templates {
                writer.string(&format!("tokenizer.chat_template.{name}"), template);
            }
        }
    }

    /// The `tokenizer.json` that gives the ids of llama.cpp.
    ///
    /// # Errors
    /// When the model or pre-tokenizer is none of those known here.
    pub fn tokenizer_json(&self) -> Result<Value, String> {
        let vocab: Map<String, Value> =
            self.tokens.iter().enumerate().map(|(id, t)| (t.clone(), json!(id))).collect();
        let added: Vec<Value> = self
            .tokens
            .iter()
            .zip(&self.token_types)
            .enumerate()
            .filter(|(_, (_, kind))| matches!(kind, TokenType::Control | TokenType::UserDefined))
            .map(|(id, (token, kind))| added_token(id as u64, token, *kind == TokenType::Control))
            .collect();
        match self.model.as_str() {
            "gpt2" => self.byte_level(vocab, added),
            "llama" => Ok(sentence_piece::tokenizer_json(self, vocab, added)),
            other => Err(format!("its tokenizer model is {other:?}; known are gpt2 and llama")),
        }
    }

    fn byte_level(&self, vocab: Map<String, Value>, added: Vec<Value>) -> Result<Value, String> {
        if self.pre.is_empty() {
            return Err("does not say how texts are cut into words (no tokenizer.ggml.pre); take \
                        the tokenizer.json of the model's own folder, or convert the model again"
                .to_string());
        }
        let pre = PreTokenizer::named(&self.pre)?;
        Ok(json!({
            "version": "1.0",
            "added_tokens": added,
            "normalizer": null,
            "pre_tokenizer": pre.to_json(),
            "post_processor": null,
            "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true },
            "model": {
                "type": "BPE", "vocab": vocab, "merges": self.merges,
                "ignore_merges": pre.ignore_merges,
            },
        }))
    }
}

/// An entry of `added_tokens` in a `tokenizer.json`.
pub fn added_token(id: u64, content: &str, special: bool) -> Value {
    json!({
        "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": special,
    })
}
