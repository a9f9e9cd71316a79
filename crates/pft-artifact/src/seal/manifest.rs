//! The manifest that seals a folder into an artifact.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::hash;
use crate::{ArtifactError, Kind, access, canonical_json};

/// The file that makes a folder an artifact.
pub const MANIFEST: &str = "manifest.json";

/// One file of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Path inside the artifact, `/` between its parts.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// BLAKE3 of the contents, 64 hexadecimal digits.
    pub blake3: String,
}

/// What an artifact is made of, and where it came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The artifact's kind.
    pub kind: Kind,
    /// Version of the kind's schema.
    pub schema_version: u32,
    /// BLAKE3 over kind, schema version, the sorted (path, BLAKE3) list of the files, and what the
    /// stages of the lineage said of units.
    pub content_hash: String,
    /// BLAKE3 over the `lineage` of the provenance: where the files came from is sealed too, apart from
    /// them, so that equal files have equal content hashes wherever they came from.
    #[serde(default)]
    pub lineage_hash: String,
    /// BLAKE3 of the manifest file as it was last written, with nothing in this place: figures, keys and
    /// settings are worth protecting too, and change without the files.
    #[serde(default)]
    pub manifest_hash: String,
    /// The files, sorted by path; the manifest is not among them.
    pub files: Vec<FileEntry>,
    /// Number of records, 0 for kinds without records.
    pub rows: u64,
    /// Stage, revision, key, config, inputs, timings, host.
    #[serde(default)]
    pub provenance: Value,
}

impl Manifest {
    /// Hashes every file below `folder` and writes the manifest beside them, last and atomically:
    /// a folder without one is not an artifact. Whatever modes the files had, they get those of their
    /// kind.
    ///
    /// # Errors
    /// When a file cannot be read, or the manifest cannot be written.
    pub fn seal(
        folder: &Path,
        kind: Kind,
        rows: u64,
        provenance: Value,
    ) -> Result<Self, ArtifactError> {
        use rayon::prelude::*;

        let mut paths = Vec::new();
        collect_files(folder, folder, &mut paths)?;
        paths.sort();
        let files = paths
            .into_par_iter()
            .filter(|path| path != MANIFEST)
            .map(|path| {
                let full = folder.join(&path);
                open_to_its_readers(kind, &full)?;
                let size =
                    std::fs::metadata(&full).map_err(ArtifactError::io(&full, "read"))?.len();
                sync(&full)?;
                Ok(FileEntry { blake3: hash::hash_file(&full)?, path, size })
            })
            .collect::<Result<Vec<_>, ArtifactError>>()?;
        for subfolder in subfolders(folder, &files) {
            open_to_its_readers(kind, &subfolder)?;
        }
        let schema_version = kind.schema_version();
        let content_hash = content_hash(kind, schema_version, &files, &provenance);
        let lineage_hash = lineage_hash(&provenance);
        let mut manifest = Self {
            kind,
            schema_version,
            content_hash,
            lineage_hash,
            manifest_hash: String::new(),
            files,
            rows,
            provenance,
        };
        manifest.lineage()?;
        manifest.manifest_hash = manifest.write(folder)?;
        Ok(manifest)
    }

