//! The adapters that training goes on from, and what is known of them.
//!
//! They hold what they were trained on, so their record of trainings is the model's from then on: a
//! statement composes what all of them spent. Only adapters that carry a record are taken, and only
//! on the base model that they were trained on.

use std::path::{Path, PathBuf};

use pft_artifact::kinds::model::{ADAPTER, ADAPTER_CONFIG, BASE, BaseModel, BaseOrigin, PRIVACY};
use pft_dp::{Base, BaseFile, Origin, PrivacyStatement, Record};
use pft_lm::checkpoint::load_adapter;
use pft_lm::config::ModelConfig;
use pft_lm::layers::lora::LoraConfig;
use pft_lm::parameters::{ParameterError, Parameters, parameter_specs};
use pft_stage::StageError;

use crate::marks;

/// The setting that names them.
pub(crate) const KEY: &str = "base_adapters";

fn wrong(folder: &Path, problem: impl std::fmt::Display) -> StageError {
    StageError::config(format!("{KEY}: {}: {problem}", folder.display()))
}

/// The files of the adapters.
///
/// # Errors
/// When the folder holds none.
pub(crate) fn files(folder: &Path) -> Result<Vec<PathBuf>, StageError> {
    let files = [ADAPTER_CONFIG, ADAPTER].map(|file| folder.join(file.name));
    match files.iter().find(|file| !file.is_file()) {
        Some(missing) => Err(wrong(folder, format!("{} is not there", missing.display()))
            .with_help(
                "name a model of train that has adapters, or a bundle that export made with format: \
                 peft",
            )),
        None => Ok(files.to_vec()),
    }
}

/// What base and adapters together went through. `base_files` are those of the base model, `base_name`
/// what it is called, and `base` its record where it carries one.
///
/// # Errors
/// When nothing says how the adapters were trained, or on another base model.
pub(crate) fn record(
    folder: &Path,
    base_files: &[BaseFile],
    base_name: &str,
    base: Option<&Record>,
) -> Result<Record, StageError> {
    let Some(record) = marks::of_weights(KEY, &files(folder)?)? else {
        return Err(wrong(folder, "nothing says how these adapters were trained").with_help(
            "only adapters that pft made can be gone on from; merge others into their model first \
             (peft's merge_and_unload() and save_pretrained(FOLDER)), and name that as base_model",
        ));
    };
    let another = || {
        wrong(folder, "these adapters were trained on another base model than base_model")
            .with_help("set base_model to what they were trained on")
    };
    // A training on the base is one that the adapters' record begins with.
    if base.is_some_and(|base| !record.trainings.starts_with(&base.trainings)) {
        return Err(another());
    }
    let is_theirs = match (base_hashes(folder)?, base, &record.origin) {
        (Some(expected), ..) => expected.iter().eq(base_files.iter().map(|file| &file.blake3)),
        (None, Some(_), _) => true,
        // Nobody knows what a base without a record has seen, and what is declared of it is declared of
        // this name. One that pft trained would carry a record.
        (None, None, Origin::Checkpoint(name)) => name == base_name,
        (None, None, Origin::Random) => false,
    };
    if is_theirs { Ok(record) } else { Err(another()) }
}

/// The hashes of the base that the adapters were trained on, as far as their folder has them: a
/// bundle leaves them out where they are of private data.
fn base_hashes(folder: &Path) -> Result<Option<Vec<String>>, StageError> {
    if folder.join(BASE.name).is_file() {
        let base = BaseModel::read(folder).map_err(|error| wrong(folder, error))?;
        return match base.origin {
            BaseOrigin::Checkpoint => Ok(Some(base.blake3)),
            BaseOrigin::Random => Err(on_random(folder)),
        };
    }
    let path = folder.join(PRIVACY.name);
    if !path.is_file() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&path).map_err(|error| wrong(folder, error))?;
    let statement = PrivacyStatement::from_json(&text).map_err(|error| wrong(folder, error))?;
    match statement.base() {
        Base::Random => Err(on_random(folder)),
        Base::Checkpoint(base) if base.files.is_empty() => Ok(None),
        Base::Checkpoint(base) => {
            Ok(Some(base.files.iter().map(|file| file.blake3.clone()).collect()))
        }
    }
}

fn on_random(folder: &Path) -> StageError {
    wrong(folder, "these adapters were trained on a base model drawn at random").with_help(
        "export them with format: hf, which merges them, and name that folder as base_model",
    )
}

/// Adds the adapters to the base model's parameters.
///
/// # Errors
/// When they cannot be read, or `lora` says other than their own settings.
pub(crate) fn load(
    folder: &Path,
    config: &ModelConfig,
    lora: &LoraConfig,
    parameters: &mut Parameters,
) -> Result<(), StageError> {
    let theirs = load_adapter(folder, config, parameters)
        .map_err(|error| StageError::config(format!("{KEY}: {error}")))?;
    let differs = |key: &str, ours: &dyn std::fmt::Display, theirs: &dyn std::fmt::Display| {
        Err(wrong(folder, format!("lora.{key} is {ours}, but these adapters have {theirs}"))
            .with_help(format!("set lora.{key}: {theirs}")))
    };
    if lora.rank != theirs.rank {
        return differs("rank", &lora.rank, &theirs.rank);
    }
    if lora.use_rslora != theirs.use_rslora {
        return differs("use_rslora", &lora.use_rslora, &theirs.use_rslora);
    }
    if lora.alpha != theirs.alpha {
        return differs("alpha", &lora.alpha, &theirs.alpha);
    }
    let specs = parameter_specs(config);
    let unusable = |error: ParameterError| StageError::config(error.to_string());
    if lora.specs(&specs).map_err(unusable)? != theirs.specs(&specs).map_err(unusable)? {
        return Err(wrong(
            folder,
            "lora.target_modules names other layers than those that these adapters are on",
        )
        .with_help("set it to target_modules of their adapter_config.json"));
    }
    Ok(())
}
