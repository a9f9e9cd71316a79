//! Writing safetensors as transformers does.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use half::{bf16, f16};
use rayon::prelude::*;
use safetensors::{Dtype, View};

use super::CheckpointError;
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
}

/// A tensor that is converted when its turn comes to be written.
struct Written<'a>(&'a Tensor, SavedType);

impl View for Written<'_> {
    fn dtype(&self) -> Dtype {
        match self.1 {
            SavedType::F32 => Dtype::F32,
            SavedType::F16 => Dtype::F16,
            SavedType::Bf16 => Dtype::BF16,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.0.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(match (&self.0.data, self.1) {
            (TensorData::F32(values), SavedType::F32) => bytes(values, |v| v.to_le_bytes()),
            (TensorData::F32(values), SavedType::F16) => {
                bytes(values, |v| f16::from_f32(*v).to_le_bytes())
            }
            (TensorData::F32(values), SavedType::Bf16) => {
                bytes(values, |v| bf16::from_f32(*v).to_le_bytes())
            }
            (TensorData::Bf16(values), SavedType::F32) => {
                bytes(values, |v| v.to_f32().to_le_bytes())
            }
            (TensorData::Bf16(values), SavedType::F16) => {
                bytes(values, |v| f16::from_f32(v.to_f32()).to_le_bytes())
            }
            (TensorData::Bf16(values), SavedType::Bf16) => bytes(values, |v| v.to_le_bytes()),
        })
    }

    fn data_len(&self) -> usize {
        self.0.len() * if self.1 == SavedType::F32 { 4 } else { 2 }
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

/// Writes tensors as one safetensors file.
pub(crate) fn save_tensors<'a>(
    path: &Path,
    tensors: impl Iterator<Item = (&'a str, &'a Tensor)>,
    saved: SavedType,
) -> Result<(), CheckpointError> {
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let views = tensors.map(|(name, tensor)| (name, Written(tensor, saved)));
    safetensors::serialize_to_file(views, Some(metadata), path).map_err(|error| {
        let source = match error {
            safetensors::SafeTensorError::IoError(source) => source,
            other => std::io::Error::other(other.to_string()),
        };
        CheckpointError::Io { path: path.to_path_buf(), action: "write", source }
    })
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
    save_tensors(&folder.join("model.safetensors"), tensors, saved)
}
