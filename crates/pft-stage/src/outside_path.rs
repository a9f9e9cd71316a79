//! Files outside the store that a config names.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A path to raw data or model files. A relative path is taken from the config file that names it
/// (from the working directory in `--set`). The runner hashes what it points at into the cache
/// key, which it knows from the schema's format `path`. Values with a scheme (`hf://…`,
/// `https://…`) stay as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OutsidePath(pub String);

impl OutsidePath {
    /// The path, absolute once the config is loaded.
    pub fn as_path(&self) -> &Path {
        Path::new(&self.0)
    }

    /// Resolves a value of a config against the folder it is relative to.
    pub fn resolve(value: &str, base: &Path) -> String {
        if value.is_empty() || value.contains("://") || Path::new(value).is_absolute() {
            return value.to_string();
        }
        let mut path = PathBuf::new();
        for part in base.join(value).components() {
            match part {
                std::path::Component::CurDir => {}
                std::path::Component::ParentDir if path.file_name().is_some() => {
                    path.pop();
                }
                other => path.push(other),
            }
        }
        path.to_string_lossy().into_owned()
    }
}

impl From<&str> for OutsidePath {
    fn from(path: &str) -> Self {
        Self(path.to_string())
    }
}

impl JsonSchema for OutsidePath {
    fn schema_name() -> Cow<'static, str> {
        "OutsidePath".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "path" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_are_taken_from_the_base() {
        let base = Path::new("/a/configs/ingest");
        assert_eq!(OutsidePath::resolve("../../data/x.jsonl", base), "/a/data/x.jsonl");
        assert_eq!(OutsidePath::resolve("./x*.jsonl", base), "/a/configs/ingest/x*.jsonl");
        assert_eq!(OutsidePath::resolve("/x", base), "/x");
        assert_eq!(OutsidePath::resolve("hf://datasets/a/b", base), "hf://datasets/a/b");
    }
}
