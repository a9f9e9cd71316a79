//! Logits, gradients and training steps against PyTorch, on tiny random models of every shape that
//! matters (made by `tests/reference/gradients.py`, and those of every family by `families.py`).

#![allow(clippy::unwrap_used)]

mod fixtures;

use fixtures::{Fixture, MODELS};
use pft_lm::batch::Batch;
use pft_lm::config::ModelConfig;
use pft_lm::gradient::GradientSum;
use pft_lm::model::{LanguageModel, Sampling};
use pft_lm::optimizer::{Optimizer, OptimizerConfig, clip_factor, global_norm};
use pft_lm::parameters::{ParameterKind, ParameterSpec, Parameters, Tensor, parameter_specs};
use pft_lm::schedule::{Schedule, ScheduleKind};

/// The largest difference over the largest value.
fn distance(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0.0f64, |max, &value| max.max(f64::from(value.abs())));
    let difference = found
        .iter()
        .zip(expected)
        .map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs())
        .fold(0.0, f64::max);
    difference / largest.max(1e-6)
}

#[test]
fn logits_are_those_of_transformers() {
    for name in MODELS {
        let fixture = Fixture::read(name);
        let mut model = fixture.model();
        let batch = Batch::new(&fixture.sequences()).unwrap();
        let logits = model.logits(&batch).unwrap();
        let mut rows = logits.chunks_exact(fixture.config.vocab_size);
        for index in 0..batch.len() {
            let expected = fixture.tensors[&format!("logits/{index}")].as_f32().unwrap();
            let length = batch.offsets()[index + 1] - batch.offsets()[index];
            let found: Vec<f32> = rows.by_ref().take(length).flatten().copied().collect();
            let distance = distance(&found, expected);
            assert!(distance < 1e-5, "{name}, sequence {index}: {distance:e}");
        }
    }
}

#[test]
fn gradients_are_those_of_pytorch() {
    for name in MODELS {
        let fixture = Fixture::read(name);
        for checkpoint in [false, true] {
            let mut model = fixture.model();
            model.set_checkpoint_activations(checkpoint);
            let batch = Batch::new(&fixture.sequences()).unwrap();
            let mut sum = GradientSum::new(model.parameters());
            model.forward_backward(&batch, 0, &mut sum).unwrap();
            let mut checked = 0;
            for (id, parameter) in model.parameters().iter() {
                let spec = &parameter.spec;
                let name_there = spec.name.replace("embed_out", "lm_head");
                let expected = [&spec.name, &name_there]
                    .into_iter()
                    .find_map(|name| fixture.tensors.get(&format!("grad/{name}")));
                let Some(expected) = expected else {
                    assert!(sum.get(id).is_none(), "{name}: {} is frozen", spec.name);
                    continue;
                };
                let distance = distance(sum.get(id).unwrap(), expected.as_f32().unwrap());
                assert!(distance < 2e-5, "{name}: {} is off by {distance:e}", spec.name);
                checked += 1;
            }
            let expected = fixture.tensors.keys().filter(|key| key.starts_with("grad/")).count();
            assert_eq!(checked, expected, "{name}");
        }
    }
}

#[test]
fn steps_follow_pytorch() {
    for name in MODELS {
        let fixture = Fixture::read(name);
        let mut model = fixture.model();
        let settings = &fixture.metadata["settings"];
        let number = |key: &str| settings[key].as_f64().unwrap();
        let schedule = Schedule {
            kind: ScheduleKind::Cosine,
            learning_rate: number("learning_rate"),
            warmup_steps: number("warmup_steps") as u64,
            total_steps: number("steps") as u64,
        };
        let config = OptimizerConfig::AdamW {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: number("weight_decay"),
        };
        let mut optimizer = Optimizer::new(config, model.parameters());
        let mut sum = GradientSum::new(model.parameters());
        let batches: Vec<Vec<Vec<u32>>> =
            serde_json::from_value(fixture.metadata["batches"].clone()).unwrap();
        let expected: Vec<f64> =
            serde_json::from_value(fixture.metadata["losses"].clone()).unwrap();
        for (step, expected) in expected.into_iter().enumerate() {
            let mut batch = Batch::new(&batches[step % batches.len()]).unwrap();
            batch.scale(1.0 / batch.len() as f32);
            sum.clear();
            let loss = model.forward_backward(&batch, step as u64, &mut sum).unwrap().total();
            assert!((loss - expected).abs() < 1e-3, "{name}, step {step}: {loss} not {expected}");
            let factor = clip_factor(global_norm(&mut sum), number("max_grad_norm"));
            let rate = schedule.rate(step as u64);
            optimizer.step(model.parameters_mut(), sum.in_order(), rate, factor);
        }
    }
}

#[test]
fn greedy_decoding_with_kept_keys_adds_the_tokens_of_transformers() {
    for name in MODELS.into_iter().filter(|name| name.starts_with("families/")) {
        let fixture = Fixture::read(name);
        let greedy = &fixture.metadata["greedy"];
        let ids = |key: &str| -> Vec<u32> { serde_json::from_value(greedy[key].clone()).unwrap() };
        let expected = ids("tokens");
        let sampling = Sampling {
            temperature: 0.0,
            top_k: None,
            top_p: None,
            max_new_tokens: expected.len(),
            stop_tokens: Vec::new(),
        };
        let found = fixture.model().generate(&ids("prompt"), &sampling, 0).unwrap();
        assert_eq!(found, expected, "{name}");
    }
}

#[test]
fn every_config_survives_a_round_trip() {
    for name in MODELS {
        let config = Fixture::read(name).config;
        let again = ModelConfig::from_json(&config.to_json()).unwrap();
        assert_eq!(again, config, "{name}");
    }
}

#[test]
fn a_merged_adapter_computes_what_the_adapter_did() {
    for name in MODELS.into_iter().filter(|name| name.ends_with("-lora")) {
        let fixture = Fixture::read(name);
        let mut adapted = fixture.model();
        let merged = adapted.clone().into_merged().unwrap();
        let mut merged = LanguageModel::new(fixture.config.clone(), merged, None, 0).unwrap();
        let batch = Batch::new(&fixture.sequences()).unwrap();
        let distance = distance(&merged.logits(&batch).unwrap(), &adapted.logits(&batch).unwrap());
        assert!(distance < 1e-5, "{name}: {distance:e}");
    }
}

#[test]
fn a_weight_that_is_not_there_or_misshapen_is_named() {
    let fixture = Fixture::read("llama-untied");
    let make = |change: &dyn Fn(&ParameterSpec) -> Option<Tensor>| {
        let mut parameters = Parameters::new();
        for spec in parameter_specs(&fixture.config) {
            let Some(tensor) = change(&spec) else { continue };
            let spec = ParameterSpec::new(spec.name, &tensor.shape, ParameterKind::Weight);
            parameters.insert(spec, tensor, true).unwrap();
        }
        let result = LanguageModel::new(fixture.config.clone(), parameters, None, 0);
        result.unwrap_err().to_string()
    };
    let name = "model.layers.1.mlp.up_proj.weight";
    let missing = make(&|spec| (spec.name != name).then(|| fixture.tensors[&spec.name].clone()));
    assert_eq!(missing, format!("parameter `{name}` is missing"));
    let misshapen = make(&|spec| {
        if spec.name == name {
            return Some(Tensor::new(&[3, 5], vec![0.0; 15]).unwrap());
        }
        Some(fixture.tensors[&spec.name].clone())
    });
    assert!(misshapen.contains(name) && misshapen.contains("[3, 5]"), "{misshapen}");
}
