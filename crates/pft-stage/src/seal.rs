//! Output folders: written under a hidden name, sealed, then moved into place with the manifest
//! last, so that no attempt ever leaves half an artifact behind.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pft_artifact::{Kind, Lineage, MANIFEST, Manifest, access, count_rows};
use serde_json::{Value, json};

use crate::{Port, StageError};

const PARTIAL: &str = ".partial";
const SCRATCH: &str = ".scratch";

/// The `--output` folder of a run.
#[derive(Debug)]
pub(crate) struct Output {
    folder: PathBuf,
    ports: Vec<Port>,
    existed: bool,
}

impl Output {
    /// Prepares an output folder, which must not exist or be empty; what a killed attempt left
    /// under its hidden names does not count.
    pub(crate) fn prepare(folder: &Path, ports: Vec<Port>) -> Result<Self, StageError> {
        let unusable = |error: std::io::Error| {
            StageError::config(format!("--output {}: {error}", folder.display())).because(&error)
        };
        let existed = folder.exists();
        if existed {
            for entry in std::fs::read_dir(folder).map_err(unusable)? {
                let name = entry.map_err(unusable)?.file_name();
                if name != PARTIAL && name != SCRATCH {
                    return Err(StageError::config(format!(
                        "--output {}: the folder is not empty",
                        folder.display()
                    ))
                    .with_help("name a new folder, or remove this one first"));
                }
            }
        }
        if let Some(parent) = folder.parent() {
            // What lies there is for the person to say.
            access::create_shared_dir_all(parent).map_err(unusable)?;
        }
        let output = Self { folder: folder.to_path_buf(), ports, existed };
        output.remove_partial().map_err(unusable)?;
        for port in &output.ports {
            std::fs::create_dir_all(output.partial(&port.name)).map_err(unusable)?;
        }
        Ok(output)
    }

    fn partial(&self, port: &str) -> PathBuf {
        self.folder.join(PARTIAL).join(port)
    }

    fn remove_partial(&self) -> std::io::Result<()> {
        match std::fs::remove_dir_all(self.folder.join(PARTIAL)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The folders that the stage writes into, by port.
    pub(crate) fn folders(&self) -> BTreeMap<String, PathBuf> {
        self.ports.iter().map(|port| (port.name.clone(), self.partial(&port.name))).collect()
    }

    /// The scratch folder to use where the caller names none, keyed by the work to be done.
    pub(crate) fn default_scratch(&self, key: &str) -> PathBuf {
        self.folder.join(SCRATCH).join(key.get(..16).unwrap_or(key))
    }

    /// Seals every port's folder and moves it into place.
    pub(crate) fn commit(&self, provenance: &Value, lineage: &Lineage) -> Result<(), StageError> {
        for port in &self.ports {
            let partial = self.partial(&port.name);
            let failed = |error: std::io::Error| {
                StageError::bug(format!("cannot seal output `{}`: {error}", port.name))
                    .because(&error)
            };
            if !port.required && std::fs::read_dir(&partial).map_err(failed)?.next().is_none() {
                continue;
            }
            let rows = count_rows(&partial, port.kind)?;
            let provenance = match port.kind {
                Kind::Bundle => published(provenance, lineage),
                _ => provenance.clone(),
            };
            Manifest::seal(&partial, port.kind, rows, provenance)?;
            let (target, is_new) = if self.ports.len() == 1 {
                (self.folder.clone(), !self.existed)
            } else {
                let target = self.folder.join(&port.name);
                std::fs::create_dir_all(&target).map_err(failed)?;
                (target, true)
            };
            if is_new && !port.kind.is_private() {
                access::share(&target).map_err(failed)?;
            }
            let mut names: Vec<_> = std::fs::read_dir(&partial)
                .and_then(|entries| entries.map(|e| e.map(|e| e.file_name())).collect())
                .map_err(failed)?;
            names.sort_by_key(|name| name == MANIFEST);
            for name in names {
                std::fs::rename(partial.join(&name), target.join(&name)).map_err(failed)?;
            }
        }
        let failed = |error: std::io::Error| {
            StageError::bug(format!("cannot tidy the output folder: {error}")).because(&error)
        };
        self.remove_partial().map_err(failed)?;
        match std::fs::remove_dir_all(self.folder.join(SCRATCH)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        }
    }

    /// Removes what a failed attempt wrote. Scratch with something in it stays, for the next.
    pub(crate) fn discard(&self) {
        // Nothing more can be done if the disk refuses: the folder has no manifest either way.
        let _ = self.remove_partial();
        let scratch = self.folder.join(SCRATCH);
        for entry in std::fs::read_dir(&scratch).into_iter().flatten().flatten() {
            let _ = std::fs::remove_dir(entry.path());
        }
        let _ = std::fs::remove_dir(&scratch);
        if !self.existed {
            let _ = std::fs::remove_dir(&self.folder);
        }
    }
}

/// What may travel with a bundle, which is made to be given away: the stages and their revisions.
/// Settings of earlier stages may hold names and places of private files, and hashes of private data
/// tell whoever guesses the data that the guess is right.
fn published(provenance: &Value, lineage: &Lineage) -> Value {
    json!({
        "stage": provenance["stage"],
        "revision": provenance["revision"],
        "version": provenance["version"],
        "metrics": provenance["metrics"],
        "lineage": lineage.published(),
    })
}
