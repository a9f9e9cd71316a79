//! Weights on disk: Hugging Face folders, GGUF files and PEFT adapters.
//!
//! [`Checkpoint::open`] looks at a path and reads the config; [`Checkpoint::parameters`] reads the
//! tensors, one at a time, and checks each against the config. [`save_model`], [`save_adapter`]
//! and [`save_gguf`] write what transformers, peft and llama.cpp load. Pickled checkpoints are
//! refused: to read one is to run whatever program lies in it.
//!
//! [`EvaluationProbe`] travels with a trained model, so that its next reader can tell that it came
//! through unharmed.

mod adapter;
mod buffers;
mod digest;
mod error;
mod gguf;
mod notes;
mod probe;
mod tensors;
mod write;

use std::path::{Path, PathBuf};

pub use adapter::{load_adapter, read_adapter_config, save_adapter, save_adapter_with_notes};
pub use digest::{DIGEST_KEY, is_as_written, weights_digest};
pub use error::CheckpointError;
pub use gguf::{check_gguf, save_gguf};
pub use notes::{Notes, read_note};
pub use pft_hub::Origin;
pub use probe::EvaluationProbe;
pub use write::{SavedType, save_model, save_model_with_notes};

use crate::config::ModelConfig;
pub use crate::parameters::Precision;
use crate::parameters::{Parameters, parameter_specs};
use gguf::GgufSource;
use tensors::{SafetensorsSource, read_text};

#[derive(Debug)]
enum Source {
    Safetensors(SafetensorsSource),
    Gguf(GgufSource),
}

/// A base model on disk whose config has been read.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    config: ModelConfig,
    source: Source,
}

impl Checkpoint {
    /// Opens a Hugging Face folder (`config.json` with `model.safetensors`, sharded or not), a
    /// GGUF file, or a folder that holds one GGUF file and nothing else to load.
    ///
    /// # Errors
    /// When there is nothing at `path`, or nothing that can be loaded, or a file is damaged.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        if let Some(problem) = pft_hub::mistaken(path) {
            return Err(CheckpointError::unusable(path, problem));
        }
        if path.is_dir() { Self::open_folder(path) } else { Self::open_file(path) }
    }

    fn open_file(path: &Path) -> Result<Self, CheckpointError> {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or("");
        match extension {
            _ if !path.exists() => Err(CheckpointError::unusable(
                path,
                "there is no such file or folder; `make models` fetches the default model, and \
                 `hf download NAME --local-dir FOLDER` one from the hub",
            )),
            "gguf" => {
                let (source, config) = GgufSource::open(path)?;
                Ok(Self { path: path.to_path_buf(), config, source: Source::Gguf(source) })
            }
            "bin" | "pt" | "pth" | "ckpt" => Err(CheckpointError::Pickle(path.to_path_buf())),
            "safetensors" => match path.parent() {
                Some(folder) => Self::open_folder(folder),
                None => Err(CheckpointError::unusable(path, "name the folder that it lies in")),
            },
            _ => Err(CheckpointError::unusable(
                path,
                "neither a Hugging Face folder nor a GGUF file",
            )),
        }
    }

    fn open_folder(folder: &Path) -> Result<Self, CheckpointError> {
        if folder.join("adapter_config.json").is_file() {
            return Err(CheckpointError::unusable(
                folder,
                "the folder holds LoRA adapters (adapter_config.json), which are no whole model; \
                 merge them into theirs first: `export` with format: hf, or peft's \
                 merge_and_unload() and save_pretrained(FOLDER); `train` goes on from its own where \
                 base_adapters names them beside their base_model",
            ));
        }
        let config_path = folder.join("config.json");
        if !config_path.is_file() {
            return match only_gguf(folder)? {
                Some(file) => Self::open_file(&file),
                None => Err(CheckpointError::unusable(
                    folder,
                    "the folder holds neither config.json nor a single GGUF file",
                )),
            };
        }
        let config = ModelConfig::from_json(&read_text(&config_path)?)
            .map_err(|source| CheckpointError::Config { path: config_path.clone(), source })?;
        let source = SafetensorsSource::open(folder)?;
        check_layers(&config_path, &config, source.len())?;
        Ok(Self { path: folder.to_path_buf(), config, source: Source::Safetensors(source) })
    }

    /// The folder or file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files that say which model this is: the GGUF file, or the config and the weights.
    pub fn files(&self) -> Vec<PathBuf> {
        match &self.source {
            Source::Safetensors(source) => {
                let weights = source.paths().map(Path::to_path_buf);
                std::iter::once(self.path.join("config.json")).chain(weights).collect()
            }
            Source::Gguf(_) => vec![self.path.clone()],
        }
    }

    /// The model's config.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Where the model comes from and under what licence, as far as its own files say so.
    pub fn origin(&self) -> Origin {
        match &self.source {
            Source::Safetensors(_) => {
                let name = self.config.other.get("_name_or_path").and_then(|name| name.as_str());
                Origin::of_folder(&self.path, name)
            }
            Source::Gguf(source) => source.origin(),
        }
    }

    /// Reads all weights, a tensor at a time: beside the parameters, memory is needed for the
    /// largest tensor alone. Every tensor must have the shape that the config gives it.
    ///
    /// # Errors
    /// When a tensor is missing, has another shape or an unknown type, or does not belong to this
    /// model.
    pub fn parameters(&self, precision: Precision) -> Result<Parameters, CheckpointError> {
        match &self.source {
            Source::Safetensors(source) => {
                source.check_unexpected(&parameter_specs(&self.config), &self.config)?;
                Parameters::load(&self.config, |spec| source.load(spec, precision))
            }
            Source::Gguf(source) => {
                source.check_unexpected(&parameter_specs(&self.config), &self.config)?;
                Parameters::load(&self.config, |spec| source.load(spec, &self.config, precision))
            }
        }
    }
}

/// The table of parameters grows with the layers announced, so these must be there.
fn check_layers(path: &Path, config: &ModelConfig, tensors: usize) -> Result<(), CheckpointError> {
    if config.num_hidden_layers > tensors {
        return Err(CheckpointError::unusable(
            path,
            format!(
                "announces {} layers, but the checkpoint has only {tensors} tensors",
                config.num_hidden_layers
            ),
        ));
    }
    Ok(())
}

fn only_gguf(folder: &Path) -> Result<Option<PathBuf>, CheckpointError> {
    let io = CheckpointError::io(folder, "read");
    let mut found = None;
    for entry in std::fs::read_dir(folder).map_err(&io)? {
        let path = entry.map_err(&io)?.path();
        if path.extension().is_some_and(|extension| extension == "gguf")
            && found.replace(path).is_some()
        {
            return Err(CheckpointError::unusable(
                folder,
                "the folder holds several GGUF files; name one of them",
            ));
        }
    }
    Ok(found)
}
