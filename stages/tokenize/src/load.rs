//! Tokenizers from the files that models come with.

use std::path::Path;

use pft_stage::StageError;
use serde_json::{Map, Value, json};
use tokenizers::Tokenizer;

use crate::config::Config;
use crate::gguf;
use crate::settings::Settings;

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
    /// Entries of `tokenizer_config.json` that are carried along: the chat template, other tokens.
    pub carried: Map<String, Value>,
}

/// Names that BOS and EOS have in files that do not say.
const USUAL_EOS: &[&str] = &["<|endoftext|>", "</s>", "<|end_of_text|>", "<eos>"];
const USUAL_BOS: &[&str] = &["<s>", "<|begin_of_text|>", "<bos>"];

/// Loads the tokenizer that the config names.
///
/// # Errors
/// Says which file is wrong, and what would be right.
pub fn load_tokenizer(config: &Config) -> Result<LoadedTokenizer, StageError> {
    let path = config.tokenizer.as_path();
    if !path.exists() {
        return Err(StageError::config(format!("tokenizer: {}: no such file", path.display()))
            .with_help("`make models` fetches the default model"));
    }
    let mut loaded = if path.is_dir() {
        from_folder(path)?
    } else if path.extension().is_some_and(|extension| extension == "gguf") {
        gguf::load(path)?
    } else {
        // What lies beside a file is not in the cache key of a run.
        from_json(&read(path)?, path, &Settings::default())?
    };
    let id = |key: &str, token: &Option<String>| -> Result<Option<u32>, StageError> {
        let Some(token) = token else { return Ok(None) };
        loaded.tokenizer.token_to_id(token).map(Some).ok_or_else(|| {
            StageError::config(format!("{key}: the tokenizer has no token {token:?}"))
        })
    };
    let (bos, eos) = (id("bos_token", &config.bos_token)?, id("eos_token", &config.eos_token)?);
    loaded.bos = bos.or(loaded.bos);
    loaded.eos = eos.or(loaded.eos);
    if config.add_eos && loaded.eos.is_none() {
        return Err(StageError::config("the tokenizer's files do not say which token ends a text")
            .with_help("set eos_token, or add_eos: false"));
    }
    if config.add_bos == Some(true) && loaded.bos.is_none() {
        return Err(StageError::config(
            "the tokenizer's files do not say which token begins a text",
        )
        .with_help("set bos_token, or add_bos: false"));
    }
    loaded.add_bos = config.add_bos.unwrap_or(loaded.add_bos);
    Ok(loaded)
}

