//! The store: artifacts by content hash, and actions that map a key to the content it made.
//!
//! ```text
//! .pft/
//!   artifacts/ab/abcd…/   sealed artifact folders, read only; a bundle for others too
//!   actions/ab/abcd….json key → content hash of every output port
//!   scratch/KEY/          unfinished work of a stage, kept for its next attempt
//!   locks/KEY             one kernel lock a key
//!   tmp/                  outputs being written
//!   runs/ID/              what a run did: record, events, logs
//!   latest/PIPELINE/STAGE links to what the last run made
//!   damaged/              what was found damaged, set aside
//!   pins/NAME             what garbage collection leaves alone
//!   cache/STAGE/          what all runs of a stage share
//! ```
//!
//! Whoever has no part in the store may pass through it to a bundle whose hash they were told, and can
//! neither list nor read anything else: hashes of private data tell who guesses it that the guess is right.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::manifest::{open_to_its_readers, subfolders, sync, write_atomically};
use crate::{Action, ArtifactError, KeyLock, MANIFEST, Manifest, access};

/// What the store knows of a key.
#[derive(Debug, Clone, PartialEq)]
pub enum Lookup {
    /// It was made, and every file of it is there.
    Found(Action),
    /// It was never made, or its artifact was removed.
    Missing,
    /// Its action or an artifact of it is not as it was written: what is wrong.
    Damaged(String),
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
        access::create_shared_dir_all(root).map_err(ArtifactError::write(root, "create"))?;
        let root = root.canonicalize().map_err(ArtifactError::io(root, "open"))?;
        create_passable(&root.join("artifacts"))?;
        for part in ["actions", "scratch", "locks", "tmp", "runs", "cache"] {
            let folder = root.join(part);
            create_private(&folder)?;
            // A store of an earlier version let others in. Somebody else's store is theirs to mend.
            let _ = access::protect(&folder);
        }
        let ignore = root.join(".gitignore");
        if !ignore.exists() {
            write_shared(&ignore, b"*\n")?;
        }
        // The signature of the Cache Directory Tagging Specification, so that backups skip it.
        let tag = root.join("CACHEDIR.TAG");
        if !tag.exists() {
            write_shared(&tag, b"Signature: 8a477f597d28d172789f06886806bc55\n")?;
        }
        Ok(Self { root })
    }

    /// Whether a folder is a store. Whoever reads the files below a folder leaves the stores in it out:
    /// what is made from a corpus is no part of it.
    pub fn is_at(folder: &Path) -> bool {
        let has = |part: &str| folder.join(part).is_dir();
        has("actions") && has("artifacts") && folder.join("CACHEDIR.TAG").is_file()
    }

    /// A store that is only looked into: nothing is made where there is none.
    pub fn at(root: &Path) -> Self {
        let absolute = || std::path::absolute(root).unwrap_or_else(|_| root.to_path_buf());
        Self { root: root.canonicalize().unwrap_or_else(|_| absolute()) }
    }

    /// The store's folder, absolute.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where an artifact lies or would lie.
    pub fn artifact_path(&self, content_hash: &str) -> PathBuf {
        self.root.join("artifacts").join(prefix(content_hash)).join(content_hash)
    }

    /// The file of a key's action.
    pub fn action_path(&self, key: &str) -> PathBuf {
        self.root.join("actions").join(prefix(key)).join(format!("{key}.json"))
    }

    /// The scratch folder of a key; it outlives a killed attempt.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn scratch(&self, key: &str) -> Result<PathBuf, ArtifactError> {
        let folder = self.root.join("scratch").join(key);
        create_private(&folder)?;
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

    /// Holds garbage collection off while it lives: between looking an artifact up and marking it as
    /// used, or adopting it. `None` where the store cannot be written to, and so not collected.
    pub fn lease(&self) -> Option<KeyLock> {
        KeyLock::shared(&self.gc_lock_path()).ok()
    }

    /// The file whose lock garbage collection holds.
    pub fn gc_lock_path(&self) -> PathBuf {
        self.root.join("locks").join("gc")
    }

    /// Marks a key as used now, for garbage collection. A store of somebody else stays as it is.
    pub fn touch(&self, key: &str) {
        let now = std::time::SystemTime::now();
        let _ = std::fs::File::open(self.action_path(key)).and_then(|file| file.set_modified(now));
    }

    /// What `key` made, if it was made and every file of it is still there; otherwise a miss.
    pub fn lookup(&self, key: &str) -> Option<Action> {
        match self.look_up(key) {
            Lookup::Found(action) => Some(action),
            Lookup::Missing | Lookup::Damaged(_) => None,
        }
    }

    /// What the store knows of `key`. That files are there with their sizes is looked at, their
    /// contents are not.
    pub fn look_up(&self, key: &str) -> Lookup {
        let path = self.action_path(key);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Lookup::Missing,
            Err(error) => return Lookup::Damaged(format!("{}: {error}", path.display())),
        };
        let action = std::str::from_utf8(&bytes).ok().and_then(|text| Action::parse(key, text));
        let Some(action) = action else {
            return Lookup::Damaged(format!("{}: not as it was written", path.display()));
        };
        for hash in action.outputs.values() {
            let folder = self.artifact_path(hash);
            match Manifest::open(&folder) {
                Ok(manifest) if manifest.content_hash == *hash => {}
                Ok(_) => {
                    let what = "another artifact's manifest lies there";
                    return Lookup::Damaged(format!("{}: {what}", folder.display()));
                }
                Err(_) if !folder.join(MANIFEST).exists() => return Lookup::Missing,
                Err(error) => return Lookup::Damaged(error.to_string()),
            }
        }
        Lookup::Found(action)
    }

    /// What is written of `key`, whether its artifacts are still there or not.
    pub fn action(&self, key: &str) -> Option<Action> {
        let text = std::fs::read_to_string(self.action_path(key)).ok()?;
        Action::parse(key, &text)
    }

    /// The keys of all actions, sorted.
    pub fn keys(&self) -> Vec<String> {
        let names = names_below(&self.root.join("actions"));
        names.into_iter().filter_map(|n| n.strip_suffix(".json").map(str::to_string)).collect()
    }

    /// The content hashes of all artifact folders, sorted.
    pub fn artifacts(&self) -> Vec<String> {
        names_below(&self.root.join("artifacts"))
    }

    /// Moves a damaged artifact out of the way, so that it is made again; it can be looked at in
    /// `damaged/`.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn set_artifact_aside(&self, content_hash: &str) -> Result<PathBuf, ArtifactError> {
        self.set_aside(&self.artifact_path(content_hash))
    }

    /// Moves a damaged action out of the way.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn set_action_aside(&self, key: &str) -> Result<PathBuf, ArtifactError> {
        self.set_aside(&self.action_path(key))
    }

    /// Moves a scratch folder from which no attempt can go on out of the way.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn set_scratch_aside(&self, key: &str) -> Result<PathBuf, ArtifactError> {
        self.set_aside(&self.root.join("scratch").join(key))
    }

    fn set_aside(&self, path: &Path) -> Result<PathBuf, ArtifactError> {
        let folder = self.root.join("damaged");
        create_private(&folder)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let free = (0..).map(|n| match n {
            0 => folder.join(&*name),
            n => folder.join(format!("{name}-{n}")),
        });
        let target = free.into_iter().find(|path| !path.exists()).unwrap_or_default();
        // A folder is moved only by who may write in it.
        if path.is_dir() {
            access::protect(path).map_err(ArtifactError::write(path, "unprotect"))?;
        }
        std::fs::rename(path, &target).map_err(ArtifactError::write(path, "set aside"))?;
        Ok(target)
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
        let action = Action::sealed(key, hashes, key_parts, seconds);
        let folder = self.root.join("actions").join(prefix(key));
        create_private(&folder)?;
        write_atomically(&self.action_path(key), action.to_json().as_bytes())?;
        Ok(action)
    }

    /// Create-if-absent by content: where the same content is there already, and undamaged, the new
    /// copy goes.
    fn adopt(&self, folder: &Path, manifest: &Manifest) -> Result<(), ArtifactError> {
        let target = self.artifact_path(&manifest.content_hash);
        if Manifest::open(&target).is_ok_and(|manifest| manifest.verify(&target).is_ok()) {
            return std::fs::remove_dir_all(folder).map_err(ArtifactError::write(folder, "remove"));
        }
        if target.exists() {
            // An artifact that lost a file or was damaged: the whole one takes its place.
            access::protect(&target).map_err(ArtifactError::write(&target, "unprotect"))?;
            std::fs::remove_dir_all(&target).map_err(ArtifactError::write(&target, "remove"))?;
        }
        let parent = self.root.join("artifacts").join(prefix(&manifest.content_hash));
        create_passable(&parent)?;
        for subfolder in subfolders(folder, &manifest.files) {
            open_to_its_readers(manifest.kind, &subfolder)?;
        }
        open_to_its_readers(manifest.kind, folder)?;
        open_to_its_readers(manifest.kind, &folder.join(MANIFEST))?;
        for file in &manifest.files {
            let path = folder.join(&file.path);
            open_to_its_readers(manifest.kind, &path)?;
            set_readonly(&path)?;
        }
        sync(folder)?;
        match std::fs::rename(folder, &target) {
            Ok(()) => sync(&parent),
            // Another run of the same key was first.
            Err(_) if Manifest::open(&target).is_ok() => {
                std::fs::remove_dir_all(folder).map_err(ArtifactError::write(folder, "remove"))
            }
            Err(error) => Err(ArtifactError::write(&target, "move the artifact to")(error)),
        }
    }
}

