//! A model: weights or adapters with what was seen while they trained.
//!
//! Every file is named here once, and with it who may see it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::ArtifactError;

/// A file of a model artifact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelFile {
    /// Its name in the artifact's folder.
    pub name: &'static str,
    /// Whether a bundle may hold what it says, as training left it or written anew.
    pub public: bool,
}

const fn public(name: &'static str) -> ModelFile {
    ModelFile { name, public: true }
}

const fn private(name: &'static str) -> ModelFile {
    ModelFile { name, public: false }
}

/// The model's config, as transformers has it.
pub const CONFIG: ModelFile = public("config.json");
/// A whole model's weights.
pub const WEIGHTS: ModelFile = public("model.safetensors");
/// Settings of adapters, as peft has them.
pub const ADAPTER_CONFIG: ModelFile = public("adapter_config.json");
/// Adapters' weights.
pub const ADAPTER: ModelFile = public("adapter_model.safetensors");
/// The tokenizer.
pub const TOKENIZER: ModelFile = public("tokenizer.json");
/// Its settings.
pub const TOKENIZER_CONFIG: ModelFile = public("tokenizer_config.json");
/// How the base model wants texts to be generated.
pub const GENERATION_CONFIG: ModelFile = public("generation_config.json");
/// The privacy statement.
pub const PRIVACY: ModelFile = public("privacy.json");
/// The ledger of private steps.
pub const LEDGER: ModelFile = private("ledger.jsonl");
/// Losses, norms and perplexities, by step.
pub const METRICS: ModelFile = private("metrics.parquet");
/// Perplexities before and after training.
pub const EVALUATION: ModelFile = private("evaluation.json");
/// Held-out sequences with their losses, for export to check what it wrote.
pub const PROBE: ModelFile = private("evaluation_probe.safetensors");
/// Texts that the trained model wrote.
pub const SAMPLES: ModelFile = private("samples.json");
/// A summary of training's settings.
pub const SUMMARY: ModelFile = private("train.json");
/// The base model of adapters: [`BaseModel`].
pub const BASE: ModelFile = private("base.json");

/// Every file that a model artifact may hold.
pub const FILES: [ModelFile; 15] = [
    CONFIG,
    WEIGHTS,
    ADAPTER_CONFIG,
    ADAPTER,
    TOKENIZER,
    TOKENIZER_CONFIG,
    GENERATION_CONFIG,
    PRIVACY,
    LEDGER,
    METRICS,
    EVALUATION,
    PROBE,
    SAMPLES,
    SUMMARY,
    BASE,
];

/// Where the base model of adapters comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BaseOrigin {
    /// A folder or file, at the place that the manifest's settings name.
    Checkpoint,
    /// Drawn at random by `seed`, from the config beside the adapters.
    Random,
}

/// The base model that adapters were trained on; it stays where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaseModel {
    /// What it is called.
    pub name: String,
    /// Where it comes from.
    pub origin: BaseOrigin,
    /// BLAKE3 of the files that say which model it is, in their order; empty for a random one.
    pub blake3: Vec<String>,
    /// The seed of a random one, and of the adapters.
    pub seed: u64,
    /// What its matrices were kept in: whatever merges the adapters must round it so.
    pub precision: String,
}

impl BaseModel {
    /// Reads `base.json` of a model artifact.
    ///
    /// # Errors
    /// When it is missing or not what [`BaseModel::write`] writes.
    pub fn read(folder: &Path) -> Result<Self, ArtifactError> {
        let path = folder.join(BASE.name);
        let text = std::fs::read_to_string(&path).map_err(ArtifactError::io(&path, "read"))?;
        serde_json::from_str(&text).map_err(|error| {
            ArtifactError::invalid(
                &path,
                format!("does not say what the adapters were trained on: {error}; train again"),
            )
        })
    }

    /// Writes `base.json`.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&self, folder: &Path) -> Result<(), ArtifactError> {
        let path = folder.join(BASE.name);
        let json = serde_json::to_string_pretty(self)
            .map_err(|error| ArtifactError::invalid(&path, error.to_string()))?;
        std::fs::write(&path, json + "\n").map_err(ArtifactError::write(&path, "write"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_one_name() {
        let names: std::collections::BTreeSet<&str> = FILES.iter().map(|file| file.name).collect();
        assert_eq!(names.len(), FILES.len());
    }

    #[test]
    fn a_base_survives_the_disk_and_damage_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let base = BaseModel {
            name: "tiny".into(),
            origin: BaseOrigin::Random,
            blake3: Vec::new(),
            seed: 7,
            precision: "f32".into(),
        };
        base.write(folder.path()).unwrap();
        assert_eq!(BaseModel::read(folder.path()).unwrap(), base);
        std::fs::write(folder.path().join(BASE.name), r#"{"name": "tiny"}"#).unwrap();
        let error = BaseModel::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("base.json") && error.contains("origin"), "{error}");
    }
}
