//! What became of the stages of a run.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::key::Key;

/// What became of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It ran.
    Ran,
    /// Its artifact was in the store.
    Cached,
    /// It failed.
    Failed,
    /// It was not wanted, or something that it needs failed.
    Skipped,
    /// A dry run would run it.
    WouldRun,
}

/// A stage's part of the result.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What became of it.
    pub status: Status,
    /// How long it took in this run.
    pub seconds: f64,
    /// Its key, where its inputs were known.
    pub key: Option<Key>,
    /// Content hash and folder by output port.
    pub outputs: BTreeMap<String, (String, PathBuf)>,
    /// Why it failed, or why it has to run.
    pub reason: Option<String>,
    /// The exit code of a failed stage.
    pub exit_code: u8,
}

impl Outcome {
    /// Of a stage that was not started.
    pub(crate) fn skipped() -> Self {
        Self {
            status: Status::Skipped,
            seconds: 0.0,
            key: None,
            outputs: BTreeMap::new(),
            reason: None,
            exit_code: 0,
        }
    }
}
