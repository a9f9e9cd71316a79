//! Weights of a checkpoint folder: safetensors, sharded or not, as `f32`.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};

use crate::LoadError;
use crate::weights::Weights;

/// The safetensors files of a folder, mapped into memory.
pub(super) struct Checkpoint {
    files: Vec<(PathBuf, Mmap)>,
    /// Which file holds a tensor.
    file_of: HashMap<String, usize>,
}

impl Checkpoint {
    /// Opens `model.safetensors`, or the shards that `model.safetensors.index.json` lists.
    pub(super) fn open(dir: &Path) -> Result<Self, LoadError> {
        let mut files = Vec::new();
        let mut file_of = HashMap::new();
        for path in weight_files(dir)? {
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

    /// Feeds the contents of all files to a hash.
    pub(super) fn hash(&self, hasher: &mut blake3::Hasher) {
        for (_, map) in &self.files {
            hasher.update(map);
        }
    }
}

impl Weights for Checkpoint {
    fn has(&self, name: &str) -> bool {
        self.file_of.contains_key(name)
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, LoadError> {
        let Some(&index) = self.file_of.get(name) else {
            return Err(LoadError::Model(format!(
                "{} has no tensor `{name}`; is it the checkpoint that its config.json describes, \
                 with a token-classification head?",
                self.files.first().map_or(String::new(), |(path, _)| path.display().to_string())
            )));
        };
        let (path, map) = &self.files[index];
        let tensors = SafeTensors::deserialize(map).map_err(|error| broken(path, &error))?;
        let view = tensors.tensor(name).map_err(|error| broken(path, &error))?;
        if view.shape() != shape {
            return Err(LoadError::Model(format!(
                "{}: tensor `{name}` has shape {:?}, but config.json asks for {shape:?}",
                path.display(),
                view.shape()
            )));
        }
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

fn elements<const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    bytes.as_chunks::<N>().0.iter().map(|&chunk| read(chunk)).collect()
}

fn broken(path: &Path, error: &dyn std::fmt::Display) -> LoadError {
    LoadError::Model(format!(
        "{} cannot be read as safetensors: {error}; the file is damaged or was not downloaded \
         completely",
        path.display()
    ))
}

fn weight_files(dir: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let single = dir.join("model.safetensors");
    if single.is_file() {
        return Ok(vec![single]);
    }
    let index = dir.join("model.safetensors.index.json");
    if index.is_file() {
        let text = std::fs::read_to_string(&index).map_err(|error| broken(&index, &error))?;
        let json: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| broken(&index, &error))?;
        let mut names: Vec<&str> = json["weight_map"]
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(_, file)| file.as_str())
            .filter(|name| !name.contains(['/', '\\']))
            .collect();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() {
            return Err(broken(&index, &"its `weight_map` names no file of this folder"));
        }
        return Ok(names.into_iter().map(|name| dir.join(name)).collect());
    }
    let pickle = dir.join("pytorch_model.bin");
    let message = if pickle.is_file() {
        format!(
            "{} holds only pytorch_model.bin, a pickle, which could run code and is never opened; \
             save the model again with safe_serialization=True",
            dir.display()
        )
    } else {
        format!("{} holds no model.safetensors", dir.display())
    };
    Err(LoadError::Model(message))
}
