//! What a running stage is given.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::{Progress, StageError, UnitNotes};

/// Inputs, outputs, scratch, threads, progress and metrics of one run of a stage.
#[derive(Debug)]
pub struct Context {
    pub(crate) inputs: BTreeMap<String, PathBuf>,
    pub(crate) outputs: BTreeMap<String, PathBuf>,
    pub(crate) scratch: PathBuf,
    pub(crate) cache: Option<PathBuf>,
    pub(crate) threads: usize,
    pub(crate) progress: Progress,
    pub(crate) metrics: Mutex<BTreeMap<String, Value>>,
    pub(crate) units: Mutex<UnitNotes>,
    pub(crate) interrupted: Arc<AtomicBool>,
}

impl Context {
    /// A context without a command line, for tests and for calling a stage from code. Output
    /// folders must exist.
    pub fn for_tests(
        inputs: BTreeMap<String, PathBuf>,
        outputs: BTreeMap<String, PathBuf>,
        scratch: &Path,
        threads: usize,
    ) -> Self {
        Self {
            inputs,
            outputs,
            scratch: scratch.to_path_buf(),
            cache: None,
            threads,
            progress: Progress::new("test", crate::ProgressMode::Plain),
            metrics: Mutex::default(),
            units: Mutex::default(),
            interrupted: Arc::default(),
        }
    }

    /// The artifact folder at an input port.
    ///
    /// # Errors
    /// When nothing is connected to the port.
    pub fn input(&self, port: &str) -> Result<&Path, StageError> {
        self.input_optional(port).ok_or_else(|| {
            StageError::config(format!("input port `{port}` is not connected"))
                .with_help(format!("add --input {port}=PATH"))
        })
    }

    /// The artifact folder at an optional input port.
    pub fn input_optional(&self, port: &str) -> Option<&Path> {
        self.inputs.get(port).map(PathBuf::as_path)
    }

    /// The folder to write an output port's files into. It exists and is empty.
    ///
    /// # Panics
    /// When the stage has no such output port, which is a bug of the stage.
    pub fn output(&self, port: &str) -> &Path {
        match self.outputs.get(port) {
            Some(path) => path,
            None => panic!("the stage has no output port `{port}`"),
        }
    }

    /// A folder that outlives a killed attempt at the same work.
    pub fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// A folder that all runs of the stage share, whatever their config and inputs, for results that are
    /// keyed by content: `PFT_CACHE_DIR`, which a runner sets. Without one there is no cache.
    pub fn cache(&self) -> Option<&Path> {
        self.cache.as_deref()
    }

    /// What to do about work in the scratch folder that cannot be gone on with: advice that fits whoever
    /// named the folder, a person or a runner.
    pub fn start_anew(&self) -> String {
        format!("to start anew, remove the folder {}", self.scratch.display())
    }

    /// How many threads to use. The rayon pool has this size already.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Where to report progress.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Records a figure of this run; it lands in the manifest's provenance.
    pub fn metric(&self, name: &str, value: impl Into<Value>) {
        if let Ok(mut metrics) = self.metrics.lock() {
            metrics.insert(name.to_string(), value.into());
        }
    }

    /// The figures recorded so far.
    pub fn metrics(&self) -> BTreeMap<String, Value> {
        self.metrics.lock().map(|metrics| metrics.clone()).unwrap_or_default()
    }

    /// Says what a unit of the data is: case, sender, document.
    pub fn unit_is(&self, unit: impl Into<String>) {
        self.note_units(|units| units.unit = Some(unit.into()));
    }

    /// Says how units decided about each other, in a sentence for a privacy statement: a private
    /// training on the output is then not fit for release.
    pub fn units_coupled(&self, how: impl Into<String>) {
        self.note_units(|units| units.couplings.push(how.into()));
    }

    /// Says what was done with the data, in a sentence for a privacy statement.
    pub fn data_used(&self, how: impl Into<String>) {
        self.note_units(|units| units.uses.push(how.into()));
    }

    fn note_units(&self, note: impl FnOnce(&mut UnitNotes)) {
        note(&mut self.units.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// What was said of the units so far.
    pub fn unit_notes(&self) -> UnitNotes {
        self.units.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether SIGINT or SIGTERM has arrived.
    pub fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Stops here if SIGINT or SIGTERM has arrived.
    ///
    /// # Errors
    /// [`StageError::interrupted`].
    pub fn check_interrupted(&self) -> Result<(), StageError> {
        if self.interrupted() { Err(StageError::interrupted()) } else { Ok(()) }
    }
}
