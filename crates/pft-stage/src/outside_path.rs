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

/// A path with wildcards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    /// The folder above all that matches.
    pub root: PathBuf,
    /// What matches, with the root's own `[`, `*` and `?` escaped.
    pub pattern: String,
}

impl OutsidePath {
    /// The glob that a path is, if it is one. A part of it that exists as it is written is no pattern:
    /// folders may be called `[x]`.
    pub fn glob(path: &str) -> Option<Glob> {
        let is_sign = |c: char| matches!(c, '*' | '?' | '[');
        let path = Path::new(path);
        let mut root = PathBuf::new();
        let mut rest: Vec<String> = Vec::new();
        for part in path.components() {
            let text = part.as_os_str().to_string_lossy();
            if rest.is_empty() && (!text.contains(is_sign) || root.join(part).exists()) {
                root.push(part);
            } else {
                rest.push(text.into_owned());
            }
        }
        if rest.is_empty() {
            return None;
        }
        let mut pattern = String::new();
        for character in root.to_string_lossy().chars() {
            match character {
                '*' | '?' | '[' | ']' => pattern.extend(['[', character, ']']),
                other => pattern.push(other),
            }
        }
        if !pattern.is_empty() && !pattern.ends_with('/') {
            pattern.push('/');
        }
        pattern.push_str(&rest.join("/"));
        Some(Glob { root, pattern })
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
    fn what_exists_as_it_is_written_is_no_pattern() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().to_string_lossy().into_owned();
        std::fs::create_dir(folder.path().join("a[1]")).unwrap();
        let glob = |path: &str| OutsidePath::glob(&format!("{base}/{path}"));
        let expected = |root: &str, pattern: &str| {
            Some(Glob { root: folder.path().join(root), pattern: format!("{base}/{pattern}") })
        };
        assert_eq!(glob("a[1]"), None);
        assert_eq!(glob("b"), None);
        assert_eq!(glob("a[1]/*.csv"), expected("a[1]", "a[[]1[]]/*.csv"));
        assert_eq!(glob("a[2]/x"), expected("", "a[2]/x"));
        assert_eq!(glob("a*/**/x?"), expected("", "a*/**/x?"));
        let relative = Some(Glob { root: PathBuf::new(), pattern: "no-such-*/x".into() });
        assert_eq!(OutsidePath::glob("no-such-*/x"), relative);
    }

    #[test]
    fn relative_paths_are_taken_from_the_base() {
        let base = Path::new("/a/configs/ingest");
        assert_eq!(OutsidePath::resolve("../../data/x.jsonl", base), "/a/data/x.jsonl");
        assert_eq!(OutsidePath::resolve("./x*.jsonl", base), "/a/configs/ingest/x*.jsonl");
        assert_eq!(OutsidePath::resolve("/x", base), "/x");
        assert_eq!(OutsidePath::resolve("hf://datasets/a/b", base), "hf://datasets/a/b");
    }
}
