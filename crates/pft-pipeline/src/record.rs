//! What a run did, written for whoever asks later: `runs/ID/` of the store, private to its owner.
//!
//! ```text
//! runs/ID/
//!   run.json       the record, written last: a run that has none was killed, or still goes on
//!   events.jsonl   what happened, a JSON object a line, as it happened
//!   logs/STAGE.log standard error of each stage
//!   lock           held by the kernel while the run goes on
//! ```
//! Nothing in it is text of a document: stages never write any to standard error.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use pft_artifact::{FileEntry, KeyLock, Store, canonical_json, hash_bytes, hash_file};
use pft_stage::Event;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::RunError;

const RECORD: &str = "run.json";
const EVENTS: &str = "events.jsonl";
/// Progress of a stage is written at most this often.
const PROGRESS: Duration = Duration::from_secs(1);

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunStatus {
    /// Everything that was wanted is made.
    Done,
    /// A stage failed.
    Failed,
    /// It was stopped by a signal.
    Interrupted,
}

/// The record of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRecord {
    /// Name of its folder.
    pub run: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// The pipeline file.
    pub file: PathBuf,
    /// Settings of the command line, as `STAGE.KEY=VALUE`.
    pub set: Vec<String>,
    /// When it began, in UTC.
    pub started: String,
    /// How long it took.
    pub seconds: f64,
    /// How it ended.
    pub status: RunStatus,
    /// Cores of the machine.
    pub cores: usize,
    /// How many stages could run at once.
    pub jobs: usize,
    /// Version of the runner.
    pub version: String,
    /// Its stages, in the order of the graph.
    pub stages: Vec<StageRecord>,
    /// Its events and logs, sealed.
    pub files: Vec<FileEntry>,
    /// BLAKE3 of the fields above.
    #[serde(default)]
    pub seal: String,
}

/// A stage's part of a record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageRecord {
    /// Name in the pipeline.
    pub name: String,
    /// The stage's own name.
    pub stage: String,
    /// Its revision.
    pub revision: u32,
    /// `ran`, `cached`, `failed` or `skipped`.
    pub status: String,
    /// Why it ran or failed.
    pub reason: Option<String>,
    /// Its cache key, where its inputs were known.
    pub key: Option<String>,
    /// What each input port is connected to, as `STAGE.PORT`.
    pub inputs: BTreeMap<String, String>,
    /// Content hash by output port.
    pub outputs: BTreeMap<String, String>,
    /// When its process was started, in UTC.
    pub started: Option<String>,
    /// How long it took, in this run.
    pub seconds: f64,
    /// Threads that it was given.
    pub threads: Option<usize>,
    /// The largest resident set of its process, in bytes.
    pub peak_memory: Option<u64>,
    /// How many times it was started.
    pub attempts: u32,
    /// The exit code of a failed one.
    pub exit_code: Option<u8>,
    /// Its log, within the run's folder.
    pub log: Option<String>,
}

impl RunRecord {
    fn seal_for(&self) -> String {
        let bare = Self { seal: String::new(), ..self.clone() };
        hash_bytes(canonical_json(&json!(bare)).as_bytes())
    }

