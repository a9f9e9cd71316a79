//! Finding stage executables and asking them to describe themselves.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pft_stage::Description;
use pft_stage::schema::suggestion;

use crate::RunError;

/// The stages that come with the runner, to guess what a misspelt one means.
pub(crate) const SHIPPED: [&str; 6] = ["ingest", "tag-pii", "scrub", "tokenize", "train", "export"];

/// A stage's executable and its description.
#[derive(Debug, Clone)]
pub struct StageBinary {
    /// The executable.
    pub path: PathBuf,
    /// What it says of itself.
    pub description: Description,
}

/// Finds the executable of a stage: a path as it is, a name beside the runner, then on PATH.
///
/// # Errors
/// Says where it looked.
pub fn find(stage: &str) -> Result<PathBuf, RunError> {
    if stage.contains('/') {
        let path = PathBuf::from(stage);
        return if path.is_file() {
            Ok(path)
        } else {
            Err(RunError::config(format!("{stage}: there is no such stage executable")))
        };
    }
    let beside = std::env::current_exe()
        .ok()
        .and_then(|path| path.canonicalize().ok())
        .and_then(|path| path.parent().map(Path::to_path_buf));
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let folders = beside.iter().cloned().chain(std::env::split_paths(&on_path));
    for folder in folders {
        let candidate = folder.join(stage);
        if candidate.is_file() {
            return Ok(candidate);
        }
    }
    let near = suggestion(stage, &SHIPPED);
    let near = if near.contains("did you mean") { &near } else { "" };
    Err(RunError::config(format!(
        "stage `{stage}`: no executable of this name beside pft-pipeline or on PATH{near}\n  help: build \
         the stages with `cargo build --release`, or name the executable's path"
    )))
}

/// Runs `STAGE --describe`.
///
/// # Errors
/// When the executable cannot be run or its answer is not a description.
pub fn describe(path: &Path) -> Result<Description, RunError> {
    let failed = |reason: String| {
        RunError::config(format!("{}: `--describe` failed: {reason}", path.display()))
    };
    let output = Command::new(path)
        .arg("--describe")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(output.status.to_string()));
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|error| failed(format!("its answer is not a stage description: {error}")))
}

/// Finds and describes every stage named, all at once. Names come with the place that names them.
///
/// # Errors
/// The first that cannot be found or described, with its place.
pub fn describe_all<'a>(
    names: impl Iterator<Item = (&'a str, String)>,
) -> Result<BTreeMap<String, StageBinary>, RunError> {
    let mut unique: Vec<(&str, String)> = names.collect();
    unique.sort_by_key(|(name, _)| *name);
    unique.dedup_by_key(|(name, _)| *name);
    std::thread::scope(|scope| {
        let threads: Vec<_> = unique
            .into_iter()
            .map(|(name, place)| {
                let thread = scope.spawn(move || {
                    let found = find(name).and_then(|path| {
                        let description = describe(&path)?;
                        Ok(StageBinary { path, description })
                    });
                    found.map_err(|error| {
                        let message = format!("{place}: {}", error.message);
                        RunError { message, ..error }
                    })
                });
                (name.to_string(), thread)
            })
            .collect();
        threads
            .into_iter()
            .map(|(name, thread)| {
                let binary = thread.join().unwrap_or_else(|_| {
                    Err(RunError::bug(format!("describing `{name}` failed")))
                })?;
                Ok((name, binary))
            })
            .collect()
    })
}
