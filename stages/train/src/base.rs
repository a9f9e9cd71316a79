//! The model that training starts from, and what is known of it.

use std::path::Path;

use pft_artifact::hash_file;
use pft_dp::{Base, BaseCheckpoint, BaseFile, Origin, Record};
use pft_lm::checkpoint::{Checkpoint, Origin as PublishedOrigin};
use pft_lm::config::ModelConfig;
use pft_lm::layers::lora::LoraConfig;
use pft_lm::model::{LanguageModel, init};
use pft_stage::StageError;

use crate::adapters;
use crate::config::Config;
use crate::marks;

/// What a run starts from, for its claim and its statement.
#[derive(Debug)]
pub(crate) struct Start {
    /// The files that the model starts from: of a checkpoint in the order of [`Checkpoint::files`],
    /// or the config of a model that is drawn at random.
    pub(crate) files: Vec<BaseFile>,
    /// The files of adapters that it goes on from.
    pub(crate) adapters: Vec<BaseFile>,
    /// What the statement says of it.
    pub(crate) base: Base,
    /// What its weights went through before.
    pub(crate) earlier: Record,
}

impl Start {
    /// Hashes the files of the base model and reads what its weights say of themselves.
    ///
    /// # Errors
    /// When a file cannot be read, or a record of the base cannot be trusted.
    pub(crate) fn of(config: &Config) -> Result<Self, StageError> {
        let Some(path) = &config.base_model else {
            let path = config.random_init.iter().map(|path| path.as_path());
            let files = path
                .map(base_file)
                .collect::<Result<_, _>>()
                .map_err(|error| StageError::config(format!("random_init: {}", error.message())))?;
            let (adapters, earlier) = (Vec::new(), Record::default());
            return Ok(Self { files, adapters, base: Base::Random, earlier });
        };
        let checkpoint = Checkpoint::open(path.as_path())
            .map_err(|error| StageError::config(error.to_string()))?;
        let paths = checkpoint.files();
        let files: Vec<BaseFile> =
            paths.iter().map(|file| base_file(file)).collect::<Result<_, _>>()?;
        let name = name(config);
        let mut earlier = marks::of_weights("base_model", &paths)?;
        let mut adapters = Vec::new();
        if let Some(folder) = &config.base_adapters {
            let folder = folder.as_path();
            earlier = Some(adapters::record(folder, &files, &name, earlier.as_ref())?);
            for file in adapters::files(folder)? {
                adapters.push(base_file(&file)?);
            }
        }
        let earlier = earlier.unwrap_or_else(|| Record::of(Origin::Checkpoint(name.clone())));
        let base = Base::Checkpoint(BaseCheckpoint {
            name,
            files: [&files[..], &adapters].concat(),
            base_has_seen: config.base_has_seen,
            base_units: config.base_units,
        });
        Ok(Self { files, adapters, base, earlier })
    }

    /// The hashes of the model's files without adapters, in their order.
    pub(crate) fn model_hashes(&self) -> Vec<String> {
        self.files.iter().map(|file| file.blake3.clone()).collect()
    }

    /// The hashes of all files, in their order.
    pub(crate) fn hashes(&self) -> Vec<String> {
        self.files.iter().chain(&self.adapters).map(|file| file.blake3.clone()).collect()
    }
}

fn base_file(path: &Path) -> Result<BaseFile, StageError> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    Ok(BaseFile { name: name.unwrap_or_default(), blake3: hash_file(path)? })
}

/// Where the base model comes from, as far as its own files say so.
pub(crate) fn origin(config: &Config) -> PublishedOrigin {
    let path = config.base_model.as_ref();
    path.and_then(|path| Checkpoint::open(path.as_path()).ok())
        .map(|checkpoint| checkpoint.origin())
        .unwrap_or_default()
}

/// What the base model is called: its name on the hub where its files know it, or else the last part
/// of its path. An artifact's folder in a store is called by its hash, which is made of private data
/// and must not reach a bundle.
pub(crate) fn name(config: &Config) -> String {
    if let Some(repository) = origin(config).repository {
        return repository;
    }
    let path = config.base_model.as_ref().or(config.random_init.as_ref());
    let name = path
        .and_then(|path| path.as_path().file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    let is_hash = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hash { "an earlier model of this store".into() } else { name }
}

/// How many tokens the model can tell the places of, from its config alone.
pub(crate) fn positions(config: &Config) -> Result<usize, StageError> {
    match (&config.base_model, &config.random_init) {
        (Some(path), _) => Checkpoint::open(path.as_path())
            .map(|checkpoint| checkpoint.config().max_position_embeddings)
            .map_err(|error| StageError::config(error.to_string())),
        (None, Some(path)) => {
            read_config(path.as_path()).map(|config| config.max_position_embeddings)
        }
        (None, None) => Err(StageError::config("base_model: is missing")),
    }
}

fn read_config(path: &Path) -> Result<ModelConfig, StageError> {
    let wrong = |error: &dyn std::fmt::Display| {
        StageError::config(format!("random_init: {}: {error}", path.display()))
    };
    let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
    ModelConfig::from_json(&text).map_err(|error| wrong(&error))
}

/// Loads or initialises the model, with adapters where config asks for them.
pub(crate) fn load(config: &Config) -> Result<LanguageModel, StageError> {
    let unusable = |error: &dyn std::fmt::Display| StageError::config(error.to_string());
    let lora: Option<LoraConfig> = config.lora.as_ref().map(Into::into);
    let (model_config, parameters) = match (&config.base_model, &config.random_init) {
        (Some(path), _) => {
            let checkpoint = Checkpoint::open(path.as_path()).map_err(|e| unusable(&e))?;
            let mut parameters =
                checkpoint.parameters(config.base_precision).map_err(|e| unusable(&e))?;
            if let (Some(folder), Some(lora)) = (&config.base_adapters, &lora) {
                adapters::load(folder.as_path(), checkpoint.config(), lora, &mut parameters)?;
            }
            (checkpoint.config().clone(), parameters)
        }
        (None, Some(path)) => {
            let model_config = read_config(path.as_path())?;
            let parameters = init::random_in(&model_config, config.seed, config.base_precision)
                .map_err(|e| unusable(&e))?;
            (model_config, parameters)
        }
        (None, None) => return Err(StageError::config("base_model: is missing")),
    };
    let mut model = LanguageModel::new(model_config, parameters, lora, config.seed)
        .map_err(|error| unusable(&error))?;
    model.set_checkpoint_activations(config.checkpoint_activations);
    Ok(model)
}
