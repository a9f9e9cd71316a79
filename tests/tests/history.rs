//! What a bundle went through is known to whoever trains on it, whichever of its files is taken; by the
//! real binaries, from a corpus to the card of the second model.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use pft_tests::{Finished, root, run, run_pipeline, stage};
use serde_json::Value;

/// A model that trains in a moment, over SmolLM2's vocabulary.
const TINY: &str = r#"{"model_type":"llama","architectures":["LlamaForCausalLM"],"vocab_size":49152,
    "hidden_size":16,"intermediate_size":24,"num_hidden_layers":2,"num_attention_heads":2,
    "num_key_value_heads":1,"max_position_embeddings":256,"rms_norm_eps":1e-5,
    "tie_word_embeddings":true,"bos_token_id":1,"eos_token_id":2}"#;

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Two defences on one small corpus, a bundle with GGUF of each.
fn bundles(folder: &Path) -> Value {
    std::fs::write(folder.join("tiny.json"), TINY).unwrap();
    let file = root().join("pipelines/echr-compare.yml").to_string_lossy().into_owned();
    let mut arguments = vec![file.as_str()];
    for set in [
        "cases.synthetic.units=40",
        "tags.backends=[{kind: rules}]",
        "model.base_model=null",
        "model.random_init=tiny.json",
        "model.lora=null",
        "model.max_steps=3",
        "model.batch_size=4",
        "model.samples.prompts=[]",
        "release.gguf=f32",
    ] {
        arguments.extend(["--set", set]);
    }
    run_pipeline(&arguments, folder)
}

/// A private training on `base`, and the export of what it makes; how training ended.
fn train_on(folder: &Path, tokens: &Path, base: &Path, name: &str) -> (Finished, PathBuf) {
    let (model, bundle) = (folder.join(format!("{name}-model")), folder.join(name));
    let config = format!(
        "base_model: {}\nbase_has_seen: nothing\nmax_steps: 3\nbatch_size: 4\n\
         privacy: {{ target_epsilon: 1, units: 40 }}\n",
        base.display()
    );
    let file = folder.join(format!("{name}.yml"));
    std::fs::write(&file, config).unwrap();
    let path = |path: &Path| path.to_string_lossy().into_owned();
    let (file, output) = (path(&file), path(&model));
    let input = format!("tokens={}", tokens.display());
    let trained = run(
        "train",
        &["--config", &file, "--input", &input, "--output", &output, "--progress", "plain"],
        folder,
    );
    if trained.code == 0 {
        let (input, output) = (format!("model={output}"), path(&bundle));
        let exported = run("export", &["--input", &input, "--output", &output], folder);
        assert_eq!(exported.code, 0, "{}", exported.stderr);
    }
    (trained, bundle)
}

#[test]
fn a_bundle_tells_the_next_training_what_it_went_through() {
    let folder = tempfile::tempdir().unwrap();
    let made = bundles(folder.path());
    let at = |name: &str| PathBuf::from(stage(&made, name)["path"].as_str().unwrap());
    let tokens = at("echr-undefended/tokens");
    let release = at("echr-undefended/release");
    let alone = folder.path().join("alone.gguf");
    std::fs::copy(release.join("model.gguf"), &alone).unwrap();
    let pair = folder.path().join("pair");
    std::fs::create_dir(&pair).unwrap();
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(release.join(name), pair.join(name)).unwrap();
    }
    for (name, base) in [
        ("on-bundle", &release),
        ("on-gguf", &alone),
        ("on-pair", &pair),
        ("on-artifact", &at("echr-undefended/model")),
    ] {
        let (trained, bundle) = train_on(folder.path(), &tokens, base, name);
        assert_eq!(trained.code, 0, "{name}: {}", trained.stderr);
        // Said before the first step, and no ε at any time.
        let said = trained.stderr.find("the model will not be private");
        let first = trained.stderr.find("step 0: perplexity");
        assert!(said.is_some() && said < first, "{name}: {}", trained.stderr);
        assert!(!trained.stderr.contains("ε "), "{name}: {}", trained.stderr);
        let privacy = read_json(&bundle.join("privacy.json"));
        assert_eq!(privacy["fit_for_release"], false, "{name}");
        assert_eq!(privacy["epsilon"], serde_json::json!([]), "{name}");
        assert!(privacy["base"]["checkpoint"]["files"].is_null(), "{name}: {privacy}");
        let card = std::fs::read_to_string(bundle.join("README.md")).unwrap();
        assert!(card.contains("No bound holds") && card.contains("Defence: **none**"), "{card}");
        let model = folder.path().join(format!("{name}-model"));
        let manifest = read_json(&model.join("manifest.json"));
        assert!(manifest["provenance"]["metrics"]["epsilon"].is_null(), "{name}: {manifest}");
        let verified = run("train", &["verify", &model.to_string_lossy()], folder.path());
        assert_eq!(verified.code, 3, "{name}: {}", verified.stdout);
        assert!(verified.stderr.contains("No bound holds"), "{}", verified.stderr);
    }

    // A private bundle has spent its ε already, and the target is for both.
    let (trained, _) =
        train_on(folder.path(), &tokens, &at("echr-dp8/release").join("model.gguf"), "spent");
    assert_eq!(trained.code, 2, "{}", trained.stderr);
    assert!(trained.stderr.contains("has spent ε"), "{}", trained.stderr);
}
