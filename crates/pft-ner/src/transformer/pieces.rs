//! Word pieces of a text with their byte offsets.

use std::path::Path;

use pft_pii::{LoadError, TagError};
use serde_json::Value;
use tokenizers::models::bpe::BPE;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{ModelWrapper, Tokenizer};

use super::config::{Config, Family};

/// Cuts texts into word pieces.
pub(super) struct Pieces {
    tokenizer: Tokenizer,
    /// Ids before and after every sequence (`[CLS]` and `[SEP]`, or `<s>` and `</s>`).
    pub(super) first: u32,
    pub(super) last: u32,
    unknown: Option<u32>,
    continuing_prefix: Option<String>,
}

/// A piece of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) id: u32,
    pub(super) start: usize,
    pub(super) end: usize,
    /// Whether it begins a word; if not it continues the word before.
    pub(super) starts_word: bool,
}

impl Pieces {
    /// Reads `tokenizer.json`, or else `vocab.txt` (WordPiece) or `vocab.json` and `merges.txt`
    /// (byte-level BPE).
    pub(super) fn load(dir: &Path, config: &Config) -> Result<Self, LoadError> {
        let wrong = |file: &str, error: &dyn std::fmt::Display| {
            LoadError::Model(format!("{}: {error}", dir.join(file).display()))
        };
        let mut tokenizer = if dir.join("tokenizer.json").is_file() {
            Tokenizer::from_file(dir.join("tokenizer.json"))
                .map_err(|error| wrong("tokenizer.json", &error))?
        } else if dir.join("vocab.txt").is_file() {
            let path = dir.join("vocab.txt");
            let model = WordPiece::from_file(&path.to_string_lossy())
                .unk_token("[UNK]".to_owned())
                .build()
                .map_err(|error| wrong("vocab.txt", &error))?;
            let mut tokenizer = Tokenizer::new(model);
            let lowercase = setting(dir, "do_lower_case").unwrap_or(true);
            let strip_accents = setting(dir, "strip_accents");
            tokenizer
                .with_normalizer(Some(BertNormalizer::new(true, true, strip_accents, lowercase)))
                .map_err(|error| wrong("vocab.txt", &error))?;
            tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
            tokenizer
        } else if dir.join("vocab.json").is_file() && config.family == Family::Roberta {
            let (vocab, merges) = (dir.join("vocab.json"), dir.join("merges.txt"));
            let model = BPE::from_file(&vocab.to_string_lossy(), &merges.to_string_lossy())
                .unk_token("<unk>".to_owned())
                .build()
                .map_err(|error| wrong("vocab.json", &error))?;
            let mut tokenizer = Tokenizer::new(model);
            tokenizer.with_pre_tokenizer(Some(ByteLevel::default().add_prefix_space(false)));
            tokenizer.with_post_processor(Some(ByteLevel::default().trim_offsets(true)));
            tokenizer
        } else {
            return Err(LoadError::Model(format!(
                "{} holds no tokenizer.json, no vocab.txt and no vocab.json with merges.txt",
                dir.display()
            )));
        };
        tokenizer.with_truncation(None).map_err(|error| wrong("tokenizer.json", &error))?;
        tokenizer.with_padding(None);

        let (first, last) = frame(&tokenizer).map_err(|what| wrong("tokenizer.json", &what))?;
        fits(&tokenizer, [first, last], config.vocabulary)
            .map_err(|what| wrong("tokenizer.json", &what))?;
        let (unknown, continuing_prefix) = match tokenizer.get_model() {
            ModelWrapper::WordPiece(model) => {
                (Some(model.unk_token.clone()), Some(model.continuing_subword_prefix.clone()))
            }
            ModelWrapper::BPE(model) => (
                model.get_unk_token().clone(),
                model.get_continuing_subword_prefix().clone().filter(|prefix| !prefix.is_empty()),
            ),
            _ => (None, None),
        };
        let unknown = unknown
            .and_then(|token| tokenizer.token_to_id(&token))
            .or_else(|| named(&tokenizer, ["<unk>", "[UNK]"]));
        Ok(Self { tokenizer, first, last, unknown, continuing_prefix })
    }

    /// The pieces of a text, without the special tokens around it.
    ///
    /// A piece starts a word unless it has the model's prefix of continuing pieces (`##`); in
    /// models without such a prefix, if it does not follow white space. An unknown piece always
    /// starts one. Offsets are those of the original text, whatever the normaliser did.
    pub(super) fn split(&self, text: &str) -> Result<Vec<Piece>, TagError> {
        let encoding = self
            .tokenizer
            .encode(text, false)
            .map_err(|error| TagError::Text(format!("the tokenizer failed: {error}")))?;
        let pieces =
            encoding.get_ids().iter().zip(encoding.get_offsets()).zip(encoding.get_tokens());
        Ok(pieces
            .map(|((&id, &(start, end)), token)| {
                let start = text.floor_char_boundary(start);
                let end = text.ceil_char_boundary(end.max(start));
                let starts_word = Some(id) == self.unknown
                    || match &self.continuing_prefix {
                        Some(prefix) => !token.starts_with(prefix.as_str()),
                        None => {
                            let before = text[..start].chars().next_back();
                            before.is_none_or(char::is_whitespace)
                                || text[start..].starts_with(char::is_whitespace)
                        }
                    };
                Piece { id, start, end, starts_word }
            })
            .collect())
    }
}

/// The ids before and after every sequence.
pub(crate) fn frame(tokenizer: &Tokenizer) -> Result<(u32, u32), String> {
    let frame = tokenizer.encode("", true).map_err(|error| error.to_string())?;
    let ids = match frame.get_ids() {
        &[first, last] => Some((first, last)),
        _ => named(tokenizer, ["[CLS]", "<s>"]).zip(named(tokenizer, ["[SEP]", "</s>"])),
    };
    ids.ok_or_else(|| "it has no [CLS] and [SEP], nor <s> and </s>".to_string())
}

/// Checks that a model has a row for every id that a tokenizer may give.
pub(crate) fn fits(
    tokenizer: &Tokenizer,
    special: [u32; 2],
    vocabulary: usize,
) -> Result<(), String> {
    let largest = tokenizer.get_vocab(true).into_values().chain(special).max().unwrap_or(0);
    if largest as usize >= vocabulary {
        return Err(format!(
            "it has the token id {largest}, but the model only {vocabulary} tokens; it belongs to \
             another model"
        ));
    }
    Ok(())
}

fn named(tokenizer: &Tokenizer, names: [&str; 2]) -> Option<u32> {
    names.iter().find_map(|name| tokenizer.token_to_id(name))
}

/// A boolean of `tokenizer_config.json`.
fn setting(dir: &Path, key: &str) -> Option<bool> {
    let text = std::fs::read_to_string(dir.join("tokenizer_config.json")).ok()?;
    serde_json::from_str::<Value>(&text).ok()?[key].as_bool()
}
