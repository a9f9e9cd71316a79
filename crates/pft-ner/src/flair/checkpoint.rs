//! A Flair model file: its parameters by name, and its settings.

use std::collections::HashMap;

use pft_pii::LoadError;

use crate::pickle::torch::{Archive, Tensor};
use crate::pickle::{Pickle, Value};
use crate::weights::Weights;

/// A model file that has been read.
pub(super) struct Checkpoint<'p, 'd> {
    archive: &'p Archive,
    root: Value<'p, 'd>,
    parameters: HashMap<&'d str, Value<'p, 'd>>,
}

impl<'p, 'd> Checkpoint<'p, 'd> {
    /// Takes the parts of a SequenceTagger.
    pub(super) fn new(archive: &'p Archive, pickle: &'p Pickle<'d>) -> Result<Self, LoadError> {
        let root = pickle.root();
        let parameters: HashMap<&str, Value<'p, 'd>> = root
            .get("state_dict")
            .and_then(Value::entries)
            .into_iter()
            .flatten()
            .filter_map(|(name, value)| Some((name.as_str()?, value)))
            .collect();
        if parameters.is_empty() || root.get("tag_dictionary").is_none() {
            return Err(archive.error("it is no SequenceTagger of Flair"));
        }
        Ok(Self { archive, root, parameters })
    }

    /// A setting of the whole.
    pub(super) fn get(&self, name: &str) -> Option<Value<'p, 'd>> {
        self.root.get(name).filter(|value| !value.is_none())
    }

    /// A setting that is true or false.
    pub(super) fn flag(&self, name: &str, default: bool) -> bool {
        self.get(name).and_then(Value::as_bool).unwrap_or(default)
    }

    /// An error about this file.
    pub(super) fn error(&self, what: &str) -> LoadError {
        self.archive.error(what)
    }

    /// A parameter of any shape.
    pub(super) fn read(&self, name: &str) -> Result<Tensor, LoadError> {
        self.archive.tensor(self.parameter(name)?)
    }

    fn parameter(&self, name: &str) -> Result<Value<'p, 'd>, LoadError> {
        self.parameters
            .get(name)
            .copied()
            .ok_or_else(|| self.error(&format!("it has no parameter `{name}`")))
    }
}

impl Weights for Checkpoint<'_, '_> {
    fn has(&self, name: &str) -> bool {
        self.parameters.contains_key(name)
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, LoadError> {
        let tensor = self.read(name)?;
        if tensor.shape != shape {
            return Err(self.error(&format!(
                "parameter `{name}` has shape {:?}, but its settings ask for {shape:?}",
                tensor.shape
            )));
        }
        Ok(tensor.values)
    }
}

/// A setting of an embedding, be it a dictionary of parameters, as Flair writes it now, or an
/// object, as it did before version 0.12.
pub(super) fn setting<'p, 'd>(embedding: Value<'p, 'd>, name: &str) -> Option<Value<'p, 'd>> {
    embedding
        .get(name)
        .or_else(|| embedding.get("_modules")?.get(name))
        .filter(|value| !value.is_none())
}

/// The class of an embedding.
pub(super) fn class<'d>(embedding: Value<'_, 'd>) -> &'d str {
    let named = embedding.get("__cls__").and_then(Value::as_str);
    named.or_else(|| Some(embedding.call()?.1)).unwrap_or("of an unknown class")
}
