//! The record of earlier trainings that weights carry with them.
//!
//! What pft makes says how it was trained: in `privacy.json` and `manifest.json` beside the weights,
//! and in the metadata of every weights file, so that a file that is copied alone still says it. All
//! that are found are united, and the worst of them counts: deleting one launders nothing. One that
//! cannot be read is an error, since nobody can tell what it would have said. A mark is believed of the
//! weights alone that it was made for: where a file beside it carries none, or other tensors, they count
//! as trained on anything.

use std::path::{Path, PathBuf};

use pft_artifact::kinds::model::PRIVACY;
use pft_artifact::{Kind, MANIFEST, Manifest};
use pft_dp::{Origin, PrivacyStatement, RECORD_KEY, Record, Training};
use pft_lm::checkpoint::{CheckpointError, Notes, is_as_written, read_note};
use pft_stage::StageError;

/// What all marks of weights together say of them; none where there is none. `files` are those of a
/// model or of adapters, in one folder, which the setting `key` names.
///
/// # Errors
/// When a mark cannot be read, or two of them contradict each other.
pub(crate) fn of_weights(key: &str, files: &[PathBuf]) -> Result<Option<Record>, StageError> {
    marks(files).map_err(|error| {
        let named = StageError::config(format!("{key}: {}", error.message()));
        match error.help() {
            Some(help) => named.with_help(help),
            None => named,
        }
    })
}

fn marks(files: &[PathBuf]) -> Result<Option<Record>, StageError> {
    let mut records = in_weights(files)?;
    let folder = files.first().and_then(|file| file.parent());
    let mut sealed_trainings = 0;
    if let Some(folder) = folder {
        records.extend(statement_beside(folder)?);
        sealed_trainings = trainings_in_manifest(&folder.join(MANIFEST))?;
    }
    let united = Record::united(&records).map_err(|error| {
        let place = folder.unwrap_or(Path::new("")).display();
        StageError::config(format!("{place}: {error}"))
            .with_help("take the model as it was exported, with all its files")
    })?;
    let known = united.as_ref().map_or(0, |record| record.trainings.len());
    let marked = united.is_some() || sealed_trainings > 0;
    // A manifest whose training says nothing of itself is no silence, nor are weights that are not
    // the ones that the marks were made for: another program changed them or put them there.
    if known >= sealed_trainings && !(marked && is_changed(files)?) {
        return Ok(united);
    }
    let record = united.unwrap_or_else(|| Record::of(Origin::Random));
    Ok(Some(record.followed_by(Training::NotRecorded)))
}

/// Whether a weights file carries no record, or one that was written for other tensors.
fn is_changed(files: &[PathBuf]) -> Result<bool, StageError> {
    for path in files.iter().filter(|path| is_weights(path)) {
        let config = |error: CheckpointError| StageError::config(error.to_string());
        let silent = read_note(path, RECORD_KEY).map_err(config)?.is_none();
        if silent || !is_as_written(path).map_err(config)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_weights(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "safetensors" || extension == "gguf")
}

/// The records in the metadata of weights files.
///
/// # Errors
/// When a file cannot be read, or what it carries is no record.
pub(crate) fn in_weights(files: &[PathBuf]) -> Result<Vec<Record>, StageError> {
    let mut records = Vec::new();
    for path in files {
        let note =
            read_note(path, RECORD_KEY).map_err(|error| StageError::config(error.to_string()))?;
        if let Some(text) = note {
            let record = Record::from_json(&text).map_err(|error| unreadable(path, &error))?;
            records.push(record);
        }
    }
    Ok(records)
}

/// The note that carries a record in a weights file.
pub(crate) fn note(record: &Record) -> Notes {
    Notes::from([(RECORD_KEY.to_string(), record.to_json())])
}

fn statement_beside(folder: &Path) -> Result<Option<Record>, StageError> {
    let path = folder.join(PRIVACY.name);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(&path, &error)),
    };
    let statement =
        PrivacyStatement::from_json(&text).map_err(|error| unreadable(&path, &error))?;
    Ok(Some(statement.history().clone()))
}

/// How many trainings the manifest beside the weights speaks of; 0 where there is none of ours.
fn trainings_in_manifest(path: &Path) -> Result<usize, StageError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(unreadable(path, &error)),
    };
    // Other programs have files of this name.
    let is_ours = serde_json::from_str::<serde_json::Value>(&text)
        .is_ok_and(|value| value.get("content_hash").is_some() || value.get("kind").is_some());
    if !is_ours {
        return Ok(0);
    }
    let manifest: Manifest =
        serde_json::from_str(&text).map_err(|error| unreadable(path, &error))?;
    let lineage = manifest.lineage().map_err(|error| unreadable(path, &error))?;
    let trainings = lineage.steps().iter().filter(|step| step.stage == "train").count();
    // Whatever made it, weights that a stage made were trained on something.
    let is_made = matches!(manifest.kind, Kind::Model | Kind::Bundle);
    // A stage after training may have changed more than the weights.
    let is_changed = manifest.kind == Kind::Model && lineage.after_training().is_some();
    Ok(trainings.max(usize::from(is_made)) + usize::from(is_changed))
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> StageError {
    StageError::config(format!("{}: {error}", path.display())).with_help(
        "the file says how the model was trained, and a statement about a model made of it needs \
         that: take the model as it was exported, or export it again with this version",
    )
}
