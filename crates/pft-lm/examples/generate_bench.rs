//! Times generation with a key-value cache on the shape of SmolLM2-135M, random weights.
//!
//! `generate_bench [f32|bf16] [TOKENS]` prints the tokens a second.

use std::time::Instant;

use pft_lm::config::ModelConfig;
use pft_lm::model::{LanguageModel, Sampling, init};

const CONFIG: &str = r#"{"model_type":"llama","vocab_size":49152,"hidden_size":576,
    "num_hidden_layers":30,"num_attention_heads":9,"num_key_value_heads":3,
    "intermediate_size":1536,"max_position_embeddings":2048,"tie_word_embeddings":true}"#;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let narrow = arguments.iter().any(|argument| argument == "bf16");
    let tokens = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(256);
    let config = ModelConfig::from_json(CONFIG).expect("the config is well formed");
    let draw = if narrow { init::random_bf16 } else { init::random };
    let mut parameters = draw(&config, 1).expect("the config names each parameter once");
    parameters.set_trainable(|_| false);
    let mut model = LanguageModel::new(config, parameters, None, 1).expect("they fit");
    let sampling = Sampling {
        temperature: 0.8,
        top_k: Some(50),
        top_p: Some(0.95),
        max_new_tokens: tokens,
        stop_tokens: Vec::new(),
    };
    let start = Instant::now();
    let new = model.generate(&[1, 2, 3, 4], &sampling, 7).expect("the prompt fits");
    let seconds = start.elapsed().as_secs_f64();
    println!("{} tokens in {seconds:.2} s, {:.0} tokens/s", new.len(), new.len() as f64 / seconds);
}
