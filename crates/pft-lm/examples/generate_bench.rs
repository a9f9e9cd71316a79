//! Times greedy generation with a key-value cache.
//!
//! `generate_bench [--model PATH] [--precision f32|bf16|int8] [--prompt ID,ID,…] [--tokens N]
//! [--steps N] [--json]` loads the checkpoint at PATH (the shape of SmolLM2-135M with random
//! weights without it), continues the prompt N tokens (256), once untimed and then as often as
//! `--steps` says (3), and prints the tokens a second. With `--json` it ends with a JSON object.

use std::path::Path;
use std::time::Instant;

use pft_lm::checkpoint::{Checkpoint, Precision};
use pft_lm::config::ModelConfig;
use pft_lm::model::{LanguageModel, Sampling, init};
use pft_lm::parameters::Parameters;
use pft_stage::allocator;
use serde_json::json;

const CONFIG: &str = r#"{"model_type":"llama","vocab_size":49152,"hidden_size":576,
    "num_hidden_layers":30,"num_attention_heads":9,"num_key_value_heads":3,
    "intermediate_size":1536,"max_position_embeddings":2048,"tie_word_embeddings":true}"#;

/// What follows `name` on the command line.
fn option(name: &str) -> Option<String> {
    let arguments: Vec<String> = std::env::args().collect();
    let at = arguments.iter().position(|argument| argument == name)?;
    arguments.get(at + 1).cloned()
}

fn number(name: &str, otherwise: usize) -> usize {
    option(name).and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

fn weights(precision: Precision) -> anyhow::Result<(ModelConfig, Parameters)> {
    if let Some(path) = option("--model") {
        let checkpoint = Checkpoint::open(Path::new(&path))?;
        return Ok((checkpoint.config().clone(), checkpoint.parameters(precision)?));
    }
    let config = ModelConfig::from_json(CONFIG)?;
    let parameters = init::random_in(&config, 1, precision)?;
    Ok((config, parameters))
}

/// Peak resident memory in MB, where the system tells.
fn peak_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok().map(|kilobytes: f64| kilobytes / 1024.0)
}

fn main() -> anyhow::Result<()> {
    allocator::keep_pages();
    // What is rounded to 8 bits for generation serves the prompt in 16.
    let narrow = option("--precision").is_some_and(|name| name == "bf16" || name == "int8");
    let (config, mut parameters) = weights(if narrow { Precision::Bf16 } else { Precision::F32 })?;
    parameters.set_trainable(|_| false);
    let mut model = LanguageModel::new(config, parameters, None, 1)?;
    if option("--precision").is_some_and(|name| name == "int8") {
        model.round_for_generation();
    }
    let prompt = option("--prompt").unwrap_or_else(|| "1,2,3,4".to_owned());
    let prompt = prompt.split(',').map(str::parse).collect::<Result<Vec<u32>, _>>()?;
    let sampling = Sampling {
        temperature: 0.0,
        top_k: None,
        top_p: None,
        max_new_tokens: number("--tokens", 256),
        stop_tokens: Vec::new(),
    };
    let mut new = Vec::new();
    let mut steps_ms = Vec::new();
    for step in 0..=number("--steps", 3) {
        let start = Instant::now();
        new = model.generate(&prompt, &sampling, 7)?;
        if step > 0 {
            steps_ms.push(start.elapsed().as_secs_f64() * 1e3);
        }
    }
    if std::env::args().any(|argument| argument == "--json") {
        let row = json!({
            "steps_ms": steps_ms, "tokens": new.len(), "first_tokens": &new[..new.len().min(8)],
            "peak_rss_mb": peak_mb(),
        });
        println!("{row}");
        return Ok(());
    }
    for milliseconds in steps_ms {
        let rate = new.len() as f64 / milliseconds * 1e3;
        println!("{} tokens in {milliseconds:.0} ms, {rate:.0} tokens/s", new.len());
    }
    Ok(())
}
