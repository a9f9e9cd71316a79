//! Times whole steps of DP-SGD on the works of pft-lm's `step_bench`, with the same arguments:
//! forward, backward, clipping of every unit (all layers together, automatic), the ledger's
//! record on disk, noise (as many draws as a run for release, or `--noise-draws N`), AdamW.

#[path = "../../../crates/pft-lm/examples/works/mod.rs"]
mod works;

use pft_dp::accounting::Phase;
use pft_dp::{
    Clipping, Ledger, LedgerHeader, Mechanism, Plan, RELEASE_DRAWS, Randomness, RunSecret,
};
use pft_lm::optimizer::{Optimizer, OptimizerConfig};
use pft_stage::allocator;
use serde_json::json;
use train::private::{Noised, UnitGradients, pass_tokens};

use works::{Arguments, LENGTH, MICRO_BATCH_TOKENS, Timing, Work, peak_mb};

fn noise_draws() -> u32 {
    let arguments: Vec<String> = std::env::args().collect();
    let at = arguments.iter().position(|argument| argument == "--noise-draws");
    at.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(RELEASE_DRAWS)
}

fn mechanism(work: &Work, steps: u64) -> Mechanism {
    let declared_units = 1000;
    let plan = Plan {
        declared_units,
        units_were_counted: false,
        phase: Phase {
            sample_rate: work.batch as f64 / declared_units as f64,
            noise_multiplier: 1.0,
            steps,
        },
        delta: 1e-5,
        clipping: Clipping::default(),
        max_examples_per_unit: 1,
        noise_draws: noise_draws(),
    };
    Mechanism::new(plan, false).expect("the plan is a mechanism")
}

fn run(work: &Work, arguments: &Arguments) {
    let mut model = work.model();
    let mut optimizer = Optimizer::new(OptimizerConfig::default(), model.parameters());
    let mechanism = mechanism(work, arguments.steps as u64 + 1);
    let secret = RunSecret::new(Randomness::OperatingSystem).expect("the system has entropy");
    let folder = tempfile::tempdir().expect("a folder for the ledger");
    let header = LedgerHeader::new(
        &mechanism,
        Randomness::OperatingSystem,
        secret.commitment(),
        Default::default(),
    );
    let mut ledger =
        Ledger::open(&folder.path().join("ledger.jsonl"), &header).expect("a fresh ledger");
    let noise = mechanism.noise(&secret);
    let mut gradients = UnitGradients::new(&model, &mechanism);
    let tokens = arguments.micro_batch_tokens.unwrap_or(MICRO_BATCH_TOKENS);
    let tokens = pass_tokens(tokens, work.lora);
    let batches = work.micro_batches(model.config().vocab_size, tokens);
    let mut step = 0;
    let timing = Timing::of(arguments.steps, || {
        for batch in &batches {
            gradients.expect(&vec![1; batch.len()]);
            model.forward_backward(batch, step, &mut gradients).expect("the batch fits");
            gradients.clip().expect("every parameter is clipped");
        }
        let receipt = ledger.record(&mechanism, step).expect("the ledger takes the step");
        let mean = gradients.take().privatize(&mechanism, &noise, &receipt);
        optimizer.step(model.parameters_mut(), Noised::all(&mean), 1e-4, 1.0);
        gradients.recycle(mean);
        step += 1;
    });
    let peak = peak_mb();
    if arguments.json {
        let row = json!({
            "work": work.name, "private": true, "steps_ms": timing.steps,
            "processor_ms": timing.processor, "noise_draws": noise_draws(), "peak_rss_mb": peak,
        });
        println!("{row}");
        return;
    }
    println!(
        "{} with DP-SGD: {:.0} ms a step (median {:.0}), {:.0} tokens/s, {peak:.0} MB; \
         processor {:.0} ms",
        work.name,
        timing.fastest(),
        timing.median(),
        (work.batch * LENGTH) as f64 / timing.fastest() * 1e3,
        timing.processor,
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
