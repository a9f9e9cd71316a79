//! The tokenizer files of a bundle, as transformers and llama.cpp want them.

mod gguf;

use std::path::Path;

use pft_lm::config::ModelConfig;
use pft_stage::StageError;
use serde_json::{Map, Value, json};

use crate::trained::read_json;
use crate::write_json;

/// The tokenizer that a model was trained with.
pub(crate) struct Tokenizer {
    json: Value,
    settings: Value,
    bos: Option<String>,
    eos: Option<String>,
    pad: Option<String>,
    /// Token texts by id.
    tokens: Vec<Option<String>>,
    /// Added tokens that the model has no row for.
    without_row: Vec<String>,
    /// `generation_config.json` of the base model, where it had one.
    generation: Value,
}

impl Tokenizer {
    /// Reads `tokenizer.json` and `tokenizer_config.json`, and `generation_config.json` where it is there.
    pub(crate) fn read(folder: &Path, config: &ModelConfig) -> Result<Self, StageError> {
        let path = folder.join("tokenizer.json");
        let mut json = read_json(&path)?;
        let wrong = |problem: &str| {
            StageError::input(format!("{}: {problem}", path.display()))
                .with_help("train the model again")
        };
        let vocab = vocabulary(&json["model"]["vocab"])
            .ok_or_else(|| wrong("is missing, or is not a tokenizer with a vocabulary"))?;
        let mut tokens = vec![None; config.vocab_size];
        for (text, id) in vocab {
            let Some(slot) = tokens.get_mut(id) else {
                return Err(wrong("has a token id that the model's vocabulary does not hold"));
            };
            *slot = Some(text.to_string());
        }
        // Llama 2 was published with a padding token that its model has no row for. transformers counts
        // such a token among the model's, and looks its row up: it is left out.
        let mut without_row = Vec::new();
        if let Some(added) = json.get_mut("added_tokens").and_then(Value::as_array_mut) {
            added.retain(|token| {
                let Some(text) = token["content"].as_str() else { return true };
                let slot = index(&token["id"]).and_then(|id| tokens.get_mut(id));
                match slot {
                    Some(slot) => *slot = Some(text.to_string()),
                    None => without_row.push(text.to_string()),
                }
                !without_row.iter().any(|token| token == text)
            });
        }
        if let Some(token) = without_row.iter().find(|token| sets(&json["post_processor"], token)) {
            return Err(StageError::input(format!(
                "{}: sets the token {token:?} beside texts, for which the model has no row",
                path.display()
            )));
        }
        let settings = read_json(&folder.join("tokenizer_config.json"))?;
        let text = |id: Option<u32>| tokens.get(id? as usize)?.clone();
        let named = |key: &str| content(&settings[key]);
        let bos = named("bos_token").or_else(|| text(config.bos_token_id));
        let eos = named("eos_token").or_else(|| text(config.eos_token_ids.first().copied()));
        // A padding token that the model has no row for would be read beyond its table.
        let pad = named("pad_token").filter(|pad| tokens.iter().flatten().any(|text| text == pad));
        let pad = pad.or_else(|| eos.clone());
        let path = folder.join("generation_config.json");
        let generation = if path.is_file() { read_json(&path)? } else { Value::Null };
        Ok(Self { json, settings, bos, eos, pad, tokens, without_row, generation })
    }

    /// What to tell of tokens that are not in the bundle.
    pub(crate) fn left_out(&self) -> Option<String> {
        let tokens: Vec<String> =
            self.without_row.iter().map(|token| format!("{token:?}")).collect();
        let tokens = (!tokens.is_empty()).then(|| tokens.join(", "))?;
        Some(format!("left out of the tokenizer, since the model has no row for them: {tokens}"))
    }

    fn id(&self, token: &Option<String>) -> Option<usize> {
        let token = token.as_ref()?;
        self.tokens.iter().position(|text| text.as_ref() == Some(token))
    }

    fn adds_bos(&self) -> bool {
        self.settings["add_bos_token"].as_bool().unwrap_or(false)
    }

    /// The settings without tokens that the vocabulary lacks: transformers would add them as new
    /// ones, beyond the model's rows.
    fn known_settings(&self) -> Map<String, Value> {
        let mut settings = self.settings.as_object().cloned().unwrap_or_default();
        let known = |token: &Value| content(token).is_none_or(|text| self.holds(&text));
        settings.retain(|key, token| !is_token(key) || known(token));
        if let Some(Value::Array(tokens)) = settings.get_mut("additional_special_tokens") {
            tokens.retain(known);
        }
        if let Some(Value::Object(tokens)) = settings.get_mut("extra_special_tokens") {
            tokens.retain(|_, token| known(token));
        }
        settings
    }

    fn holds(&self, text: &str) -> bool {
        self.tokens.iter().flatten().any(|token| token == text)
    }

