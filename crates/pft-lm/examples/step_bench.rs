//! Times training steps of three shapes and the matrix products they are made of.
//!
//! `step_bench [w1|w2|w3]... [--steps N] [--micro-batch-tokens N] [--json]` prints a line a shape: milliseconds of a step
//! (fastest and median), tokens a second, peak resident memory, the products' own time, and the
//! ratio; the same ratio in processor time, which a busy machine disturbs less. With `--json` the
//! line is a JSON object.

mod works;

use pft_lm::config::ModelConfig;
use pft_lm::gradient::GradientSum;
use pft_lm::kernels::matmul::{Layout, weight_gradient};
use pft_lm::optimizer::{Optimizer, OptimizerConfig};
use pft_matmul::{View, product};
use pft_stage::allocator;
use rayon::prelude::*;
use serde_json::json;

use works::{Arguments, LENGTH, MICRO_BATCH_TOKENS, Timing, Work, peak_mb};

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

/// Queries whose scores the attention holds at a time.
const BLOCK: usize = 64;

/// One layer's products of attention, for each sequence and head as a task of its own: the scores
/// (with their recomputation), their gradients, and those by queries, keys and values.
fn attention(config: &ModelConfig, sequences: usize) {
    let dim = config.head_dim;
    (0..sequences * config.num_attention_heads).into_par_iter().for_each(|_| {
        let (a, b) = (vec![0.5; dim * LENGTH], vec![0.25; dim * LENGTH]);
        let (mut scores, mut c) = (vec![0.0; BLOCK * LENGTH], vec![0.0; dim * LENGTH]);
        for seen in (BLOCK..=LENGTH).step_by(BLOCK) {
            let queries = View::row_major(&a, dim);
            let turned = View::row_major(&b, LENGTH);
            let rows = View::row_major(&b, dim);
            let by_score = (scores.as_mut_ptr(), seen);
            let held = View::row_major(&scores, seen);
            let across = (c.as_mut_ptr(), LENGTH);
            let along = (c.as_mut_ptr(), dim);
            // SAFETY: the sizes are those of the slices above, and the targets are this task's.
            unsafe {
                for _ in 0..3 {
                    product(by_score, queries, turned, [BLOCK, dim, seen], 1.0, false, false);
                }
                for _ in 0..2 {
                    product(along, held, rows, [BLOCK, seen, dim], 1.0, false, false);
                    product(
                        across,
                        queries.transposed(),
                        held,
                        [dim, BLOCK, seen],
                        1.0,
                        true,
                        false,
                    );
                }
            }
        }
    });
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
        let timing = Timing::of(runs, || {
            weight_gradient(Layout::InOut, &mut c, [&a, &b], [m, n], false, true);
        });
        total.0 += timing.fastest() * times as f64;
        total.1 += timing.processor * times as f64;
    }
    let attention = Timing::of(50, || attention(config, rows / LENGTH));
    total.0 += attention.fastest() * config.num_hidden_layers as f64;
    total.1 += attention.processor * config.num_hidden_layers as f64;
    total
}

fn run(work: &Work, arguments: &Arguments) {
    let mut model = work.model();
    let config = model.config().clone();
    let mut optimizer = Optimizer::new(OptimizerConfig::default(), model.parameters());
    let mut sum = GradientSum::new(model.parameters());
    let tokens = arguments.micro_batch_tokens.unwrap_or(MICRO_BATCH_TOKENS);
    let mut batches = work.micro_batches(config.vocab_size, tokens);
    batches.iter_mut().for_each(|batch| batch.scale(1.0 / work.batch as f32));
    let mut step = 0;
    let timing = Timing::of(arguments.steps, || {
        sum.clear();
        for batch in &batches {
            model.forward_backward(batch, step, &mut sum).expect("the batch fits");
        }
        optimizer.step(model.parameters_mut(), sum.in_order(), 1e-4, 1.0);
        step += 1;
    });
    let peak = peak_mb();
    let (floor, processor_floor) = floor(&config, work.batch * LENGTH, work.lora);
    if arguments.json {
        let row = json!({
            "work": work.name, "private": false, "steps_ms": timing.steps,
            "processor_ms": timing.processor, "products_ms": floor,
            "products_processor_ms": processor_floor, "peak_rss_mb": peak,
        });
        println!("{row}");
        return;
    }
    let (fastest, processor) = (timing.fastest(), timing.processor);
    println!(
        "{}: {fastest:.0} ms a step (median {:.0}), {:.0} tokens/s, {peak:.0} MB; \
         products alone {floor:.0} ms, ratio {:.2}; processor {processor:.0} ms, ratio {:.2}",
        work.name,
        timing.median(),
        (work.batch * LENGTH) as f64 / fastest * 1e3,
        fastest / floor,
        processor / processor_floor,
    );
}

fn main() {
    allocator::keep_pages();
    let arguments = Arguments::read();
    // On a thread of the pool, as `train` does.
    rayon::scope(|_| {
        for work in &arguments.works {
            run(work, &arguments);
        }
    });
}
