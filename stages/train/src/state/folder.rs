//! A checkpoint's folder: files whose hashes stand beside them, so that a flipped bit is seen before
//! anything is trained on it.

use std::collections::BTreeMap;
use std::path::Path;

use pft_artifact::hash_bytes;
use serde::{Deserialize, Serialize};

use super::write_private;

const SEAL: &str = "seal.json";

/// Written last: a folder without it is no checkpoint.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seal {
    /// Hash of the settings, inputs and software of the run.
    run: String,
    /// BLAKE3 of each file.
    files: BTreeMap<String, String>,
}

/// Writes files that only their owner can read, and their seal.
///
/// # Errors
/// When the disk refuses.
pub(super) fn write(folder: &Path, run: &str, files: &[(&str, &[u8])]) -> std::io::Result<()> {
    for (name, bytes) in files {
        write_private(&folder.join(name), bytes)?;
    }
    let hashes = files.iter().map(|(name, bytes)| ((*name).to_string(), hash_bytes(bytes)));
    let seal = Seal { run: run.to_string(), files: hashes.collect() };
    write_private(&folder.join(SEAL), &serde_json::to_vec(&seal)?)
}

/// The files of that name, as they were written.
///
/// # Errors
/// What is wrong with them, in words.
pub(super) fn read<const N: usize>(
    folder: &Path,
    run: &str,
    names: [&str; N],
) -> Result<[Vec<u8>; N], String> {
    let bytes = |name: &str| {
        std::fs::read(folder.join(name)).map_err(|error| format!("{name} cannot be read: {error}"))
    };
    let seal: Seal = serde_json::from_slice(&bytes(SEAL)?)
        .map_err(|_| format!("{SEAL} is not as it was written"))?;
    if seal.run != run {
        return Err("it is of a run with other settings, inputs or software".to_string());
    }
    let mut files = [const { Vec::new() }; N];
    for (file, name) in files.iter_mut().zip(names) {
        *file = bytes(name)?;
        if seal.files.get(name) != Some(&hash_bytes(file)) {
            return Err(format!("{name} is not as it was written"));
        }
    }
    Ok(files)
}
