//! Whether a stage has to run: its inputs, its key, and what the store has for it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use pft_artifact::{Action, Lookup};

use crate::RunError;
use crate::board::Board;
use crate::execute::Run;
use crate::graph::Node;
use crate::key::{self, Key, key};
use crate::outcome::{Outcome, Status};

/// The folders at a stage's input ports, and its key.
pub(crate) struct Ready {
    pub(crate) key: Key,
    pub(crate) paths: BTreeMap<String, PathBuf>,
}

/// What the store has for a key.
pub(crate) enum Found {
    Whole(Action),
    /// Nothing that can be used, and what is damaged.
    Nothing(Option<String>),
}

impl Run<'_> {
    /// What would become of a stage, without starting anything.
    pub(crate) fn looked_at(&self, index: usize, board: &Board) -> Outcome {
        let node = &self.graph.nodes[index];
        if !self.options.wanted[index] || self.is_blocked(index, board) {
            return Outcome::skipped();
        }
        if let Some(error) = self.refused.get(&index) {
            return Outcome::failed(error.clone());
        }
        let waits = node
            .inputs
            .values()
            .find(|(from, _)| board.get(*from).is_some_and(|source| source.status.is_to_come()));
        let mended = |error: &RunError| format!("once this is mended: {error}");
        if let Some((from, _)) = waits {
            let mut reason = format!("`{}` would run first", self.graph.nodes[*from].name);
            if let Err(error) = key::check_paths(&node.binary.description, &node.config) {
                reason += &format!("; {}", mended(&error));
            }
            return Outcome { status: Status::Waits, reason: Some(reason), ..Outcome::skipped() };
        }
        let ready = match self.ready(index, board) {
            Ok(ready) => ready,
            // A pipeline can be looked at before its data and models are fetched.
            Err(error) => {
                let (status, reason) = (Status::WouldRun, Some(mended(&error)));
                return Outcome { status, reason, ..Outcome::skipped() };
            }
        };
        let mut outcome = Outcome { key: Some(ready.key.clone()), ..Outcome::skipped() };
        let found = match self.options.forced[index] {
            true => Found::Nothing(None),
            false => self.look_up(&ready.key.hash),
        };
        match found {
            Found::Whole(action) => self.found(&mut outcome, &action),
            Found::Nothing(damage) => {
                outcome.status = Status::WouldRun;
                outcome.reason =
                    Some(self.why(node, &ready.key, self.options.forced[index], damage));
            }
        }
        outcome
    }

    /// Inputs and key of a stage whose inputs are made.
    pub(crate) fn ready(&self, index: usize, board: &Board) -> Result<Ready, RunError> {
        let node = &self.graph.nodes[index];
        let mut hashes = BTreeMap::new();
        let mut paths = BTreeMap::new();
        for (port, (from, output)) in &node.inputs {
            let source = board.get(*from);
            let Some((hash, path)) = source.as_ref().and_then(|s| s.outputs.get(output)) else {
                return Err(RunError::config(format!(
                    "{}: stage `{}` made no `{output}` with this config, which `{}` needs",
                    node.place, self.graph.nodes[*from].name, node.name
                )));
            };
            hashes.insert(port.clone(), hash.clone());
            paths.insert(port.clone(), path.clone());
        }
        let key = key(&node.binary.description, &node.config, &hashes, &self.outside);
        let key = key.map_err(|error| RunError {
            message: format!("{}: {}", node.place, error.message),
            ..error
        })?;
        Ok(Ready { key, paths })
    }

    /// What the store has for a key, whole.
    pub(crate) fn look_up(&self, key: &str) -> Found {
        // Where nothing changed since it was last found whole, its manifests need not be read again.
        if !self.options.verify
            && let Some(action) = self.store.action(key)
            && self.checked.are_unchanged(self.store, &action)
        {
            self.store.touch(key);
            return Found::Whole(action);
        }
        match self.store.look_up(key) {
            Lookup::Missing => Found::Nothing(None),
            Lookup::Damaged(what) => Found::Nothing(Some(what)),
            Lookup::Found(action) => {
                match self.checked.damage(self.store, &action, self.options.verify) {
                    Some((_, what)) => Found::Nothing(Some(what)),
                    None => {
                        self.store.touch(key);
                        Found::Whole(action)
                    }
                }
            }
        }
    }

    /// Takes what the store has for a stage.
    pub(crate) fn found(&self, outcome: &mut Outcome, action: &Action) {
        outcome.status = Status::Cached;
        outcome.outputs = action
            .outputs
            .iter()
            .map(|(port, hash)| (port.clone(), (hash.clone(), self.store.artifact_path(hash))))
            .collect();
    }

    /// Why a stage has to run.
    pub(crate) fn why(
        &self,
        node: &Node,
        key: &Key,
        forced: bool,
        damage: Option<String>,
    ) -> String {
        match damage {
            _ if forced => "forced".to_string(),
            Some(what) => format!("what it made is damaged ({what})"),
            None => self.history.explain(self.graph, node, key),
        }
    }
}
