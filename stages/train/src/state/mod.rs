//! The state of training on disk, from which a killed run goes on with the same bits.
//!
//! A checkpoint is a folder `checkpoints/step-N` of the scratch folder: the trainable parameters
//! and the optimizer's state as safetensors, what was measured as JSON, and the hashes of both. It is
//! written under another name, flushed, and renamed. A damaged one is set aside, and the one before it
//! taken: the steps between are done again, with the same bits. The sampler and the noise need no state:
//! they are functions of the run's secret and the step.

mod folder;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use pft_artifact::hash_bytes;
use pft_dp::rounded_up;
use pft_lm::model::LanguageModel;
use pft_lm::optimizer::Optimizer;
use pft_lm::parameters::TensorData;
use pft_stage::{Context, Progress, StageError};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};

use crate::evaluate::Scores;

/// A line of the metrics: a step, or an evaluation after a step.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Steps done.
    pub step: u64,
    /// Mean loss of the step's units, before the update (nats).
    pub loss: f64,
    /// The learning rate.
    pub learning_rate: f64,
    /// Norm of the whole gradient; with privacy, the mean norm of the units' gradients.
    pub gradient_norm: f64,
    /// What the summed gradient was multiplied by.
    pub gradient_scale: f64,
    /// Units (with privacy) or examples of the step.
    pub units: u64,
    /// Their tokens.
    pub tokens: u64,
    /// Units whose gradient was not finite.
    pub not_finite: u64,
    /// How long the step took.
    pub seconds: f64,
    /// For an evaluation: scores on held-out examples and on training examples.
    pub scores: Option<[Scores; 2]>,
}

impl Row {
    pub(crate) fn step(step: u64) -> Self {
        Self { step, ..Self::default() }
    }

    pub(crate) fn evaluation(step: u64, held_out: Scores, seen: Scores) -> Self {
        Self { step, scores: Some([held_out, seen]), ..Self::default() }
    }

    /// Whether not one gradient of the step was a number: its model may have none left.
    pub(crate) fn may_have_diverged(&self) -> bool {
        let is_number = (self.loss + self.gradient_norm).is_finite();
        let some_left_out = self.not_finite > 0;
        self.units > 0 && if some_left_out { self.not_finite == self.units } else { !is_number }
    }

