//! Writing safetensors as transformers does.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use half::{bf16, f16};
use rayon::prelude::*;
use serde_json::{Map, Value, json};

use super::digest::{DIGEST_KEY, UNKNOWN_DIGEST, stamp};
use super::{CheckpointError, Notes};
use crate::config::ModelConfig;
use crate::parameters::{Parameters, Tensor, TensorData};

/// Fields of a base's config that are not true of what is saved: its types under the newer name, by
/// which they would win, how it was quantized, and programs that lie beside it.
const STALE: [&str; 3] = ["dtype", "quantization_config", "auto_map"];

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

    /// The type's name in safetensors.
    fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
        }
    }

    fn size(self) -> usize {
        if self == Self::F32 { 4 } else { 2 }
    }
}

/// A tensor's values as they lie in a file.
fn encoded(tensor: &Tensor, saved: SavedType) -> Vec<u8> {
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
        (TensorData::Blocks(blocks), saved) => {
            let data = TensorData::F32(blocks.to_f32());
            encoded(&Tensor { shape: tensor.shape.clone(), data }, saved)
        }
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

/// Writes tensors as one safetensors file, by name, with `format: pt`, a hash of them and further
/// `metadata`. Each is converted when its turn comes. The crate safetensors writes entries of metadata in an order that
/// changes from call to call, and files that their owner alone may read; here the same tensors give
/// the same bytes, and umask says who reads them.
pub(crate) fn save_tensors<'a>(
    path: &Path,
    tensors: impl Iterator<Item = (&'a str, &'a Tensor)>,
    saved: SavedType,
    metadata: &BTreeMap<String, String>,
) -> Result<(), CheckpointError> {
    let tensors: BTreeMap<&str, &Tensor> = tensors.collect();
    let mut entries = metadata.clone();
    entries.insert("format".to_owned(), "pt".to_owned());
    // What is said of weights is said of these alone.
    entries.insert(DIGEST_KEY.to_owned(), UNKNOWN_DIGEST.to_owned());
    let mut header = Map::from_iter([("__metadata__".to_owned(), json!(entries))]);
    let mut end = 0;
    for (name, tensor) in &tensors {
        let start = end;
        end += tensor.len() * saved.size();
        let entry = json!({
            "dtype": saved.name(), "shape": tensor.shape, "data_offsets": [start, end],
        });
        header.insert((*name).to_owned(), entry);
    }
    let mut header = Value::Object(header).to_string();
    // The tensors begin where any number may lie.
    header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));
    let write = || -> std::io::Result<()> {
        let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(header.as_bytes())?;
        for tensor in tensors.values() {
            file.write_all(&encoded(tensor, saved))?;
        }
        file.flush()
    };
    write().map_err(CheckpointError::io(path, "write"))?;
    stamp(path)
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
    config.other.retain(|field, _| !STALE.contains(&field.as_str()));
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
