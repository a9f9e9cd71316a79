//! Finding stage executables and asking them to describe themselves.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use pft_stage::Description;
use pft_stage::schema::nearest;

use crate::RunError;
use crate::ask::ask;

/// The stages that come with the runner, to guess what a misspelt one means.
pub(crate) const SHIPPED: [&str; 6] = ["ingest", "tag-pii", "scrub", "tokenize", "train", "export"];

/// How long a program may take to describe itself: one that has to load an interpreter and its libraries
/// from a cold disk does it in this time.
const PATIENCE: Duration = Duration::from_secs(60);

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
    let near = nearest(stage, &SHIPPED).map(|name| format!("; did you mean `{name}`?"));
    let near = near.unwrap_or_default();
    Err(RunError::config(format!(
        "stage `{stage}`: no executable of this name beside pft-pipeline or on PATH{near}\n  help: build \
         the stages with `cargo build --release`, or name the executable's path"
    )))
}

/// Runs `STAGE --describe`.
///
/// # Errors
/// When the executable cannot be run, takes more than a minute, or its answer is not a description.
pub fn describe(path: &Path) -> Result<Description, RunError> {
    describe_within(path, PATIENCE)
}

fn describe_within(path: &Path, patience: Duration) -> Result<Description, RunError> {
    let failed = |reason: String| {
        RunError::config(format!("{}: `--describe` failed: {reason}", path.display()))
    };
    let mut command = Command::new(path);
    command.arg("--describe");
    let answer = ask(command, patience).map_err(|error| failed(error.to_string()))?;
    let Some(answer) = answer else {
        return Err(failed(format!(
            "no answer after {} s; is it a stage at all?",
            patience.as_secs_f64()
        )));
    };
    if !answer.status.success() {
        return Err(failed(answer.status.to_string()));
    }
    serde_json::from_slice(&answer.stdout)
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Instant;

    use super::*;

    fn program(folder: &Path, script: &str) -> PathBuf {
        let path = folder.join("stage");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn a_program_that_does_not_answer_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let marker = folder.path().join("alive");
        // Its child holds the pipe open, and goes with it.
        let wait = format!("(sleep 2; echo alive > {}) & sleep 600", marker.display());
        let path = program(folder.path(), &wait);
        let begun = Instant::now();
        let error = describe_within(&path, Duration::from_millis(300)).unwrap_err();
        assert!(error.message.contains("no answer after 0.3 s"), "{}", error.message);
        assert!(begun.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_secs(3));
        assert!(!marker.exists(), "what the program started goes on");
    }

    #[test]
    fn an_answer_that_is_no_description_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |script: &str| {
            let path = program(folder.path(), script);
            describe_within(&path, Duration::from_secs(60)).unwrap_err().message
        };
        assert!(refused("echo hello").contains("not a stage description"));
        assert!(refused("exit 3").contains("exit status: 3"));
        assert!(refused("yes | head -c 20000000").contains("longer than"));
        // One that answers and leaves a child behind is done.
        let begun = Instant::now();
        assert!(refused("sleep 600 & echo hello").contains("not a stage description"));
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
}
