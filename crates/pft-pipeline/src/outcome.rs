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
    /// A dry run would run something that it needs first, so that its key is not known yet.
    Waits,
}

impl Status {
    /// Whether nothing can be built on it.
    pub(crate) fn blocks(self) -> bool {
        matches!(self, Self::Failed | Self::Skipped)
    }

    /// Whether it is still to be made.
    pub(crate) fn is_to_come(self) -> bool {
        matches!(self, Self::WouldRun | Self::Waits)
    }

    /// The name in records and in JSON results.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ran => "ran",
            Self::Cached => "cached",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::WouldRun => "to run",
            Self::Waits => "waits",
        }
    }
}

/// How a stage's process went.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// When it was started, in UTC.
    pub started: String,
    /// How many threads it was given.
    pub threads: usize,
    /// The largest resident set of its process, in bytes.
    pub peak_memory: u64,
    /// How many times it was started, with `retries` of the pipeline.
    pub attempts: u32,
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
    /// Its process, where one was started.
    pub attempt: Option<Attempt>,
}

impl Outcome {
    pub(crate) fn skipped() -> Self {
        Self {
            status: Status::Skipped,
            seconds: 0.0,
            key: None,
            outputs: BTreeMap::new(),
            reason: None,
            exit_code: 0,
            attempt: None,
        }
    }

    pub(crate) fn failed(error: crate::RunError) -> Self {
        Self {
            status: Status::Failed,
            reason: Some(error.message),
            exit_code: error.exit_code,
            ..Self::skipped()
        }
    }
}