/// The names in the folders of a folder, sorted.
fn names_below(folder: &Path) -> Vec<String> {
    let list = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = list(folder)
        .flat_map(|part| list(&part.path()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

fn prefix(hash: &str) -> &str {
    hash.get(..2).unwrap_or(hash)
}

fn set_readonly(path: &Path) -> Result<(), ArtifactError> {
    let mut permissions =
        std::fs::metadata(path).map_err(ArtifactError::io(path, "read"))?.permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(path, permissions).map_err(ArtifactError::write(path, "protect"))
}

fn create_private(folder: &Path) -> Result<(), ArtifactError> {
    access::create_private_dir_all(folder).map_err(ArtifactError::write(folder, "create"))
}

/// A folder that others may pass through, and not list.
fn create_passable(folder: &Path) -> Result<(), ArtifactError> {
    let existed = folder.is_dir();
    create_private(folder)?;
    match access::set_mode(folder, 0o711) {
        // Somebody else's store is theirs to mend.
        Err(error) if !existed => Err(ArtifactError::write(folder, "create")(error)),
        _ => Ok(()),
    }
}

fn write_shared(path: &Path, bytes: &[u8]) -> Result<(), ArtifactError> {
    write_atomically(path, bytes)?;
    access::share(path).map_err(ArtifactError::write(path, "write"))
}
