//! Weights in safetensors files, mapped into memory.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use memmap2::Mmap;
use pft_pii::LoadError;
use safetensors::{Dtype, SafeTensors};

use super::{Checkpoint, check_shape, elements, missing};
use crate::weights::Weights;

/// `model.safetensors`, or its shards.
pub(super) struct SafetensorsFiles {
    files: Vec<(PathBuf, Mmap)>,
    /// Which file holds a tensor.
    file_of: HashMap<String, usize>,
}

impl SafetensorsFiles {
    pub(super) fn open(paths: Vec<PathBuf>) -> Result<Self, LoadError> {
        let mut files = Vec::new();
        let mut file_of = HashMap::new();
        for path in paths {
            let file = File::open(&path).map_err(|error| broken(&path, &error))?;
            // SAFETY: the file is only read; changing it meanwhile is the caller's mistake, as
            // with every mapped file.
            let map = unsafe { Mmap::map(&file) }.map_err(|error| broken(&path, &error))?;
            let tensors = SafeTensors::deserialize(&map).map_err(|error| broken(&path, &error))?;
            for name in tensors.names() {
                file_of.insert(name.to_owned(), files.len());
            }
            files.push((path, map));
        }
        Ok(Self { files, file_of })
    }
}

impl Checkpoint for SafetensorsFiles {
    fn hash(&self, hasher: &mut blake3::Hasher) {
        for (_, map) in &self.files {
            hasher.update(map);
        }
    }
}

impl Weights for SafetensorsFiles {
    fn has(&self, name: &str) -> bool {
        self.file_of.contains_key(name)
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, LoadError> {
        let Some(&index) = self.file_of.get(name) else {
            return Err(missing(self.files.first().map(|(path, _)| path), name));
        };
        let (path, map) = &self.files[index];
        let tensors = SafeTensors::deserialize(map).map_err(|error| broken(path, &error))?;
        let view = tensors.tensor(name).map_err(|error| broken(path, &error))?;
        check_shape(path, name, view.shape(), shape)?;
        let bytes = view.data();
        match view.dtype() {
            Dtype::F32 => Ok(elements(bytes, f32::from_le_bytes)),
            Dtype::F16 => Ok(elements(bytes, |pair| f16::from_le_bytes(pair).to_f32())),
            Dtype::BF16 => Ok(elements(bytes, |pair| bf16::from_le_bytes(pair).to_f32())),
            other => Err(LoadError::Model(format!(
                "{}: tensor `{name}` is of type {other:?}; F32, F16 and BF16 are read",
                path.display()
            ))),
        }
    }
}

fn broken(path: &Path, error: &dyn std::fmt::Display) -> LoadError {
    LoadError::Model(format!(
        "{} cannot be read as safetensors: {error}; the file is damaged or was not downloaded \
         completely",
        path.display()
    ))
}
