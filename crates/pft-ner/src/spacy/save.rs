//! Writes a trained recognizer as a spaCy pipeline of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use pft_pii::LoadError;
use rmpv::Value;
use serde_json::{Map, json};

use super::msgpack::PackedFile;
use crate::train::TrainError;

/// Which of a pipeline's files a parameter lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum File {
    /// `ner/model`.
    Ner,
    /// `tok2vec/model`, where the recognizer listens to it.
    Shared,
}

/// A parameter's new value.
pub(super) struct Changed {
    pub(super) file: File,
    /// Place of its layer in the file.
    pub(super) node: usize,
    pub(super) name: &'static str,
    pub(super) shape: Vec<usize>,
    pub(super) data: Vec<f32>,
}

/// The `moves` of a transition system for these labels. spaCy orders a move's labels by their
/// counts, so these fall in the labels' order.
pub(super) fn moves_file(labels: &[String]) -> String {
    let mut counts: BTreeMap<&str, Map<String, serde_json::Value>> = BTreeMap::new();
    for action in ["1", "2", "3", "4"] {
        let ordered = labels.iter().rev().enumerate();
        counts.insert(
            action,
            ordered.map(|(count, label)| (label.clone(), json!(count + 1))).collect(),
        );
    }
    counts.insert("0", Map::new());
    counts.insert("5", Map::from_iter([(String::new(), json!(1))]));
    json!(counts).to_string()
}

/// Writes the pipeline of `base` with a new recognizer and nothing else to `folder`.
pub(super) fn pipeline(
    base: &Path,
    folder: &Path,
    moves: &str,
    changed: &[Changed],
) -> Result<(), TrainError> {
    copy(base, folder, "tokenizer")?;
    for entry in fs::read_dir(base.join("vocab")).map_err(TrainError::write(&base.join("vocab")))? {
        let name = entry.map_err(TrainError::write(base))?.file_name();
        if name != "strings.json" {
            copy(base, folder, &format!("vocab/{}", name.to_string_lossy()))?;
        }
    }
    // spaCy takes up a word when it meets it; those that the base's makers met are not needed.
    write(folder, "vocab/strings.json", b"[]\n")?;
    let mut parts = vec!["ner"];
    let shared = changed.iter().any(|changed| changed.file == File::Shared);
    if shared {
        parts.insert(0, "tok2vec");
        if base.join("tok2vec/cfg").is_file() {
            copy(base, folder, "tok2vec/cfg")?;
        }
        write(folder, "tok2vec/model", &model(base, File::Shared, changed)?)?;
    }
    write(folder, "ner/model", &model(base, File::Ner, changed)?)?;
    if base.join("ner/cfg").is_file() {
        copy(base, folder, "ner/cfg")?;
    }
    let mut packed = Vec::new();
    let neg_key = Value::Map(vec![("neg_key".into(), Value::Nil)]);
    let file = Value::Map(vec![("moves".into(), moves.into()), ("cfg".into(), neg_key)]);
    encode(&mut packed, &file, "moves")?;
    write(folder, "ner/moves", &packed)?;
    if let Ok(config) = fs::read_to_string(base.join("config.cfg")) {
        write(folder, "config.cfg", config_with(&config, &parts).as_bytes())?;
    }
    if let Ok(text) = fs::read_to_string(base.join("meta.json")) {
        let meta = meta(&text, &parts).map_err(|error| {
            LoadError::Model(format!("{}: {error}", base.join("meta.json").display()))
        })?;
        write(folder, "meta.json", meta.as_bytes())?;
    }
    Ok(())
}

