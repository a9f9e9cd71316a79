//! The published experiments that have a pipeline here, run as shipped but for the files that they
//! name: their data set is a few cases of its layout, their model a tiny random checkpoint.

#![allow(clippy::unwrap_used)]

use std::fmt::Write;
use std::path::Path;

use pft_lm::checkpoint::{SavedType, save_model};
use pft_lm::config::ModelConfig;
use pft_lm::model::init;
use pft_tests::{root, run_pipeline, stage};
use serde_json::{Value, json};

const GPT2: &str = r#"{"model_type":"gpt2","architectures":["GPT2LMHeadModel"],"vocab_size":1024,
    "n_embd":16,"n_layer":2,"n_head":2,"n_positions":1024,"layer_norm_epsilon":1e-5,
    "bos_token_id":0,"eos_token_id":0}"#;
const LLAMA: &str = r#"{"model_type":"llama","architectures":["LlamaForCausalLM"],
    "vocab_size":1024,"hidden_size":16,"intermediate_size":24,"num_hidden_layers":2,
    "num_attention_heads":2,"num_key_value_heads":1,"max_position_embeddings":1024,
    "rms_norm_eps":1e-5,"tie_word_embeddings":false,"bos_token_id":1,"eos_token_id":2}"#;

/// A checkpoint with random weights, as transformers would save it.
fn write_checkpoint(folder: &Path, config: &str) {
    std::fs::create_dir_all(folder).unwrap();
    let config = ModelConfig::from_json(config).unwrap();
    let parameters = init::random(&config, 4).unwrap();
    save_model(folder, &config, &parameters, SavedType::F32).unwrap();
}

/// Cases in the layout of `ecthr_cases`: `facts` is a list of paragraphs.
fn write_cases(path: &Path) {
    let mut lines = String::new();
    for case in 0..40 {
        let facts: Vec<String> = (0..6)
            .map(|paragraph| {
                format!(
                    "{paragraph}. On {} March 19{}, Mr Josef Novak lodged application no. \
                     {}/0{} with the Commission.",
                    1 + (case + paragraph) % 28,
                    60 + case % 39,
                    10_000 + 37 * case,
                    paragraph,
                )
            })
            .collect();
        let case = json!({ "item_id": format!("001-{case}"), "facts": facts });
        writeln!(lines, "{case}").unwrap();
    }
    std::fs::write(path, lines).unwrap();
}

/// Runs a shipped pipeline with a tiny model and a small data set; returns its model and bundle.
fn experiment(name: &str, config: &str, tokenizer: &str) -> (Value, Value) {
    let folder = tempfile::tempdir().unwrap();
    write_checkpoint(&folder.path().join("tiny"), config);
    write_cases(&folder.path().join("cases.jsonl"));
    let file = root().join(format!("pipelines/{name}.yml"));
    let file = file.to_string_lossy();
    let tokenizer = root().join("tests/fixtures").join(tokenizer);
    let mut settings: Vec<String> =
        ["cases.path=cases.jsonl", "model.base_model=tiny", "model.max_steps=3"]
            .map(String::from)
            .into();
    settings.push(format!("tokens.tokenizer={}", tokenizer.display()));
    if name.ends_with("scrubbed") {
        settings.push(format!("held_out.tokenizer={}", tokenizer.display()));
    }
    let mut arguments = vec![file.as_ref()];
    for setting in &settings {
        arguments.extend(["--set", setting]);
    }
    let result = run_pipeline(&arguments, folder.path());
    let read = |stage_name: &str, file: &str| -> Value {
        let path = stage(&result, stage_name)["path"].as_str().unwrap();
        serde_json::from_slice(&std::fs::read(Path::new(path).join(file)).unwrap()).unwrap()
    };
    (read("model", "train.json"), read("release", "privacy.json"))
}

#[test]
fn gpt2_on_echr_with_and_without_privacy() {
    let (trained, privacy) = experiment("echr-gpt2-dp8", GPT2, "tokenizers/gpt-2.gguf");
    assert_eq!(trained["trainable_parameters"], trained["parameters"]);
    assert_eq!(privacy["steps"], 3);
    let epsilon = privacy["epsilon"][0]["epsilon"].as_f64().unwrap();
    assert!(epsilon > 7.9 && epsilon <= 8.0, "{epsilon}");

    let (trained, privacy) = experiment("echr-gpt2-scrubbed", GPT2, "tokenizers/gpt-2.gguf");
    assert_eq!(trained["differential_privacy"], false);
    assert_eq!(privacy["epsilon"], json!([]));
}

#[test]
fn llama2_and_llama3_on_echr_with_adapters() {
    for (name, tokenizer) in [
        ("echr-llama2-7b-dp8", "tokenizers/llama.gguf"),
        ("echr-llama3-8b-instruct-dp8", "tokenizers/llama-bpe.gguf"),
    ] {
        let (trained, privacy) = experiment(name, LLAMA, tokenizer);
        assert_eq!(trained["lora"]["rank"], 4, "{name}");
        assert_eq!(trained["lora"]["alpha"], 32.0, "{name}");
        // Rank 4 on q, k, v and o of two layers of width 16 with one key-value head of width 8.
        assert_eq!(trained["trainable_parameters"], 2 * 4 * (32 + 24 + 24 + 32), "{name}");
        // LLM-PFT's split is kept to compare with its runs; documents in it depend on each other.
        assert_eq!(privacy["fit_for_release"], false, "{name}: {privacy}");
        assert!(privacy["couplings"][0].as_str().unwrap().contains("llm-pft"), "{privacy}");
    }
}
