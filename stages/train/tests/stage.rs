//! The whole stage on tiny random models: with and without privacy, stopped and resumed.

#![allow(clippy::unwrap_used)]

mod house;

use std::path::Path;

use house::{House, LLAMA, private, weights};
use pft_artifact::{Kind, Manifest};
use pft_dp::LedgerContents;
use pft_dp::accounting::Accountant;
use pft_lm::checkpoint::{SavedType, load_adapter, save_model};
use pft_lm::config::ModelConfig;
use pft_lm::layers::targets::TargetModules;
use pft_lm::model::{LanguageModel, init};
use pft_lm::parameters::{ParameterKind, Precision, Tensor};
use serde_json::{Value, json};
use train::Config;
use train::config::{Lora, Privacy};

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

/// FFA-LoRA: with privacy B alone is trained, and A is the one that the seed draws.
#[test]
fn a_frozen_a_comes_out_as_it_was_drawn() {
    let house = House::new();
    let lora = Lora {
        rank: 2,
        target_modules: TargetModules::all_linear(),
        freeze_a: true,
        ..Lora::default()
    };
    let config = Config { lora: Some(lora.clone()), ..house.config(private()) };
    let (drawn, seed) = ((&lora).into(), config.seed);
    let model = house.run("frozen", config, 1).unwrap();
    let config = ModelConfig::from_json(LLAMA).unwrap();
    let base = init::random(&config, seed).unwrap();
    let begun = LanguageModel::new(config.clone(), base.clone(), Some(drawn), seed).unwrap();
    let mut trained = base;
    load_adapter(&model, &config, &mut trained).unwrap();
    let mut seen = 0;
    for (_, parameter) in begun.parameters().iter() {
        let id = trained.id(&parameter.spec.name).unwrap();
        let same = trained.get(id).tensor == parameter.tensor;
        seen += usize::from(parameter.spec.kind == ParameterKind::LoraB);
        assert_eq!(same, parameter.spec.kind != ParameterKind::LoraB, "{}", parameter.spec.name);
    }
    assert_eq!(seen, 14);
    let summary: Value =
        serde_json::from_slice(&std::fs::read(model.join("train.json")).unwrap()).unwrap();
    let b_alone: usize = begun.parameters().trainable().map(|(_, b)| b.spec.len()).sum();
    assert_eq!(summary["trainable_parameters"], b_alone);
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
fn verify_sees_other_weights_and_silence_about_uses() {
    let house = House::new();
    let model = house.run("run", house.config(private()), 1).unwrap();
    Manifest::seal(&model, Kind::Model, 0, Value::Null).unwrap();
    train::verify::verify(&model).unwrap();
    let path = model.join("privacy.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut report: Value = serde_json::from_str(&text).unwrap();
    report["other_uses"] = json!([]);
    std::fs::write(&path, report.to_string()).unwrap();
    let error = train::verify::verify(&model).unwrap_err().to_string();
    assert!(error.contains("other_uses"), "{error}");
    std::fs::write(&path, text).unwrap();
    let mut other = weights(&model);
    *other.last_mut().unwrap() ^= 1;
    std::fs::write(model.join("model.safetensors"), other).unwrap();
    let error = train::verify::verify(&model).unwrap_err().to_string();
    assert!(error.contains("model.safetensors"), "{error}");
}

#[test]
fn a_bundle_without_ledger_says_where_the_ledger_is() {
    let house = House::new();
    let model = house.run("run", house.config(private()), 1).unwrap();
    let bundle = house.path("bundle");
    std::fs::create_dir_all(bundle.join("diagnostics")).unwrap();
    for name in ["privacy.json", "model.safetensors"] {
        std::fs::copy(model.join(name), bundle.join(name)).unwrap();
    }
    let error = train::verify::verify(&bundle).unwrap_err();
    assert!(error.help().unwrap().contains("include_diagnostics"), "{error}");
    std::fs::copy(model.join("ledger.jsonl"), bundle.join("diagnostics/ledger.jsonl")).unwrap();
    train::verify::verify(&bundle).unwrap();
}

/// Whoever sees the plan must not learn whether a unit is there.
#[test]
fn the_plan_of_a_run_follows_from_the_declared_units_alone() {
    let plan = |house: &House, name: &str| {
        let privacy = Privacy {
            target_epsilon: Some(8.0),
            noise_multiplier: None,
            units: Some(40),
            ..private().unwrap()
        };
        let config = Config { max_steps: None, epochs: 1.0, ..house.config(Some(privacy)) };
        let model = house.run(name, config, 1).unwrap();
        let ledger = LedgerContents::read(&model.join("ledger.jsonl")).unwrap();
        let report = std::fs::read_to_string(model.join("privacy.json")).unwrap();
        assert!(!report.contains("counted in the data"));
        (ledger.header.plan, ledger.steps.len())
    };
    let house = House::new();
    let (without, steps) = plan(&house, "without");
    house.change_tokens();
    assert_eq!(plan(&house, "with"), (without, steps));
    assert_eq!((without.phase.steps, steps), (10, 10), "40 units at 4 a step");
}

#[test]
fn a_training_that_diverged_leaves_no_model() {
    for privacy in [None, private()] {
        let house = House::new();
        let config = Config { learning_rate: 1e39, max_steps: Some(40), ..house.config(privacy) };
        let error = house.run_unchecked("run", config, 1).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{error}");
        assert!(error.message().contains("diverged"), "{error}");
        assert!(!error.message().contains("step 40 of 40"), "long before its end: {error}");
        assert!(error.help().unwrap().contains("learning_rate"), "{error}");
    }
}

#[test]
fn a_base_that_gives_no_numbers_is_refused_before_training() {
    let house = House::new();
    let base = house.path("base");
    std::fs::create_dir_all(&base).unwrap();
    let model = ModelConfig::from_json(LLAMA).unwrap();
    let mut weights = init::random_in(&model, 42, Precision::F32).unwrap();
    let (_, parameter) = weights.iter_mut().next().unwrap();
    let shape = parameter.tensor.shape.clone();
    parameter.tensor = Tensor::new(&shape, vec![f32::NAN; parameter.tensor.len()]).unwrap();
    save_model(&base, &model, &weights, SavedType::F32).unwrap();
    let config = Config {
        random_init: None,
        base_model: Some(base.to_string_lossy().as_ref().into()),
        ..house.config(None)
    };
    let error = house.run("run", config, 1).unwrap_err();
    assert_eq!(error.exit_code(), 3, "{error}");
    assert!(error.message().contains("before any training"), "{error}");
}

#[test]
fn what_earlier_stages_said_is_in_the_statement() {
    let house = House::new();
    house.say_of_units(json!(null));
    let silent = house.run("silent", house.config(private()), 1).unwrap();
    let silent = std::fs::read_to_string(silent.join("privacy.json")).unwrap();
    assert!(silent.contains("is not recorded"), "{silent}");
    assert!(silent.contains("\"fit_for_release\": false"), "{silent}");
    house.say_of_units(json!({ "unit": "case", "uses": ["Scrubbed before"] }));
    let read = |model: &Path| -> Value {
        serde_json::from_slice(&std::fs::read(model.join("privacy.json")).unwrap()).unwrap()
    };
    let report = read(&house.run("alone", house.config(private()), 1).unwrap());
    assert_eq!((&report["unit"], &report["fit_for_release"]), (&json!("case"), &json!(true)));
    assert!(report["other_uses"].as_array().unwrap().contains(&json!("Scrubbed before")));
    assert!(!report.to_string().contains("is not recorded"));
    house.say_of_units(json!({ "unit": "case", "couplings": ["Copies went"] }));
    let model = house.run("coupled", house.config(private()), 1).unwrap();
    let report = read(&model);
    assert_eq!(report["couplings"], json!(["Copies went"]));
    assert_eq!(report["fit_for_release"], false);
    assert!(report["statement"].as_str().unwrap().contains("NOT FOR RELEASE"));
    train::verify::verify(&model).unwrap();
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
    refuse(|c| c.privacy.as_mut().unwrap().target_delta = Some(0.5), "target_delta is 0.5", 2);
    refuse(|c| c.privacy.as_mut().unwrap().target_delta = Some(1e-300), "at least 1e-50", 2);
    refuse(|c| c.samples.top_p = Some(2.0), "samples.top_p", 2);
    refuse(
        |c| c.privacy.as_mut().unwrap().accountant = Accountant::Gdp,
        "privacy.accountant: gdp",
        2,
    );
    refuse(
        |c| c.lora = Some(Lora { dropout: 0.1, ..Lora::default() }),
        "lora.dropout: must be 0 with privacy",
        2,
    );
    refuse(
        |c| {
            c.lora =
                Some(Lora { target_modules: TargetModules::names(["qproj"]), ..Lora::default() })
        },
        "q_proj",
        2,
    );
    refuse(|c| c.base_precision = Precision::Bf16, "base_precision: bf16 is for frozen weights", 2);
    refuse(|c| c.base_precision = Precision::Q4_0, "base_precision: q4_0 is for frozen weights", 2);
    refuse(
        |c| {
            c.lora = Some(Lora::default());
            c.base_precision = Precision::Q8_0;
        },
        "rows of 16 numbers, but q8_0 keeps blocks of 32",
        2,
    );
    refuse(|c| c.samples.prompts = vec!["The".into()], "tokenizer.json: not a tokenizer", 3);
    let small = LLAMA.replace("\"vocab_size\":64", "\"vocab_size\":32");
    std::fs::write(house.path("model.json"), small).unwrap();
    refuse(|_| (), "outside the model's vocabulary of 32", 3);
}

/// Noise must never meet another gradient than the one that it was drawn for, and a model must be
/// what its settings say: a run whose settings changed does not go on from the old one's state.
#[test]
fn a_run_whose_settings_changed_does_not_go_on() {
    for privacy in [None, private()] {
        let house = House::new();
        let model = house.run("run", house.config(privacy.clone()), 1).unwrap();
        let refuse = |change: fn(&mut Config), expected: &str| {
            let mut config = house.config(privacy.clone());
            change(&mut config);
            let error = house.run("run", config, 1).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{error}");
            assert!(error.message().contains(expected), "{error}");
            assert!(error.help().unwrap().contains("remove the folder"), "{error}");
        };
        refuse(|config| config.learning_rate = 5e-3, "learning_rate was 0.01 and is 0.005");
        refuse(|config| config.max_steps = Some(9), "max_steps was 6 and is 9");
        refuse(|config| config.evaluation.max_examples = 5, "evaluation.max_examples was 8 and is");
        if privacy.is_some() {
            refuse(
                |config| config.privacy.as_mut().unwrap().noise_multiplier = Some(0.4),
                "privacy.noise_multiplier was 0.8 and is 0.4",
            );
        }
        let before = weights(&model);
        let base = std::fs::read_to_string(house.path("model.json")).unwrap();
        std::fs::write(house.path("model.json"), base.replace("1e-5", "1e-6")).unwrap();
        refuse(|_| (), "the files of the base model changed");
        std::fs::write(house.path("model.json"), base).unwrap();
        house.change_tokens();
        let error = house.run("run", house.config(privacy), 1).unwrap_err();
        assert!(error.message().contains("input tokens is another artifact"), "{error}");
        assert_eq!(before, weights(&model));
    }
}

/// The schema in the repository is what readers of `privacy.json` go by; Python's `jsonschema`
/// checks both kinds of statement against it, where `PFT_PYTHON` names a Python that has it.
#[test]
fn privacy_statements_fit_their_schema() {
    let Some(python) = std::env::var_os("PFT_PYTHON") else { return };
    let house = House::new();
    let schema =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/pft-dp/privacy.schema.json");
    let check = |statement: &Path| {
        let script = "import json, sys, jsonschema\n\
                      schema, statement = (json.load(open(path)) for path in sys.argv[1:])\n\
                      jsonschema.Draft202012Validator.check_schema(schema)\n\
                      jsonschema.validate(statement, schema)";
        let mut command = std::process::Command::new(&python);
        command.args(["-c", script]).arg(&schema).arg(statement).output().unwrap()
    };
    for privacy in [None, private()] {
        let name = if privacy.is_some() { "private" } else { "plain" };
        let model = house.run(name, house.config(privacy), 1).unwrap();
        let statement = model.join("privacy.json");
        let output = check(&statement);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

        let mut broken: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&statement).unwrap()).unwrap();
        broken.as_object_mut().unwrap().remove("fit_for_release");
        let path = house.path("broken.json");
        std::fs::write(&path, broken.to_string()).unwrap();
        assert!(!check(&path).status.success(), "the schema lets anything pass");
    }
}