    /// Writes the manifest into `folder` through a temporary name, and returns the `manifest_hash` that
    /// seals it.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&self, folder: &Path) -> Result<String, ArtifactError> {
        let path = folder.join(MANIFEST);
        let open = Self { manifest_hash: String::new(), ..self.clone() };
        let text = serde_json::to_string_pretty(&open)
            .map(|json| json + "\n")
            .map_err(|error| ArtifactError::invalid(folder, error.to_string()))?;
        let hash = hash::hash_bytes(text.as_bytes());
        let sealed = text.replacen(&hash_line(""), &hash_line(&hash), 1);
        write_atomically(&path, sealed.as_bytes())?;
        open_to_its_readers(self.kind, &path)?;
        Ok(hash)
    }

    /// Reads the manifest of an artifact folder, and checks that it is consistent and that every
    /// file is there with its size. Contents are checked by [`Manifest::verify`].
    ///
    /// # Errors
    /// When the folder is not an artifact, or not a whole one.
    pub fn open(folder: &Path) -> Result<Self, ArtifactError> {
        let path = folder.join(MANIFEST);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let within = artifacts_in(folder);
                let message = if !within.is_empty() {
                    &format!("not an artifact, but a folder of them: name {}", within.join(" or "))
                } else if folder.is_dir() {
                    "not an artifact: it has no manifest.json (was the stage that made it stopped?)"
                } else {
                    "there is no such artifact folder"
                };
                return Err(ArtifactError::invalid(folder, message));
            }
            Err(error) => return Err(ArtifactError::io(&path, "read")(error)),
        };
        let manifest: Self = serde_json::from_str(&text).map_err(|error| {
            ArtifactError::invalid(&path, format!("not a manifest of this project: {error}"))
        })?;
        manifest.check(folder)?;
        let open = text.replacen(&hash_line(&manifest.manifest_hash), &hash_line(""), 1);
        if hash::hash_bytes(open.as_bytes()) != manifest.manifest_hash {
            return Err(ArtifactError::invalid(
                &path,
                "it is not as it was written: a figure, a setting or a date in it was changed or damaged; \
                 make the artifact again",
            ));
        }
        Ok(manifest)
    }

    fn check(&self, folder: &Path) -> Result<(), ArtifactError> {
        let path = folder.join(MANIFEST);
        if self.schema_version != self.kind.schema_version() {
            return Err(ArtifactError::invalid(
                &path,
                format!(
                    "{} schema version {}, but this build reads version {}; make the artifact again",
                    self.kind,
                    self.schema_version,
                    self.kind.schema_version()
                ),
            ));
        }
        let found = content_hash(self.kind, self.schema_version, &self.files, &self.provenance);
        if found != self.content_hash {
            return Err(ArtifactError::invalid(
                &path,
                "its content hash is not that of its files and notes; make the artifact again",
            ));
        }
        if lineage_hash(&self.provenance) != self.lineage_hash {
            return Err(ArtifactError::invalid(
                &path,
                "its lineage is not the one that it was sealed with; make the artifact again",
            ));
        }
        self.lineage()?;
        for file in &self.files {
            let relative = Path::new(&file.path);
            if !relative.components().all(|c| matches!(c, std::path::Component::Normal(_))) {
                return Err(ArtifactError::invalid(
                    &path,
                    format!("file path {:?} leaves the artifact", file.path),
                ));
            }
            let full = folder.join(relative);
            let size = std::fs::metadata(&full)
                .map_err(|error| match error.kind() {
                    std::io::ErrorKind::NotFound => ArtifactError::invalid(
                        &full,
                        "the file is missing from the artifact; make the artifact again",
                    ),
                    _ => ArtifactError::io(&full, "read")(error),
                })?
                .len();
            if size != file.size {
                return Err(ArtifactError::invalid(
                    &full,
                    format!(
                        "{size} bytes, but its manifest says {}; make the artifact again",
                        file.size
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Hashes every file again and compares.
    ///
    /// # Errors
    /// Names a file whose contents have changed.
    pub fn verify(&self, folder: &Path) -> Result<(), ArtifactError> {
        use rayon::prelude::*;

        self.files.par_iter().try_for_each(|file| {
            let full = folder.join(&file.path);
            if hash::hash_file(&full)? != file.blake3 {
                return Err(ArtifactError::invalid(
                    &full,
                    "its contents are not those that the manifest was sealed with: it was changed or \
                     damaged; remove the artifact's folder and make it again",
                ));
            }
            Ok(())
        })
    }

    /// Refuses an artifact of another kind.
    ///
    /// # Errors
    /// Names the kind found and the kind wanted.
    pub fn expect_kind(&self, folder: &Path, kind: Kind) -> Result<(), ArtifactError> {
        if self.kind == kind {
            return Ok(());
        }
        Err(ArtifactError::invalid(
            folder,
            format!("a {} artifact, where a {kind} artifact is needed", self.kind),
        ))
    }
}

/// How `manifest_hash` stands in the file. Only hashes and a kind stand before it.
fn hash_line(hash: &str) -> String {
    format!("\"manifest_hash\": \"{hash}\"")
}

/// Folders within `folder` that are artifacts: the outputs of a stage that has several.
fn artifacts_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<String> = entries
        .map(|entry| entry.path())
        .filter(|path| path.join(MANIFEST).is_file())
        .map(|path| path.display().to_string())
        .collect();
    found.sort();
    found
}

/// Two settings may happen to make the same files while only one of them lets units decide about each
/// other. What was said of units is promised on later, so it is content: else whichever artifact came
/// first would speak for both.
fn content_hash(
    kind: Kind,
    schema_version: u32,
    files: &[FileEntry],
    provenance: &Value,
) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(format!("pft artifact\n{kind}\n{schema_version}\n").as_bytes());
    for file in files {
        hasher.update(format!("{}\0{}\n", file.path, file.blake3).as_bytes());
    }
    for step in provenance["lineage"].as_array().into_iter().flatten() {
        if says_something(&step["units"]) {
            hasher.update(format!("units\0{}\n", canonical_json(&step["units"])).as_bytes());
        }
    }
    hasher.finalize().to_hex().to_string()
}

fn lineage_hash(provenance: &Value) -> String {
    hash::hash_bytes(canonical_json(&provenance["lineage"]).as_bytes())
}

fn says_something(notes: &Value) -> bool {
    match notes {
        Value::Null => false,
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => map.values().any(says_something),
        _ => true,
    }
}

/// The files below a folder, by their path from `root`.
pub(crate) fn collect_files(
    root: &Path,
    folder: &Path,
    paths: &mut Vec<String>,
) -> Result<(), ArtifactError> {
    let entries = std::fs::read_dir(folder).map_err(ArtifactError::io(folder, "list"))?;
    for entry in entries {
        let entry = entry.map_err(ArtifactError::io(folder, "list"))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(ArtifactError::io(&path, "read"))?;
        if kind.is_dir() {
            collect_files(root, &path, paths)?;
        } else if kind.is_file() {
            paths.push(relative_name(root, &path)?);
        } else {
            return Err(ArtifactError::invalid(
                path,
                "artifacts hold plain files and folders only",
            ));
        }
    }
    Ok(())
}

fn relative_name(root: &Path, path: &Path) -> Result<String, ArtifactError> {
    let relative = path.strip_prefix(root).unwrap_or(path);
    let parts: Option<Vec<&str>> = relative.components().map(|c| c.as_os_str().to_str()).collect();
    parts
        .map(|parts| parts.join("/"))
        .ok_or_else(|| ArtifactError::invalid(path, "its name is not valid UTF-8"))
}

/// Gives a file or folder of an artifact the mode of its kind.
pub(crate) fn open_to_its_readers(kind: Kind, path: &Path) -> Result<(), ArtifactError> {
    let given = if kind.is_private() { access::protect(path) } else { access::share(path) };
    given.map_err(ArtifactError::write(path, "set the mode"))
}

/// The folders below an artifact's that its files lie in.
pub(crate) fn subfolders(folder: &Path, files: &[FileEntry]) -> BTreeSet<PathBuf> {
    let above = |file: &FileEntry| -> Vec<PathBuf> {
        let ancestors = Path::new(&file.path).ancestors().skip(1);
        ancestors.filter(|path| !path.as_os_str().is_empty()).map(|p| folder.join(p)).collect()
    };
    files.iter().flat_map(above).collect()
}

/// Flushes a file or folder to the disk.
pub(crate) fn sync(path: &Path) -> Result<(), ArtifactError> {
    std::fs::File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(ArtifactError::write(path, "flush to disk"))
}

/// Writes through a temporary name in the same folder, flushed before it is renamed. The file is its
/// owner's alone.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), ArtifactError> {
    use std::io::Write;

    let folder: PathBuf = path.parent().map(Path::to_path_buf).unwrap_or_default();
    let mut file = tempfile::Builder::new()
        .prefix(".partial-")
        .tempfile_in(&folder)
        .map_err(ArtifactError::write(&folder, "write to"))?;
    file.write_all(bytes)
        .and_then(|()| file.as_file().sync_all())
        .map_err(ArtifactError::write(path, "write"))?;
    file.persist(path).map_err(|error| ArtifactError::write(path, "write")(error.error))?;
    sync(&folder)
}

/// Number of records in a folder that is not sealed yet, from its Parquet footers; 0 for kinds
/// that hold no records.
///
/// # Errors
/// When a shard cannot be read.
pub fn count_rows(folder: &Path, kind: Kind) -> Result<u64, ArtifactError> {
    use parquet::file::reader::{FileReader, SerializedFileReader};

    if !matches!(kind, Kind::Corpus | Kind::Tags | Kind::Tokens) {
        return Ok(0);
    }
    let mut paths = Vec::new();
    collect_files(folder, folder, &mut paths)?;
    let mut rows = 0;
    for path in paths.iter().filter(|path| path.ends_with(".parquet")) {
        let full = folder.join(path);
        let file = std::fs::File::open(&full).map_err(ArtifactError::io(&full, "open"))?;
        let reader = SerializedFileReader::new(file)
            .map_err(|error| ArtifactError::invalid(&full, format!("cannot read back: {error}")))?;
        rows += u64::try_from(reader.metadata().file_metadata().num_rows()).unwrap_or_default();
    }
    Ok(rows)
}
