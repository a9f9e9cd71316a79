//! Hashes of files outside the store that configs name: raw data, model files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::SystemTime;

use pft_artifact::Store;
use pft_stage::{Glob, OutsidePath};
use serde_json::{Value, json};
use walkdir::{DirEntry, WalkDir};

use crate::RunError;
use crate::stamp::Stamp;

/// How patterns of files match: as in a shell.
const OPTIONS: glob::MatchOptions = glob::MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

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

    /// Writes the memory back.
    pub(crate) fn save(&self) {
        if let Ok(known) = self.known.lock() {
            crate::stamp::save(&self.memory, &*known);
        }
    }

    /// Name and hash of what a path, folder or glob stands for: the part of the cache key that
    /// takes the path's place, so that a clone in another folder has the same key. Of a folder only
    /// the files count that match one of `reads`, where there are such patterns.
    pub(crate) fn identity(&self, path: &str, reads: Option<&[Value]>) -> Result<Value, RunError> {
        let files = expand(path, reads)?;
        let mut entries = Vec::new();
        for (name, file) in files {
            entries.push(json!([name, self.hash(&file)?]));
        }
        Ok(json!({ "files": entries }))
    }

    fn hash(&self, path: &Path) -> Result<String, RunError> {
        let unreadable =
            |error: std::io::Error| RunError::config(format!("{}: {error}", path.display()));
        let (now, stamp) = (SystemTime::now(), Stamp::of(path).map_err(unreadable)?);
        if let Ok(known) = self.known.lock()
            && let Some((known_stamp, hash)) = known.get(path)
            && *known_stamp == stamp
        {
            return Ok(hash.clone());
        }
        let hash = pft_artifact::hash_file(path).map_err(|e| RunError::config(e.to_string()))?;
        // One that changed just now may change again without a new stamp.
        if stamp.was_at_rest(now)
            && let Ok(mut known) = self.known.lock()
        {
            known.insert(path.to_path_buf(), (stamp, hash.clone()));
        }
        Ok(hash)
    }
}

/// Whether a path, folder or glob stands for files.
pub(crate) fn check(path: &str, reads: Option<&[Value]>) -> Result<(), RunError> {
    expand(path, reads).map(drop)
}

/// The files that a path names, each with a name that does not depend on where the project lies.
fn expand(text: &str, reads: Option<&[Value]>) -> Result<Vec<(String, PathBuf)>, RunError> {
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
        let mut files: Vec<_> = files.into_iter().map(|file| below(path, file)).collect();
        if let Some(reads) = reads {
            let reads = Reads::new(reads)?;
            files = reads.choose(files);
            if files.is_empty() {
                let names = reads.names();
                return Err(RunError::config(format!("{text}: the folder holds none of {names}")));
            }
        }
        return Ok(files);
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

/// What a stage reads of a folder: every file that matches a pattern; of a list of patterns those files
/// that match the first which matches any.
struct Reads(Vec<Vec<glob::Pattern>>);

impl Reads {
    fn new(reads: &[Value]) -> Result<Self, RunError> {
        let pattern = |text: &Value| {
            glob::Pattern::new(text.as_str().unwrap_or_default()).map_err(|error| {
                RunError::bug(format!("a stage's `{}`: {error}", pft_stage::schema::READS))
            })
        };
        let group = |value: &Value| match value {
            Value::Array(first) => first.iter().map(pattern).collect(),
            one => Ok(vec![pattern(one)?]),
        };
        reads.iter().map(group).collect::<Result<_, _>>().map(Self)
    }

    fn choose(&self, files: Vec<(String, PathBuf)>) -> Vec<(String, PathBuf)> {
        let matches = |pattern: &glob::Pattern, name: &str| pattern.matches_with(name, OPTIONS);
        let chosen: Vec<&glob::Pattern> = self
            .0
            .iter()
            .filter_map(|group| {
                group.iter().find(|pattern| files.iter().any(|(name, _)| matches(pattern, name)))
            })
            .collect();
        let read = |name: &str| chosen.iter().any(|pattern| matches(pattern, name));
        files.into_iter().filter(|(name, _)| read(name)).collect()
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.0.iter().flatten().map(glob::Pattern::as_str).collect();
        names.join(", ")
    }
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
            files.identity(&at(&a, "x.jsonl"), None).unwrap(),
            files.identity(&at(&b, "x.jsonl"), None).unwrap()
        );
        assert_eq!(
            files.identity(&at(&a, "*.jsonl"), None).unwrap(),
            files.identity(&at(&b, ""), None).unwrap()
        );
        std::fs::write(b.path().join("x.jsonl"), "more").unwrap();
        assert_ne!(
            files.identity(&at(&a, "x.jsonl"), None).unwrap(),
            files.identity(&at(&b, "x.jsonl"), None).unwrap()
        );
        let error = files.identity(&at(&a, "absent"), None).unwrap_err();
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
        let identity = |name: &str| {
            OutsideFiles::open(at("memory")).identity(&at(name).to_string_lossy(), None)
        };
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
        let identity =
            |name: &str| OutsideFiles::open(at("memory").into()).identity(&at(name), None);
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
        let one = first.identity(&text, None).unwrap();
        first.save();
        std::fs::write(&path, "two, longer").unwrap();
        assert_ne!(OutsideFiles::open(memory).identity(&text, None).unwrap(), one);
    }
    #[test]
    fn files_that_the_stage_does_not_read_do_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("model/vocab")).unwrap();
        std::fs::write(at("model/config.json"), "{}").unwrap();
        std::fs::write(at("model/vocab/key2row"), "x").unwrap();
        let files = OutsideFiles::open(at("memory"));
        let reads = [json!("config.json"), json!("vocab/*")];
        let identity = || files.identity(&at("model").to_string_lossy(), Some(&reads)).unwrap();
        let before = identity();
        assert_eq!(before["files"].as_array().unwrap().len(), 2);
        std::fs::write(at("model/README.md"), "new").unwrap();
        assert_eq!(identity(), before);
        std::fs::write(at("model/vocab/strings"), "new").unwrap();
        assert_ne!(identity(), before);
        let reads = [json!(["*.safetensors", "*.bin"])];
        let identity = || files.identity(&at("model").to_string_lossy(), Some(&reads)).unwrap();
        std::fs::write(at("model/old.bin"), "x").unwrap();
        assert_eq!(identity()["files"][0][0], "old.bin");
        std::fs::write(at("model/new.safetensors"), "x").unwrap();
        assert_eq!(identity()["files"].as_array().unwrap().len(), 1);
        assert_eq!(identity()["files"][0][0], "new.safetensors");
        let none = files.identity(&at("model").to_string_lossy(), Some(&[json!("*.gguf")]));
        assert!(none.unwrap_err().message.contains("none of *.gguf"));
    }
}