/// A logical batch is one step whatever the micro-batches it is computed in: one sample of units,
/// one noise, one record. Were noise added to each, the weights would be far apart.
#[test]
fn micro_batches_change_neither_sample_nor_noise() {
    let house = House::new();
    let config = |micro_batch_tokens| {
        let fixed =
            private().map(|privacy| Privacy { fixed_seed_not_for_release: Some(7), ..privacy });
        Config { micro_batch_tokens, ..house.config(fixed) }
    };
    let small = house.run("small", config(1), 1).unwrap();
    let large = house.run("large", config(100_000), 1).unwrap();
    let (one, two) = (weights(&small), weights(&large));
    assert_eq!(one.len(), two.len());
    let tensors = safetensors::SafeTensors::deserialize(&one).unwrap();
    let others = safetensors::SafeTensors::deserialize(&two).unwrap();
    for (name, tensor) in tensors.tensors() {
        let values = |bytes: &[u8]| -> Vec<f32> {
            bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
        };
        let (left, right) = (values(tensor.data()), values(others.tensor(&name).unwrap().data()));
        for (left, right) in left.iter().zip(&right) {
            assert!((left - right).abs() < 1e-4, "{name}: {left} and {right}");
        }
    }
    let steps = |model: &Path| LedgerContents::read(&model.join("ledger.jsonl")).unwrap().steps;
    assert_eq!(steps(&small), steps(&large));
}

