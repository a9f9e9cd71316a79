//! The training for GPUs, on candle's CPU backend, against pft's own: losses and gradients of
//! whole models, optimizers, and that sequences do not meet.

#![allow(clippy::unwrap_used)]

mod fixtures;

use candle_core::{DType, Device};
use fixtures::{Fixture, MODELS};
use pft_lm::batch::Batch;
use pft_lm::config::ModelConfig;
use pft_lm::device::{DeviceError, DeviceModel, DeviceOptimizer};
use pft_lm::gradient::GradientSum;
use pft_lm::layers::lora::LoraConfig;
use pft_lm::layers::targets::TargetModules;
use pft_lm::model::{LanguageModel, Losses, init};
use pft_lm::optimizer::{Optimizer, OptimizerConfig, global_norm};
use pft_lm::parameters::{Parameters, TensorData};

const GPT2: &str = r#"{"model_type":"gpt2","vocab_size":90,"n_embd":32,"n_layer":2,"n_head":4,
    "n_positions":40,"initializer_range":0.2}"#;
const LLAMA: &str = r#"{"model_type":"llama","vocab_size":90,"hidden_size":32,
    "num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,
    "intermediate_size":48,"max_position_embeddings":40,"initializer_range":0.2}"#;

/// Moves trainable parameters off their starting values: an adapter's B starts at zero, a norm's
/// scale at one, a bias at zero, where mistakes would not show.
fn perturb(parameters: &mut Parameters) {
    let mut state = 1u64;
    for (_, parameter) in parameters.iter_mut().filter(|(_, parameter)| parameter.trainable) {
        if let TensorData::F32(values) = &mut parameter.tensor.data {
            for value in values {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                *value += 0.1 * ((state >> 40) as f32 / 8_388_608.0 - 1.0);
            }
        }
    }
}

fn model(config: &str, lora: Option<(&[&str], f64)>) -> LanguageModel {
    let config = ModelConfig::from_json(config).unwrap();
    let parameters = init::random(&config, 7).unwrap();
    let lora = lora.map(|(targets, dropout)| LoraConfig {
        rank: 3,
        alpha: 6.0,
        dropout,
        target_modules: TargetModules::names(targets.iter().copied()),
        ..LoraConfig::default()
    });
    let mut model = LanguageModel::new(config, parameters, lora, 3).unwrap();
    perturb(model.parameters_mut());
    model
}

fn with(config: &str, fields: &str) -> String {
    config.replacen('{', &format!("{{{fields},"), 1)
}

fn models() -> Vec<(&'static str, LanguageModel)> {
    let untied = r#""tie_word_embeddings":false"#;
    let tied = r#""tie_word_embeddings":true"#;
    let biases = r#""attention_bias":true,"mlp_bias":true,"tie_word_embeddings":false,
        "rope_scaling":{"rope_type":"linear","factor":2.0}"#;
    let exact = r#""activation_function":"gelu","tie_word_embeddings":false"#;
    let all = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];
    let families = MODELS.into_iter().filter(|name| name.starts_with("families/"));
    let mut models = vec![
        ("gpt2", model(GPT2, None)),
        ("gpt2, exact gelu, untied", model(&with(GPT2, exact), None)),
        ("llama", model(&with(LLAMA, untied), None)),
        ("llama with biases", model(&with(LLAMA, biases), None)),
        ("mistral, tied", model(&with(&LLAMA.replace("llama", "mistral"), tied), None)),
        ("gpt2 with LoRA", model(GPT2, Some((&["c_attn", "c_proj"], 0.0)))),
        ("llama with LoRA on all", model(LLAMA, Some((&all, 0.0)))),
        ("llama with LoRA and dropout", model(LLAMA, Some((&["q_proj", "v_proj"], 0.2)))),
        ("llama with LoRA on the head", model(LLAMA, Some((&["lm_head", "v_proj"], 0.2)))),
        ("gpt2 with LoRA on the head alone", model(&with(GPT2, exact), Some((&["lm_head"], 0.0)))),
    ];
    models.extend(families.map(|name| (name, Fixture::read(name).model())));
    models
}

fn tokens(length: usize, seed: usize) -> Vec<u32> {
    (0..length).map(|i| ((i * 7919 + seed * 104_729 + i * i) % 90) as u32).collect()
}

/// Sequences of unlike lengths, one of which predicts nothing, and unlike weights.
fn batch(model: &LanguageModel) -> Batch {
    let vocabulary = model.config().vocab_size as u32;
    let lengths = [33, 5, 40, 1, 8, 7];
    let sequences: Vec<Vec<u32>> = lengths
        .iter()
        .enumerate()
        .map(|(index, &length)| tokens(length, index).iter().map(|t| t % vocabulary).collect())
        .collect();
    let mut batch = Batch::new(&sequences).unwrap();
    batch.scale_sequence(0, 0.5);
    batch
}

fn own(model: &mut LanguageModel, batch: &Batch) -> (Losses, GradientSum) {
    let mut sum = GradientSum::new(model.parameters());
    let losses = model.forward_backward(batch, 5, &mut sum).unwrap();
    (losses, sum)
}

