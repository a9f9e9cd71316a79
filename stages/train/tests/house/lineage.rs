//! Models made of other models: what they begin from, what is said of them, and files changed by hand.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use pft_dp::{BaseUnits, PrivacyReport, PrivacyStatement, RECORD_KEY, Reason};
use pft_lm::checkpoint::{DIGEST_KEY, SavedType, read_note, save_model};
use pft_lm::config::ModelConfig;
use pft_lm::model::init;
use pft_lm::parameters::Precision;
use safetensors::SafeTensors;
use train::Config;
use train::config::Privacy;

use super::{House, LLAMA, private};

pub(crate) const UNITS: Option<u64> = Some(24);

pub(crate) fn declared() -> Option<Privacy> {
    private().map(|privacy| Privacy { units: UNITS, ..privacy })
}

pub(crate) fn on(base: &Path, config: Config) -> Config {
    let base = base.to_string_lossy().as_ref().into();
    let base_units = BaseUnits::Same;
    Config { random_init: None, base_model: Some(base), base_units, ..config }
}

pub(crate) fn statement(model: &Path) -> PrivacyStatement {
    let text = std::fs::read_to_string(model.join("privacy.json")).unwrap();
    PrivacyStatement::from_json(&text).unwrap()
}

pub(crate) fn report(model: &Path) -> PrivacyReport {
    match statement(model) {
        PrivacyStatement::Private(report) => *report,
        PrivacyStatement::NotPrivate(none) => panic!("{}", none.statement),
    }
}

/// The weights file written anew with another record, or with none.
pub(crate) fn mark(weights: &Path, record: Option<&str>) {
    let bytes = std::fs::read(weights).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    let digest = read_note(weights, DIGEST_KEY).unwrap();
    metadata.extend(digest.map(|text| (DIGEST_KEY.to_string(), text)));
    metadata.extend(record.map(|text| (RECORD_KEY.to_string(), text.to_string())));
    std::fs::remove_file(weights).unwrap();
    safetensors::serialize_to_file(tensors.tensors(), Some(metadata), weights).unwrap();
}

/// Copies some files of a model into a folder of their own.
pub(crate) fn copy(house: &House, model: &Path, name: &str, files: &[&str]) -> PathBuf {
    let folder = house.path(name);
    std::fs::create_dir(&folder).unwrap();
    for file in files {
        std::fs::copy(model.join(file), folder.join(file)).unwrap();
    }
    folder
}

/// A model from elsewhere, which carries no record.
pub(crate) fn stranger(house: &House) -> PathBuf {
    let folder = house.path("stranger");
    std::fs::create_dir(&folder).unwrap();
    let config = ModelConfig::from_json(LLAMA).unwrap();
    let weights = init::random_in(&config, 42, Precision::F32).unwrap();
    save_model(&folder, &config, &weights, SavedType::F32).unwrap();
    folder
}

#[track_caller]
pub(crate) fn assert_no_bound(model: &Path, reason: &Reason) {
    let PrivacyStatement::NotPrivate(none) = statement(model) else {
        panic!("a bound is claimed: {}", statement(model).statement())
    };
    assert!(none.not_for_release.contains(reason), "{none:?}");
    assert!(none.statement.contains("No bound holds"), "{}", none.statement);
    assert!(none.statement.contains("NOT FOR RELEASE") && !none.statement.contains('ε'));
    let error = train::verify::verify(model).unwrap_err();
    assert!(error.message().contains("no bound to verify"), "{error}");
}
