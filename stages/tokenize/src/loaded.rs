//! A tokenizer that was read, and how it is written again.

use std::path::Path;

use pft_hub::{LFS_POINTER, is_lfs_pointer};
use pft_stage::StageError;
use serde_json::{Map, Value, json};
use tokenizers::Tokenizer;

/// A tokenizer and what its files say of BOS and EOS.
#[derive(Debug, Clone)]
pub struct LoadedTokenizer {
    /// The tokenizer, without truncation and padding.
    pub tokenizer: Tokenizer,
    /// Id of the token that begins a text.
    pub bos: Option<u32>,
    /// Id of the token that ends a text.
    pub eos: Option<u32>,
    /// Whether texts begin with BOS.
    pub add_bos: bool,
    /// Entries of `tokenizer_config.json` that are carried along: chat templates, other tokens.
    pub carried: Map<String, Value>,
}

impl LoadedTokenizer {
    /// Writes `tokenizer.json` and a `tokenizer_config.json` with BOS and EOS into a folder.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn save(&self, folder: &Path) -> Result<(), StageError> {
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            std::fs::write(&path, text).map_err(|error| StageError::failed_write(&path, &error))
        };
        let json = self
            .tokenizer
            .to_string(true)
            .map_err(|error| StageError::bug(format!("tokenizer.json: {error}")))?;
        write("tokenizer.json", json + "\n")?;
        let token = |id: Option<u32>| id.and_then(|id| self.tokenizer.id_to_token(id));
        let mut settings = json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": token(self.bos),
            "eos_token": token(self.eos),
            "add_bos_token": self.add_bos,
            "clean_up_tokenization_spaces": false,
            // By default transformers 4 adds `token_type_ids`, which language models have no use for.
            "model_input_names": ["input_ids", "attention_mask"],
        });
        for (key, value) in &self.carried {
            settings[key] = value.clone();
        }
        write("tokenizer_config.json", format!("{settings:#}\n"))
    }
}

/// Reads a file of a tokenizer.
///
/// # Errors
/// When it cannot be read, or git-LFS left a pointer in its place.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, StageError> {
    let bytes = std::fs::read(path)
        .map_err(|error| StageError::config(format!("tokenizer: {}: {error}", path.display())))?;
    if is_lfs_pointer(&bytes) {
        let path = path.display();
        return Err(StageError::config(format!("tokenizer: {path}: {LFS_POINTER}")));
    }
    Ok(bytes)
}

/// A tokenizer from the text of a `tokenizer.json`.
///
/// # Errors
/// When it is none.
pub(crate) fn parse(json: &[u8], path: &Path) -> Result<Tokenizer, StageError> {
    let mut tokenizer = Tokenizer::from_bytes(json).map_err(|error| {
        StageError::config(format!("tokenizer: {}: not a tokenizer: {error}", path.display()))
    })?;
    // Cutting is this stage's own work.
    let _ = tokenizer.with_truncation(None);
    tokenizer.with_padding(None);
    Ok(tokenizer)
}
