//! Compares the tensors of the files that were written with the trained model's own, by name, type,
//! shape and every value. The files are read with the crate safetensors and nothing of pft's: a reader
//! that leaves a tensor out, or takes it for another, would not see what its writer did wrong.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use half::{bf16, f16};
use memmap2::Mmap;
use pft_lm::checkpoint::SavedType;
use pft_lm::parameters::Tensor;
use pft_stage::StageError;
use safetensors::{Dtype, SafeTensors};

use crate::trained::read_json;

/// Fails unless the file at `path` holds `tensors` and no other, each value rounded to `saved`.
///
/// # Errors
/// Names the first tensor that is missing, is too much, or is not the trained one; or that a narrow
/// type cannot hold.
pub(crate) fn check<'a>(
    path: &Path,
    tensors: impl Iterator<Item = (&'a str, &'a Tensor)>,
    saved: SavedType,
) -> Result<(), StageError> {
    let wrong =
        |problem: String| StageError::bug(format!("{}, read back: {problem}", path.display()));
    let file = File::open(path).map_err(|error| wrong(error.to_string()))?;
    // SAFETY: the map is only read, and the stage alone writes into its output.
    let map = unsafe { Mmap::map(&file) }.map_err(|error| wrong(error.to_string()))?;
    let written = SafeTensors::deserialize(&map).map_err(|error| wrong(error.to_string()))?;
    let mut expected: BTreeMap<&str, &Tensor> = tensors.collect();
    for (name, view) in written.iter() {
        let Some(tensor) = expected.remove(name) else {
            return Err(wrong(format!("holds `{name}`, which the trained model does not have")));
        };
        if view.dtype() != dtype(saved) || view.shape() != tensor.shape {
            return Err(wrong(format!(
                "`{name}` is {:?} of shape {:?}, not {:?} of shape {:?}",
                view.dtype(),
                view.shape(),
                dtype(saved),
                tensor.shape
            )));
        }
        let values = tensor.to_f32();
        if !same(view.data(), &values, saved) {
            return Err(wrong(format!("`{name}` holds other values than the trained model's")));
        }
        if values.iter().any(|value| value.is_finite() && !fits(*value, saved)) {
            return Err(StageError::config(format!(
                "dtype: {} cannot hold the values of `{name}`",
                saved.torch_dtype()
            ))
            .with_help("bfloat16 takes as little room and has the range of float32"));
        }
    }
    match expected.keys().next() {
        Some(name) => Err(wrong(format!("lacks `{name}`"))),
        None => Ok(()),
    }
}

/// Fails unless the `config.json` beside a model says its type, and of the head what the file holds.
///
/// # Errors
/// Names the field.
pub(crate) fn check_config(
    folder: &Path,
    has_head: bool,
    saved: SavedType,
) -> Result<(), StageError> {
    let path = folder.join("config.json");
    let config = read_json(&path)?;
    for (field, right) in [
        ("tie_word_embeddings", config["tie_word_embeddings"] == !has_head),
        ("torch_dtype", config["torch_dtype"] == saved.torch_dtype()),
        ("quantization_config", config["quantization_config"].is_null()),
    ] {
        if !right {
            let (path, value) = (path.display(), &config[field]);
            return Err(StageError::bug(format!("{path}: `{field}` is {value}")));
        }
    }
    Ok(())
}

fn dtype(saved: SavedType) -> Dtype {
    match saved {
        SavedType::F32 => Dtype::F32,
        SavedType::F16 => Dtype::F16,
        SavedType::Bf16 => Dtype::BF16,
    }
}

fn same(bytes: &[u8], values: &[f32], saved: SavedType) -> bool {
    let narrow = bytes.as_chunks::<2>().0;
    match saved {
        SavedType::F32 => {
            let wide = bytes.as_chunks::<4>().0;
            wide.len() == values.len()
                && wide.iter().zip(values).all(|(bytes, value)| *bytes == value.to_le_bytes())
        }
        SavedType::F16 => {
            narrow.len() == values.len()
                && narrow
                    .iter()
                    .zip(values)
                    .all(|(bytes, value)| *bytes == f16::from_f32(*value).to_le_bytes())
        }
        SavedType::Bf16 => {
            narrow.len() == values.len()
                && narrow
                    .iter()
                    .zip(values)
                    .all(|(bytes, value)| *bytes == bf16::from_f32(*value).to_le_bytes())
        }
    }
}

fn fits(value: f32, saved: SavedType) -> bool {
    match saved {
        SavedType::F32 => true,
        SavedType::F16 => f16::from_f32(value).is_finite(),
        SavedType::Bf16 => bf16::from_f32(value).is_finite(),
    }
}
