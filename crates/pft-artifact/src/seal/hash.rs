//! BLAKE3 of texts, files and JSON values.

use std::path::Path;

use serde_json::Value;

use crate::ArtifactError;

/// BLAKE3 of a document's text, 64 hexadecimal digits: the key that ties tags to their text.
pub fn text_hash(text: &str) -> String {
    hash_bytes(text.as_bytes())
}

/// BLAKE3 of bytes, 64 hexadecimal digits.
pub fn hash_bytes(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().to_string()
}

/// BLAKE3 of a file's contents, streamed.
///
/// # Errors
/// When the file cannot be read.
pub fn hash_file(path: &Path) -> Result<String, ArtifactError> {
    let mut file = std::fs::File::open(path).map_err(ArtifactError::io(path, "open"))?;
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(&mut file).map_err(ArtifactError::io(path, "read"))?;
    Ok(hasher.finalize().to_hex().to_string())
}

/// JSON with object keys sorted and no white space, so that equal values have equal bytes.
pub fn canonical_json(value: &Value) -> String {
    let mut out = String::new();
    write_canonical(value, &mut out);
    out
}

fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            out.push('{');
            for (index, key) in keys.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                out.push_str(&Value::String(key.clone()).to_string());
                out.push(':');
                write_canonical(&map[key], out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_canonical(item, out);
            }
            out.push(']');
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_json_ignores_key_order() {
        let a: Value =
            serde_json::from_str(r#"{"b": [1, {"d": 2.5, "c": null}], "a": "x"}"#).unwrap();
        let b: Value = serde_json::from_str(r#"{"a":"x","b":[1,{"c":null,"d":2.5}]}"#).unwrap();
        assert_eq!(canonical_json(&a), canonical_json(&b));
        assert_eq!(canonical_json(&a), r#"{"a":"x","b":[1,{"c":null,"d":2.5}]}"#);
    }

    #[test]
    fn text_hash_is_blake3() {
        // The hash of the empty input from the BLAKE3 test vectors.
        assert_eq!(
            text_hash(""),
            "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
        );
    }
}