fn norm(values: impl IntoIterator<Item = f32>) -> f64 {
    values.into_iter().map(|value| f64::from(value).powi(2)).sum::<f64>().sqrt()
}

fn distance(left: &[f32], right: &[f32]) -> f64 {
    assert_eq!(left.len(), right.len());
    norm(left.iter().zip(right).map(|(l, r)| l - r))
}

#[test]
fn losses_and_gradients_are_those_of_the_cpu() {
    for (what, mut host) in models() {
        let batch = batch(&host);
        let (expected, mut gradients) = own(&mut host, &batch);
        let names: Vec<String> =
            host.parameters().trainable().map(|(_, p)| p.spec.name.clone()).collect();
        for checkpointing in [false, true] {
            host.set_checkpoint_activations(checkpointing);
            let mut device = DeviceModel::new(&host, &Device::Cpu, DType::F32).unwrap();
            let mut sum = device.gradient_sum();
            let losses = device.forward_backward(&batch, 5, &mut sum).unwrap();
            for (found, expected) in losses.per_token.iter().zip(&expected.per_token) {
                assert!((found - expected).abs() < 2e-5, "{what}: {found} is not {expected}");
            }
            assert!((losses.total() - expected.total()).abs() < 1e-5, "{what}");
            let found = sum.in_order().unwrap();
            assert_eq!(found.len(), names.len());
            for ((name, found), expected) in names.iter().zip(&found).zip(gradients.in_order()) {
                let found = found.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                let error = distance(&found, expected);
                assert!(
                    error <= 2e-5 * norm(expected.iter().copied()) + 1e-7,
                    "{what}, {name}: {error} of {}",
                    norm(expected.iter().copied())
                );
            }
            let whole = global_norm(&mut gradients);
            assert!((sum.global_norm().unwrap() / whole - 1.0).abs() < 1e-5, "{what}");
            let evaluated = device.evaluate(&batch).unwrap();
            let on_host = host.evaluate(&batch).unwrap();
            for (found, expected) in evaluated.per_token.iter().zip(&on_host.per_token) {
                assert!((found - expected).abs() < 2e-5, "{what}: {found} is not {expected}");
            }
        }
    }
}

#[test]
fn gradients_of_two_passes_add_up_until_cleared() {
    let host = model(LLAMA, None);
    let mut device = DeviceModel::new(&host, &Device::Cpu, DType::F32).unwrap();
    let parts = [tokens(20, 1), tokens(31, 2)];
    let mut whole = device.gradient_sum();
    device.forward_backward(&Batch::new(&parts).unwrap(), 0, &mut whole).unwrap();
    let mut sum = device.gradient_sum();
    device.forward_backward(&Batch::new(&[tokens(9, 3)]).unwrap(), 0, &mut sum).unwrap();
    sum.clear();
    assert_eq!(sum.global_norm().unwrap(), 0.0);
    for part in &parts {
        let part = Batch::new(std::slice::from_ref(part)).unwrap();
        device.forward_backward(&part, 0, &mut sum).unwrap();
    }
    for (sum, whole) in sum.in_order().unwrap().iter().zip(whole.in_order().unwrap()) {
        let [sum, whole] =
            [sum, &whole].map(|t| t.flatten_all().unwrap().to_vec1::<f32>().unwrap());
        assert!(distance(&sum, &whole) <= 1e-5 * norm(whole));
    }
}

/// What is not finite in one sequence, and what pads the others, reaches none of them.
#[test]
fn a_sequence_does_not_meet_its_neighbours() {
    let mut isolated = 0;
    for (what, mut host) in models() {
        // The last token is a poison; a tied head sees it too, so that the head must be another.
        if host.config().tie_word_embeddings {
            continue;
        }
        let tables =
            ["transformer.wte.weight", "gpt_neox.embed_in.weight", "model.embed_tokens.weight"];
        let id = tables.iter().find_map(|table| host.parameters().id(table)).unwrap();
        isolated += 1;
        let (width, poison) = (host.config().hidden_size, host.config().vocab_size as u32 - 1);
        if let TensorData::F32(values) = &mut host.parameters_mut().get_mut(id).tensor.data {
            values[poison as usize * width..][..width].fill(f32::NAN);
        }
        let mut device = DeviceModel::new(&host, &Device::Cpu, DType::F32).unwrap();
        let clean = |length, seed| -> Vec<u32> {
            tokens(length, seed).into_iter().map(|token| token % poison).collect()
        };
        let (first, last) = (clean(13, 1), clean(10, 2));
        let batch = Batch::new(&[first.clone(), vec![3, poison, 4, 5], last.clone()]).unwrap();
        let mut sum = device.gradient_sum();
        let together = device.forward_backward(&batch, 0, &mut sum).unwrap();
        assert!(together.per_sequence[1].is_nan());
        for (index, sequence) in [(0, first), (2, last)] {
            let alone = Batch::new(&[sequence]).unwrap();
            let alone = device.forward_backward(&alone, 0, &mut sum).unwrap();
            let (found, expected) = (together.per_sequence[index], alone.per_sequence[0]);
            assert!((found - expected).abs() < 1e-5, "{what}: {found} is not {expected}");
        }
    }
    assert!(isolated >= 10, "{isolated} models with a head of their own");
}

