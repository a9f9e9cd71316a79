//! Cache keys: what a stage's output depends on, and nothing else.

use std::collections::BTreeMap;

use pft_artifact::{canonical_json, hash_bytes};
use pft_stage::{Description, schema};
use serde_json::{Value, json};

use crate::RunError;
use crate::outside::{self, OutsideFiles};

/// A key and what it was made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// BLAKE3 of the canonical JSON of `parts`, 64 hexadecimal digits.
    pub hash: String,
    /// Stage, revision, config, input hashes. Two keys differ because their parts do.
    pub parts: Value,
}

/// The key of a stage with this config and these input content hashes. Paths in the config count
/// by the names and contents of the files, not by where they lie.
pub(crate) fn key(
    description: &Description,
    config: &Value,
    inputs: &BTreeMap<String, String>,
    outside: &OutsideFiles,
) -> Result<Key, RunError> {
    let mut config = config.clone();
    let mut identities = BTreeMap::new();
    let mut failure = None;
    schema::visit_paths(&mut config, &description.config, &mut |path| {
        if path.is_empty() || path.contains("://") || failure.is_some() {
            return;
        }
        match outside.identity(path) {
            Ok(identity) => {
                let label = format!("outside:{}", hash_bytes(canonical_json(&identity).as_bytes()));
                identities.insert(label.clone(), identity);
                *path = label;
            }
            Err(error) => failure = Some(error),
        }
    });
    if let Some(error) = failure {
        return Err(error);
    }
    let parts = json!({
        "stage": description.name,
        "revision": description.revision,
        "config": config,
        "inputs": inputs,
        "outside": identities,
    });
    Ok(Key { hash: hash_bytes(canonical_json(&parts).as_bytes()), parts })
}

/// Whether the files that a config names are there, without reading them.
pub(crate) fn check_paths(description: &Description, config: &Value) -> Result<(), RunError> {
    let mut result = Ok(());
    schema::visit_paths(&mut config.clone(), &description.config, &mut |path| {
        if !path.is_empty() && !path.contains("://") && result.is_ok() {
            result = outside::check(path);
        }
    });
    result
}

/// What changed between the parts of two keys, as `path: old → new`, at most `limit` lines.
pub fn difference(old: &Value, new: &Value, limit: usize) -> Vec<String> {
    let mut lines = Vec::new();
    compare(old, new, "", &mut lines);
    if lines.len() > limit {
        let more = lines.len() - limit;
        lines.truncate(limit);
        lines.push(format!("and {more} more"));
    }
    lines
}

fn compare(old: &Value, new: &Value, path: &str, lines: &mut Vec<String>) {
    match (old, new) {
        (Value::Object(a), Value::Object(b)) => {
            let mut names: Vec<&String> = a.keys().chain(b.keys()).collect();
            names.sort();
            names.dedup();
            for name in names {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                let null = Value::Null;
                compare(a.get(name).unwrap_or(&null), b.get(name).unwrap_or(&null), &path, lines);
            }
        }
        _ if old == new => {}
        // The contents of outside files show already as a changed label in the config.
        _ if path.starts_with("outside.") => {}
        _ => lines.push(format!("{path}: {} → {}", short(old), short(new))),
    }
}

fn short(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    if text.chars().count() <= 20 {
        return text;
    }
    text.chars().take(16).chain(std::iter::once('…')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_the_keys_that_changed() {
        let old = json!({ "config": { "epsilon": 8, "steps": 3 }, "inputs": { "tokens": "ab" } });
        let new = json!({ "config": { "epsilon": 4, "steps": 3 }, "inputs": { "tokens": "cd" } });
        assert_eq!(difference(&old, &new, 5), ["config.epsilon: 8 → 4", "inputs.tokens: ab → cd"]);
        assert!(difference(&old, &old, 5).is_empty());
    }
}
