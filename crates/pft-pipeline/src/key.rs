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
    schema::visit_read_paths(&mut config, &description.config, &mut |path, reads| {
        if path.is_empty() || path.contains("://") || failure.is_some() {
            return;
        }
        match outside.identity(path, reads) {
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
    schema::visit_read_paths(&mut config.clone(), &description.config, &mut |path, reads| {
        if !path.is_empty() && !path.contains("://") && result.is_ok() {
            result = outside::check(path, reads);
        }
    });
    result
}
