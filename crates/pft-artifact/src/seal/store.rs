//! The store: artifacts by content hash, and actions that map a key to the content it made.
//!
//! ```text
//! .pft/
//!   artifacts/ab/abcd…/   sealed artifact folders, read only
//!   actions/ab/abcd….json key → content hash of every output port
//!   scratch/KEY/          unfinished work of a stage, kept for its next attempt
//!   locks/KEY             one kernel lock a key
//!   tmp/                  outputs being written
//!   runs/                 one JSON file a run
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::manifest::{sync, write_atomically};
use crate::{ArtifactError, KeyLock, Manifest};

/// What a key made: the content hash of every output port.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// Content hash by output port.
    pub outputs: BTreeMap<String, String>,
    /// What the key was computed from, to explain a miss by the difference of two keys.
    pub key_parts: Value,
    /// How long the stage ran, in seconds.
    pub seconds: f64,
}

/// A folder of artifacts and actions.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// Opens a store, making its folders where they are missing.
    ///
    /// # Errors
    /// When the folders cannot be made.
    pub fn open(root: &Path) -> Result<Self, ArtifactError> {
        let create = |folder: &Path| {
            std::fs::create_dir_all(folder).map_err(ArtifactError::io(folder, "create"))
        };
        create(root)?;
        let root = root.canonicalize().map_err(ArtifactError::io(root, "open"))?;
        for part in ["artifacts", "actions", "scratch", "locks", "tmp", "runs"] {
            create(&root.join(part))?;
        }
        let ignore = root.join(".gitignore");
        if !ignore.exists() {
            write_atomically(&ignore, b"*\n")?;
        }
        // The signature of the Cache Directory Tagging Specification, so that backups skip it.
        let tag = root.join("CACHEDIR.TAG");
        if !tag.exists() {
            write_atomically(&tag, b"Signature: 8a477f597d28d172789f06886806bc55\n")?;
        }
        Ok(Self { root })
    }

    /// Whether a folder is a store. Whoever reads the files below a folder leaves the stores in it out:
    /// what is made from a corpus is no part of it.
    pub fn is_at(folder: &Path) -> bool {
        let has = |part: &str| folder.join(part).is_dir();
        has("actions") && has("artifacts") && folder.join("CACHEDIR.TAG").is_file()
    }

    /// The store's folder, absolute.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where an artifact lies or would lie.
    pub fn artifact_path(&self, content_hash: &str) -> PathBuf {
        self.root.join("artifacts").join(prefix(content_hash)).join(content_hash)
    }

    fn action_path(&self, key: &str) -> PathBuf {
        self.root.join("actions").join(prefix(key)).join(format!("{key}.json"))
    }

    /// The scratch folder of a key; it outlives a killed attempt.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn scratch(&self, key: &str) -> Result<PathBuf, ArtifactError> {
        let folder = self.root.join("scratch").join(key);
        std::fs::create_dir_all(&folder).map_err(ArtifactError::io(&folder, "create"))?;
        Ok(folder)
    }

    /// The file whose kernel lock guards a key.
    pub fn lock_path(&self, key: &str) -> PathBuf {
        self.root.join("locks").join(key)
    }

    /// Takes a key's lock if nobody holds it.
    ///
    /// # Errors
    /// When the lock file cannot be opened.
    pub fn try_lock(&self, key: &str) -> Result<Option<KeyLock>, ArtifactError> {
        KeyLock::try_acquire(&self.lock_path(key))
    }

    /// What `key` made, if it was made and every file of it is still there; otherwise a miss.
    pub fn lookup(&self, key: &str) -> Option<Action> {
        let text = std::fs::read_to_string(self.action_path(key)).ok()?;
        let action: Action = serde_json::from_str(&text).ok()?;
        let whole = action.outputs.values().all(|hash| {
            Manifest::open(&self.artifact_path(hash)).is_ok_and(|m| m.content_hash == *hash)
        });
        whole.then_some(action)
    }

    /// Moves sealed output folders (by port) into the store and records the action, in this
    /// order, so that an action never points at an artifact that is not there.
    ///
    /// # Errors
    /// When an output is not a sealed artifact, or the disk refuses.
    pub fn commit(
        &self,
        key: &str,
        outputs: &BTreeMap<String, PathBuf>,
        key_parts: Value,
        seconds: f64,
    ) -> Result<Action, ArtifactError> {
        let mut hashes = BTreeMap::new();
        for (port, folder) in outputs {
            let manifest = Manifest::open(folder)?;
            self.adopt(folder, &manifest)?;
            hashes.insert(port.clone(), manifest.content_hash);
        }
        let action = Action { outputs: hashes, key_parts, seconds };
        let path = self.action_path(key);
        let folder = self.root.join("actions").join(prefix(key));
        std::fs::create_dir_all(&folder).map_err(ArtifactError::io(&folder, "create"))?;
        let json = serde_json::to_string_pretty(&action)
            .map_err(|error| ArtifactError::invalid(&path, error.to_string()))?;
        write_atomically(&path, (json + "\n").as_bytes())?;
        Ok(action)
    }

    /// Create-if-absent by content: where the same content is there already, and undamaged, the new
    /// copy goes.
    fn adopt(&self, folder: &Path, manifest: &Manifest) -> Result<(), ArtifactError> {
        let target = self.artifact_path(&manifest.content_hash);
        if Manifest::open(&target).is_ok_and(|manifest| manifest.verify(&target).is_ok()) {
            return std::fs::remove_dir_all(folder).map_err(ArtifactError::io(folder, "remove"));
        }
        if target.exists() {
            // An artifact that lost a file or was damaged: the whole one takes its place.
            make_writable(&target)?;
            std::fs::remove_dir_all(&target).map_err(ArtifactError::io(&target, "remove"))?;
        }
        let parent = self.root.join("artifacts").join(prefix(&manifest.content_hash));
        std::fs::create_dir_all(&parent).map_err(ArtifactError::io(&parent, "create"))?;
        for file in &manifest.files {
            let path = folder.join(&file.path);
            set_readonly(&path)?;
        }
        sync(folder)?;
        match std::fs::rename(folder, &target) {
            Ok(()) => sync(&parent),
            // Another run of the same key was first.
            Err(_) if Manifest::open(&target).is_ok() => {
                std::fs::remove_dir_all(folder).map_err(ArtifactError::io(folder, "remove"))
            }
            Err(error) => Err(ArtifactError::io(&target, "move the artifact to")(error)),
        }
    }
}

