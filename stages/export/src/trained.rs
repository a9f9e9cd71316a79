//! The model artifact that training left.

use std::path::{Path, PathBuf};

use pft_artifact::Lineage;
use pft_artifact::kinds::model::{self as files, BaseModel, BaseOrigin};
use pft_dp::{PrivacyStatement, RECORD_KEY, Record};
use pft_lm::checkpoint::{
    Checkpoint, CheckpointError, EvaluationProbe, Origin as Published, Precision, is_as_written,
    load_adapter, read_note,
};
use pft_lm::config::ModelConfig;
use pft_lm::model::{LanguageModel, init};
use pft_stage::StageError;
use serde_json::Value;

use crate::{Config, moved};

/// What training says of a model.
pub(crate) struct Trained {
    /// The base model of adapters.
    pub(crate) base: Option<Base>,
    /// Held-out sequences and the loss that training found on them.
    pub(crate) probe: Option<EvaluationProbe>,
    /// The privacy statement.
    pub(crate) privacy: PrivacyStatement,
    /// Where the base model was published and under which licence, as far as it says.
    pub(crate) published: Published,
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
    Random { config: Box<ModelConfig>, seed: u64 },
}

pub(crate) fn checkpoint_error(error: CheckpointError) -> StageError {
    StageError::input(error.to_string())
}

/// A checkpoint that cannot be written: the machine's failure where the operating system refused.
pub(crate) fn not_written(error: CheckpointError) -> StageError {
    let refused =
        std::error::Error::source(&error).is_some_and(|source| source.is::<std::io::Error>());
    let class = if refused { StageError::bug } else { StageError::input };
    class(error.to_string()).because(&error)
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
    /// known of it.
    pub(crate) fn load(
        folder: &Path,
        lineage: &Lineage,
        config: &Config,
    ) -> Result<(LanguageModel, Self), StageError> {
        refuse_later_stages(folder, lineage)?;
        let privacy = read_statement(folder)?;
        let (model, base, weights) = if folder.join(files::ADAPTER_CONFIG.name).is_file() {
            let base = find_base(folder, lineage, config)?;
            let model = load_adapted(&base, folder)?;
            (model, Some(base), files::ADAPTER)
        } else {
            (load_whole(folder, Precision::F32)?, None, files::WEIGHTS)
        };
        refuse_another_history(&folder.join(weights.name), &privacy)?;
        let probe = EvaluationProbe::load(folder).map_err(checkpoint_error)?;
        let published = read_published(folder)?;
        Ok((model, Self { base, probe, privacy, published }))
    }
}

/// A statement speaks of what training left, and a record of its weights. A stage after it may have
/// written data into any other file, and may have chosen among models by what it saw of them.
fn refuse_later_stages(folder: &Path, lineage: &Lineage) -> Result<(), StageError> {
    match lineage.after_training() {
        None => Ok(()),
        Some(step) => Err(StageError::input(format!(
            "{}: the stage {} came after training, and what it did to the model is not known",
            folder.display(),
            step.stage
        ))
        .with_help("export the model that train made, and change the bundle afterwards")),
    }
}

/// What training's summary says of where the base model was published.
fn read_published(folder: &Path) -> Result<Published, StageError> {
    let path = folder.join(files::SUMMARY.name);
    match read_json(&path)?["base_origin"].take() {
        Value::Null => Ok(Published::default()),
        origin => serde_json::from_value(origin).map_err(|error| {
            StageError::input(format!("{}: base_origin: {error}", path.display()))
        }),
    }
}

fn read_statement(folder: &Path) -> Result<PrivacyStatement, StageError> {
    let path = folder.join(files::PRIVACY.name);
    let wrong = |error: &dyn std::fmt::Display| {
        StageError::input(format!(
            "{}: {error}; without it nothing is known about the model's privacy",
            path.display()
        ))
        .with_help("train the model again")
    };
    let text = std::fs::read_to_string(&path).map_err(|error| wrong(&error))?;
    PrivacyStatement::from_json(&text).map_err(|error| wrong(&error))
}