/// A model file with its changed parameters.
fn model(base: &Path, file: File, changed: &[Changed]) -> Result<Vec<u8>, TrainError> {
    let path = base.join(if file == File::Ner { "ner/model" } else { "tok2vec/model" });
    let mut root = PackedFile::read(path.clone(), &mut blake3::Hasher::new())?.into_value();
    let broken = || LoadError::Model(format!("{}: a parameter is not there", path.display()));
    for changed in changed.iter().filter(|changed| changed.file == file) {
        let parameter = entry(&mut root, "params")
            .and_then(|params| item(params, changed.node))
            .and_then(|layer| entry(layer, changed.name))
            .ok_or_else(broken)?;
        let shape = changed.shape.iter().map(|&size| Value::from(size)).collect();
        *entry(parameter, "shape").ok_or_else(broken)? = Value::Array(shape);
        let bytes = changed.data.iter().flat_map(|value| value.to_le_bytes()).collect();
        *entry(parameter, "data").ok_or_else(broken)? = Value::Binary(bytes);
        // Only the output layer changes its size; its biases tell how many outputs there are.
        if let ("b", [outputs]) = (changed.name, &changed.shape[..]) {
            let size = entry(&mut root, "nodes")
                .and_then(|nodes| item(nodes, changed.node))
                .and_then(|layer| entry(layer, "dims"))
                .and_then(|dims| entry(dims, "nO"))
                .ok_or_else(broken)?;
            *size = Value::from(*outputs);
        }
    }
    let mut bytes = Vec::new();
    encode(&mut bytes, &root, "model")?;
    Ok(bytes)
}

fn entry<'a>(map: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    let Value::Map(entries) = map else { return None };
    let found = entries.iter_mut().find(|(key, _)| match key {
        Value::String(key) => key.as_bytes() == name.as_bytes(),
        Value::Binary(key) => key == name.as_bytes(),
        _ => false,
    });
    found.map(|(_, value)| value)
}

fn item(list: &mut Value, index: usize) -> Option<&mut Value> {
    let Value::Array(items) = list else { return None };
    items.get_mut(index)
}

fn encode(bytes: &mut Vec<u8>, value: &Value, what: &str) -> Result<(), TrainError> {
    rmpv::encode::write_value(bytes, value)
        .map_err(|error| LoadError::Model(format!("{what}: {error}")).into())
}

/// A pipeline's config with only some of its components.
fn config_with(config: &str, parts: &[&str]) -> String {
    let mut kept = String::new();
    let mut keep = true;
    for line in config.lines() {
        if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            let mut names = section.split('.');
            keep = match (names.next(), names.next()) {
                (Some("components"), Some(component)) => parts.contains(&component),
                (Some("initialize"), Some("components" | "lookups" | "tokenizer")) => false,
                _ => true,
            };
        }
        if !keep {
            continue;
        }
        match line.split_once(" = ") {
            Some(("pipeline", _)) => kept.push_str(&format!("pipeline = {}", json!(parts))),
            Some(("disabled", _)) => kept.push_str("disabled = []"),
            _ => kept.push_str(line),
        }
        kept.push('\n');
    }
    kept
}

/// A pipeline's description with only some of its components, and without what is true of the base
/// alone. The licence stays.
fn meta(text: &str, parts: &[&str]) -> serde_json::Result<String> {
    let mut meta: Map<String, serde_json::Value> = serde_json::from_str(text)?;
    let name = |key: &str| meta.get(key).and_then(|name| name.as_str()).unwrap_or_default();
    let description = format!(
        "Entity recognizer trained with `tag-pii train` from {}_{} {} by {}",
        name("lang"),
        name("name"),
        name("version"),
        name("author")
    );
    for key in [
        "labels",
        "performance",
        "accuracy",
        "sources",
        "requirements",
        "author",
        "email",
        "url",
        "spacy_git_version",
    ] {
        meta.remove(key);
    }
    meta.insert("name".into(), json!("pii"));
    meta.insert("version".into(), json!("0.0.0"));
    meta.insert("description".into(), json!(description));
    for key in ["pipeline", "components"] {
        meta.insert(key.into(), json!(parts));
    }
    meta.insert("disabled".into(), json!([]));
    serde_json::to_string_pretty(&meta).map(|text| text + "\n")
}

fn copy(base: &Path, folder: &Path, name: &str) -> Result<(), TrainError> {
    let bytes = fs::read(base.join(name)).map_err(TrainError::write(&base.join(name)))?;
    write(folder, name, &bytes)
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<(), TrainError> {
    let path = folder.join(name);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(TrainError::write(parent))?;
    }
    fs::write(&path, bytes).map_err(TrainError::write(&path))
}
