//! Times training steps of three shapes and the matrix products they are made of.
//!
//! `step_bench [w1|w2|w3]... [--steps N]` prints a line a shape: milliseconds of a step (fastest
//! and median), tokens a second, peak resident memory, the products' own time, and the ratio; the
//! same ratio in processor time, which a busy machine disturbs less.

use std::time::Instant;

use pft_lm::allocator;
use pft_lm::batch::Batch;
use pft_lm::config::ModelConfig;
use pft_lm::gradient::GradientSum;
use pft_lm::kernels::matmul::{Layout, weight_gradient};
use pft_lm::layers::lora::LoraConfig;
use pft_lm::model::{LanguageModel, init};
use pft_lm::optimizer::{Optimizer, OptimizerConfig};

struct Work {
    name: &'static str,
    config: &'static str,
    batch: usize,
    lora: bool,
}

const WORKS: [Work; 3] = [
    Work {
        name: "w1",
        config: r#"{"model_type":"gpt2","vocab_size":8192,"n_embd":256,"n_layer":6,"n_head":4,
            "n_positions":256,"tie_word_embeddings":false}"#,
        batch: 8,
        lora: false,
    },
    Work {
        name: "w2",
        config: r#"{"model_type":"gpt2","vocab_size":50257,"n_embd":768,"n_layer":12,"n_head":12,
            "n_positions":1024,"tie_word_embeddings":false}"#,
        batch: 4,
        lora: false,
    },
    Work {
        name: "w3",
        config: r#"{"model_type":"llama","vocab_size":49152,"hidden_size":576,
            "num_hidden_layers":30,"num_attention_heads":9,"num_key_value_heads":3,
            "intermediate_size":1536,"max_position_embeddings":2048,"tie_word_embeddings":true}"#,
        batch: 4,
        lora: true,
    },
];

const LENGTH: usize = 256;

/// Milliseconds of `run`.
fn time(run: impl FnOnce()) -> f64 {
    let start = Instant::now();
    run();
    start.elapsed().as_secs_f64() * 1e3
}

/// Processor milliseconds of this process so far, where the system tells.
fn processor_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Fields 14 and 15, counted after the parenthesised name, in hundredths of a second.
    let ticks = |field: usize| -> Option<f64> {
        stat.rsplit(')').next()?.split_whitespace().nth(field - 3)?.parse().ok()
    };
    (ticks(14).unwrap_or(f64::NAN) + ticks(15).unwrap_or(f64::NAN)) * 10.0
}

/// What several runs of the same work took, in milliseconds.
struct Timing {
    fastest: f64,
    median: f64,
    processor: f64,
}

/// Times `runs` runs after an untimed one.
fn timings(runs: usize, mut run: impl FnMut()) -> Timing {
    run();
    let processor = processor_ms();
    let mut times: Vec<f64> = (0..runs).map(|_| time(&mut run)).collect();
    let processor = (processor_ms() - processor) / runs as f64;
    times.sort_by(f64::total_cmp);
    Timing { fastest: times[0], median: times[times.len() / 2], processor }
}

/// The products of one step as `(rows, inputs, outputs, times)`, each as its own multiply.
fn products(config: &ModelConfig, rows: usize, lora: bool) -> Vec<(usize, usize, usize, usize)> {
    let (width, inner) = (config.hidden_size, config.intermediate_size);
    let queries = config.num_attention_heads * config.head_dim;
    let keys = config.num_key_value_heads * config.head_dim;
    // Forward and the input's gradient always; the weight's gradient where it trains.
    let passes = if lora { 2 } else { 3 };
    let layers = config.num_hidden_layers * passes;
    let mlp = if lora { 3 } else { 2 };
    vec![
        (rows, width, queries + 2 * keys, layers),
        (rows, queries, width, layers),
        (rows, width, inner, layers * mlp),
        (rows, width, config.vocab_size, passes),
    ]
}

/// The fastest and the processor time of a step's products, written into kept memory.
fn floor(config: &ModelConfig, rows: usize, lora: bool) -> (f64, f64) {
    let mut total = (0.0, 0.0);
    for (m, k, n, times) in products(config, rows, lora) {
        let (a, b) = (vec![0.5; m * k], vec![0.25; k * n]);
        let mut c = vec![0.0; m * n];
        // As inputᵀ · gradient: `[m, k] · [k, n]` with `a` read across. Small products run
        // often enough for the processor clock's hundredths of a second.
        let runs = (20_000_000_000 / (2 * m * k * n)).clamp(3, 100);
        let product = || weight_gradient(Layout::InOut, &mut c, &a, &b, [k, m, n], false);
        let timing = timings(runs, product);
        total.0 += timing.fastest * times as f64;
        total.1 += timing.processor * times as f64;
    }
    total
}

/// Peak resident memory in MB, where the system tells.
fn peak_mb() -> f64 {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
            line.split_whitespace().nth(1)?.parse::<f64>().ok()
        })
        .map_or(f64::NAN, |kilobytes| kilobytes / 1024.0)
}

fn run(work: &Work, steps: usize) {
    let config = ModelConfig::from_json(work.config).expect("the config is well formed");
    let parameters = init::random(&config, 1).expect("the config names each parameter once");
    let lora = work.lora.then(|| LoraConfig {
        rank: 8,
        alpha: 16.0,
        dropout: 0.0,
        target_modules: vec!["q_proj".to_owned(), "v_proj".to_owned()],
    });
    let mut model = LanguageModel::new(config.clone(), parameters, lora, 1).expect("they fit");
    let mut optimizer = Optimizer::new(OptimizerConfig::default(), model.parameters());
    let mut sum = GradientSum::new(model.parameters());
    let token = |i: usize| (i * 7919 % config.vocab_size) as u32;
    let sequences: Vec<Vec<u32>> =
        (0..work.batch).map(|s| (0..LENGTH).map(|i| token(s * LENGTH + i)).collect()).collect();
    let mut batch = Batch::new(&sequences).expect("no sequence is empty");
    batch.scale(1.0 / work.batch as f32);
    let mut step = 0;
    let timing = timings(steps, || {
        sum.clear();
        model.forward_backward(&batch, step, &mut sum).expect("the batch fits");
        optimizer.step(model.parameters_mut(), sum.in_order(), 1e-4, 1.0);
        step += 1;
    });
    let peak = peak_mb();
    let (floor, processor_floor) = floor(&config, batch.rows(), work.lora);
    let Timing { fastest, median, processor } = timing;
    println!(
        "{}: {fastest:.0} ms a step (median {median:.0}), {:.0} tokens/s, {peak:.0} MB; \
         products alone {floor:.0} ms, ratio {:.2}; processor {processor:.0} ms, ratio {:.2}",
        work.name,
        batch.rows() as f64 / fastest * 1e3,
        fastest / floor,
        processor / processor_floor,
    );
}

fn main() {
    allocator::keep_pages();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let steps = arguments
        .iter()
        .position(|argument| argument == "--steps")
        .and_then(|at| arguments.get(at + 1)?.parse().ok())
        .unwrap_or(5);
    let named = |work: &Work| arguments.iter().any(|argument| argument == work.name);
    let all = !WORKS.iter().any(named);
    for work in WORKS.iter().filter(|work| all || named(work)) {
        run(work, steps);
    }
}
