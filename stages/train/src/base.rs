//! The model that training starts from.

use pft_artifact::hash_file;
use pft_lm::checkpoint::Checkpoint;
use pft_lm::config::ModelConfig;
use pft_lm::model::{LanguageModel, init};
use pft_stage::StageError;

use crate::config::Config;

/// Hashes of the files that the model starts from, in the order of [`Checkpoint::files`].
pub(crate) fn hashes(config: &Config) -> Result<Vec<String>, StageError> {
    let files = match (&config.base_model, &config.random_init) {
        (Some(path), _) => Checkpoint::open(path.as_path())
            .map_err(|error| StageError::config(error.to_string()))?
            .files(),
        (None, path) => path.iter().map(|path| path.as_path().to_path_buf()).collect(),
    };
    Ok(files.iter().map(|file| hash_file(file)).collect::<Result<_, _>>()?)
}

/// Loads or initialises the model, with adapters where config asks for them.
pub(crate) fn load(config: &Config) -> Result<LanguageModel, StageError> {
    let unusable = |error: &dyn std::fmt::Display| StageError::config(error.to_string());
    let (model_config, parameters) = match (&config.base_model, &config.random_init) {
        (Some(path), _) => {
            let checkpoint = Checkpoint::open(path.as_path()).map_err(|e| unusable(&e))?;
            let parameters =
                checkpoint.parameters(config.base_precision).map_err(|e| unusable(&e))?;
            (checkpoint.config().clone(), parameters)
        }
        (None, Some(path)) => {
            let text = std::fs::read_to_string(path.as_path())
                .map_err(|error| StageError::config(format!("random_init: {}: {error}", path.0)))?;
            let model_config = ModelConfig::from_json(&text)
                .map_err(|error| StageError::config(format!("random_init: {}: {error}", path.0)))?;
            let parameters = init::random_in(&model_config, config.seed, config.base_precision)
                .map_err(|e| unusable(&e))?;
            (model_config, parameters)
        }
        (None, None) => return Err(StageError::config("base_model: is missing")),
    };
    let lora = config.lora.as_ref().map(Into::into);
    let mut model = LanguageModel::new(model_config, parameters, lora, config.seed)
        .map_err(|error| unusable(&error))?;
    model.set_checkpoint_activations(config.checkpoint_activations);
    Ok(model)
}
