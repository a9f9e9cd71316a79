//! Text files, one document each.

use std::path::Path;

use pft_stage::StageError;

use super::contents::{Contents, read_whole};
use super::discover::{Found, expand, refuse_repeated};
use super::lines::{count_lines, invalid_utf8, valid_text};
use crate::config::{InvalidText, SourceKind, Unit};
use crate::document::{Documents, RawDocument};
use crate::reading::Reading;

/// Opens the .txt files that the config's paths stand for.
pub(super) fn open(reading: &Reading) -> Result<Documents, StageError> {
    let mut files = Vec::new();
    for path in &reading.paths {
        files.extend(expand(&path.0, |name| SourceKind::of_file(name) == Some(SourceKind::Text))?);
    }
    refuse_repeated(&files, Found::relative)?;
    let invalid = reading.config.invalid_text;
    let by_folder = reading.unit == Some(Unit::Folder);
    Ok(Box::new(files.into_iter().map(move |found| document(&found, invalid, by_folder))))
}

fn document(
    found: &Found,
    invalid: InvalidText,
    by_folder: bool,
) -> Result<RawDocument, StageError> {
    let name = found.relative();
    let folder = match name.rsplit_once('/') {
        Some((folder, _)) => folder.to_string(),
        None => file_name(&found.root),
    };
    Ok(RawDocument {
        text: read(&found.path, invalid)?,
        unit_id: by_folder.then_some(folder),
        doc_id: Some(name),
        origin: found.path.display().to_string(),
        ..Default::default()
    })
}

fn read(path: &Path, invalid: InvalidText) -> Result<String, StageError> {
    let mut bytes = read_whole(path, Contents::open(path)?)?;
    if bytes.starts_with(b"\xEF\xBB\xBF") {
        bytes.drain(..3);
    }
    valid_text(bytes, invalid).map_err(|valid| invalid_utf8(path, 1 + count_lines(&valid)))
}

/// The last part of a path.
pub(super) fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