fn prefix(hash: &str) -> &str {
    hash.get(..2).unwrap_or(hash)
}

fn set_readonly(path: &Path) -> Result<(), ArtifactError> {
    let mut permissions =
        std::fs::metadata(path).map_err(ArtifactError::io(path, "read"))?.permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(path, permissions).map_err(ArtifactError::io(path, "protect"))
}

fn make_writable(folder: &Path) -> Result<(), ArtifactError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))
            .map_err(ArtifactError::io(folder, "unprotect"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CorpusReader, CorpusWriter, Document, Kind, Split};

    fn sealed_corpus(folder: &Path, text: &str) -> Manifest {
        std::fs::create_dir_all(folder).unwrap();
        let mut writer = CorpusWriter::create(folder).unwrap();
        let document = Document {
            doc_id: "a".into(),
            unit_id: "u".into(),
            split: Split::Train,
            text: text.into(),
        };
        writer.push(&document).unwrap();
        let rows = writer.finish().unwrap();
        Manifest::seal(folder, Kind::Corpus, rows, Value::Null).unwrap()
    }

    #[test]
    fn a_committed_key_is_found_until_a_file_of_it_is_gone() {
        let temporary = tempfile::tempdir().unwrap();
        let store = Store::open(&temporary.path().join("store")).unwrap();
        let output = temporary.path().join("out");
        let manifest = sealed_corpus(&output, "text");
        let key = "ab".repeat(32);
        assert!(store.lookup(&key).is_none());
        let outputs = BTreeMap::from([("corpus".to_string(), output.clone())]);
        store.commit(&key, &outputs, Value::Null, 1.0).unwrap();
        assert!(!output.exists());
        let action = store.lookup(&key).unwrap();
        assert_eq!(action.outputs["corpus"], manifest.content_hash);
        let path = store.artifact_path(&manifest.content_hash);
        assert_eq!(CorpusReader::open(&path).unwrap().iter().count(), 1);

        std::fs::remove_file(path.join("corpus-00000.parquet")).unwrap();
        assert!(store.lookup(&key).is_none(), "an artifact without its files is a miss");

        sealed_corpus(&output, "text");
        store.commit(&key, &outputs, Value::Null, 1.0).unwrap();
        assert!(store.lookup(&key).is_some(), "the whole artifact takes the broken one's place");

        let shard = path.join("corpus-00000.parquet");
        let mut bytes = std::fs::read(&shard).unwrap();
        bytes[10] ^= 1;
        std::fs::remove_file(&shard).unwrap();
        std::fs::write(&shard, bytes).unwrap();
        sealed_corpus(&output, "text");
        store.commit(&key, &outputs, Value::Null, 1.0).unwrap();
        Manifest::open(&path).unwrap().verify(&path).unwrap();
    }

    #[test]
    fn equal_content_has_equal_hash_whatever_its_provenance() {
        let temporary = tempfile::tempdir().unwrap();
        let a = sealed_corpus(&temporary.path().join("a"), "text");
        let b = sealed_corpus(&temporary.path().join("b"), "text");
        let c = sealed_corpus(&temporary.path().join("c"), "other");
        assert_eq!(a.content_hash, b.content_hash);
        assert_ne!(a.content_hash, c.content_hash);
    }

    #[test]
    fn a_changed_file_fails_verification_by_name() {
        let temporary = tempfile::tempdir().unwrap();
        let manifest = sealed_corpus(temporary.path(), "text");
        manifest.verify(temporary.path()).unwrap();
        let shard = temporary.path().join("corpus-00000.parquet");
        let mut bytes = std::fs::read(&shard).unwrap();
        bytes[10] ^= 1;
        std::fs::write(&shard, bytes).unwrap();
        let message = manifest.verify(temporary.path()).unwrap_err().to_string();
        assert!(message.contains("corpus-00000.parquet"), "{message}");
    }

    #[test]
    fn one_key_has_one_holder() {
        let temporary = tempfile::tempdir().unwrap();
        let store = Store::open(temporary.path()).unwrap();
        let first = store.try_lock("key").unwrap();
        assert!(first.is_some());
        assert!(store.try_lock("key").unwrap().is_none());
        assert!(store.try_lock("other").unwrap().is_some());
        drop(first);
        assert!(store.try_lock("key").unwrap().is_some());
    }
}
