//! Weights in `pytorch_model.bin`, read without running what is pickled there.

use std::collections::HashMap;
use std::path::PathBuf;

use pft_pii::LoadError;

use super::{Checkpoint, check_shape, missing};
use crate::pickle::torch::Archive;
use crate::weights::Weights;

/// `pytorch_model.bin`, or its shards.
pub(super) struct PytorchFiles {
    files: Vec<(PathBuf, Archive)>,
    /// Which file holds a tensor.
    file_of: HashMap<String, usize>,
}

impl PytorchFiles {
    pub(super) fn open(paths: &[PathBuf]) -> Result<Self, LoadError> {
        let mut files = Vec::new();
        let mut file_of = HashMap::new();
        for path in paths {
            let archive = Archive::open(path)?;
            let pickle = archive.pickle()?;
            let entries = pickle.root().entries().ok_or_else(|| {
                archive.error("it is no dictionary of tensors, as save_pretrained writes one")
            })?;
            let names = entries.filter_map(|(name, _)| name.as_str().map(str::to_owned));
            file_of.extend(names.map(|name| (name, files.len())));
            drop(pickle);
            files.push((path.clone(), archive));
        }
        Ok(Self { files, file_of })
    }
}

impl Checkpoint for PytorchFiles {
    fn hash(&self, hasher: &mut blake3::Hasher) {
        for (_, archive) in &self.files {
            archive.hash(hasher);
        }
    }
}

impl Weights for PytorchFiles {
    fn has(&self, name: &str) -> bool {
        self.file_of.contains_key(name)
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, LoadError> {
        let absent = || missing(self.files.first().map(|(path, _)| path), name);
        let (path, archive) = &self.files[*self.file_of.get(name).ok_or_else(absent)?];
        // Parsed anew for each tensor, as the pickle borrows the file: it is a small part of it.
        let pickle = archive.pickle()?;
        let tensor = archive.tensor(pickle.root().get(name).ok_or_else(absent)?)?;
        check_shape(path, name, &tensor.shape, shape)?;
        Ok(tensor.values)
    }
}
