//! Writing safetensors as transformers does.

use std::io::Write;
use std::path::Path;

use half::{bf16, f16};
use rayon::prelude::*;
use serde_json::{Map, Value, json};

use super::{CheckpointError, Notes};
use crate::config::ModelConfig;
use crate::parameters::{Parameters, Tensor, TensorData};

/// What weights are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SavedType {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// bfloat16.
    Bf16,
}

impl SavedType {
    /// `torch_dtype` in `config.json`.
    pub fn torch_dtype(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::Bf16 => "bfloat16",
        }
    }

    fn safetensors_dtype(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
        }
    }

    fn bytes(self) -> usize {
        if self == Self::F32 { 4 } else { 2 }
    }
}

/// A tensor's numbers as they are saved.
fn converted(tensor: &Tensor, saved: SavedType) -> Vec<u8> {
    match (&tensor.data, saved) {
        (TensorData::F32(values), SavedType::F32) => bytes(values, |v| v.to_le_bytes()),
        (TensorData::F32(values), SavedType::F16) => {
            bytes(values, |v| f16::from_f32(*v).to_le_bytes())
        }
        (TensorData::F32(values), SavedType::Bf16) => {
            bytes(values, |v| bf16::from_f32(*v).to_le_bytes())
        }
        (TensorData::Bf16(values), SavedType::F32) => bytes(values, |v| v.to_f32().to_le_bytes()),
        (TensorData::Bf16(values), SavedType::F16) => {
            bytes(values, |v| f16::from_f32(v.to_f32()).to_le_bytes())
        }
        (TensorData::Bf16(values), SavedType::Bf16) => bytes(values, |v| v.to_le_bytes()),
    }
}

fn bytes<T: Sync, const N: usize>(values: &[T], one: impl Fn(&T) -> [u8; N] + Sync) -> Vec<u8> {
    let mut out = vec![0; values.len() * N];
    let (chunks, _) = out.as_chunks_mut::<N>();
    chunks.par_iter_mut().with_min_len(1 << 16).zip(values).for_each(|(chunk, value)| {
        *chunk = one(value);
    });
    out
}

/// Writes tensors as one safetensors file, one in memory at a time. The header is in a fixed order,
/// metadata by key and tensors by name, so that the same tensors and notes have the same bytes: the
/// `safetensors` crate (0.8) writes metadata in the order of a hash map.
pub(crate) fn save_tensors<'a>(
    path: &Path,
    tensors: impl Iterator<Item = (&'a str, &'a Tensor)>,
    saved: SavedType,
    notes: &Notes,
) -> Result<(), CheckpointError> {
    let mut tensors: Vec<(&str, &Tensor)> = tensors.collect();
    tensors.sort_by_key(|(name, _)| *name);
    let write = || -> std::io::Result<()> {
        let mut file = std::fs::File::create(path)?;
        let header = header(&tensors, saved, notes);
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        tensors.iter().try_for_each(|(_, tensor)| file.write_all(&converted(tensor, saved)))
    };
    write().map_err(CheckpointError::io(path, "write"))
}

/// The header in JSON, with spaces to a multiple of 8 bytes, so that numbers are aligned.
fn header(tensors: &[(&str, &Tensor)], saved: SavedType, notes: &Notes) -> Vec<u8> {
    // transformers reads no file that does not say which framework's tensors it holds.
    let mut metadata = Map::from_iter([("format".to_owned(), json!("pt"))]);
    metadata.extend(notes.iter().map(|(key, text)| (key.clone(), json!(text))));
    let mut offset = 0;
    let mut header = format!("{{\"__metadata__\":{}", Value::Object(metadata));
    for (name, tensor) in tensors {
        let end = offset + tensor.len() * saved.bytes();
        let info = json!({
            "dtype": saved.safetensors_dtype(),
            "shape": tensor.shape,
            "data_offsets": [offset, end],
        });
        header += &format!(",{}:{info}", json!(name));
        offset = end;
    }
    header.push('}');
    let aligned = header.len().next_multiple_of(8);
    header.push_str(&" ".repeat(aligned - header.len()));
    header.into_bytes()
}

/// Writes `config.json` and `model.safetensors` into an existing folder. Adapters among the
/// parameters are not written: merge them first.
///
/// # Errors
/// When the disk refuses.
pub fn save_model(
    folder: &Path,
    config: &ModelConfig,
    parameters: &Parameters,
    saved: SavedType,
) -> Result<(), CheckpointError> {
    save_model_with_notes(folder, config, parameters, saved, &Notes::new())
}

/// As [`save_model`], with notes in the weights file.
///
/// # Errors
/// When the disk refuses.
pub fn save_model_with_notes(
    folder: &Path,
    config: &ModelConfig,
    parameters: &Parameters,
    saved: SavedType,
    notes: &Notes,
) -> Result<(), CheckpointError> {
    let mut config = config.clone();
    // The newer name of the same key, by which a base's type would win over what is saved here.
    config.other.remove("dtype");
    config.other.insert("torch_dtype".to_owned(), saved.torch_dtype().into());
    let path = folder.join("config.json");
    std::fs::write(&path, config.to_json()).map_err(CheckpointError::io(&path, "write"))?;
    let names: std::collections::BTreeSet<String> =
        crate::parameters::parameter_specs(&config).into_iter().map(|spec| spec.name).collect();
    let tensors = parameters
        .iter()
        .map(|(_, parameter)| (parameter.spec.name.as_str(), &parameter.tensor))
        .filter(|(name, _)| names.contains(*name));
    save_tensors(&folder.join("model.safetensors"), tensors, saved, notes)
}
