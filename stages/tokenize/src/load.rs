//! Tokenizers from the files that models come with.

use std::path::Path;

use pft_gguf::added_token;
use pft_hub::mistaken;
use pft_stage::StageError;
use serde_json::{Value, json};

use crate::config::Config;
use crate::gguf;
use crate::loaded::{LoadedTokenizer, parse, read};
use crate::settings::Settings;

/// Names that BOS and EOS have in files that do not say.
const USUAL_EOS: &[&str] = &["<|endoftext|>", "</s>", "<|end_of_text|>", "<eos>"];
const USUAL_BOS: &[&str] = &["<s>", "<|begin_of_text|>", "<bos>"];

/// Loads the tokenizer that the config names.
///
/// # Errors
/// Says which file is wrong, and what would be right.
pub fn load_tokenizer(config: &Config) -> Result<LoadedTokenizer, StageError> {
    let path = config.tokenizer.as_path();
    if let Some(problem) = mistaken(path) {
        return Err(StageError::config(format!("tokenizer: {}: {problem}", path.display())));
    }
    if !path.exists() {
        return Err(StageError::config(format!("tokenizer: {}: no such file", path.display()))
            .with_help("`make models` fetches the default model"));
    }
    let mut loaded = if path.is_dir() {
        from_folder(path)?
    } else if path.extension().is_some_and(|extension| extension == "gguf") {
        gguf::load(path)?
    } else if path.extension().is_some_and(|extension| extension == "model") {
        return Err(sentence_piece_alone(path));
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
    if let Some(template) = &config.chat.template {
        let path = template.as_path();
        let text = std::fs::read_to_string(path).map_err(|error| {
            StageError::config(format!("chat.template: {}: {error}", path.display()))
        })?;
        loaded.carried.insert("chat_template".to_string(), Value::String(text));
    }
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
    let model = folder.join("tokenizer.model");
    if model.is_file() {
        return Err(sentence_piece_alone(&model));
    }
    let error = StageError::config(format!(
        "tokenizer: {}: holds neither tokenizer.json nor vocab.json and merges.txt",
        folder.display()
    ));
    if folder.join("adapter_config.json").is_file() {
        return Err(error.with_help(
            "the folder holds LoRA adapters: name the folder of the model that they adapt",
        ));
    }
    Err(error)
}

/// SentencePiece's own file says what the pieces are, and not all of how they are used.
fn sentence_piece_alone(path: &Path) -> StageError {
    StageError::config(format!(
        "tokenizer: {}: a SentencePiece model without a tokenizer.json beside it cannot be read",
        path.display()
    ))
    .with_help(
        "with the packages transformers and sentencepiece, \
         AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER) writes a tokenizer.json; \
         then name the folder",
    )
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
        .map(|(id, token, special)| added_token(id, token, special))
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
