//! What is remembered of earlier runs, to explain a miss and to guess how long a stage takes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use pft_artifact::{Action, Store};
use serde_json::Value;

use crate::graph::{Graph, Node};
use crate::key::Key;
use crate::outcome::{Outcome, Status};
use crate::reason::{in_one_line, leaves, reasons};

/// The key of each stage when it was last made or found under its name.
#[derive(Debug)]
pub(crate) struct History {
    store: Store,
    memory: PathBuf,
    last: BTreeMap<String, Value>,
}

impl History {
    pub(crate) fn open(store: &Store) -> Self {
        let memory = store.root().join("runs").join("last-keys.json");
        // Without it a miss is explained less well.
        let last = std::fs::read(&memory)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        Self { store: store.clone(), memory, last }
    }

    /// The key and action that a stage of this name had last.
    pub(crate) fn last(&self, pipeline: &str, node: &str) -> Option<(String, Action)> {
        let key = self.last.get(&format!("{pipeline}/{node}"))?.as_str()?;
        Some((key.to_string(), self.store.action(key)?))
    }

    /// The action of the same stage, under whatever name, whose key differs in the fewest parts.
    pub(crate) fn nearest(&self, key: &Key) -> Option<(String, Action)> {
        let actions = self.store.keys().into_iter().filter(|other| *other != key.hash);
        actions
            .filter_map(|other| Some((self.store.action(&other)?, other)))
            .filter(|(action, _)| action.key_parts["stage"] == key.parts["stage"])
            .min_by_key(|(action, _)| leaves(&action.key_parts, &key.parts).len())
            .map(|(action, other)| (other, action))
    }

    /// Why a stage has no artifact, in words.
    pub(crate) fn explain(&self, graph: &Graph, node: &Node, key: &Key) -> String {
        match self.last(&graph.pipeline, &node.name) {
            None => "never ran".to_string(),
            Some((last, _)) if last == key.hash => "its artifact is gone".to_string(),
            Some((_, action)) => {
                in_one_line(reasons(&action.key_parts, &key.parts, Some(&self.store)), 3)
            }
        }
    }

    /// How long the stage took when it last ran under this name, in seconds.
    pub(crate) fn estimate(&self, graph: &Graph, node: &Node) -> Option<f64> {
        Some(self.last(&graph.pipeline, &node.name)?.1.seconds)
    }

    /// Remembers the keys of a run.
    pub(crate) fn save(&self, graph: &Graph, outcomes: &[Outcome]) {
        let mut keys = self.last.clone();
        for (node, outcome) in graph.nodes.iter().zip(outcomes) {
            if let (Some(key), Status::Ran | Status::Cached) = (&outcome.key, outcome.status) {
                keys.insert(format!("{}/{}", graph.pipeline, node.name), key.hash.clone().into());
            }
        }
        if keys != self.last {
            crate::stamp::save(&self.memory, &keys);
        }
    }
}