fn stepped(optimizer: &OptimizerConfig, steps: usize, resume_after: usize) {
    let mut host = model(LLAMA, None);
    let batch = batch(&host);
    let mut expected = host.clone();
    let mut rule = Optimizer::new(*optimizer, expected.parameters());
    let mut host_rule = Optimizer::new(*optimizer, host.parameters());
    let mut device = DeviceModel::new(&host, &Device::Cpu, DType::F32).unwrap();
    let mut on_device = DeviceOptimizer::new(&host_rule, host.parameters(), &device).unwrap();
    for step in 0..steps {
        if step == resume_after {
            device.store(host.parameters_mut()).unwrap();
            on_device.store(&mut host_rule, host.parameters()).unwrap();
            assert_eq!(host_rule.steps(), step as u64);
            device = DeviceModel::new(&host, &Device::Cpu, DType::F32).unwrap();
            on_device = DeviceOptimizer::new(&host_rule, host.parameters(), &device).unwrap();
        }
        // The same gradients for both: what is compared is the rule.
        let gradients: Vec<Vec<f32>> = {
            let (_, mut sum) = own(&mut expected, &batch);
            sum.in_order().map(<[f32]>::to_vec).collect()
        };
        let slices = gradients.iter().map(Vec::as_slice);
        rule.step(expected.parameters_mut(), slices, 1e-2, 0.5);
        let uploaded = device.upload(&gradients).unwrap();
        on_device.step(&mut device, &uploaded, 1e-2, 0.5).unwrap();
    }
    device.store(host.parameters_mut()).unwrap();
    on_device.store(&mut host_rule, host.parameters()).unwrap();
    for ((_, found), (_, wanted)) in host.parameters().iter().zip(expected.parameters().iter()) {
        let error = distance(&found.tensor.to_f32(), &wanted.tensor.to_f32());
        let name = &wanted.spec.name;
        assert!(error <= 1e-6 * norm(wanted.tensor.to_f32()), "{optimizer:?}, {name}: {error}");
    }
    let state = host_rule.state(host.parameters());
    for ((name, found), (_, wanted)) in state.zip(rule.state(expected.parameters())) {
        assert!(distance(found, wanted) <= 1e-6 * norm(wanted.iter().copied()), "{name}");
    }
    assert_eq!(host_rule.steps(), steps as u64);
}

#[test]
fn optimizers_take_the_cpu_s_steps_and_resume() {
    for optimizer in [
        OptimizerConfig::AdamW { beta1: 0.9, beta2: 0.99, epsilon: 1e-6, weight_decay: 0.1 },
        OptimizerConfig::Sgd { momentum: 0.9, weight_decay: 0.1 },
        OptimizerConfig::Sgd { momentum: 0.0, weight_decay: 0.1 },
    ] {
        stepped(&optimizer, 4, 2);
    }
}

#[test]
fn in_bf16_losses_and_gradients_are_near() {
    for (what, mut host) in models() {
        let batch = batch(&host);
        let (expected, mut gradients) = own(&mut host, &batch);
        let mut device = DeviceModel::new(&host, &Device::Cpu, DType::BF16).unwrap();
        let mut sum = device.gradient_sum();
        let losses = device.forward_backward(&batch, 5, &mut sum).unwrap();
        // bf16 has 8 bits: a thousandth of a loss of about 5 nats a sequence is what is left.
        let error = (losses.total() / expected.total() - 1.0).abs();
        assert!(error < 2e-2, "{what}: {} is not {}", losses.total(), expected.total());
        let found: Vec<f32> = sum
            .in_order()
            .unwrap()
            .iter()
            .flat_map(|t| t.flatten_all().unwrap().to_vec1::<f32>().unwrap())
            .collect();
        let expected: Vec<f32> = gradients.in_order().flatten().copied().collect();
        let error = distance(&found, &expected) / norm(expected.iter().copied());
        assert!(error < 0.1, "{what}: gradients are {error} off");
        assert!(found != expected, "{what}: bf16 rounds");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let host = model(LLAMA, None);
    let refused = DeviceModel::new(&host, &Device::Cpu, DType::U8).unwrap_err();
    assert!(matches!(refused, DeviceError::Type(DType::U8)));
    let mut device = DeviceModel::new(&host, &Device::Cpu, DType::F32).unwrap();
    let long = Batch::new(&[tokens(41, 1)]).unwrap();
    let refused = device.evaluate(&long).unwrap_err();
    assert!(matches!(refused, DeviceError::Batch(_)), "{refused}");
    let empty = Batch::new::<Vec<u32>>(&[]).unwrap();
    assert_eq!(device.evaluate(&empty).unwrap().total(), 0.0);
}
