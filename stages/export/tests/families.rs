//! Models of every family that a GGUF file can hold, beside llama.cpp.

#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "house/mod.rs"]
mod house;

use export::{Config, GgufType};
use pft_lm::batch::Batch;
use pft_lm::checkpoint::{Checkpoint, Precision};
use pft_lm::config::ModelConfig;
use pft_lm::model::LanguageModel;
use serde_json::{Value, json};

use house::{Bundle, byte_level, python, tokenizer};

/// Fields of a family's config beyond those that all have.
type Family = (&'static str, &'static str, Value);

/// Every switch that a family's file can say is set; windows are shorter than the prompt.
fn families() -> Vec<Family> {
    let phi =
        json!({ "partial_rotary_factor": 0.5, "hidden_act": "gelu_new", "num_key_value_heads": 2 });
    let gemma = json!({
        "head_dim": 24, "query_pre_attn_scalar": 24, "sliding_window": 11, "tie_word_embeddings": true,
        "hidden_activation": "gelu_pytorch_tanh",
    });
    let with = |base: &Value, more: Value| {
        let mut all = base.clone();
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let second = json!({ "attn_logit_softcapping": 1.5, "final_logit_softcapping": 2.5 });
    let third = json!({
        "num_hidden_layers": 7, "rope_theta": 1e6, "rope_local_base_freq": 1e4,
        "sliding_window_pattern": 6,
        "rope_scaling": { "rope_type": "linear", "factor": 2.0 },
    });
    vec![
        (
            "GPT2LMHeadModel",
            "gpt2",
            json!({ "activation_function": "gelu_new", "n_embd": 64,
            "n_inner": 96, "n_layer": 2, "n_head": 4, "n_positions": 128 }),
        ),
        ("LlamaForCausalLM", "llama", json!({ "attention_bias": true, "head_dim": 24 })),
        ("MistralForCausalLM", "mistral", json!({ "sliding_window": 128 })),
        ("GPTNeoXForCausalLM", "gpt_neox", json!({ "rotary_pct": 0.5, "hidden_act": "gelu_new" })),
        (
            "GPTNeoXForCausalLM",
            "gpt_neox",
            json!({ "rotary_pct": 0.25, "hidden_act": "gelu_new",
            "use_parallel_residual": false }),
        ),
        ("Qwen2ForCausalLM", "qwen2", json!({ "tie_word_embeddings": true })),
        ("Qwen3ForCausalLM", "qwen3", json!({ "head_dim": 24 })),
        ("Gemma2ForCausalLM", "gemma2", with(&gemma, second)),
        ("Gemma3ForCausalLM", "gemma3_text", with(&gemma, third)),
        ("Olmo2ForCausalLM", "olmo2", json!({})),
        ("SmolLM3ForCausalLM", "smollm3", json!({ "num_hidden_layers": 5 })),
        (
            "GraniteForCausalLM",
            "granite",
            json!({ "attention_multiplier": 0.2,
            "embedding_multiplier": 6.0, "residual_multiplier": 0.3, "logits_scaling": 1.7 }),
        ),
        ("PhiForCausalLM", "phi", with(&phi, json!({}))),
        ("Phi3ForCausalLM", "phi3", json!({ "partial_rotary_factor": 0.5 })),
    ]
}

fn config((class, model_type, fields): &Family) -> ModelConfig {
    let mut json = json!({
        "architectures": [class], "model_type": model_type, "vocab_size": house::ROWS,
        "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 128, "rope_theta": 500.0,
        "initializer_range": 0.2, "tie_word_embeddings": false, "bos_token_id": house::ROWS - 1,
        "eos_token_id": house::ROWS - 1,
    });
    json.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    ModelConfig::from_json(&json.to_string()).unwrap()
}

/// Ids that repeat nothing for long, so that every position sees another context.
fn prompt() -> Vec<u32> {
    (0..60u32).map(|at| (at * at * 31 + at * 7 + 5) % (house::ROWS as u32 - 1)).collect()
}

/// llama.cpp computes from the file what the trained model does, and so does pft from what it reads
/// back.
#[test]
fn every_family_in_gguf_is_computed_by_llama_cpp() {
    let json = tokenizer(byte_level(false, true));
    let export = Config { gguf: Some(GgufType::F32), ..Config::default() };
    let ids: Vec<u32> = prompt();
    let mut arguments = Vec::new();
    let mut kept = Vec::new();
    for family in families() {
        let bundle = Bundle::export(config(&family), &json, json!({}), export.clone())
            .unwrap_or_else(|error| panic!("{}: {error}", family.0));
        let expected = bundle.logits(&ids);
        let path = bundle.path("model.gguf");
        let checkpoint = Checkpoint::open(&path).unwrap();
        let parameters = checkpoint.parameters(Precision::F32).unwrap();
        let mut read =
            LanguageModel::new(checkpoint.config().clone(), parameters, None, 0).unwrap();
        let found = read.logits(&Batch::new(&[&ids]).unwrap()).unwrap();
        let largest = expected.iter().fold(0.0f32, |most, logit| most.max(logit.abs()));
        for (found, expected) in found.iter().zip(&expected) {
            assert!((found - expected).abs() <= 1e-5 * largest, "{}", family.0);
        }
        let told = json!({ "texts": [], "prompt": ids, "logits": expected, "exact": true });
        let note = bundle.root.path().join("told.json");
        std::fs::write(&note, told.to_string()).unwrap();
        arguments.extend([path, note]);
        kept.push(bundle);
    }
    python("llama_cpp.py", &arguments, None);
}
