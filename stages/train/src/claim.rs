//! A scratch folder belongs to one training: to one set of settings and inputs.
//!
//! A run whose settings, inputs, base model or software changed is another run. Going on from the old
//! one's checkpoint would give a model that no settings describe, and the same noise would meet another
//! gradient: the difference of two such models has no noise at all.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use pft_artifact::{TokensReader, hash_bytes};
use pft_stage::{Context, Stage as _, StageError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Train;
use crate::config::Config;
use crate::state::write_private;

/// What a run was begun with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Claim {
    settings: Value,
    /// Hashes of the input artifacts by port, and of the base model's files.
    inputs: BTreeMap<String, String>,
    /// Version of the software, and the stage's revision.
    #[serde(default)]
    software: String,
}

/// Marks the scratch folder as this run's. Returns hashes of what the run reads and of its
/// settings, for the privacy ledger.
///
/// # Errors
/// When the folder is that of a run with other settings or inputs (named), or cannot be written.
pub(crate) fn claim(
    config: &Config,
    context: &Context,
    base_hashes: &[String],
) -> Result<BTreeMap<String, String>, StageError> {
    let settings =
        serde_json::to_value(config).map_err(|error| StageError::bug(error.to_string()))?;
    let mut inputs = BTreeMap::new();
    for port in ["tokens", "evaluation"] {
        if let Some(path) = context.input_optional(port) {
            inputs.insert(port.into(), TokensReader::open(path)?.manifest().content_hash.clone());
        }
    }
    inputs.insert("base_model".into(), hash_bytes(base_hashes.join("\n").as_bytes()));
    let software = format!("{}, revision {}", pft_dp::software(), Train::REVISION);
    let ours = Claim { settings, inputs, software };
    let path = context.scratch().join("run.json");
    let failed = |error: &dyn std::fmt::Display| {
        StageError::bug(format!("{}: {error}", path.display()))
            .with_help("give the run another --scratch folder to start anew")
    };
    match std::fs::read(&path) {
        Ok(bytes) => {
            let begun: Claim = serde_json::from_slice(&bytes).map_err(|error| failed(&error))?;
            refuse_changes(&begun, &ours, context.scratch())?;
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let bytes = serde_json::to_vec(&ours).map_err(|error| failed(&error))?;
            let partial = path.with_extension("partial");
            write_private(&partial, &bytes).map_err(|error| failed(&error))?;
            std::fs::rename(&partial, &path).map_err(|error| failed(&error))?;
        }
        Err(error) => return Err(failed(&error)),
    }
    let mut hashes = ours.inputs;
    hashes.insert("settings".into(), hash_bytes(ours.settings.to_string().as_bytes()));
    Ok(hashes)
}

fn refuse_changes(begun: &Claim, ours: &Claim, scratch: &Path) -> Result<(), StageError> {
    let mut changes = Vec::new();
    describe("", &begun.settings, &ours.settings, &mut changes);
    for port in begun.inputs.keys().chain(ours.inputs.keys()).collect::<BTreeSet<_>>() {
        if begun.inputs.get(port) != ours.inputs.get(port) {
            changes.push(match port.as_str() {
                "base_model" => "the files of the base model changed".to_string(),
                port => format!("input {port} is another artifact"),
            });
        }
    }
    if begun.software != ours.software {
        let known = |software: &str| {
            if software.is_empty() { "an earlier version".into() } else { software.to_string() }
        };
        changes.push(format!(
            "the software was {} and is {}",
            known(&begun.software),
            ours.software
        ));
    }
    if changes.is_empty() {
        return Ok(());
    }
    Err(StageError::config(format!(
        "the scratch folder {} holds another run: {}",
        scratch.display(),
        changes.join("; ")
    ))
    .with_help(
        "go back to what the run was begun with to go on, or give another --scratch folder to start \
         anew",
    ))
}

/// Names the keys whose values differ, with both values.
fn describe(key: &str, old: &Value, new: &Value, changes: &mut Vec<String>) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for name in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
                let path = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                let value = |map: &serde_json::Map<String, Value>| map.get(name).cloned();
                let (old, new) = (value(old).unwrap_or_default(), value(new).unwrap_or_default());
                describe(&path, &old, &new, changes);
            }
        }
        (old, new) if old == new => {}
        (old, new) => changes.push(format!("{key} was {old} and is {new}")),
    }
}
