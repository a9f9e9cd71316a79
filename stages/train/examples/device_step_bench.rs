//! Times training steps on a device of candle's.
//!
//! `device_step_bench [w1|w2|w3]...|[g1|g2]... [--device candle-cpu|cuda] [--dtype f32|bf16] [--private]
//! [--steps N] [--json]`. `g1` is SmolLM2-135M's shape and `g2` that of Llama 3.2 1B, both with
//! LoRA and batches of 32 sequences. A private step clips every unit, records the step in a ledger,
//! adds the noise of a run for release, and moves it to the device.

#[path = "../../../crates/pft-lm/examples/works/mod.rs"]
mod works;

use std::error::Error;

use candle_core::{DType, Device};
use pft_dp::accounting::Phase;
use pft_dp::{
    Clipping, Ledger, LedgerHeader, Mechanism, Plan, RELEASE_DRAWS, Randomness, RunSecret,
};
use pft_lm::device::{DeviceModel, DeviceOptimizer};
use pft_lm::optimizer::{Optimizer, OptimizerConfig};
use serde_json::json;
use train::private::DeviceUnitGradients;

use works::{Arguments, LENGTH, Timing, WORKS, Work, peak_mb};

const GPU_WORKS: [Work; 2] = [
    Work { name: "g1", batch: 32, config: WORKS[2].config, lora: true },
    Work {
        name: "g2",
        config: r#"{"model_type":"llama","vocab_size":128256,"hidden_size":2048,
            "num_hidden_layers":16,"num_attention_heads":32,"num_key_value_heads":8,
            "intermediate_size":8192,"max_position_embeddings":2048,"tie_word_embeddings":true}"#,
        batch: 32,
        lora: true,
    },
];

/// The word after `--NAME`.
fn option(name: &str) -> Option<String> {
    let arguments: Vec<String> = std::env::args().collect();
    let at = arguments.iter().position(|argument| argument == name)?;
    arguments.get(at + 1).cloned()
}

fn mechanism(work: &Work, steps: u64) -> Result<Mechanism, Box<dyn Error>> {
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
        noise_draws: RELEASE_DRAWS,
    };
    Ok(Mechanism::new(plan, false)?)
}

/// The device and the type of numbers that the command line asks for.
fn place() -> Result<(Device, DType), Box<dyn Error>> {
    let device = match option("--device").as_deref() {
        Some("cuda") => Device::new_cuda(0)?,
        None | Some("candle-cpu") => Device::Cpu,
        Some(other) => return Err(format!("--device {other} is not known").into()),
    };
    let dtype = match option("--dtype").as_deref() {
        Some("bf16") => DType::BF16,
        None | Some("f32") => DType::F32,
        Some(other) => return Err(format!("--dtype {other} is not known").into()),
    };
    Ok((device, dtype))
}

fn run(work: &Work, arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let (device, dtype) = place()?;
    let private = std::env::args().any(|argument| argument == "--private");
    let host = work.model();
    let optimizer = Optimizer::new(OptimizerConfig::default(), host.parameters());
    let mut model = DeviceModel::new(&host, &device, dtype)?;
    let mut optimizer = DeviceOptimizer::new(&optimizer, host.parameters(), &model)?;
    let tokens = arguments.micro_batch_tokens.unwrap_or(usize::MAX);
    let mut batches = work.micro_batches(host.config().vocab_size, tokens);

    let mechanism = mechanism(work, arguments.steps as u64 + 1)?;
    let randomness = Randomness::OperatingSystem;
    let secret = RunSecret::new(randomness)?;
    let folder = tempfile::tempdir()?;
    let header = LedgerHeader::new(&mechanism, randomness, secret.commitment(), Default::default());
    let mut ledger = Ledger::open(&folder.path().join("ledger.jsonl"), &header)?;
    let noise = mechanism.noise(&secret);
    let mut units = DeviceUnitGradients::new(&host, &mechanism, &device);
    let mut sum = model.gradient_sum();
    if !private {
        batches.iter_mut().for_each(|batch| batch.scale(1.0 / work.batch as f32));
    }
    let mut steps = 0;
    let mut step = || -> Result<(), Box<dyn Error>> {
        let gradients = if private {
            for batch in &batches {
                units.expect(&vec![1; batch.len()]);
                model.forward_backward(batch, steps, &mut units)?;
                units.clip()?;
            }
            let receipt = ledger.record(&mechanism, steps)?;
            let mean = units.take()?.privatize(&mechanism, &noise, &receipt);
            model.upload(&mean.into_tensors())?
        } else {
            sum.clear();
            for batch in &batches {
                model.forward_backward(batch, steps, &mut sum)?;
            }
            sum.in_order()?
        };
        optimizer.step(&mut model, &gradients, 1e-4, 1.0)?;
        device.synchronize()?;
        steps += 1;
        Ok(())
    };
    let mut failed = None;
    let timing = Timing::of(arguments.steps, || {
        if failed.is_none() {
            failed = step().err();
        }
    });
    if let Some(error) = failed {
        return Err(error);
    }
    if arguments.json {
        let row = json!({
            "work": work.name, "private": private, "steps_ms": timing.steps,
            "processor_ms": timing.processor, "peak_rss_mb": peak_mb(),
        });
        println!("{row}");
        return Ok(());
    }
    println!(
        "{}{} on {device:?} in {dtype:?}: {:.0} ms a step (median {:.0}), {:.0} tokens/s, \
         {:.0} MB of the host's memory; processor {:.0} ms",
        work.name,
        if private { " with DP-SGD" } else { "" },
        timing.fastest(),
        timing.median(),
        (work.batch * LENGTH) as f64 / timing.fastest() * 1e3,
        peak_mb(),
        timing.processor,
    );
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    pft_stage::allocator::keep_pages();
    let arguments = Arguments::read();
    let named = |work: &&Work| std::env::args().any(|argument| argument == work.name);
    let on_gpus: Vec<&Work> = GPU_WORKS.iter().filter(named).collect();
    let chosen = if on_gpus.is_empty() { arguments.works.clone() } else { on_gpus };
    chosen.into_iter().try_for_each(|work| run(work, &arguments))
}