    /// Writes `tokenizer.json`, `tokenizer_config.json`, `special_tokens_map.json` and
    /// `generation_config.json`.
    pub(crate) fn write(&self, folder: &Path, config: &ModelConfig) -> Result<(), StageError> {
        let mut json = self.json.clone();
        if let (Some(bos), Some(id)) = (&self.bos, self.id(&self.bos)) {
            let own = json["post_processor"].take();
            json["post_processor"] = post_processor(own, self.adds_bos(), bos, id);
        }
        write_json(&folder.join("tokenizer.json"), &json)?;

        let mut settings = self.known_settings();
        let mut special = Map::new();
        for (key, token) in
            [("bos_token", &self.bos), ("eos_token", &self.eos), ("pad_token", &self.pad)]
        {
            if let Some(token) = token {
                settings.insert(key.to_string(), json!(token));
            }
        }
        for (key, token) in &settings {
            if (is_token(key) && !token.is_null()) || key == "additional_special_tokens" {
                special.insert(key.clone(), token.clone());
            }
        }
        settings.insert("tokenizer_class".to_string(), json!("PreTrainedTokenizerFast"));
        settings.insert("model_max_length".to_string(), json!(config.max_position_embeddings));
        // By default transformers 4 adds `token_type_ids`, which `generate` of LLaMA refuses and
        // GPT-2 takes for tokens.
        settings.insert("model_input_names".to_string(), json!(["input_ids", "attention_mask"]));
        settings.entry("clean_up_tokenization_spaces").or_insert(json!(false));
        // Where the settings do not say it, transformers 4 turns the space before texts off.
        if prefix_space(&json["pre_tokenizer"]) {
            settings.insert("add_prefix_space".to_string(), json!(true));
        }
        write_json(&folder.join("tokenizer_config.json"), &Value::Object(settings))?;
        write_json(&folder.join("special_tokens_map.json"), &Value::Object(special))?;

        let mut generation = match &self.generation {
            Value::Object(base) => base.clone(),
            _ => Map::from_iter([("_from_model_config".to_string(), json!(true))]),
        };
        let mut set = |key: &str, id: Value| {
            generation.entry(key).or_insert(id);
        };
        if let Some(bos) = config.bos_token_id {
            set("bos_token_id", json!(bos));
        }
        if !config.eos_token_ids.is_empty() {
            set("eos_token_id", json!(config.eos_token_ids));
        }
        if let Some(pad) = self.id(&self.pad) {
            set("pad_token_id", json!(pad));
            let known = generation["pad_token_id"].as_u64();
            // As with the token: the model has no row for a larger one.
            if known.is_none_or(|known| known >= config.vocab_size as u64) {
                generation["pad_token_id"] = json!(pad);
            }
        }
        let generation = Value::Object(generation);
        write_json(&folder.join("generation_config.json"), &generation)
    }
}

/// Whether an entry of the settings names a token.
fn is_token(key: &str) -> bool {
    key.ends_with("_token") && !key.starts_with("add_")
}

/// Whether a post-processor, or one of several, sets a token beside texts.
fn sets(post_processor: &Value, token: &str) -> bool {
    let parts = post_processor["processors"].as_array().into_iter().flatten();
    parts.chain([post_processor]).any(|part| !part["special_tokens"][token].is_null())
}

/// Whether bytes become letters with a space before the text.
fn prefix_space(pre_tokenizer: &Value) -> bool {
    let parts = pre_tokenizer["pretokenizers"].as_array().into_iter().flatten();
    (pre_tokenizer["type"] == "ByteLevel" && pre_tokenizer["add_prefix_space"] == true)
        || parts.into_iter().any(prefix_space)
}

/// The text of a token, which is written alone or in an object.
fn content(token: &Value) -> Option<String> {
    token.as_str().or_else(|| token["content"].as_str()).map(str::to_string)
}

/// Token texts with their ids: a map, or in Unigram tokenizers a list of texts with scores.
fn vocabulary(vocab: &Value) -> Option<Vec<(&str, usize)>> {
    match vocab {
        Value::Object(map) => Some(
            map.iter().map(|(text, id)| (&text[..], index(id).unwrap_or(usize::MAX))).collect(),
        ),
        Value::Array(list) => {
            let texts = list.iter().enumerate();
            texts.map(|(id, entry)| Some((entry[0].as_str()?, id))).collect()
        }
        _ => None,
    }
}

fn index(id: &Value) -> Option<usize> {
    usize::try_from(id.as_u64()?).ok()
}

/// A post-processor that begins texts with BOS if and only if the model was trained so: transformers
/// goes by it, and not by `add_bos_token`.
fn post_processor(own: Value, adds_bos: bool, bos: &str, id: usize) -> Value {
    let mut steps = match own["processors"].as_array() {
        Some(steps) => steps.clone(),
        None if own.is_null() => Vec::new(),
        None => vec![own.clone()],
    };
    let begins = |step: &Value| step["single"][0]["SpecialToken"]["id"] == json!(bos);
    if steps.iter().any(begins) == adds_bos {
        return own;
    }
    if adds_bos {
        steps.push(begin_with(bos, id));
    } else {
        steps.retain(|step| !begins(step));
    }
    match steps.len() {
        0 => Value::Null,
        1 => steps.remove(0),
        _ => json!({ "type": "Sequence", "processors": steps }),
    }
}

fn begin_with(bos: &str, id: usize) -> Value {
    let special = json!({ "SpecialToken": { "id": bos, "type_id": 0 } });
    let sequence = |name: &str, kind: u32| json!({ "Sequence": { "id": name, "type_id": kind } });
    json!({
        "type": "TemplateProcessing",
        "single": [special, sequence("A", 0)],
        "pair": [special, sequence("A", 0), special, sequence("B", 1)],
        "special_tokens": { bos: { "id": bos, "ids": [id], "tokens": [bos] } },
    })
}
