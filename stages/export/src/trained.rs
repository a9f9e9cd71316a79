//! The model artifact that training left.

use std::path::{Path, PathBuf};

use pft_lm::checkpoint::{Checkpoint, CheckpointError, EvaluationProbe, Precision, load_adapter};
use pft_lm::config::ModelConfig;
use pft_lm::model::{LanguageModel, init};
use pft_stage::StageError;
use serde_json::Value;

use crate::Config;

/// What training says of a model.
pub(crate) struct Trained {
    /// The base model of adapters.
    pub(crate) base: Option<Base>,
    /// Held-out sequences and the loss that training found on them.
    pub(crate) probe: Option<EvaluationProbe>,
    /// `privacy.json`.
    pub(crate) privacy: Value,
    /// `train.json`.
    pub(crate) train: Value,
}

/// The base model of adapters.
pub(crate) struct Base {
    /// What users know it as.
    pub(crate) name: String,
    origin: Origin,
    /// What its matrices were kept in while the adapters trained.
    precision: Precision,
}

/// Where a base model comes from.
enum Origin {
    /// A folder or a GGUF file.
    Checkpoint(PathBuf),
    /// Drawn at random, from the config beside the adapters.
    Random { config: ModelConfig, seed: u64 },
}

pub(crate) fn checkpoint_error(error: CheckpointError) -> StageError {
    StageError::input(error.to_string())
}

/// Reads a JSON file of the artifact; null where it is not there.
pub(crate) fn read_json(path: &Path) -> Result<Value, StageError> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Value::Null),
        read => read.map_err(|error| StageError::input(format!("{}: {error}", path.display())))?,
    };
    serde_json::from_str(&text)
        .map_err(|error| StageError::input(format!("{}: not JSON: {error}", path.display())))
}

impl Trained {
    /// Loads the artifact in `folder`: the model, with its adapters if it has any, and what is
    /// known of it. `made_with` is the config of the stage that made it.
    pub(crate) fn load(
        folder: &Path,
        made_with: &Value,
        config: &Config,
    ) -> Result<(LanguageModel, Self), StageError> {
        let privacy = read_json(&folder.join("privacy.json"))?;
        if !privacy.is_object() {
            return Err(StageError::input(format!(
                "{}: holds no privacy.json, so nothing is known about the model's privacy",
                folder.display()
            ))
            .with_help("train the model again"));
        }
        let (model, base) = if folder.join("adapter_config.json").is_file() {
            let base = find_base(folder, made_with, config)?;
            let model = load_adapted(&base, folder)?;
            (model, Some(base))
        } else {
            (load_whole(folder, Precision::F32)?, None)
        };
        let trained = Self {
            base,
            probe: EvaluationProbe::load(folder).map_err(checkpoint_error)?,
            privacy,
            train: read_json(&folder.join("train.json"))?,
        };
        Ok((model, trained))
    }
}

/// Loads a whole model from a folder or a GGUF file, to be read alone.
pub(crate) fn load_whole(path: &Path, precision: Precision) -> Result<LanguageModel, StageError> {
    let checkpoint = Checkpoint::open(path).map_err(checkpoint_error)?;
    let mut parameters = checkpoint.parameters(precision).map_err(checkpoint_error)?;
    parameters.set_trainable(|_| false);
    LanguageModel::new(checkpoint.config().clone(), parameters, None, 0)
        .map_err(|error| StageError::input(format!("{}: {error}", path.display())))
}

/// Loads a base model and the adapters in `folder` on top of it.
pub(crate) fn load_adapted(base: &Base, folder: &Path) -> Result<LanguageModel, StageError> {
    let unusable =
        |error: &dyn std::fmt::Display| StageError::input(format!("{}: {error}", folder.display()));
    let (config, mut parameters) = match &base.origin {
        Origin::Checkpoint(path) => {
            let checkpoint = open_base(path)?;
            let parameters = checkpoint.parameters(base.precision).map_err(checkpoint_error)?;
            (checkpoint.config().clone(), parameters)
        }
        Origin::Random { config, seed } => {
            let parameters = init::random_in(config, *seed, base.precision);
            (config.clone(), parameters.map_err(|error| unusable(&error))?)
        }
    };
    let lora = load_adapter(folder, &config, &mut parameters).map_err(checkpoint_error)?;
    LanguageModel::new(config, parameters, Some(lora), 0).map_err(|error| unusable(&error))
}

fn find_base(folder: &Path, made_with: &Value, config: &Config) -> Result<Base, StageError> {
    let file = folder.join("base.json");
    let json = read_json(&file)?;
    // Artifacts from before there was a choice do not say.
    let precision = match &json["precision"] {
        Value::Null => Precision::F32,
        value => serde_json::from_value(value.clone()).map_err(|error| {
            StageError::input(format!("{}: precision: {error}", file.display()))
        })?,
    };
    let trained_on = made_with["base_model"].as_str();
    let path = match (&config.base_model, trained_on) {
        (Some(path), _) => Some(path.as_path().to_path_buf()),
        (None, Some(path)) => Some(PathBuf::from(path)),
        (None, None) => None,
    };
    let name = config
        .base_model_name
        .clone()
        .or_else(|| json["name"].as_str().map(str::to_string))
        .unwrap_or_default();
    let Some(path) = path else {
        let random = made_with["random_init"].is_string();
        let (true, Some(seed)) = (random, json["seed"].as_u64()) else {
            return Err(StageError::input(format!(
                "{}: nothing says where the base model of these adapters lies",
                folder.display()
            ))
            .with_help("set base_model"));
        };
        let path = folder.join("config.json");
        let wrong = |error: &dyn std::fmt::Display| {
            StageError::input(format!("{}: {error}", path.display()))
        };
        let text = std::fs::read_to_string(&path).map_err(|error| wrong(&error))?;
        let config = ModelConfig::from_json(&text).map_err(|error| wrong(&error))?;
        return Ok(Base { name, origin: Origin::Random { config, seed }, precision });
    };
    refuse_another_base(&path, &json["blake3"])?;
    Ok(Base { name, origin: Origin::Checkpoint(path), precision })
}

/// Adapters are of use on the model that they were trained on alone; `hashes` are of its files.
fn refuse_another_base(path: &Path, hashes: &Value) -> Result<(), StageError> {
    let expected: Vec<&str> =
        hashes.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if expected.is_empty() {
        return Ok(());
    }
    let base = open_base(path)?;
    for (index, file) in base.files().iter().enumerate() {
        if expected.get(index) != Some(&pft_artifact::hash_file(file)?.as_str()) {
            return Err(StageError::input(format!(
                "{}: is not of the base model that these adapters were trained on (its hash \
                 differs)",
                file.display()
            ))
            .with_help("set base_model to what training used, or train again"));
        }
    }
    Ok(())
}

fn open_base(path: &Path) -> Result<Checkpoint, StageError> {
    Checkpoint::open(path).map_err(|error| {
        checkpoint_error(error)
            .with_help("set base_model to where the base model of these adapters lies")
    })
}