/// The bundle's files say what the statement says; so must those that it is made of.
fn refuse_another_history(weights: &Path, privacy: &PrivacyStatement) -> Result<(), StageError> {
    let carried = match read_note(weights, RECORD_KEY).map_err(checkpoint_error)? {
        None => return Err(another_history(weights, "carries no record of its trainings")),
        Some(text) => Record::from_json(&text)
            .map_err(|error| another_history(weights, &error.to_string()))?,
    };
    if carried == *privacy.history() {
        return match is_as_written(weights).map_err(checkpoint_error)? {
            true => Ok(()),
            false => Err(another_history(
                weights,
                "holds other weights than its record of trainings was written for: what changed them is \
                 not known",
            )),
        };
    }
    Err(another_history(weights, "carries another record of its trainings than privacy.json has"))
}

fn another_history(weights: &Path, problem: &str) -> StageError {
    StageError::input(format!("{}: {problem}", weights.display()))
        .with_help("train the model again")
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
            (ModelConfig::clone(config), parameters.map_err(|error| unusable(&error))?)
        }
    };
    let lora = load_adapter(folder, &config, &mut parameters).map_err(checkpoint_error)?;
    LanguageModel::new(config, parameters, Some(lora), 0).map_err(|error| unusable(&error))
}

fn find_base(folder: &Path, lineage: &Lineage, config: &Config) -> Result<Base, StageError> {
    let base = BaseModel::read(folder)?;
    let name = config.base_model_name.clone().unwrap_or(base.name);
    let precision = serde_json::from_value(Value::from(base.precision)).map_err(|error| {
        let path = folder.join(files::BASE.name);
        StageError::input(format!("{}: precision: {error}", path.display()))
    })?;
    let origin = match (base.origin, &config.base_model) {
        (BaseOrigin::Random, None) => {
            let config = Box::new(read_config(&folder.join(files::CONFIG.name))?);
            Origin::Random { config, seed: base.seed }
        }
        (BaseOrigin::Random, Some(given)) => {
            return Err(StageError::config(format!(
                "base_model: {}: these adapters were trained on a base model drawn at random, and are \
                 of use on no other",
                given.as_path().display()
            ))
            .with_help("leave base_model out: the base model is drawn again from its seed"));
        }
        (BaseOrigin::Checkpoint, given) => {
            let path = match given {
                Some(path) => path.as_path().to_path_buf(),
                None => trained_on(lineage, &base.blake3).ok_or_else(|| {
                    StageError::input(format!(
                        "{}: nothing says where the base model of these adapters lies",
                        folder.display()
                    ))
                    .with_help("set base_model")
                })?,
            };
            refuse_another_base(&path, &base.blake3)?;
            Origin::Checkpoint(path)
        }
    };
    Ok(Base { name, origin, precision })
}

/// Where training found the base model, by its settings.
fn trained_on(lineage: &Lineage, hashes: &[String]) -> Option<PathBuf> {
    let path = lineage.steps().last()?.config["base_model"].as_str()?;
    Some(moved::find(PathBuf::from(path), hashes))
}

fn read_config(path: &Path) -> Result<ModelConfig, StageError> {
    let wrong =
        |error: &dyn std::fmt::Display| StageError::input(format!("{}: {error}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
    ModelConfig::from_json(&text).map_err(|error| wrong(&error))
}

/// Adapters are of use on the model that they were trained on alone, and their privacy statement is
/// about that one; `hashes` are of its files.
fn refuse_another_base(path: &Path, hashes: &[String]) -> Result<(), StageError> {
    let files = open_base(path)?.files();
    for (index, file) in files.iter().enumerate() {
        if files.len() != hashes.len() || hashes.get(index) != Some(&pft_artifact::hash_file(file)?)
        {
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
