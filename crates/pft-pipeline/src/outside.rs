//! Hashes of files outside the store that configs name: raw data, model files.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use pft_artifact::Store;
use pft_stage::{Glob, OutsidePath};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use walkdir::{DirEntry, WalkDir};

use crate::RunError;

/// What identifies a version of a file without reading it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    size: u64,
    modified_seconds: i64,
    modified_nanoseconds: i64,
    /// When contents or metadata last changed: `touch` can set the time above back, not this one.
    changed_seconds: i64,
    changed_nanoseconds: i64,
    inode: u64,
}

/// Remembers the hashes of files whose size, time and inode have not changed, so that a second
/// run does not read gigabytes again.
#[derive(Debug)]
pub(crate) struct OutsideFiles {
    memory: PathBuf,
    known: Mutex<BTreeMap<PathBuf, (Stamp, String)>>,
}

impl OutsideFiles {
    pub(crate) fn open(memory: PathBuf) -> Self {
        // A memory that cannot be read costs time, never correctness.
        let known = std::fs::read(&memory)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        Self { memory, known: Mutex::new(known) }
    }

    /// Writes the memory back, through a temporary name.
    pub(crate) fn save(&self) {
        let Ok(known) = self.known.lock() else { return };
        let Ok(json) = serde_json::to_vec(&*known) else {
            return;
        };
        if std::fs::read(&self.memory).is_ok_and(|old| old == json) {
            return;
        }
        let temporary = self.memory.with_extension(format!("{}.tmp", std::process::id()));
        if std::fs::write(&temporary, json).is_ok() {
            let _ = std::fs::rename(&temporary, &self.memory);
        }
    }

    /// Name and hash of what a path, folder or glob stands for: the part of the cache key that
    /// takes the path's place, so that a clone in another folder has the same key.
    pub(crate) fn identity(&self, path: &str) -> Result<Value, RunError> {
        let files = expand(path)?;
        let mut entries = Vec::new();
        for (name, file) in files {
            entries.push(json!([name, self.hash(&file)?]));
        }
        Ok(json!({ "files": entries }))
    }

    fn hash(&self, path: &Path) -> Result<String, RunError> {
        let unreadable =
            |error: std::io::Error| RunError::config(format!("{}: {error}", path.display()));
        let metadata = std::fs::metadata(path).map_err(unreadable)?;
        let stamp = Stamp {
            size: metadata.size(),
            modified_seconds: metadata.mtime(),
            modified_nanoseconds: metadata.mtime_nsec(),
            changed_seconds: metadata.ctime(),
            changed_nanoseconds: metadata.ctime_nsec(),
            inode: metadata.ino(),
        };
        if let Ok(known) = self.known.lock()
            && let Some((known_stamp, hash)) = known.get(path)
            && *known_stamp == stamp
        {
            return Ok(hash.clone());
        }
        let hash = pft_artifact::hash_file(path).map_err(|e| RunError::config(e.to_string()))?;
        if let Ok(mut known) = self.known.lock() {
            known.insert(path.to_path_buf(), (stamp, hash.clone()));
        }
        Ok(hash)
    }
}

/// Whether a path, folder or glob stands for files.
pub(crate) fn check(path: &str) -> Result<(), RunError> {
    expand(path).map(drop)
}

/// The files that a path names, each with a name that does not depend on where the project lies.
fn expand(text: &str) -> Result<Vec<(String, PathBuf)>, RunError> {
    let path = Path::new(text);
    let file_name = |path: &Path| {
        path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    };
    if path.is_file() {
        return Ok(vec![(file_name(path), path.to_path_buf())]);
    }
    let below = |root: &Path, path: PathBuf| {
        (path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned(), path)
    };
    if path.is_dir() {
        let files = files_below(path)?;
        if files.is_empty() {
            return Err(RunError::config(format!("{text}: the folder holds no file")));
        }
        return Ok(files.into_iter().map(|file| below(path, file)).collect());
    }
    if path.exists() {
        return Err(RunError::config(format!(
            "{text}: is a pipe, a socket or a device, not a file: write the data to a file first"
        )));
    }
    if let Some(glob) = OutsidePath::glob(text) {
        let files = files_of(text, &glob)?;
        if files.is_empty() {
            return Err(RunError::config(format!("{text}: no file matches")));
        }
        return Ok(files.into_iter().map(|file| below(&glob.root, file)).collect());
    }
    // A model's name on the hub, which was taken for a path.
    if let Some(problem) = pft_hub::mistaken(path).filter(|_| !text.contains("://")) {
        return Err(RunError::config(format!("{text}: {problem}")));
    }
    let hint = if path.iter().any(|part| part == "models") {
        " (`make models` fetches the default model files)"
    } else {
        ""
    };
    Err(RunError::config(format!("{text}: there is no such file or folder{hint}")))
}

