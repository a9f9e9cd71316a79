//! From the config's `path` to files: a file, a folder, a glob, `http(s)://…` or `hf://…`, each in an
//! order that is the same everywhere. A store of the runner below a folder is not part of it.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use pft_artifact::{MANIFEST, Manifest, Store};
use pft_stage::{Glob, OutsidePath, StageError};
use walkdir::{DirEntry, WalkDir};

use super::failure::unreadable;
use super::{http, hub};
use crate::config::SourceKind;
use crate::file_name::is_address;
use crate::reading::Reading;

/// A file of rows and how it is read: [`SourceKind::Jsonl`], [`SourceKind::Csv`] or
/// [`SourceKind::Parquet`].
#[derive(Debug, Clone)]
pub(super) struct TableFile {
    pub(super) path: PathBuf,
    pub(super) format: SourceKind,
}

/// A file and the folder of `path` under which it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) root: PathBuf,
    pub(super) path: PathBuf,
}

impl Found {
    /// The path below the root, with `/` between folders.
    pub(super) fn relative(&self) -> String {
        let relative = self.path.strip_prefix(&self.root).unwrap_or(&self.path);
        let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
        parts.join("/")
    }
}

/// The files of rows that the config's paths stand for.
pub(super) fn tables(reading: &Reading) -> Result<Vec<TableFile>, StageError> {
    let source = reading.source;
    let format_of = |path: &Path| match source {
        SourceKind::Jsonl | SourceKind::Csv | SourceKind::Parquet => Some(source),
        _ => SourceKind::of_file(&path.to_string_lossy()).filter(|kind| {
            matches!(kind, SourceKind::Jsonl | SourceKind::Csv | SourceKind::Parquet)
        }),
    };
    let mut files = Vec::new();
    for path in &reading.paths {
        if path.0.starts_with("hf://") {
            files.extend(hub::fetch(&path.0, source)?);
            continue;
        }
        if source == SourceKind::Hf {
            return Err(StageError::config(format!(
                "path: {} is not on the hub; it must be hf://datasets/OWNER/NAME",
                path.0
            )));
        }
        files.extend(
            expand(&path.0, |name| {
                SourceKind::of_file(name).is_some_and(|kind| match source {
                    SourceKind::Ecthr => matches!(kind, SourceKind::Jsonl | SourceKind::Parquet),
                    source => kind == source,
                })
            })?
            .into_iter()
            .map(|found| found.path),
        );
    }
    let mut seen = HashSet::new();
    if let Some(path) = files.iter().find(|path| !seen.insert(path.as_path())) {
        return Err(StageError::input(format!("{}: `path` names it twice", path.display()))
            .with_help("name each file once; a folder or a glob may have it already"));
    }
    files
        .into_iter()
        .map(|path| match format_of(&path) {
            Some(format) => Ok(TableFile { path, format }),
            None => Err(StageError::config(format!(
                "{}: its extension does not tell whether it is JSON Lines, CSV or Parquet",
                path.display()
            ))
            .with_help("rename it to .jsonl, .csv or .parquet")),
        })
        .collect()
}

/// The files that one local path stands for: itself, what a glob matches, or the files below a
/// folder whose names are `wanted`; sorted by name.
pub(super) fn expand(path: &str, wanted: impl Fn(&str) -> bool) -> Result<Vec<Found>, StageError> {
    if is_address(path) {
        let path = http::fetch(path)?;
        let root = path.parent().unwrap_or(&path).to_path_buf();
        return Ok(vec![Found { root, path }]);
    }
    let given = Path::new(path);
    if given.is_dir() {
        let found = walk(given, &wanted)?;
        return if found.is_empty() {
            Err(StageError::input(format!(
                "{path}: the folder has no file of the kind that the source reads"
            ))
            .with_help("check `source` and `path`"))
        } else {
            Ok(found)
        };
    }
    if given.exists() {
        check_regular(given)?;
        let root = given.parent().unwrap_or(given).to_path_buf();
        let path = given.to_path_buf();
        return Ok(vec![Found { root, path }]);
    }
    let Some(glob) = OutsidePath::glob(path) else {
        return Err(StageError::input(format!("{path}: there is no such file or folder"))
            .with_help("check `path`; a relative path is taken from the config file's folder"));
    };
    let found = matching(path, &glob, &wanted)?;
    if found.is_empty() {
        return Err(StageError::input(format!("{path}: no file matches")).with_help("check `path`"));
    }
    Ok(found)
}

