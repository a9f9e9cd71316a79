//! What lies beside a tokenizer: `tokenizer_config.json`, `special_tokens_map.json`,
//! `added_tokens.json` and `chat_template.jinja`.

use std::path::Path;

use pft_stage::StageError;
use serde_json::{Map, Value, json};
use tokenizers::Tokenizer;

use crate::load::read;

/// Tokens that have a name and no use in this stage.
const CARRIED_TOKENS: [&str; 5] =
    ["unk_token", "pad_token", "sep_token", "cls_token", "mask_token"];

/// The settings of a tokenizer's folder.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    config: Value,
    /// Named tokens; older folders have them here only.
    special: Value,
    /// Tokens that `vocab.json` lacks, with their ids.
    added: Value,
    /// A chat template in a file of its own, which goes before the one in `config`.
    chat_template: Option<String>,
}

impl Settings {
    /// Reads those files that are there.
    ///
    /// # Errors
    /// When one is no JSON.
    pub(crate) fn read(folder: &Path) -> Result<Self, StageError> {
        let json = |name: &str| {
            let path = folder.join(name);
            if !path.is_file() {
                return Ok(Value::Null);
            }
            serde_json::from_slice(&read(&path)?).map_err(|error| {
                StageError::config(format!("tokenizer: {}: {error}", path.display()))
            })
        };
        let template = folder.join("chat_template.jinja");
        let chat_template = if template.is_file() { Some(read(&template)?) } else { None };
        Ok(Self {
            config: json("tokenizer_config.json")?,
            special: json("special_tokens_map.json")?,
            added: json("added_tokens.json")?,
            chat_template: chat_template
                .map(|template| String::from_utf8_lossy(&template).into_owned()),
        })
    }

    /// The text of a named token, such as `eos_token`.
    pub(crate) fn token(&self, key: &str) -> Option<&str> {
        [&self.config, &self.special].into_iter().find_map(|settings| text(&settings[key]))
    }

    /// A switch, such as `add_bos_token`.
    pub(crate) fn switch(&self, key: &str) -> Option<bool> {
        self.config[key].as_bool()
    }

    /// The name of the tokenizer's class in transformers.
    pub(crate) fn class(&self) -> Option<&str> {
        self.config["tokenizer_class"].as_str()
    }

    /// Tokens that `vocab.json` lacks: id, text and whether they are special.
    pub(crate) fn added_tokens(&self) -> Vec<(u64, &str, bool)> {
        let special: Vec<&str> = ["bos_token", "eos_token"]
            .into_iter()
            .chain(CARRIED_TOKENS)
            .filter_map(|key| self.token(key))
            .chain(self.additional())
            .collect();
        let entries = self.added.as_object().into_iter().flatten();
        let mut tokens: Vec<_> = entries
            .filter_map(|(token, id)| {
                Some((id.as_u64()?, token.as_str(), special.contains(&token.as_str())))
            })
            .collect();
        tokens.sort_unstable();
        tokens
    }

    fn additional(&self) -> impl Iterator<Item = &str> {
        [&self.config, &self.special]
            .into_iter()
            .find_map(|settings| settings["additional_special_tokens"].as_array())
            .into_iter()
            .flatten()
            .filter_map(text)
    }

    /// Entries of a `tokenizer_config.json` that whoever uses the trained model needs, and this stage
    /// does not. Tokens that the tokenizer does not know would become new ones, beyond the model's
    /// vocabulary, and are left out.
    pub(crate) fn carried(&self, tokenizer: &Tokenizer) -> Map<String, Value> {
        let mut carried = Map::new();
        for key in CARRIED_TOKENS {
            if let Some(token) = self.token(key)
                && tokenizer.token_to_id(token).is_some()
            {
                carried.insert(key.to_string(), json!(token));
            }
        }
        let additional: Vec<&str> =
            self.additional().filter(|token| tokenizer.token_to_id(token).is_some()).collect();
        if !additional.is_empty() {
            carried.insert("additional_special_tokens".to_string(), json!(additional));
        }
        for key in ["padding_side", "truncation_side", "chat_template"] {
            if !self.config[key].is_null() {
                carried.insert(key.to_string(), self.config[key].clone());
            }
        }
        if let Some(template) = &self.chat_template {
            carried.insert("chat_template".to_string(), json!(template));
        }
        carried
    }
}

/// A token is written as its text, or as an object with it.
fn text(token: &Value) -> Option<&str> {
    token.as_str().or_else(|| token["content"].as_str())
}
