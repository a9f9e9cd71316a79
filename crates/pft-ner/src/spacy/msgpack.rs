//! Reading of the msgpack files in a model folder, with errors that name the file.

use std::path::{Path, PathBuf};

use pft_pii::LoadError;
use rmpv::Value;

/// A msgpack value together with the file that it came from.
#[derive(Clone, Copy)]
pub(super) struct Packed<'a> {
    pub(super) value: &'a Value,
    pub(super) path: &'a Path,
}

/// A whole msgpack file.
pub(super) struct PackedFile {
    path: PathBuf,
    value: Value,
}

impl PackedFile {
    /// Reads a file and feeds its bytes to the model's hash.
    pub(super) fn read(path: PathBuf, hasher: &mut blake3::Hasher) -> Result<Self, LoadError> {
        let bytes = std::fs::read(&path).map_err(|error| {
            LoadError::Model(format!("cannot read {}: {error}", path.display()))
        })?;
        hasher.update(&bytes);
        let value = rmpv::decode::read_value(&mut &bytes[..]).map_err(|error| {
            LoadError::Model(format!(
                "{} is not the msgpack file of a spaCy 3 model, or is damaged: {error}",
                path.display()
            ))
        })?;
        Ok(Self { path, value })
    }

    /// The value itself.
    pub(super) fn into_value(self) -> Value {
        self.value
    }

    /// The value.
    pub(super) fn root(&self) -> Packed<'_> {
        Packed { value: &self.value, path: &self.path }
    }
}

impl<'a> Packed<'a> {
    /// An error about this file.
    pub(super) fn error(&self, message: impl std::fmt::Display) -> LoadError {
        LoadError::Model(format!("{}: {message}", self.path.display()))
    }

    fn with(self, value: &'a Value) -> Self {
        Self { value, ..self }
    }

    /// A field of a map, by a name stored as string or as bytes.
    pub(super) fn find(self, name: &str) -> Option<Packed<'a>> {
        let Value::Map(entries) = self.value else { return None };
        entries
            .iter()
            .find(|(key, _)| match key {
                Value::String(key) => key.as_bytes() == name.as_bytes(),
                Value::Binary(key) => key == name.as_bytes(),
                _ => false,
            })
            .map(|(_, value)| self.with(value))
            .filter(|found| !found.value.is_nil())
    }

    /// As [`Self::find`], for a field that must be there.
    pub(super) fn field(self, name: &str) -> Result<Packed<'a>, LoadError> {
        self.find(name).ok_or_else(|| self.error(format!("no field `{name}`")))
    }

    /// The elements of a list.
    pub(super) fn list(self) -> Result<Vec<Packed<'a>>, LoadError> {
        match self.value {
            Value::Array(items) => Ok(items.iter().map(|item| self.with(item)).collect()),
            _ => Err(self.error("a list was expected")),
        }
    }

    /// The entries of a map.
    pub(super) fn entries(self) -> Result<Vec<(Packed<'a>, Packed<'a>)>, LoadError> {
        match self.value {
            Value::Map(entries) => {
                Ok(entries.iter().map(|(k, v)| (self.with(k), self.with(v))).collect())
            }
            _ => Err(self.error("a map was expected")),
        }
    }

    /// A string, stored as such or as bytes.
    pub(super) fn text(self) -> Result<&'a str, LoadError> {
        let text = match self.value {
            Value::String(text) => text.as_str(),
            Value::Binary(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        };
        text.ok_or_else(|| self.error("a string was expected"))
    }

    /// Bytes, or the bytes of a string.
    pub(super) fn bytes(self) -> Result<&'a [u8], LoadError> {
        match self.value {
            Value::Binary(bytes) => Ok(bytes),
            Value::String(text) => Ok(text.as_bytes()),
            _ => Err(self.error("bytes were expected")),
        }
    }

    /// A whole number that is not negative.
    pub(super) fn number(self) -> Result<u64, LoadError> {
        self.value.as_u64().ok_or_else(|| self.error("a whole number was expected"))
    }
}
