//! The tokenizer inside a GGUF file.

use std::path::Path;

use pft_gguf::{Gguf, Vocabulary};
use pft_stage::StageError;

use crate::loaded::{LoadedTokenizer, parse};
use crate::settings::chat_templates;

/// Loads the tokenizer inside a GGUF file.
///
/// # Errors
/// When the file is not GGUF, or holds no tokenizer that is known here.
pub(crate) fn load(path: &Path) -> Result<LoadedTokenizer, StageError> {
    let file =
        Gguf::open(path).map_err(|error| StageError::config(format!("tokenizer: {error}")))?;
    let wrong =
        |message: String| StageError::config(format!("tokenizer: {}: {message}", path.display()));
    let vocabulary = Vocabulary::read(&file).map_err(wrong)?;
    let json = vocabulary.tokenizer_json().map_err(wrong)?;
    let templates = chat_templates(vocabulary.chat_template, vocabulary.chat_templates);
    Ok(LoadedTokenizer {
        tokenizer: parse(json.to_string().as_bytes(), path)?,
        bos: vocabulary.bos,
        eos: vocabulary.eos,
        add_bos: vocabulary.add_bos,
        carried: templates.map(|value| ("chat_template".to_string(), value)).into_iter().collect(),
    })
}
