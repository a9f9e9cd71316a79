//! The whole stage on tiny random models: with and without privacy, stopped and resumed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pft_artifact::{Example, Kind, Manifest, Split, TokensWriter, count_rows};
use pft_dp::LedgerContents;
use pft_stage::{Context, Stage, StageError};
use train::config::{Checkpoints, Evaluation, Lora, Privacy};
use train::{Config, Train};

const LLAMA: &str = r#"{"model_type":"llama","architectures":["LlamaForCausalLM"],"vocab_size":64,
    "hidden_size":16,"intermediate_size":24,"num_hidden_layers":2,"num_attention_heads":2,
    "num_key_value_heads":1,"max_position_embeddings":48,"rms_norm_eps":1e-5,
    "tie_word_embeddings":true}"#;

struct House {
    folder: tempfile::TempDir,
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let tokens = folder.path().join("tokens");
        std::fs::create_dir(&tokens).unwrap();
        let mut writer = TokensWriter::create(&tokens).unwrap();
        for unit in 0..30u32 {
            for index in 0..3u32 {
                let length = 5 + (unit * 7 + index * 3) % 20;
                let input_ids: Vec<u32> =
                    (0..length).map(|i| (i * 5 + unit + index) % 60).collect();
                let split = if unit % 5 == 0 { Split::Validation } else { Split::Train };
                writer
                    .push(&Example {
                        example_id: format!("{unit}#{index}"),
                        doc_id: format!("{unit}"),
                        unit_id: format!("unit-{unit}"),
                        split,
                        pii: input_ids.iter().map(|id| id % 4 == 0).collect(),
                        input_ids,
                    })
                    .unwrap();
            }
        }
        writer.finish().unwrap();
        let rows = count_rows(&tokens, Kind::Tokens).unwrap();
        Manifest::seal(&tokens, Kind::Tokens, rows, serde_json::Value::Null).unwrap();
        std::fs::write(folder.path().join("model.json"), LLAMA).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn config(&self, privacy: Option<Privacy>) -> Config {
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
    fn run(&self, name: &str, config: Config, threads: usize) -> Result<PathBuf, StageError> {
        let (output, scratch) = (self.path(&format!("{name}-model")), self.path(name));
        std::fs::create_dir_all(&output).unwrap();
        std::fs::create_dir_all(&scratch).unwrap();
        let context = Context::for_tests(
            BTreeMap::from([("tokens".into(), self.path("tokens"))]),
            BTreeMap::from([("model".into(), output.clone())]),
            &scratch,
            threads,
        );
        Train::validate(&config)?;
        Train::run(config, &context)?;
        Ok(output)
    }
}

fn private() -> Option<Privacy> {
    Some(Privacy { noise_multiplier: Some(0.8), max_examples_per_unit: 2, ..Privacy::default() })
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn weights(model: &Path) -> Vec<u8> {
    let adapter = model.join("adapter_model.safetensors");
    std::fs::read(if adapter.exists() { adapter } else { model.join("model.safetensors") }).unwrap()
}

/// A run that was killed after any checkpoint goes on with the same bits, and the ledger counts
/// each step once.
#[test]
fn a_resumed_run_has_the_bits_of_an_uninterrupted_one() {
    for (privacy, lora) in [(None, false), (private(), false), (private(), true)] {
        let house = House::new();
        let config = || Config {
            lora: lora.then(|| Lora { rank: 2, ..Lora::default() }),
            ..house.config(privacy.clone())
        };
        let whole = house.run("whole", config(), 2).unwrap();
        for kept in [2, 4] {
            let name = format!("resumed-{kept}");
            copy_folder(&house.path("whole"), &house.path(&name));
            for entry in std::fs::read_dir(house.path(&name).join("checkpoints")).unwrap().flatten()
            {
                let step: u64 = entry
                    .file_name()
                    .to_string_lossy()
                    .trim_start_matches("step-")
                    .parse()
                    .unwrap();
                if step > kept {
                    std::fs::remove_dir_all(entry.path()).unwrap();
                }
            }
            let resumed = house.run(&name, config(), 1).unwrap();
            assert_eq!(weights(&whole), weights(&resumed), "private {}", privacy.is_some());
            for file in ["privacy.json", "evaluation.json"] {
                let read = |model: &Path| std::fs::read_to_string(model.join(file)).unwrap();
                assert_eq!(read(&whole), read(&resumed), "{file}");
            }
            if privacy.is_some() {
                let ledger = LedgerContents::read(&resumed.join("ledger.jsonl")).unwrap();
                assert_eq!(ledger.steps.len(), 6);
            }
        }
    }
}

#[test]
fn runs_for_release_never_share_their_randomness() {
    let house = House::new();
    let one = house.run("one", house.config(private()), 1).unwrap();
    let two = house.run("two", house.config(private()), 1).unwrap();
    assert_ne!(weights(&one), weights(&two));
    let fixed =
        || private().map(|privacy| Privacy { fixed_seed_not_for_release: Some(3), ..privacy });
    let three = house.run("three", house.config(fixed()), 1).unwrap();
    let four = house.run("four", house.config(fixed()), 2).unwrap();
    assert_eq!(weights(&three), weights(&four));
    let report = std::fs::read_to_string(three.join("privacy.json")).unwrap();
    assert!(report.contains("NOT FOR RELEASE"), "{report}");
}

#[test]
fn training_without_privacy_learns_and_says_that_it_is_not_private() {
    let house = House::new();
    let config = Config { max_steps: Some(60), ..house.config(None) };
    let model = house.run("plain", config, 2).unwrap();
    let read = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(model.join(name)).unwrap()).unwrap()
    };
    let evaluation = read("evaluation.json");
    let perplexity = |when: &str| evaluation[when]["train"]["perplexity"].as_f64().unwrap();
    assert!(perplexity("after") < 0.5 * perplexity("before"), "{evaluation}");
    assert_eq!(read("privacy.json")["fit_for_release"], false);
    assert!(!model.join("ledger.jsonl").exists());
}

