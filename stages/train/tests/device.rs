//! Whole runs by the code for GPUs, on candle's CPU backend, beside runs of pft's own kernels.

#![allow(clippy::unwrap_used)]

mod house;

use std::path::Path;
use std::process::Command;

use house::{House, private, weights};
use pft_dp::LedgerContents;
use safetensors::SafeTensors;
use train::Config;
use train::config::{Device, Dtype, Lora, Privacy};

fn read(model: &Path, name: &str) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(model.join(name)).unwrap()).unwrap()
}

/// The largest difference between two models' weights.
fn difference(one: &Path, two: &Path) -> f32 {
    let (one, two) = (weights(one), weights(two));
    let (one, two) =
        (SafeTensors::deserialize(&one).unwrap(), SafeTensors::deserialize(&two).unwrap());
    assert_eq!(one.len(), two.len());
    let values = |bytes: &[u8]| -> Vec<f32> {
        bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    };
    let mut largest = 0.0f32;
    for (name, tensor) in one.tensors() {
        let (left, right) = (values(tensor.data()), values(two.tensor(&name).unwrap().data()));
        for (left, right) in left.iter().zip(&right) {
            largest = largest.max((left - right).abs());
        }
    }
    largest
}

fn fixed() -> Option<Privacy> {
    private().map(|privacy| Privacy { fixed_seed_not_for_release: Some(7), ..privacy })
}

/// The same sample and the same noise meet the same gradients: weights, scores and what is said of
/// privacy are those of the CPU.
#[test]
fn a_run_ends_where_the_cpu_s_does() {
    for (privacy, lora) in [(None, false), (None, true), (fixed(), false), (fixed(), true)] {
        let house = House::new();
        let config = |device| Config {
            device,
            lora: lora.then(|| Lora { rank: 2, ..Lora::default() }),
            ..house.config(privacy.clone())
        };
        let cpu = house.run("cpu", config(Device::Cpu), 2).unwrap();
        let device = house.run("device", config(Device::CandleCpu), 2).unwrap();
        let what = format!("private {}, LoRA {lora}", privacy.is_some());
        let apart = difference(&cpu, &device);
        assert!(apart < 1e-4, "{what}: weights are {apart} apart");
        assert!(apart > 0.0, "{what}: both were computed by the same code");
        for when in ["before", "after"] {
            for part in ["held_out", "train"] {
                let perplexity = |model: &Path| {
                    read(model, "evaluation.json")[when][part]["perplexity"].as_f64().unwrap()
                };
                let ratio = perplexity(&device) / perplexity(&cpu);
                assert!((ratio - 1.0).abs() < 1e-4, "{what}, {when}, {part}: {ratio}");
            }
        }
        // All but the hash of the settings, of which the device is one.
        let statement = |model: &Path| {
            let mut statement = read(model, "privacy.json");
            if let Some(inputs) = statement.get_mut("inputs").and_then(|i| i.as_object_mut()) {
                assert!(inputs.remove("settings").is_some());
            }
            statement
        };
        assert_eq!(statement(&cpu), statement(&device), "{what}");
        if privacy.is_some() {
            let ledger = |model: &Path| LedgerContents::read(&model.join("ledger.jsonl")).unwrap();
            assert_eq!(ledger(&cpu).steps, ledger(&device).steps);
            train::verify::verify(&device).unwrap();
        }
    }
}

#[test]
fn a_resumed_run_has_the_bits_of_an_uninterrupted_one() {
    for privacy in [None, fixed()] {
        let house = House::new();
        let config = || Config { device: Device::CandleCpu, ..house.config(privacy.clone()) };
        let whole = house.run("whole", config(), 2).unwrap();
        let checkpoints = house.path("whole").join("checkpoints");
        std::fs::remove_dir_all(checkpoints.join("step-000000004")).unwrap();
        let before = weights(&whole);
        std::fs::remove_dir_all(&whole).unwrap();
        let resumed = house.run("whole", config(), 2).unwrap();
        assert!(before == weights(&resumed), "private {}", privacy.is_some());
        if privacy.is_some() {
            let ledger = LedgerContents::read(&resumed.join("ledger.jsonl")).unwrap();
            assert_eq!(ledger.steps.len(), 6);
        }
    }
}

#[test]
fn in_bf16_a_run_ends_near() {
    let house = House::new();
    let config = |device, dtype| Config { device, dtype, ..house.config(fixed()) };
    let cpu = house.run("cpu", config(Device::Cpu, Dtype::F32), 1).unwrap();
    let exact = house.run("exact", config(Device::CandleCpu, Dtype::F32), 1).unwrap();
    let device = house.run("device", config(Device::CandleCpu, Dtype::Bf16), 1).unwrap();
    let perplexity = |model: &Path| {
        read(model, "evaluation.json")["after"]["train"]["perplexity"].as_f64().unwrap()
    };
    let ratio = perplexity(&device) / perplexity(&cpu);
    assert!((ratio - 1.0).abs() < 0.05, "perplexity is {ratio} of the CPU's");
    let (rounded, apart) = (difference(&cpu, &device), difference(&cpu, &exact));
    assert!(rounded > 10.0 * apart, "bf16 rounds: {rounded} is not more than {apart}");
}

/// The real process, whose build has no GPU: what to do is in the message.
#[cfg(not(feature = "cuda"))]
#[test]
fn a_gpu_without_a_build_for_it_is_refused() {
    let house = House::new();
    let config = Config { device: Device::Cuda(0), ..house.config(None) };
    let path = house.path("config.json");
    std::fs::write(&path, serde_json::to_string(&config).unwrap()).unwrap();
    let run = |settings: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_train"));
        command.arg("--config").arg(&path);
        command.arg("--input").arg(format!("tokens={}", house.path("tokens").display()));
        command.arg("--output").arg(house.path("model"));
        let output = command.args(settings).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, message) = run(&[]);
    assert_eq!(code, Some(2), "{message}");
    assert!(message.contains("device: cuda"), "{message}");
    assert!(message.contains("cargo build --release -p train --features cuda"), "{message}");
    let (code, message) = run(&["--set", "device=gpu"]);
    assert_eq!(code, Some(2), "{message}");
    assert!(message.contains("\"gpu\" is none of cpu, cuda"), "{message}");
    let (code, message) = run(&["--set", "device=cpu", "--set", "dtype=bf16"]);
    assert_eq!(code, Some(2), "{message}");
    assert!(message.contains("dtype"), "{message}");
    assert!(!house.path("model").join("manifest.json").exists());
}
