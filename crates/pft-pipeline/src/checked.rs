//! Which files of the store have been read and found whole, so that a damaged one is noticed and
//! a whole one is not read again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use pft_artifact::{Action, MANIFEST, Manifest, Store};

use crate::stamp::Stamp;

/// Remembers files by stamp: whatever writes to a file changes its stamp.
#[derive(Debug)]
pub(crate) struct CheckedFiles {
    memory: PathBuf,
    known: Mutex<BTreeMap<String, Stamp>>,
}

impl CheckedFiles {
    pub(crate) fn open(store: &Store) -> Self {
        let memory = store.root().join("checked-files.json");
        // A memory that cannot be read costs time, never correctness.
        let known = std::fs::read(&memory)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        Self { memory, known: Mutex::new(known) }
    }

    pub(crate) fn save(&self) {
        if let Ok(known) = self.known.lock() {
            crate::stamp::save(&self.memory, &*known);
        }
    }

    /// Whether all files of an action's artifacts, their manifests too, are those that were found whole.
    pub(crate) fn are_unchanged(&self, store: &Store, action: &Action) -> bool {
        let Ok(known) = self.known.lock() else { return false };
        action.outputs.values().all(|hash| {
            let folder = store.artifact_path(hash);
            let files = known.range(format!("{hash}/")..format!("{hash}0"));
            let unchanged = |(name, stamp): (&String, &Stamp)| {
                let file = name.strip_prefix(hash).and_then(|name| name.strip_prefix('/'));
                file.is_some_and(|file| Stamp::of(&folder.join(file)).ok().as_ref() == Some(stamp))
            };
            known.contains_key(&format!("{hash}/{MANIFEST}")) && files.into_iter().all(unchanged)
        })
    }

    /// The first artifact of an action that is not as it was sealed, and what is wrong with it.
    /// `thoroughly` reads every file again.
    pub(crate) fn damage(
        &self,
        store: &Store,
        action: &Action,
        thoroughly: bool,
    ) -> Option<(String, String)> {
        action.outputs.values().find_map(|hash| {
            let folder = store.artifact_path(hash);
            let wrong = self.look(&folder, hash, thoroughly).err()?;
            Some((hash.clone(), wrong))
        })
    }

    fn look(&self, folder: &Path, hash: &str, thoroughly: bool) -> Result<(), String> {
        // Before it is read: what is written to it later has another.
        let of_manifest = Stamp::of(&folder.join(MANIFEST)).ok();
        let manifest = Manifest::open(folder).map_err(|error| error.to_string())?;
        let mut stamps: Vec<(String, Option<Stamp>)> = manifest
            .files
            .iter()
            .map(|file| (format!("{hash}/{}", file.path), Stamp::of(&folder.join(&file.path)).ok()))
            .collect();
        stamps.push((format!("{hash}/{MANIFEST}"), of_manifest));
        let unchanged = |known: &BTreeMap<String, Stamp>| {
            stamps.iter().all(|(name, stamp)| stamp.is_some() && known.get(name) == stamp.as_ref())
        };
        if !thoroughly && self.known.lock().is_ok_and(|known| unchanged(&known)) {
            return Ok(());
        }
        manifest.verify(folder).map_err(|error| error.to_string())?;
        if let Ok(mut known) = self.known.lock() {
            known.extend(stamps.into_iter().filter_map(|(name, stamp)| Some((name, stamp?))));
        }
        Ok(())
    }

    /// Remembers what a stage has just made, whose files were hashed when they were sealed.
    pub(crate) fn made(&self, store: &Store, action: &Action) {
        let Ok(mut known) = self.known.lock() else { return };
        for hash in action.outputs.values() {
            let folder = store.artifact_path(hash);
            let of_manifest = Stamp::of(&folder.join(MANIFEST));
            let Ok(manifest) = Manifest::open(&folder) else { continue };
            for file in &manifest.files {
                if let Ok(stamp) = Stamp::of(&folder.join(&file.path)) {
                    known.insert(format!("{hash}/{}", file.path), stamp);
                }
            }
            known.extend(of_manifest.map(|stamp| (format!("{hash}/{MANIFEST}"), stamp)));
        }
    }
}
