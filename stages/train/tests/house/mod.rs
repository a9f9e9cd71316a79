//! What tests of the stage share: tokens of a few units, a tiny model, and runs of the stage.

// Each test binary uses a part of it.
#![allow(dead_code)]

pub(crate) mod lineage;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pft_artifact::{Example, Kind, Manifest, Split, TokensWriter, count_rows};
use pft_stage::{Context, Stage, StageError};
use train::config::{Checkpoints, Evaluation, Privacy};
use train::{Config, Train};

/// A tiny model.
pub(crate) const LLAMA: &str = r#"{"model_type":"llama","architectures":["LlamaForCausalLM"],"vocab_size":64,
    "hidden_size":16,"intermediate_size":24,"num_hidden_layers":2,"num_attention_heads":2,
    "num_key_value_heads":1,"max_position_embeddings":48,"rms_norm_eps":1e-5,
    "tie_word_embeddings":true}"#;

/// A folder with tokens of 30 units, a model config, and the runs made from them.
pub(crate) struct House {
    folder: tempfile::TempDir,
}

impl House {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        write_tokens(&folder.path().join("tokens"), 30);
        std::fs::write(folder.path().join("model.json"), LLAMA).unwrap();
        let house = Self { folder };
        house.say_of_units(serde_json::json!({ "unit": "unit" }));
        house
    }

    /// Puts another artifact in the place of the tokens, with one more unit to train on.
    pub(crate) fn change_tokens(&self) {
        std::fs::remove_dir_all(self.path("tokens")).unwrap();
        write_tokens(&self.path("tokens"), 32);
        self.say_of_units(serde_json::json!({ "unit": "unit" }));
    }

    /// Lets the tokens come from an ingest that said this of its units.
    pub(crate) fn say_of_units(&self, said: serde_json::Value) {
        self.say_of_steps(serde_json::json!([{ "stage": "ingest", "units": said }]));
    }

    pub(crate) fn say_of_steps(&self, steps: serde_json::Value) {
        let lineage = serde_json::json!({ "lineage": steps });
        let tokens = self.path("tokens");
        let rows = count_rows(&tokens, Kind::Tokens).unwrap();
        Manifest::seal(&tokens, Kind::Tokens, rows, lineage).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn config(&self, privacy: Option<Privacy>) -> Config {
        Config {
            random_init: Some(self.path("model.json").to_string_lossy().as_ref().into()),
            learning_rate: 1e-2,
            max_steps: Some(6),
            batch_size: 4,
            micro_batch_tokens: 40,
            evaluation: Evaluation { every_steps: Some(3), max_examples: 8, max_train_examples: 8 },
            checkpoints: Checkpoints { every_steps: Some(2), save_total_limit: 9 },
            privacy,
            ..Config::default()
        }
    }

    /// Runs the stage; `name` is that of its scratch folder and of its output.
    pub(crate) fn run(
        &self,
        name: &str,
        config: Config,
        threads: usize,
    ) -> Result<PathBuf, StageError> {
        Train::validate(&config)?;
        self.run_unchecked(name, config, threads)
    }

    /// Runs the stage with settings that nobody looked at.
    pub(crate) fn run_unchecked(
        &self,
        name: &str,
        config: Config,
        threads: usize,
    ) -> Result<PathBuf, StageError> {
        let (output, scratch) = (self.path(&format!("{name}-model")), self.path(name));
        std::fs::create_dir_all(&output).unwrap();
        std::fs::create_dir_all(&scratch).unwrap();
        let context = Context::for_tests(
            BTreeMap::from([("tokens".into(), self.path("tokens"))]),
            BTreeMap::from([("model".into(), output.clone())]),
            &scratch,
            threads,
        );
        Train::run(config, &context)?;
        Ok(output)
    }
}

/// Privacy for at most 25 units, of which 24 are there.
pub(crate) fn private() -> Option<Privacy> {
    Some(Privacy {
        noise_multiplier: Some(0.8),
        max_examples_per_unit: 2,
        units: Some(25),
        ..Privacy::default()
    })
}

pub(crate) fn weights(model: &Path) -> Vec<u8> {
    let adapter = model.join("adapter_model.safetensors");
    std::fs::read(if adapter.exists() { adapter } else { model.join("model.safetensors") }).unwrap()
}

fn write_tokens(tokens: &Path, units: u32) {
    std::fs::create_dir(tokens).unwrap();
    let mut writer = TokensWriter::create(tokens).unwrap();
    for unit in 0..units {
        for index in 0..3u32 {
            let length = 5 + (unit * 7 + index * 3) % 20;
            let input_ids: Vec<u32> = (0..length).map(|i| (i * 5 + unit + index) % 60).collect();
            let split = if unit % 5 == 0 { Split::Validation } else { Split::Train };
            writer
                .push(&Example {
                    example_id: format!("{unit}#{index}"),
                    doc_id: format!("{unit}"),
                    unit_id: format!("unit-{unit}"),
                    split,
                    pii: input_ids.iter().map(|id| id % 4 == 0).collect(),
                    context: 0,
                    loss_mask: Vec::new(),
                    input_ids,
                })
                .unwrap();
        }
    }
    writer.finish().unwrap();
    let rows = count_rows(tokens, Kind::Tokens).unwrap();
    Manifest::seal(tokens, Kind::Tokens, rows, serde_json::Value::Null).unwrap();
}
