//! A few held-out sequences that travel with a model, with the loss that training found on them:
//! whoever loads the model can tell whether it is still the one that was trained.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::CheckpointError;
use crate::batch::{Batch, BatchError};
use crate::model::LanguageModel;

const FILE: &str = "evaluation_probe.safetensors";
const MEAN_NLL: &str = "mean_nll";

/// Held-out sequences and the loss on them.
///
/// On disk `evaluation_probe.safetensors` holds `input_ids` (i64) and `loss_weights` (f32), both
/// `[rows, longest]` and padded with 0, and `mean_nll` in its metadata. The text is private as
/// the data it comes from: the file stays with the model and out of what is released.
#[derive(Debug, Clone, PartialEq)]
pub struct EvaluationProbe {
    /// Token ids of each sequence.
    pub sequences: Vec<Vec<u32>>,
    /// Mean negative log-likelihood (nats) over all tokens but the first of each sequence.
    pub mean_nll: f64,
}

impl EvaluationProbe {
    /// Runs `model` over `sequences` (each of at least two tokens) and keeps the result.
    ///
    /// # Errors
    /// When the sequences do not fit the model.
    pub fn measure(
        model: &mut LanguageModel,
        sequences: Vec<Vec<u32>>,
    ) -> Result<Self, BatchError> {
        let mut probe = Self { sequences, mean_nll: 0.0 };
        probe.mean_nll = probe.mean_nll_of(model)?;
        Ok(probe)
    }

    /// The mean negative log-likelihood that `model` gives the sequences.
    ///
    /// # Errors
    /// When the sequences do not fit the model.
    pub fn mean_nll_of(&self, model: &mut LanguageModel) -> Result<f64, BatchError> {
        let (mut sum, mut count) = (0.0, 0usize);
        for sequence in &self.sequences {
            let losses = model.evaluate(&Batch::new(&[sequence])?)?;
            sum += losses.per_token.iter().map(|&loss| f64::from(loss)).sum::<f64>();
            count += sequence.len() - 1;
        }
        Ok(sum / count.max(1) as f64)
    }

    /// Writes the probe into a model's folder.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn save(&self, folder: &Path) -> Result<(), CheckpointError> {
        let path = folder.join(FILE);
        let longest = self.sequences.iter().map(Vec::len).max().unwrap_or(0);
        let shape = vec![self.sequences.len(), longest];
        let mut ids = Vec::with_capacity(8 * shape[0] * longest);
        let mut weights = Vec::with_capacity(4 * shape[0] * longest);
        for sequence in &self.sequences {
            for at in 0..longest {
                let id = sequence.get(at).copied().unwrap_or(0);
                let weight = if at > 0 && at < sequence.len() { 1.0f32 } else { 0.0 };
                ids.extend(i64::from(id).to_le_bytes());
                weights.extend(weight.to_le_bytes());
            }
        }
        let write = || -> Result<(), safetensors::SafeTensorError> {
            let views = [
                ("input_ids", TensorView::new(Dtype::I64, shape.clone(), &ids)?),
                ("loss_weights", TensorView::new(Dtype::F32, shape.clone(), &weights)?),
            ];
            let metadata = HashMap::from([(MEAN_NLL.to_owned(), self.mean_nll.to_string())]);
            safetensors::serialize_to_file(views, Some(metadata), &path)
        };
        write().map_err(|error| CheckpointError::io(&path, "write")(std::io::Error::other(error)))
    }

    /// Reads the probe of a model's folder, if it has one.
    ///
    /// # Errors
    /// When the file is damaged.
    pub fn load(folder: &Path) -> Result<Option<Self>, CheckpointError> {
        let path = folder.join(FILE);
        let bytes = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(CheckpointError::io(&path, "read"))?,
        };
        let damaged = || CheckpointError::unusable(&path, "not a whole evaluation probe");
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|_| damaged())?;
        let mean_nll = header
            .metadata()
            .as_ref()
            .and_then(|metadata| metadata.get(MEAN_NLL)?.parse().ok())
            .ok_or_else(damaged)?;
        let file = SafeTensors::deserialize(&bytes).map_err(|_| damaged())?;
        let ids = file.tensor("input_ids").map_err(|_| damaged())?;
        let weights = file.tensor("loss_weights").map_err(|_| damaged())?;
        let sound = ids.dtype() == Dtype::I64
            && weights.dtype() == Dtype::F32
            && ids.shape() == weights.shape()
            && ids.shape().len() == 2;
        if !sound {
            return Err(damaged());
        }
        let longest = ids.shape()[1].max(1);
        let ids = ids.data().as_chunks::<8>().0.chunks(longest);
        let weights = weights.data().as_chunks::<4>().0.chunks(longest);
        let sequences = ids
            .zip(weights)
            .map(|(ids, weights)| {
                let last = weights.iter().rposition(|weight| f32::from_le_bytes(*weight) > 0.0);
                ids[..=last.ok_or_else(damaged)?]
                    .iter()
                    .map(|id| u32::try_from(i64::from_le_bytes(*id)).map_err(|_| damaged()))
                    .collect()
            })
            .collect::<Result<_, _>>()?;
        Ok(Some(Self { sequences, mean_nll }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_survives_a_round_trip_and_damage_is_told() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(EvaluationProbe::load(folder.path()).unwrap(), None);
        let probe = EvaluationProbe {
            sequences: vec![vec![5, 6, 7, 0], vec![0, 0]],
            mean_nll: 2.0f64.ln() + 1e-13,
        };
        probe.save(folder.path()).unwrap();
        assert_eq!(EvaluationProbe::load(folder.path()).unwrap(), Some(probe));
        let path = folder.path().join(FILE);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert!(EvaluationProbe::load(folder.path()).is_err());
    }
}
