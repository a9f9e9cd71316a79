//! A hash of the tensors of a weights file, in the file itself.
//!
//! What a file says of its weights is true of those weights alone. Programs that change tensors often keep
//! the metadata beside them (`gguf_set_kv` of llama.cpp, `save_file(…, metadata=…)` of safetensors), and a
//! reader of the metadata would take changed weights for the ones that it was written for.

use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use pft_gguf::Gguf;

use super::tensors::TensorFile;
use super::{CheckpointError, read_note};

/// The key of the hash: BLAKE3 over name, type, shape and bytes of every tensor, by name; 64 hexadecimal
/// digits.
pub const DIGEST_KEY: &str = "pft.weights_blake3";

/// What stands in the place of the hash while the tensors are written.
pub(crate) const UNKNOWN_DIGEST: &str =
    "0000000000000000000000000000000000000000000000000000000000000000";

/// How much of a file is searched for the place of its hash.
const MAX_HEADER: u64 = 1 << 30;

/// Whether a weights file holds the tensors that its metadata was written for: whether it carries their
/// hash, and it is theirs.
///
/// # Errors
/// When the file cannot be read or is damaged.
pub fn is_as_written(path: &Path) -> Result<bool, CheckpointError> {
    let Some(written) = read_note(path, DIGEST_KEY)? else { return Ok(false) };
    Ok(written == weights_digest(path)?)
}

/// Puts the hash of a file's tensors in the place that [`UNKNOWN_DIGEST`] holds.
pub(crate) fn stamp(path: &Path) -> Result<(), CheckpointError> {
    let digest = weights_digest(path)?;
    let write = || -> std::io::Result<bool> {
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        let Some(place) = place_of_digest(&mut file)? else { return Ok(false) };
        file.seek(SeekFrom::Start(place))?;
        file.write_all(digest.as_bytes())?;
        file.flush().map(|()| true)
    };
    match write().map_err(CheckpointError::io(path, "write"))? {
        true => Ok(()),
        false => Err(CheckpointError::unusable(path, format!("has no place for `{DIGEST_KEY}`"))),
    }
}

/// Where the digits begin: behind the key, which comes before all tensors.
fn place_of_digest(file: &mut std::fs::File) -> std::io::Result<Option<u64>> {
    let (key, digits) = (DIGEST_KEY.as_bytes(), UNKNOWN_DIGEST.as_bytes());
    let mut seen = Vec::new();
    let mut block = vec![0; 1 << 20];
    while (seen.len() as u64) < MAX_HEADER {
        let read = file.read(&mut block)?;
        seen.extend_from_slice(&block[..read]);
        if let Some(at) = find(&seen, key) {
            let rest = &seen[at + key.len()..];
            if let Some(gap) = find(rest, digits) {
                return Ok(Some((at + key.len() + gap) as u64));
            }
        }
        if read == 0 {
            break;
        }
    }
    Ok(None)
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    memchr::memmem::find(text, part)
}

/// The hash of a file's tensors, whatever its metadata says, as [`DIGEST_KEY`] has it.
///
/// # Errors
/// When the file cannot be read or is damaged.
pub fn weights_digest(path: &Path) -> Result<String, CheckpointError> {
    let mut hasher = blake3::Hasher::new();
    let mut add = |name: &str, kind: &str, shape: &[usize], bytes: &[u8]| {
        for part in [name, kind, &format!("{shape:?}")] {
            hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
        }
        hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
    };
    if path.extension().is_some_and(|extension| extension == "gguf") {
        let file = Gguf::open(path)?;
        let mut tensors: Vec<_> = file.tensors().iter().collect();
        tensors.sort_by(|one, other| one.name.cmp(&other.name));
        for info in tensors {
            add(&info.name, &info.ggml_type.to_string(), &info.shape, file.bytes(info));
        }
    } else {
        let file = TensorFile::open(path)?;
        file.each(|name, kind, shape, bytes| add(name, kind, shape, bytes));
    }
    Ok(hasher.finalize().to_hex().to_string())
}