/// The files that a glob stands for; of a folder those below it that are `wanted`.
fn matching(
    path: &str,
    glob: &Glob,
    wanted: &impl Fn(&str) -> bool,
) -> Result<Vec<Found>, StageError> {
    let matches = glob::glob(&glob.pattern)
        .map_err(|error| StageError::config(format!("path: {path}: not a valid glob: {error}")))?;
    let root = &glob.root;
    let mut found = Vec::new();
    for entry in matches {
        let path = entry.map_err(|error| unreadable(error.path(), error.error()))?;
        if path.ancestors().take_while(|folder| folder != root).any(Store::is_at) {
            continue;
        }
        if path.is_dir() {
            let files = walk(&path, wanted)?.into_iter();
            found.extend(files.map(|file| Found { root: root.clone(), path: file.path }));
        } else {
            check_regular(&path)?;
            found.push(Found { root: root.clone(), path });
        }
    }
    Ok(found)
}

fn walk(root: &Path, wanted: &impl Fn(&str) -> bool) -> Result<Vec<Found>, StageError> {
    let mut found = Vec::new();
    let entries = WalkDir::new(root).follow_links(true).sort_by_file_name().into_iter();
    let is_store = |entry: &DirEntry| {
        entry.depth() > 0 && entry.file_type().is_dir() && Store::is_at(entry.path())
    };
    for entry in entries.filter_entry(|entry| !is_store(entry)) {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(root).display().to_string();
            StageError::input(format!("{path}: cannot read: {error}"))
        })?;
        if !entry.file_type().is_dir() && wanted(&entry.file_name().to_string_lossy()) {
            check_regular(entry.path())?;
            found.push(Found { root: root.to_path_buf(), path: entry.into_path() });
        }
    }
    Ok(found)
}

/// Refuses a file of a sealed artifact: what is known of its units, and what stages did with them, stands
/// in its manifest, and would be lost.
fn refuse_artifact(path: &Path) -> Result<(), StageError> {
    let Some(folder) = path.parent().filter(|folder| folder.join(MANIFEST).is_file()) else {
        return Ok(());
    };
    // Other programs have files of this name.
    let Ok(manifest) = Manifest::open(folder) else { return Ok(()) };
    Err(StageError::input(format!(
        "{}: is part of a {} artifact, and what its manifest says of units would be lost",
        path.display(),
        manifest.kind
    ))
    .with_help("connect the artifact to the next stage as it is, or ingest the raw files again"))
}

/// Refuses a pipe or a device: files are read more than once, and a pipe that nobody writes to would
/// keep the stage waiting without an end.
fn check_regular(path: &Path) -> Result<(), StageError> {
    refuse_artifact(path)?;
    let kind = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if kind.is_file() {
        return Ok(());
    }
    Err(StageError::input(format!(
        "{}: is a pipe, a socket or a device, not a file",
        path.display()
    ))
    .with_help("write the data to a file first, since it is read more than once"))
}

/// Refuses files that would be called the same: one that is named twice, or two of the same name
/// below different folders.
pub(super) fn refuse_repeated(
    files: &[Found],
    name: impl Fn(&Found) -> String,
) -> Result<(), StageError> {
    let mut paths = HashMap::new();
    for found in files {
        let Some(other) = paths.insert(name(found), &found.path) else {
            continue;
        };
        let path = found.path.display();
        return Err(if *other == found.path {
            StageError::input(format!("{path}: `path` names it twice"))
                .with_help("name each file once; a folder or a glob may have it already")
        } else {
            StageError::input(format!(
                "{path}: has the same name below its folder as {}",
                other.display()
            ))
            .with_help(
                "documents are called by their path below what `path` names: name the folder \
                     above both",
            )
        });
    }
    Ok(())
}