fn from_folder(folder: &Path) -> Result<LoadedTokenizer, StageError> {
    let settings = Settings::read(folder)?;
    let json = folder.join("tokenizer.json");
    if json.is_file() {
        return from_json(&read(&json)?, &json, &settings);
    }
    let (vocabulary, merges) = (folder.join("vocab.json"), folder.join("merges.txt"));
    if vocabulary.is_file() && merges.is_file() {
        if let Some(class) = settings.class().filter(|class| !class.starts_with("GPT2")) {
            return Err(StageError::config(format!(
                "tokenizer: {}: has no tokenizer.json, and a {class} cuts words in a way of its own",
                folder.display()
            ))
            .with_help("load it as a fast tokenizer in transformers, and save it: that writes one"));
        }
        let json = byte_level_json(&vocabulary, &merges, &settings)?;
        let loaded = from_json(&json, &vocabulary, &settings)?;
        // The tokenizer numbers added tokens by itself, from the end of the vocabulary.
        let differs = |(id, token, _): &(u64, &str, bool)| {
            loaded.tokenizer.token_to_id(token).map(u64::from) != Some(*id)
        };
        if let Some((id, token, _)) = settings.added_tokens().into_iter().find(differs) {
            return Err(StageError::config(format!(
                "tokenizer: {}: the token {token:?} cannot have the id {id}, which leaves a gap",
                folder.join("added_tokens.json").display()
            )));
        }
        return Ok(loaded);
    }
    Err(StageError::config(format!(
        "tokenizer: {}: holds neither tokenizer.json nor vocab.json and merges.txt",
        folder.display()
    )))
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, StageError> {
    std::fs::read(path)
        .map_err(|error| StageError::config(format!("tokenizer: {}: {error}", path.display())))
}

/// GPT-2's files of old: a vocabulary and a list of merges, byte level.
fn byte_level_json(
    vocabulary: &Path,
    merges: &Path,
    settings: &Settings,
) -> Result<Vec<u8>, StageError> {
    let vocab: Value = serde_json::from_slice(&read(vocabulary)?).map_err(|error| {
        StageError::config(format!("tokenizer: {}: {error}", vocabulary.display()))
    })?;
    let text = String::from_utf8(read(merges)?).map_err(|_| {
        StageError::config(format!("tokenizer: {}: not valid UTF-8", merges.display()))
    })?;
    let merges: Vec<&str> =
        text.lines().filter(|line| !line.is_empty() && !line.starts_with("#version")).collect();
    let end = vocab.get("<|endoftext|>").and_then(Value::as_u64);
    let end = end.map(|id| (id, "<|endoftext|>", true));
    let end_text = end.map(|(_, text, _)| text);
    let added: Vec<Value> = end
        .into_iter()
        .chain(settings.added_tokens().into_iter().filter(|(_, token, _)| Some(*token) != end_text))
        .map(|(id, token, special)| gguf::added_token(id, token, special))
        .collect();
    let add_prefix_space = settings.switch("add_prefix_space").unwrap_or(false);
    let json = json!({
        "version": "1.0",
        "added_tokens": added,
        "normalizer": null,
        "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": add_prefix_space, "trim_offsets": true, "use_regex": true },
        "post_processor": null,
        "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true },
        "model": { "type": "BPE", "vocab": vocab, "merges": merges },
    });
    Ok(json.to_string().into_bytes())
}

fn from_json(json: &[u8], path: &Path, settings: &Settings) -> Result<LoadedTokenizer, StageError> {
    let tokenizer = parse(json, path)?;
    let named = |key: &str, usual: &[&str]| {
        let name = settings.token(key);
        name.and_then(|name| tokenizer.token_to_id(name))
            .or_else(|| usual.iter().find_map(|name| tokenizer.token_to_id(name)))
    };
    let (bos, eos) = (named("bos_token", USUAL_BOS), named("eos_token", USUAL_EOS));
    // A tokenizer that begins texts with BOS does so in its post-processor.
    let starts_with_bos = tokenizer
        .encode("a", true)
        .ok()
        .and_then(|encoding| encoding.get_ids().first().copied())
        .is_some_and(|first| bos == Some(first));
    let add_bos = settings.switch("add_bos_token").unwrap_or(starts_with_bos);
    let carried = settings.carried(&tokenizer);
    Ok(LoadedTokenizer { tokenizer, bos, eos, add_bos, carried })
}

pub(crate) fn parse(json: &[u8], path: &Path) -> Result<Tokenizer, StageError> {
    let mut tokenizer = Tokenizer::from_bytes(json).map_err(|error| {
        StageError::config(format!("tokenizer: {}: not a tokenizer: {error}", path.display()))
    })?;
    // Cutting is this stage's own work.
    let _ = tokenizer.with_truncation(None);
    tokenizer.with_padding(None);
    Ok(tokenizer)
}

impl LoadedTokenizer {
    /// Writes `tokenizer.json` and a `tokenizer_config.json` with BOS and EOS into a folder.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn save(&self, folder: &Path) -> Result<(), StageError> {
        let write = |name: &str, text: String| {
            std::fs::write(folder.join(name), text).map_err(|error| {
                StageError::bug(format!("{}: {error}", folder.join(name).display()))
            })
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
