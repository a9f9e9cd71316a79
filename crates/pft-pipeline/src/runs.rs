//! The runs of a store: finding them, and what is known of those that left no record.

use std::path::Path;

use pft_artifact::{KeyLock, Store};
use serde_json::Value;

use crate::RunError;
use crate::record::{RunRecord, folder};

/// A run as its folder shows it.
#[derive(Debug, Clone)]
pub(crate) struct KnownRun {
    pub(crate) id: String,
    /// Its pipeline, from its first event.
    pub(crate) pipeline: String,
    pub(crate) state: State,
}

/// What is known of a run.
#[derive(Debug, Clone)]
pub(crate) enum State {
    /// It ended, and left a record.
    Ended(Box<RunRecord>),
    /// It goes on.
    Running,
    /// It was killed: it left events and no record.
    Killed,
    /// Its record is not as it was written.
    Damaged,
}

impl State {
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Ended(record) => serde_json::json!(record.status).as_str().unwrap_or("").into(),
            Self::Running => "running".into(),
            Self::Killed => "killed".into(),
            Self::Damaged => "damaged".into(),
        }
    }
}

/// All runs, the oldest first.
pub(crate) fn all(store: &Store) -> Vec<KnownRun> {
    let entries = std::fs::read_dir(store.root().join("runs")).into_iter().flatten().flatten();
    let mut ids: Vec<String> = entries
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    ids.sort();
    ids.into_iter().map(|id| known(store, id)).collect()
}

fn known(store: &Store, id: String) -> KnownRun {
    let path = folder(store, &id);
    let state = if path.join("run.json").exists() {
        RunRecord::load(store, &id).map_or(State::Damaged, |record| State::Ended(Box::new(record)))
    } else if is_running(&path) {
        State::Running
    } else {
        State::Killed
    };
    let pipeline = match &state {
        State::Ended(record) => record.pipeline.clone(),
        _ => first_event(&path)["pipeline"].as_str().unwrap_or("?").to_string(),
    };
    KnownRun { id, pipeline, state }
}

/// Whether the process that writes into a run's folder lives: the kernel keeps its lock.
pub(crate) fn is_running(folder: &Path) -> bool {
    let lock = folder.join("lock");
    lock.exists() && matches!(KeyLock::try_acquire(&lock), Ok(None))
}

fn first_event(folder: &Path) -> Value {
    let text = std::fs::read_to_string(folder.join("events.jsonl")).unwrap_or_default();
    text.lines().next().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default()
}

/// The run that is meant: its id, the beginning of it where that is enough, or `last`.
///
/// # Errors
/// When there is none, or several begin so.
pub(crate) fn find(store: &Store, name: &str) -> Result<KnownRun, RunError> {
    let mut all = all(store);
    let found = if name == "last" {
        all.pop().into_iter().collect()
    } else if let Some(index) = all.iter().position(|run| run.id == name) {
        vec![all.swap_remove(index)]
    } else {
        all.into_iter().filter(|run| run.id.starts_with(name)).collect::<Vec<_>>()
    };
    match <[KnownRun; 1]>::try_from(found) {
        Ok([run]) => Ok(run),
        Err(found) if found.is_empty() => Err(RunError::config(format!(
            "{}: there is no run `{name}`; `pft-pipeline runs` lists them",
            store.root().display()
        ))),
        Err(found) => Err(RunError::config(format!(
            "{} runs begin with `{name}`: {}",
            found.len(),
            found.iter().map(|run| &run.id[..]).collect::<Vec<_>>().join(", ")
        ))),
    }
}

/// The record of a run that ended.
///
/// # Errors
/// When there is none.
pub(crate) fn record(store: &Store, name: &str) -> Result<RunRecord, RunError> {
    let run = find(store, name)?;
    match run.state {
        State::Ended(record) => Ok(*record),
        state => Err(RunError::config(format!("run {}: {}, no record", run.id, state.name()))),
    }
}