/// The files below a folder. Links are followed, as stages do: the folders of a hub's cache hold nothing
/// else. Stores are left out, as stages do: a run writes into its own.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>, RunError> {
    let entries = WalkDir::new(folder).follow_links(true).sort_by_file_name().into_iter();
    let is_store = |entry: &DirEntry| {
        entry.depth() > 0 && entry.file_type().is_dir() && Store::is_at(entry.path())
    };
    let mut files = Vec::new();
    for entry in entries.filter_entry(|entry| !is_store(entry)) {
        let entry = entry.map_err(|error| RunError::config(error.to_string()))?;
        if entry.file_type().is_file() {
            files.push(entry.into_path());
        }
    }
    Ok(files)
}

/// The files that match a glob, and those below folders that do.
fn files_of(text: &str, glob: &Glob) -> Result<Vec<PathBuf>, RunError> {
    let matches = glob::glob(&glob.pattern)
        .map_err(|error| RunError::config(format!("{text}: not a valid glob: {error}")))?;
    let mut files = Vec::new();
    for path in matches.filter_map(Result::ok) {
        if path.ancestors().take_while(|folder| *folder != glob.root).any(Store::is_at) {
            continue;
        }
        if path.is_dir() {
            files.extend(files_below(&path)?);
        } else if path.is_file() {
            files.push(path);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_follows_contents_not_places() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for folder in [&a, &b] {
            std::fs::write(folder.path().join("x.jsonl"), "same").unwrap();
        }
        let files = OutsideFiles::open(a.path().join("memory.json"));
        let at = |folder: &tempfile::TempDir, name: &str| {
            folder.path().join(name).to_string_lossy().into_owned()
        };
        assert_eq!(
            files.identity(&at(&a, "x.jsonl")).unwrap(),
            files.identity(&at(&b, "x.jsonl")).unwrap()
        );
        assert_eq!(
            files.identity(&at(&a, "*.jsonl")).unwrap(),
            files.identity(&at(&b, "")).unwrap()
        );
        std::fs::write(b.path().join("x.jsonl"), "more").unwrap();
        assert_ne!(
            files.identity(&at(&a, "x.jsonl")).unwrap(),
            files.identity(&at(&b, "x.jsonl")).unwrap()
        );
        let error = files.identity(&at(&a, "absent")).unwrap_err();
        assert!(error.message.contains("absent"));
    }

    #[test]
    fn links_are_followed_and_folders_that_globs_cross_have_names() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for name in ["blobs", "snapshot", "empty"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        std::fs::write(at("blobs/x"), "one").unwrap();
        std::os::unix::fs::symlink(at("blobs/x"), at("snapshot/weights")).unwrap();
        std::os::unix::fs::symlink(at("snapshot"), at("latest")).unwrap();
        let identity =
            |name: &str| OutsideFiles::open(at("memory")).identity(&at(name).to_string_lossy());
        let (snapshot, latest) = (identity("snapshot").unwrap(), identity("latest").unwrap());
        assert_eq!(snapshot, latest);
        assert_eq!(snapshot["files"].as_array().unwrap().len(), 1);
        let glob = identity("*/x").unwrap();
        std::fs::write(at("blobs/x"), "two").unwrap();
        assert_ne!(identity("snapshot").unwrap(), snapshot);
        std::fs::write(at("blobs/x"), "one").unwrap();
        assert_eq!(identity("*/x").unwrap(), glob);
        std::fs::rename(at("blobs"), at("moved")).unwrap();
        assert_ne!(identity("*/x").unwrap(), glob);
        assert!(identity("snapshot").unwrap_err().message.contains("weights"));
        assert!(identity("empty").unwrap_err().message.contains("holds no file"));
    }

    #[test]
    fn stores_are_left_out_and_folders_that_match_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        std::fs::create_dir_all(at("data [1]/part")).unwrap();
        std::fs::write(at("data [1]/part/x"), "one").unwrap();
        let identity = |name: &str| OutsideFiles::open(at("memory").into()).identity(&at(name));
        let paths = ["data [1]", "data [1]/*", "data*"];
        let before = paths.map(|path| identity(path).unwrap());
        Store::open(Path::new(&at("data [1]/.pft"))).unwrap();
        std::fs::write(at("data [1]/.pft/artifacts/x"), "made from it").unwrap();
        assert_eq!(paths.map(|path| identity(path).unwrap()), before);
        std::fs::write(at("data [1]/part/x"), "two").unwrap();
        for (path, before) in paths.into_iter().zip(before) {
            assert_ne!(identity(path).unwrap(), before, "{path}");
        }
        let made = std::process::Command::new("mkfifo").arg(at("pipe")).status().unwrap();
        assert!(made.success());
        assert!(identity("pipe").unwrap_err().message.contains("is a pipe"));
    }

    #[test]
    fn a_changed_file_is_hashed_again_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let memory = folder.path().join("memory.json");
        std::fs::write(&path, "one").unwrap();
        let text = path.to_string_lossy().into_owned();
        let first = OutsideFiles::open(memory.clone());
        let one = first.identity(&text).unwrap();
        first.save();
        std::fs::write(&path, "two, longer").unwrap();
        assert_ne!(OutsideFiles::open(memory).identity(&text).unwrap(), one);
    }
}
