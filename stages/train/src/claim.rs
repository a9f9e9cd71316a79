//! A scratch folder belongs to one training: to one set of settings and inputs.
//!
//! A run whose settings, inputs, base model or software changed is another run. Going on from the old
//! one's checkpoint would give a model that no settings describe, and the same noise would meet another
//! gradient: the difference of two such models has no noise at all.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use pft_artifact::kinds::model::LEDGER;
use pft_artifact::{TokensReader, hash_bytes};
use pft_stage::{Context, Stage as _, StageError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Train;
use crate::config::Config;
use crate::state::write_private;

/// What a run was begun with, as it is kept in the scratch folder.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    claim: Claim,
    /// BLAKE3 of the claim's JSON, by which damage is told from a change.
    hash: String,
}

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
/// settings and software, for the privacy ledger.
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
    match read(&path, context)? {
        Some(begun) => refuse_changes(&begun, &ours, context)?,
        // The ledger, which was begun with these hashes, says whose run it is: another's is refused.
        None if context.scratch().join(LEDGER.name).exists() => {}
        None => write(&path, &ours).map_err(|error| StageError::failed_write(&path, &error))?,
    }
    let Claim { settings, inputs: mut hashes, software } = ours;
    hashes.insert("settings".into(), hash_bytes(format!("{settings}\n{software}").as_bytes()));
    Ok(hashes)
}

/// What the run was begun with, if that is there and as it was written.
fn read(path: &Path, context: &Context) -> Result<Option<Claim>, StageError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(StageError::bug(format!("{}: {error}", path.display()))
                .with_help(context.start_anew()));
        }
    };
    let kept: Option<Kept> = serde_json::from_slice(&bytes).ok();
    if let Some(kept) = kept
        && serde_json::to_vec(&kept.claim).is_ok_and(|claim| hash_bytes(&claim) == kept.hash)
    {
        return Ok(Some(kept.claim));
    }
    let aside = path.with_file_name("damaged-run.json");
    std::fs::rename(path, &aside).map_err(|error| StageError::failed_write(path, &error))?;
    context.progress().note(format!(
        "warning: {} was damaged and is set aside in {}; checkpoints and the privacy ledger say \
         themselves what run they are of",
        path.display(),
        aside.display()
    ));
    Ok(None)
}

fn write(path: &Path, claim: &Claim) -> std::io::Result<()> {
    let hash = hash_bytes(&serde_json::to_vec(claim)?);
    let kept = serde_json::json!({ "claim": claim, "hash": hash });
    let partial = path.with_extension("partial");
    write_private(&partial, &serde_json::to_vec(&kept)?)?;
    std::fs::rename(&partial, path)
}

fn refuse_changes(begun: &Claim, ours: &Claim, context: &Context) -> Result<(), StageError> {
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
        context.scratch().display(),
        changes.join("; ")
    ))
    .with_help(format!(
        "go back to what the run was begun with to go on; {}",
        context.start_anew()
    )))
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
