//! Weights of a checkpoint folder as `f32`, in whichever of its forms the folder has them.

mod onnx;
mod pytorch;
mod safetensors;

use std::path::{Path, PathBuf};

use pft_pii::LoadError;

use crate::weights::Weights;

/// The files of a folder that hold its weights.
pub(super) trait Checkpoint: Weights {
    /// Feeds the contents of all files to a hash.
    fn hash(&self, hasher: &mut blake3::Hasher);
}

/// Opens the weights in `dir`: safetensors where there are any, else PyTorch's, else ONNX's.
///
/// # Errors
/// When there are none, or the first of them cannot be read.
pub(super) fn open(dir: &Path) -> Result<Box<dyn Checkpoint>, LoadError> {
    if let Some(files) = shards(dir, "model.safetensors")? {
        return Ok(Box::new(safetensors::SafetensorsFiles::open(files)?));
    }
    if let Some(files) = shards(dir, "pytorch_model.bin")? {
        return Ok(Box::new(pytorch::PytorchFiles::open(&files)?));
    }
    let onnx = ["model.onnx", "onnx/model.onnx"].map(|name| dir.join(name));
    if let Some(path) = onnx.iter().find(|path| path.is_file()) {
        return Ok(Box::new(onnx::OnnxFile::open(path)?));
    }
    Err(LoadError::Model(format!(
        "{} holds no weights: none of model.safetensors, pytorch_model.bin (or what their \
         .index.json lists), model.onnx and onnx/model.onnx is there",
        dir.display()
    )))
}

/// `dir/name`, or the shards that `dir/name.index.json` lists; `None` where there is neither.
fn shards(dir: &Path, name: &str) -> Result<Option<Vec<PathBuf>>, LoadError> {
    let single = dir.join(name);
    if single.is_file() {
        return Ok(Some(vec![single]));
    }
    let index = dir.join(format!("{name}.index.json"));
    if !index.is_file() {
        return Ok(None);
    }
    let wrong = |what: &dyn std::fmt::Display| {
        LoadError::Model(format!("{} cannot be read: {what}", index.display()))
    };
    let text = std::fs::read_to_string(&index).map_err(|error| wrong(&error))?;
    let json: serde_json::Value = serde_json::from_str(&text).map_err(|error| wrong(&error))?;
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
        return Err(wrong(&"its `weight_map` names no file of this folder"));
    }
    Ok(Some(names.into_iter().map(|name| dir.join(name)).collect()))
}

/// What is wrong when a file has no tensor of a name.
fn missing(path: Option<&PathBuf>, name: &str) -> LoadError {
    LoadError::Model(format!(
        "{} has no tensor `{name}`; is it the checkpoint that its config.json describes, with a \
         token-classification head?",
        path.map_or(String::new(), |path| path.display().to_string())
    ))
}

/// Refuses a tensor of another shape than the config asks for.
fn check_shape(path: &Path, name: &str, found: &[usize], asked: &[usize]) -> Result<(), LoadError> {
    if found == asked {
        return Ok(());
    }
    Err(LoadError::Model(format!(
        "{}: tensor `{name}` has shape {found:?}, but config.json asks for {asked:?}",
        path.display()
    )))
}

/// Little-endian numbers of `N` bytes as `f32`.
fn elements<const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    bytes.as_chunks::<N>().0.iter().map(|&chunk| read(chunk)).collect()
}