/// A base in bf16, drawn or loaded, is one base: the same bits come out. Over a checkpoint that
/// holds the rounded weights, 32 bits give the same up to rounding.
#[test]
fn a_base_in_bf16_is_its_rounded_weights() {
    for privacy in [None, private()] {
        let house = House::new();
        let base = house.path("base");
        std::fs::create_dir(&base).unwrap();
        let fixed =
            privacy.map(|privacy| Privacy { fixed_seed_not_for_release: Some(7), ..privacy });
        let drawn = |base_precision| Config {
            lora: Some(Lora { rank: 2, ..Lora::default() }),
            base_precision,
            ..house.config(fixed.clone())
        };
        let loaded = |base_precision| Config {
            random_init: None,
            base_model: Some(base.to_string_lossy().as_ref().into()),
            ..drawn(base_precision)
        };
        let model = ModelConfig::from_json(LLAMA).unwrap();
        let weights_of = |precision| init::random_in(&model, 42, precision).unwrap();
        save_model(&base, &model, &weights_of(Precision::F32), SavedType::F32).unwrap();
        let one = house.run("drawn", drawn(Precision::Bf16), 1).unwrap();
        let two = house.run("loaded", loaded(Precision::Bf16), 2).unwrap();
        // The files differ in the record of what the weights began from, and in nothing else.
        let tensors = |model: &Path| -> Vec<(String, Vec<u8>)> {
            let bytes = weights(model);
            let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
            let mut all: Vec<_> = tensors
                .iter()
                .map(|(name, view)| (name.to_owned(), view.data().to_vec()))
                .collect();
            all.sort();
            all
        };
        assert!(tensors(&one) == tensors(&two), "private {}", fixed.is_some());
        let read = |model: &Path, name: &str| -> serde_json::Value {
            serde_json::from_slice(&std::fs::read(model.join(name)).unwrap()).unwrap()
        };
        assert_eq!(read(&two, "base.json")["precision"], "bf16");
        let hashes = ["config.json", "model.safetensors"]
            .map(|name| pft_artifact::hash_file(&base.join(name)).unwrap());
        assert_eq!(read(&two, "base.json")["blake3"], serde_json::json!(hashes));

        save_model(&base, &model, &weights_of(Precision::Bf16), SavedType::F32).unwrap();
        let three = house.run("wide", loaded(Precision::F32), 1).unwrap();
        assert_eq!(read(&three, "base.json")["precision"], "f32");
        let perplexity = |model: &Path, when: &str| {
            read(model, "evaluation.json")[when]["held_out"]["perplexity"].as_f64().unwrap()
        };
        for when in ["before", "after"] {
            let ratio = perplexity(&two, when) / perplexity(&three, when);
            assert!((ratio - 1.0).abs() < 1e-5, "{when}: {ratio}");
        }
    }
}
