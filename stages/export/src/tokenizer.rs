//! The tokenizer files of a bundle, as transformers and llama.cpp want them.

use std::path::Path;

use pft_gguf::GgufWriter;
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
    /// `generation_config.json` of the base model, where it had one.
    generation: Value,
}

impl Tokenizer {
    /// Reads `tokenizer.json` and `tokenizer_config.json`, and `generation_config.json` where it is there.
    pub(crate) fn read(folder: &Path, config: &ModelConfig) -> Result<Self, StageError> {
        let path = folder.join("tokenizer.json");
        let json = read_json(&path)?;
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
        // Llama 2 was published with a padding token that its model has no row for: no text
        // becomes it, so it stays in the file and the model never sees it.
        for token in json["added_tokens"].as_array().map_or(&[][..], Vec::as_slice) {
            let slot = index(&token["id"]).and_then(|id| tokens.get_mut(id));
            if let (Some(slot), Some(text)) = (slot, token["content"].as_str()) {
                *slot = Some(text.to_string());
            }
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
        Ok(Self { json, settings, bos, eos, pad, tokens, generation })
    }

    fn id(&self, token: &Option<String>) -> Option<usize> {
        let token = token.as_ref()?;
        self.tokens.iter().position(|text| text.as_ref() == Some(token))
    }

    /// The chat template; of several with names, the one named `default`.
    fn chat_template(&self) -> Option<&str> {
        let template = &self.settings["chat_template"];
        let named = template.as_array().into_iter().flatten();
        let default = named.filter(|entry| entry["name"] == "default");
        template.as_str().or_else(|| default.filter_map(|entry| entry["template"].as_str()).next())
    }

    fn adds_bos(&self) -> bool {
        self.settings["add_bos_token"].as_bool().unwrap_or(false)
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

        let mut settings = self.settings.as_object().cloned().unwrap_or_default();
        let mut special = Map::new();
        for (key, token) in
            [("bos_token", &self.bos), ("eos_token", &self.eos), ("pad_token", &self.pad)]
        {
            if let Some(token) = token {
                settings.insert(key.to_string(), json!(token));
            }
        }
        let is_token = |key: &str| key.ends_with("_token") && !key.starts_with("add_");
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

    /// The `tokenizer.ggml.*` entries of a GGUF file.
    ///
    /// # Errors
    /// When llama.cpp has no name for the pre-tokenizer, or the tokenizer is no byte-level BPE.
    pub(crate) fn check_gguf(&self) -> Result<(), StageError> {
        self.pre_tokenizer().map(|_| ()).ok_or_else(|| {
            StageError::config("gguf: only byte-level BPE tokenizers of GPT-2, SmolLM and Llama 3 can be put into a GGUF file")
                .with_help("leave `gguf` out, and convert the folder with llama.cpp's own converter")
        })
    }

    fn pre_tokenizer(&self) -> Option<&'static str> {
        let model = &self.json["model"];
        if model["type"] != "BPE" || model["byte_fallback"] == json!(true) {
            return None;
        }
        let pre = &self.json["pre_tokenizer"];
        let kinds: Vec<&str> = match pre["pretokenizers"].as_array() {
            Some(parts) => parts.iter().filter_map(|part| part["type"].as_str()).collect(),
            None => pre["type"].as_str().into_iter().collect(),
        };
        match kinds.as_slice() {
            ["ByteLevel"] => Some("gpt-2"),
            ["Digits", "ByteLevel"] => Some("smollm"),
            ["Split", "ByteLevel"] => Some("llama-bpe"),
            _ => None,
        }
    }

    /// Adds the `tokenizer.ggml.*` entries.
    pub(crate) fn write_gguf(&self, writer: &mut GgufWriter) {
        const NORMAL: i32 = 1;
        const CONTROL: i32 = 3;
        const USER_DEFINED: i32 = 4;
        const UNUSED: i32 = 5;
        let mut kinds: Vec<i32> =
            self.tokens.iter().map(|token| if token.is_some() { NORMAL } else { UNUSED }).collect();
        for added in self.json["added_tokens"].as_array().map_or(&[][..], Vec::as_slice) {
            let id = added["id"].as_u64().and_then(|id| usize::try_from(id).ok());
            if let Some(kind) = id.and_then(|id| kinds.get_mut(id)) {
                *kind = if added["special"] == json!(true) { CONTROL } else { USER_DEFINED };
            }
        }
        let texts: Vec<String> = self
            .tokens
            .iter()
            .enumerate()
            .map(|(id, token)| token.clone().unwrap_or_else(|| format!("[PAD{id}]")))
            .collect();
        let merges: Vec<String> = self.json["model"]["merges"]
            .as_array()
            .map_or(&[][..], Vec::as_slice)
            .iter()
            .map(|merge| match merge {
                Value::Array(pair) => {
                    pair.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ")
                }
                text => text.as_str().unwrap_or_default().to_string(),
            })
            .collect();
        writer.string("tokenizer.ggml.model", "gpt2");
        writer.string("tokenizer.ggml.pre", self.pre_tokenizer().unwrap_or("gpt-2"));
        writer.strings("tokenizer.ggml.tokens", &texts);
        writer.i32s("tokenizer.ggml.token_type", &kinds);
        writer.strings("tokenizer.ggml.merges", &merges);
        writer.bool("tokenizer.ggml.add_bos_token", self.adds_bos());
        for (key, token) in [("bos", &self.bos), ("eos", &self.eos)] {
            if let Some(id) = self.id(token).and_then(|id| u32::try_from(id).ok()) {
                writer.u32(&format!("tokenizer.ggml.{key}_token_id"), id);
            }
        }
        if let Some(template) = self.chat_template() {
            writer.string("tokenizer.chat_template", template);
        }
    }
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
