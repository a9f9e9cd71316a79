//! Where an artifact came from: the actions of the store, followed back to the raw files.

use std::collections::{BTreeMap, BTreeSet};

use pft_artifact::{Action, Store};
use serde_json::Value;

/// Which key made each artifact.
pub(crate) struct Makers(BTreeMap<String, (String, Action)>);

/// A step on the way to an artifact.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) depth: usize,
    pub(crate) artifact: String,
    pub(crate) stage: String,
    pub(crate) revision: u64,
    /// The input port of the next step that it stands at.
    pub(crate) port: Option<String>,
    /// Names of the files outside the store that it read, with their hashes.
    pub(crate) files: Vec<(String, String)>,
}

impl Makers {
    pub(crate) fn of(store: &Store) -> Self {
        let mut makers = BTreeMap::new();
        for key in store.keys() {
            let Some(action) = store.action(&key) else { continue };
            for hash in action.outputs.values() {
                makers.insert(hash.clone(), (key.clone(), action.clone()));
            }
        }
        Self(makers)
    }

    /// The key that made an artifact, and its action.
    pub(crate) fn maker(&self, artifact: &str) -> Option<&(String, Action)> {
        self.0.get(artifact)
    }

    /// The artifact and everything that it was made from, each once, deeper steps after it.
    pub(crate) fn lineage(&self, artifact: &str) -> Vec<Step> {
        let mut steps = Vec::new();
        self.follow(artifact, None, 0, &mut BTreeSet::new(), &mut steps);
        steps
    }

    fn follow(
        &self,
        artifact: &str,
        port: Option<String>,
        depth: usize,
        seen: &mut BTreeSet<String>,
        steps: &mut Vec<Step>,
    ) {
        if !seen.insert(artifact.to_string()) {
            return;
        }
        let parts = self.maker(artifact).map(|(_, action)| &action.key_parts);
        let none = Value::Null;
        let parts = parts.unwrap_or(&none);
        let outside = parts["outside"].as_object().into_iter().flatten();
        let files =
            outside.flat_map(|(_, identity)| identity["files"].as_array().into_iter().flatten());
        let text = |value: &Value| value.as_str().unwrap_or("?").to_string();
        steps.push(Step {
            depth,
            artifact: artifact.to_string(),
            stage: text(&parts["stage"]),
            revision: parts["revision"].as_u64().unwrap_or(0),
            port,
            files: files.map(|file| (text(&file[0]), text(&file[1]))).collect(),
        });
        for (port, from) in parts["inputs"].as_object().into_iter().flatten() {
            self.follow(&text(from), Some(port.clone()), depth + 1, seen, steps);
        }
    }
}