    /// What the progress bar says of a step; `spent` is ε so far, with privacy.
    pub(crate) fn message(&self, spent: Option<f64>) -> String {
        let rate = self.tokens as f64 / self.seconds.max(1e-9);
        let spent =
            spent.map(|epsilon| format!(", ε {} spent", rounded_up(epsilon))).unwrap_or_default();
        format!("loss {:.3}, {} in the batch, {rate:.0} tokens/s{spent}", self.loss, self.units)
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Header {
    optimizer_steps: u64,
    rows: Vec<Row>,
}

/// The folder of checkpoints, in the scratch folder.
pub(crate) const CHECKPOINTS: &str = "checkpoints";
/// A checkpoint's parameters and state of the optimizer.
const TENSORS: &str = "state.safetensors";
/// Its [`Header`].
const HEADER: &str = "state.json";

/// The checkpoints of a run.
#[derive(Debug)]
pub struct States {
    progress: Progress,
    /// What to do where no checkpoint can be gone on from.
    start_anew: String,
    folder: PathBuf,
    limit: usize,
    /// Hash of what makes the run this one.
    run: String,
}

impl States {
    /// Checkpoints below the scratch folder, at most `limit` of them. `inputs` are hashes of all that the
    /// run is made from, its settings among them.
    pub fn new(context: &Context, limit: u32, inputs: &BTreeMap<String, String>) -> Self {
        let lines: Vec<String> =
            inputs.iter().map(|(name, hash)| format!("{name} {hash}")).collect();
        Self {
            progress: context.progress().clone(),
            start_anew: context.start_anew(),
            folder: context.scratch().join(CHECKPOINTS),
            limit: limit.max(1) as usize,
            run: hash_bytes(lines.join("\n").as_bytes()),
        }
    }

    /// Writes a checkpoint and removes the oldest beyond the limit.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn save(
        &self,
        model: &LanguageModel,
        optimizer: &Optimizer,
        rows: &[Row],
    ) -> Result<(), StageError> {
        self.try_save(model, optimizer, rows).map_err(|error| {
            StageError::bug(format!(
                "cannot write a checkpoint below {}: {error}",
                self.folder.display()
            ))
            .because(&error)
            .with_help("free some disk space and run again; training goes on from the last one")
        })
    }

    fn try_save(
        &self,
        model: &LanguageModel,
        optimizer: &Optimizer,
        rows: &[Row],
    ) -> std::io::Result<()> {
        let parameters = model.parameters();
        let mut tensors: Vec<(String, Vec<u8>, usize)> = Vec::new();
        for (_, parameter) in parameters.trainable() {
            if let Some(values) = parameter.tensor.as_f32() {
                let name = format!("parameter/{}", parameter.spec.name);
                tensors.push((name, bytes(values), values.len()));
            }
        }
        for (name, values) in optimizer.state(parameters) {
            tensors.push((name, bytes(values), values.len()));
        }
        let views = tensors
            .iter()
            .map(|(name, data, len)| Ok((name, TensorView::new(Dtype::F32, vec![*len], data)?)))
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
            .map_err(std::io::Error::other)?;
        let data = safetensors::serialize(views, None).map_err(std::io::Error::other)?;
        let header = Header { optimizer_steps: optimizer.steps(), rows: rows.to_vec() };

        std::fs::create_dir_all(&self.folder)?;
        let partial = self.folder.join(".partial");
        if partial.exists() {
            std::fs::remove_dir_all(&partial)?;
        }
        std::fs::create_dir(&partial)?;
        let header = serde_json::to_vec(&header)?;
        folder::write(&partial, &self.run, &[(TENSORS, &data), (HEADER, &header)])?;
        let target = self.folder.join(folder_name(optimizer.steps()));
        if target.exists() {
            std::fs::remove_dir_all(&target)?;
        }
        std::fs::rename(&partial, &target)?;
        std::fs::File::open(&self.folder)?.sync_all()?;
        let saved = self.saved()?;
        for old in &saved[..saved.len().saturating_sub(self.limit)] {
            std::fs::remove_dir_all(old)?;
        }
        Ok(())
    }

    /// The checkpoints there are, oldest first.
    fn saved(&self) -> std::io::Result<Vec<PathBuf>> {
        let mut saved = Vec::new();
        match std::fs::read_dir(&self.folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            entries => {
                for entry in entries? {
                    let entry = entry?;
                    if entry.file_name().to_string_lossy().starts_with("step-") {
                        saved.push(entry.path());
                    }
                }
            }
        }
        saved.sort();
        Ok(saved)
    }

    /// Takes over the newest checkpoint that is as it was written, if there is one; returns its metrics.
    /// Damaged ones are set aside.
    ///
    /// # Errors
    /// When the folder cannot be read or written, or a checkpoint belongs to another model.
    pub fn resume(
        &self,
        model: &mut LanguageModel,
        optimizer: &mut Optimizer,
    ) -> Result<Vec<Row>, StageError> {
        let failed = |error: std::io::Error| {
            StageError::bug(format!("{}: {error}", self.folder.display()))
                .because(&error)
                .with_help(self.start_anew.clone())
        };
        for path in self.saved().map_err(failed)?.iter().rev() {
            match self.read(path) {
                Ok((header, data)) => return self.take(path, header, &data, model, optimizer),
                Err(reason) => self.set_aside(path, &reason).map_err(failed)?,
            }
        }
        Ok(Vec::new())
    }

    /// A checkpoint's header and tensors, or what is wrong with them.
    fn read(&self, path: &Path) -> Result<(Header, Vec<u8>), String> {
        let [data, header] = folder::read(path, &self.run, [TENSORS, HEADER])?;
        let header: Header =
            serde_json::from_slice(&header).map_err(|error| format!("{HEADER}: {error}"))?;
        if path.file_name() != Some(folder_name(header.optimizer_steps).as_ref()) {
            return Err(format!("it is that of step {}", header.optimizer_steps));
        }
        Ok((header, data))
    }

    /// Keeps a checkpoint that cannot be gone on from where nobody takes it for one.
    fn set_aside(&self, path: &Path, reason: &str) -> std::io::Result<()> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let target = self.folder.join(format!("damaged-{name}"));
        if target.exists() {
            std::fs::remove_dir_all(&target)?;
        }
        std::fs::rename(path, &target)?;
        self.progress.note(format!(
            "warning: checkpoint {name} cannot be used: {reason}; it is set aside in {}, and training \
             goes on from the one before it, or from the start",
            target.display()
        ));
        Ok(())
    }

    fn take(
        &self,
        path: &Path,
        header: Header,
        data: &[u8],
        model: &mut LanguageModel,
        optimizer: &mut Optimizer,
    ) -> Result<Vec<Row>, StageError> {
        let foreign = |error: &dyn std::fmt::Display| {
            StageError::bug(format!("checkpoint {}: {error}", path.display()))
                .with_help(self.start_anew.clone())
        };
        let tensors = SafeTensors::deserialize(data).map_err(|error| foreign(&error))?;
        let find = |name: &str| -> Option<Vec<f32>> {
            let tensor = tensors.tensor(name).ok()?;
            let chunks = tensor.data().as_chunks::<4>().0;
            Some(chunks.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
        };
        for (_, parameter) in model.parameters_mut().iter_mut() {
            if !parameter.trainable {
                continue;
            }
            let name = &parameter.spec.name;
            let found = find(&format!("parameter/{name}"))
                .filter(|values| values.len() == parameter.spec.len())
                .ok_or_else(|| foreign(&format!("it lacks parameter {name}")))?;
            parameter.tensor.data = TensorData::F32(found);
        }
        optimizer
            .load_state(model.parameters(), header.optimizer_steps, find)
            .map_err(|error| foreign(&error))?;
        Ok(header.rows)
    }
}

fn folder_name(steps: u64) -> String {
    format!("step-{steps:09}")
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Writes a file that only its owner can read, and flushes it.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}