/// The sampling rate is so low that some steps draw nobody; they add noise and are counted.
#[test]
fn empty_batches_are_steps() {
    let house = House::new();
    let privacy = private().map(|privacy| Privacy { units: Some(1000), ..privacy });
    let config = Config { batch_size: 1, max_steps: Some(8), ..house.config(privacy) };
    let model = house.run("rare", config, 1).unwrap();
    let ledger = LedgerContents::read(&model.join("ledger.jsonl")).unwrap();
    assert_eq!(ledger.steps.len(), 8);
    train::verify::verify(&model).unwrap();
}

#[test]
fn a_privacy_statement_that_its_ledger_does_not_bear_out_is_refused() {
    let house = House::new();
    let model = house.run("run", house.config(private()), 1).unwrap();
    train::verify::verify(&model).unwrap();
    let path = model.join("privacy.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut report: serde_json::Value = serde_json::from_str(&text).unwrap();
    report["epsilon"][0]["epsilon"] = 0.5.into();
    std::fs::write(&path, report.to_string()).unwrap();
    let error = train::verify::verify(&model).unwrap_err();
    assert!(error.to_string().contains("0.5"), "{error}");
    std::fs::write(&path, text).unwrap();
    let ledger = std::fs::read_to_string(model.join("ledger.jsonl")).unwrap();
    let shorter: Vec<&str> = ledger.lines().take(4).collect();
    std::fs::write(model.join("ledger.jsonl"), shorter.join("\n") + "\n").unwrap();
    assert!(train::verify::verify(&model).is_err(), "steps were dropped from the ledger");
}

#[test]
fn settings_that_make_no_sense_are_refused_by_name() {
    let house = House::new();
    let refuse = |change: fn(&mut Config), expected: &str, code: u8| {
        let mut config = house.config(private());
        change(&mut config);
        let error = house.run("refused", config, 1).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(error.exit_code(), code, "{error}");
    };
    refuse(|c| c.random_init = None, "base_model: is missing", 2);
    refuse(|c| c.random_init = Some("/no/such".into()), "/no/such", 2);
    refuse(
        |c| c.privacy.as_mut().unwrap().target_epsilon = Some(3.0),
        "target_epsilon or noise_multiplier, not both",
        2,
    );
    refuse(|c| c.privacy.as_mut().unwrap().target_delta = Some(0.5), "delta is 0.5", 2);
    refuse(
        |c| c.lora = Some(Lora { dropout: 0.1, ..Lora::default() }),
        "lora.dropout: must be 0 with privacy",
        2,
    );
    refuse(
        |c| c.lora = Some(Lora { target_modules: vec!["qproj".into()], ..Lora::default() }),
        "q_proj",
        2,
    );
    let small = LLAMA.replace("\"vocab_size\":64", "\"vocab_size\":32");
    std::fs::write(house.path("model.json"), small).unwrap();
    refuse(|_| (), "outside the model's vocabulary of 32", 3);
}
