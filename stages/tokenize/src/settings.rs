//! What lies beside a tokenizer: `tokenizer_config.json`, `special_tokens_map.json`,
//! `added_tokens.json`, `chat_template.jinja` and `additional_chat_templates`.
//!
//! transformers 4 and 5 write the same things under other names; what is carried along has the names
//! that both read.

use std::collections::BTreeMap;
use std::path::Path;

use pft_stage::StageError;
use serde_json::{Map, Value, json};
use tokenizers::Tokenizer;

use crate::loaded::read;

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
    /// Further chat templates by name, each in a file of its own.
    chat_templates: BTreeMap<String, String>,
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
        let chat_template = if template.is_file() { Some(read_text(&template)?) } else { None };
        Ok(Self {
            config: json("tokenizer_config.json")?,
            special: json("special_tokens_map.json")?,
            added: json("added_tokens.json")?,
            chat_template,
            chat_templates: read_templates(&folder.join("additional_chat_templates"))?,
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
            .chain(self.named_extra().map(|(_, token)| token))
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

    /// Special tokens without a name of their own: `additional_special_tokens`, which transformers 5
    /// calls `extra_special_tokens`.
    fn additional(&self) -> impl Iterator<Item = &str> {
        let lists = ["additional_special_tokens", "extra_special_tokens"];
        [&self.config, &self.special]
            .into_iter()
            .flat_map(|settings| lists.map(|key| settings[key].as_array()))
            .flatten()
            .next()
            .into_iter()
            .flatten()
            .filter_map(text)
    }

    /// Special tokens with a name of the model's own, such as `image_token`: `extra_special_tokens` of
    /// transformers 4, `model_specific_special_tokens` of 5.
    fn named_extra(&self) -> impl Iterator<Item = (&str, &str)> {
        let maps = ["model_specific_special_tokens", "extra_special_tokens"];
        [&self.config, &self.special]
            .into_iter()
            .flat_map(|settings| maps.map(|key| settings[key].as_object()))
            .flatten()
            .next()
            .into_iter()
            .flatten()
            .filter_map(|(name, token)| Some((name.as_str(), text(token)?)))
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
        let named: Map<String, Value> = self
            .named_extra()
            .filter(|(_, token)| tokenizer.token_to_id(token).is_some())
            .map(|(name, token)| (name.to_string(), json!(token)))
            .collect();
        if !named.is_empty() {
            carried.insert("extra_special_tokens".to_string(), Value::Object(named));
        }
        for key in ["padding_side", "truncation_side"] {
            if !self.config[key].is_null() {
                carried.insert(key.to_string(), self.config[key].clone());
            }
        }
        if let Some(templates) = self.all_chat_templates() {
            carried.insert("chat_template".to_string(), templates);
        }
        carried
    }

    /// Those in files of their own go before those in `tokenizer_config.json`.
    fn all_chat_templates(&self) -> Option<Value> {
        let own = &self.config["chat_template"];
        let listed = own.as_array().into_iter().flatten();
        let mut templates: BTreeMap<String, String> = listed
            .filter_map(|entry| {
                Some((entry["name"].as_str()?.to_string(), entry["template"].as_str()?.to_string()))
            })
            .collect();
        templates.extend(self.chat_templates.clone());
        let listed = templates.remove("default");
        let default = self.chat_template.clone().or(own.as_str().map(str::to_string)).or(listed);
        chat_templates(default, templates)
    }
}

/// `chat_template` of a `tokenizer_config.json`: the one template, or a list with their names.
pub(crate) fn chat_templates(
    default: Option<String>,
    others: BTreeMap<String, String>,
) -> Option<Value> {
    if others.is_empty() {
        return default.map(Value::String);
    }
    let default = default.map(|template| ("default".to_string(), template));
    let entry = |(name, template): (String, String)| json!({ "name": name, "template": template });
    Some(default.into_iter().chain(others).map(entry).collect())
}

fn read_text(path: &Path) -> Result<String, StageError> {
    Ok(String::from_utf8_lossy(&read(path)?).into_owned())
}

/// The files `NAME.jinja` of a folder, where it is there.
fn read_templates(folder: &Path) -> Result<BTreeMap<String, String>, StageError> {
    let mut templates = BTreeMap::new();
    if !folder.is_dir() {
        return Ok(templates);
    }
    let failed = |error: std::io::Error| {
        StageError::config(format!("tokenizer: {}: {error}", folder.display()))
    };
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_stem().and_then(|name| name.to_str());
        if let Some(name) = name.filter(|_| path.extension().is_some_and(|kind| kind == "jinja")) {
            templates.insert(name.to_string(), read_text(&path)?);
        }
    }
    Ok(templates)
}

/// A token is written as its text, or as an object with it.
fn text(token: &Value) -> Option<&str> {
    token.as_str().or_else(|| token["content"].as_str())
}
