//! `diff RUN RUN`: what differs between two runs: settings, inputs, figures.

use std::collections::BTreeSet;

use clap::Args;
use pft_artifact::Store;
use serde_json::{Value, json};

use super::{StoreArgument, print};
use crate::figures;
use crate::reason::{leaves, reasons, show};
use crate::record::{RunRecord, StageRecord};
use crate::{RunError, runs};

/// Arguments of `diff`.
#[derive(Debug, Args)]
pub(crate) struct DiffArguments {
    /// The earlier run
    before: String,
    /// The later run
    after: String,
    #[command(flatten)]
    store: StoreArgument,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

impl DiffArguments {
    pub(crate) fn run(&self) -> Result<u8, RunError> {
        let store = self.store.existing()?;
        let before = runs::record(&store, &self.before)?;
        let after = runs::record(&store, &self.after)?;
        let stages = differences(&store, &before, &after);
        if self.json {
            let value = json!({ "before": before.run, "after": after.run, "stages": stages });
            print(&value.to_string());
            return Ok(0);
        }
        if stages.is_empty() {
            print("no stage differs");
        }
        for stage in &stages {
            print(stage["name"].as_str().unwrap_or_default());
            let lines = ["changes", "figures"].into_iter().flat_map(|part| stage[part].as_array());
            lines.flatten().for_each(|line| print(&format!("  {}", super::plain(line))));
        }
        Ok(0)
    }
}

/// The stages that differ, each with its changes in words.
fn differences(store: &Store, before: &RunRecord, after: &RunRecord) -> Vec<Value> {
    let find =
        |run: &RunRecord, name: &str| run.stages.iter().find(|stage| stage.name == name).cloned();
    let names: BTreeSet<&String> =
        before.stages.iter().chain(&after.stages).map(|stage| &stage.name).collect();
    names
        .into_iter()
        .filter_map(|name| match (find(before, name), find(after, name)) {
            (Some(old), Some(new)) => difference(store, &old, &new),
            (Some(_), None) => {
                Some(json!({ "name": name, "changes": [format!("only in {}", before.run)] }))
            }
            _ => Some(json!({ "name": name, "changes": [format!("only in {}", after.run)] })),
        })
        .collect()
}

fn difference(store: &Store, old: &StageRecord, new: &StageRecord) -> Option<Value> {
    let parts = |stage: &StageRecord| {
        let action = stage.key.as_ref().and_then(|key| store.action(key));
        action.map_or(Value::Null, |action| action.key_parts)
    };
    let mut changes = Vec::new();
    if old.status != new.status && (old.status == "failed" || new.status == "failed") {
        changes.push(format!("{}, then {}", old.status, new.status));
    }
    if old.key != new.key {
        let (before, after) = (parts(old), parts(new));
        if before.is_null() || after.is_null() {
            changes.push("its key differs; what the key was made of is gone".to_string());
        } else {
            changes.extend(reasons(&before, &after, Some(store)));
        }
    } else if old.outputs != new.outputs {
        changes
            .push("made anew from the same settings and inputs, with another result".to_string());
    }
    let metrics = |stage: &StageRecord| {
        stage.outputs.values().next().map(|hash| figures::metrics(store, hash)).unwrap_or_default()
    };
    let mut figures = Vec::new();
    if old.outputs != new.outputs {
        for (key, before, after) in leaves(&metrics(old), &metrics(new)) {
            let shown = |value: &Option<Value>| value.as_ref().map_or("–".to_string(), show);
            figures.push(format!("{key}: {} → {}", shown(&before), shown(&after)));
        }
    }
    let differs = !changes.is_empty() || !figures.is_empty();
    differs.then(|| json!({ "name": old.name, "changes": changes, "figures": figures }))
}
