//! Notes that weights carry about themselves: texts by key beside the tensors of a safetensors or
//! GGUF file, which go wherever the file goes.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use pft_gguf::{Gguf, Value};

use super::CheckpointError;

/// Texts by key.
pub type Notes = BTreeMap<String, String>;

/// The longest header that the `safetensors` crate reads.
const MAX_HEADER: u64 = 100_000_000;

/// The note under `key` in a weights file; none in a file of another kind than safetensors or GGUF.
///
/// # Errors
/// When the file cannot be read, is damaged, or has something else than a text under the key.
pub fn read_note(path: &Path, key: &str) -> Result<Option<String>, CheckpointError> {
    let no_text = || CheckpointError::unusable(path, format!("`{key}` in its metadata is no text"));
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("gguf") => match Gguf::open(path)?.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(no_text()),
        },
        Some("safetensors") => match safetensors_metadata(path)?.get(key) {
            None => Ok(None),
            Some(serde_json::Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(no_text()),
        },
        _ => Ok(None),
    }
}

fn safetensors_metadata(path: &Path) -> Result<serde_json::Value, CheckpointError> {
    let damaged = |problem: String| {
        CheckpointError::unusable(path, format!("not a whole safetensors file ({problem})"))
    };
    let mut file = std::fs::File::open(path).map_err(CheckpointError::io(path, "open"))?;
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(|error| damaged(error.to_string()))?;
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER {
        return Err(damaged(format!("a header of {length} bytes")));
    }
    let mut header = Vec::new();
    file.take(length).read_to_end(&mut header).map_err(CheckpointError::io(path, "read"))?;
    let mut header: serde_json::Value =
        serde_json::from_slice(&header).map_err(|error| damaged(error.to_string()))?;
    Ok(header["__metadata__"].take())
}
