//! Hashes of files outside the store that configs name: raw data, model files.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::RunError;

/// What identifies a version of a file without reading it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    size: u64,
    modified_seconds: i64,
    modified_nanoseconds: i64,
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

/// The files that a path names, each with a name that does not depend on where the project lies.
fn expand(text: &str) -> Result<Vec<(String, PathBuf)>, RunError> {
    let path = Path::new(text);
    let file_name = |path: &Path| {
        path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    };
    if path.is_file() {
        return Ok(vec![(file_name(path), path.to_path_buf())]);
    }
    if path.is_dir() {
        let mut files = Vec::new();
        for entry in walkdir::WalkDir::new(path).sort_by_file_name() {
            let entry = entry.map_err(|error| RunError::config(error.to_string()))?;
            if entry.file_type().is_file() {
                let relative = entry.path().strip_prefix(path).unwrap_or(entry.path());
                let name = relative.to_string_lossy().into_owned();
                files.push((name, entry.into_path()));
            }
        }
        return Ok(files);
    }
    if text.contains(['*', '?', '[']) {
        let matches = glob::glob(text)
            .map_err(|error| RunError::config(format!("{text}: not a valid glob: {error}")))?;
        let files: Vec<_> = matches
            .filter_map(Result::ok)
            .filter(|p| p.is_file())
            .map(|p| (file_name(&p), p))
            .collect();
        if !files.is_empty() {
            return Ok(files);
        }
        return Err(RunError::config(format!("{text}: no file matches")));
    }
    let hint = if path.iter().any(|part| part == "models") {
        " (`make models` fetches the default model files)"
    } else {
        ""
    };
    Err(RunError::config(format!("{text}: there is no such file or folder{hint}")))
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