    fn to_json(&self) -> String {
        // Strings, numbers and maps with string keys always have a JSON form.
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Reads a record.
    ///
    /// # Errors
    /// When there is none, or it is not as it was written.
    pub fn load(store: &Store, run: &str) -> Result<Self, RunError> {
        let path = folder(store, run).join(RECORD);
        let text = std::fs::read_to_string(&path)
            .map_err(|error| RunError::config(format!("{}: {error}", path.display())))?;
        serde_json::from_str::<Self>(&text)
            .ok()
            .filter(|record| record.seal == record.seal_for() && record.to_json() == text)
            .ok_or_else(|| RunError::config(format!("{}: not as it was written", path.display())))
    }
}

/// The folder of a run.
pub(crate) fn folder(store: &Store, run: &str) -> PathBuf {
    store.root().join("runs").join(run)
}

/// A run that goes on: its events, its logs, and the lock that says so.
#[derive(Debug)]
pub(crate) struct Recorder {
    pub(crate) run: String,
    folder: PathBuf,
    events: Mutex<File>,
    progress: Mutex<BTreeMap<String, Instant>>,
    _lock: Option<KeyLock>,
}

impl Recorder {
    /// Makes the folder of a new run.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn begin(store: &Store, pipeline: &str) -> Result<Self, RunError> {
        let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S").to_string();
        let name = format!("{now}-{}", std::process::id());
        let failed =
            |error: std::io::Error| RunError::failed_write(&store.root().join("runs"), &error);
        // Process ids of containers that share a store may be equal.
        let mut run = name.clone();
        let mut count = 1;
        while let Err(error) = DirBuilder::new().mode(0o700).create(folder(store, &run)) {
            if error.kind() != std::io::ErrorKind::AlreadyExists {
                return Err(failed(error));
            }
            count += 1;
            run = format!("{name}-{count}");
        }
        let folder = folder(store, &run);
        let events = private_file(&folder.join(EVENTS)).map_err(failed)?;
        let lock = KeyLock::try_acquire(&folder.join("lock"))?;
        let recorder = Self {
            run,
            folder,
            events: Mutex::new(events),
            progress: Mutex::default(),
            _lock: lock,
        };
        recorder.say("run", json!({ "pipeline": pipeline, "process": std::process::id() }));
        Ok(recorder)
    }

    /// The log of a stage's standard error, and its name within the folder.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn log(&self, stage: &str) -> std::io::Result<(PathBuf, String)> {
        let name = log_name(stage);
        let path = self.folder.join(&name);
        if let Some(parent) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        }
        private_file(&path)?;
        Ok((path, name))
    }

    /// Writes an event. A full disk is no reason to stop working: the stages' outputs say so.
    pub(crate) fn say(&self, event: &str, mut fields: Value) {
        fields["time"] = json!(jiff::Timestamp::now().to_string());
        fields["event"] = json!(event);
        if let Ok(mut events) = self.events.lock() {
            let _ = events.write_all(format!("{fields}\n").as_bytes());
        }
    }

    /// Writes what a stage said of its progress.
    pub(crate) fn stage_event(&self, stage: &str, event: &Event) {
        if matches!(event, Event::Progress { .. })
            && let Ok(mut progress) = self.progress.lock()
        {
            let now = Instant::now();
            if progress.get(stage).is_some_and(|last| now - *last < PROGRESS) {
                return;
            }
            progress.insert(stage.to_string(), now);
        }
        self.say("stage", json!({ "name": stage, "said": event }));
    }

    /// Seals events and logs and writes the record.
    ///
    /// # Errors
    /// When the disk refuses.
    pub(crate) fn finish(&self, mut record: RunRecord) -> Result<(), RunError> {
        self.say("end", json!({ "status": record.status, "seconds": record.seconds }));
        let logs = record.stages.iter().filter_map(|stage| stage.log.clone());
        for path in std::iter::once(EVENTS.to_string()).chain(logs) {
            let full = self.folder.join(&path);
            if let Ok(metadata) = std::fs::metadata(&full) {
                let (size, blake3) = (metadata.len(), hash_file(&full)?);
                record.files.push(FileEntry { path, size, blake3 });
            }
        }
        record.seal = record.seal_for();
        let (path, partial) = (self.folder.join(RECORD), self.folder.join("run.json.partial"));
        let failed = |error: std::io::Error| RunError::failed_write(&path, &error);
        private_file(&partial)
            .and_then(|mut file| file.write_all(record.to_json().as_bytes()))
            .and_then(|()| std::fs::rename(&partial, &path))
            .map_err(failed)
    }
}

/// Where the log of a stage lies within the run's folder.
pub(crate) fn log_name(stage: &str) -> String {
    format!("logs/{stage}.log")
}

fn private_file(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}
