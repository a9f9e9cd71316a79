//! Properties of whole models: sequences do not see each other, results do not depend on
//! threads, a resumed training goes on with the same bits, and the key-value cache changes
//! nothing.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use pft_lm::batch::{Batch, BatchError};
use pft_lm::config::ModelConfig;
use pft_lm::gradient::GradientSum;
use pft_lm::layers::lora::LoraConfig;
use pft_lm::layers::targets::TargetModules;
use pft_lm::model::{GenerateError, LanguageModel, Sampling, init};
use pft_lm::optimizer::{Optimizer, OptimizerConfig, global_norm};
use pft_lm::parameters::{ParameterKind, Parameters, Tensor};

const GPT2: &str = r#"{"model_type":"gpt2","vocab_size":300,"n_embd":64,"n_layer":3,"n_head":4,
    "n_positions":128,"initializer_range":0.2}"#;
const LLAMA: &str = r#"{"model_type":"llama","vocab_size":300,"hidden_size":64,
    "num_hidden_layers":3,"num_attention_heads":4,"num_key_value_heads":2,
    "intermediate_size":160,"max_position_embeddings":128,"initializer_range":0.2}"#;

fn model(config: &str) -> LanguageModel {
    let config = ModelConfig::from_json(config).unwrap();
    let parameters = init::random(&config, 7).unwrap();
    LanguageModel::new(config, parameters, None, 0).unwrap()
}

fn adapted(config: &str, targets: &[&str], dropout: f64) -> LanguageModel {
    let config = ModelConfig::from_json(config).unwrap();
    let parameters = init::random(&config, 7).unwrap();
    let target_modules = TargetModules::names(targets.iter().copied());
    let lora = LoraConfig { rank: 4, alpha: 8.0, dropout, target_modules, ..LoraConfig::default() };
    LanguageModel::new(config, parameters, Some(lora), 3).unwrap()
}

fn tokens(length: usize, seed: usize) -> Vec<u32> {
    (0..length).map(|i| ((i * 7919 + seed * 104_729 + i * i) % 300) as u32).collect()
}

fn gradients(model: &mut LanguageModel, batch: &Batch) -> (Vec<f32>, Vec<Vec<f32>>) {
    let mut sum = GradientSum::new(model.parameters());
    let losses = model.forward_backward(batch, 5, &mut sum).unwrap();
    (losses.per_token, sum.iter_mut().map(|(_, values)| values.to_vec()).collect())
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let sequences = [tokens(100, 1), tokens(37, 2), tokens(90, 3)];
    let batch = Batch::new(&sequences).unwrap();
    let makers: [fn() -> LanguageModel; 3] =
        [|| model(GPT2), || model(LLAMA), || adapted(LLAMA, &["q_proj", "v_proj"], 0.1)];
    for make in makers {
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let mut model = make();
                let mut optimizer = Optimizer::new(OptimizerConfig::default(), model.parameters());
                let mut sum = GradientSum::new(model.parameters());
                let mut norms = Vec::new();
                for step in 0..3 {
                    sum.clear();
                    model.forward_backward(&batch, step, &mut sum).unwrap();
                    norms.push(global_norm(&mut sum).to_bits());
                    optimizer.step(model.parameters_mut(), sum.in_order(), 1e-3, 1.0);
                }
                (norms, model.parameters().clone())
            })
        };
        let one = run(1);
        assert!(run(2) == one && run(5) == one);
    }
}

#[test]
fn a_sequence_does_not_see_its_neighbours() {
    let makers: [fn() -> LanguageModel; 3] =
        [|| model(GPT2), || model(LLAMA), || adapted(LLAMA, &["q_proj", "up_proj"], 0.3)];
    for make in makers {
        let mut model = make();
        let own = tokens(50, 1);
        let (alone, alone_gradients) =
            gradients(&mut model, &Batch::new(std::slice::from_ref(&own)).unwrap());
        let mut batch = Batch::new(&[tokens(70, 2), own, tokens(9, 3)]).unwrap();
        batch.scale_sequence(0, 0.0);
        batch.scale_sequence(2, 0.0);
        let (losses, mates_gradients) = gradients(&mut model, &batch);
        for (a, b) in alone.iter().zip(&losses[70..120]) {
            assert!((a - b).abs() < 1e-4, "{a} and {b}");
        }
        for (a, b) in alone_gradients.iter().zip(&mates_gradients) {
            let largest = a.iter().fold(0.0f32, |max, value| max.max(value.abs()));
            assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 2e-6 * largest.max(1e-3)));
        }
    }
}

#[test]
fn gradients_of_two_passes_add_up() {
    let mut model = model(LLAMA);
    let (first, second) = (tokens(40, 1), tokens(60, 2));
    let together = Batch::new(&[&first[..], &second]).unwrap();
    let (_, whole) = gradients(&mut model, &together);
    let mut sum = GradientSum::new(model.parameters());
    for part in [first, second] {
        model.forward_backward(&Batch::new(&[part]).unwrap(), 5, &mut sum).unwrap();
    }
    for ((_, parts), whole) in sum.iter_mut().zip(&whole) {
        let largest = whole.iter().fold(0.0f32, |max, value| max.max(value.abs()));
        assert!(parts.iter().zip(whole).all(|(a, b)| (a - b).abs() < 2e-6 * largest.max(1e-3)));
    }
}

#[test]
fn recomputed_activations_give_the_same_bits_under_dropout() {
    let batch = Batch::new(&[tokens(30, 1), tokens(20, 2)]).unwrap();
    let mut model = adapted(LLAMA, &["q_proj", "down_proj"], 0.3);
    let kept = gradients(&mut model, &batch);
    model.set_checkpoint_activations(true);
    assert!(gradients(&mut model, &batch) == kept);
}

#[test]
fn a_resumed_training_goes_on_with_the_same_bits() {
    let configs = [
        OptimizerConfig::AdamW { beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weight_decay: 0.1 },
        OptimizerConfig::Sgd { momentum: 0.9, weight_decay: 0.1 },
        OptimizerConfig::Sgd { momentum: 0.0, weight_decay: 0.0 },
    ];
    for config in configs {
        let batch = Batch::new(&[tokens(20, 1), tokens(30, 2)]).unwrap();
        let step = |model: &mut LanguageModel, optimizer: &mut Optimizer| {
            let mut sum = GradientSum::new(model.parameters());
            model.forward_backward(&batch, optimizer.steps(), &mut sum).unwrap();
            optimizer.step(model.parameters_mut(), sum.in_order(), 1e-2, 1.0);
        };
        let mut straight = model(GPT2);
        let mut optimizer = Optimizer::new(config, straight.parameters());
        step(&mut straight, &mut optimizer);
        let saved: HashMap<String, Vec<f32>> = optimizer
            .state(straight.parameters())
            .map(|(name, values)| (name, values.to_vec()))
            .collect();
        let mut resumed = straight.clone();
        let mut other = Optimizer::new(config, resumed.parameters());
        let steps = optimizer.steps();
        let find = |name: &str| saved.get(name).cloned();
        other.load_state(resumed.parameters(), steps, find).unwrap();
        if !saved.is_empty() {
            let error = other.load_state(resumed.parameters(), steps, |_| None).unwrap_err();
            assert!(error.to_string().contains("transformer.wte.weight"), "{error}");
        }
        for _ in 0..2 {
            step(&mut straight, &mut optimizer);
            step(&mut resumed, &mut other);
        }
        assert!(straight.parameters() == resumed.parameters());
    }
}

#[test]
fn generation_with_kept_keys_equals_generation_without() {
    let makers: [fn() -> LanguageModel; 3] =
        [|| model(GPT2), || model(LLAMA), || adapted(GPT2, &["c_attn"], 0.5)];
    for make in makers {
        let mut model = make();
        let sampling = Sampling {
            temperature: 0.0,
            top_k: None,
            top_p: None,
            max_new_tokens: 40,
            stop_tokens: Vec::new(),
        };
        let prompt = tokens(11, 4);
        let new = model.generate(&prompt, &sampling, 0).unwrap();
        assert_eq!(new.len(), 40);
        let mut all = prompt;
        for token in new {
            let logits = model.logits(&Batch::new(std::slice::from_ref(&all)).unwrap()).unwrap();
            let last = &logits[logits.len() - 300..];
            let best = last.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            assert!(best - last[token as usize] < 1e-4, "a token that is not the likeliest");
            all.push(token);
        }
    }
}

#[test]
fn generation_stops_where_it_should() {
    let mut model = model(LLAMA);
    let sampling = |max_new_tokens, stop_tokens| Sampling {
        temperature: 0.8,
        top_k: Some(50),
        top_p: Some(0.95),
        max_new_tokens,
        stop_tokens,
    };
    let prompt = tokens(100, 1);
    let new = model.generate(&prompt, &sampling(500, Vec::new()), 3).unwrap();
    assert_eq!(new.len(), 28, "the context holds 128 tokens");
    assert_eq!(model.generate(&prompt, &sampling(500, Vec::new()), 3).unwrap(), new);
    assert_ne!(model.generate(&prompt, &sampling(500, Vec::new()), 4).unwrap(), new);
    let stop = new[5];
    let first = new.iter().position(|&token| token == stop).unwrap();
    let stopped = model.generate(&prompt, &sampling(500, vec![stop]), 3).unwrap();
    assert_eq!(stopped, new[..=first]);
    assert_eq!(model.generate(&[], &sampling(1, vec![]), 0), Err(GenerateError::Empty));
    let error = model.generate(&[300], &sampling(1, vec![]), 0).unwrap_err();
    assert!(error.to_string().contains("300"));
}

#[test]
fn batches_that_do_not_fit_are_refused() {
    let mut model = model(GPT2);
    assert_eq!(Batch::new(&[&[1u32][..], &[]]), Err(BatchError::Empty(1)));
    let long = Batch::new(&[tokens(129, 0)]).unwrap();
    assert!(model.evaluate(&long).unwrap_err().to_string().contains("129 tokens"));
    let unknown = Batch::new(&[[5u32, 300]]).unwrap();
    assert!(model.evaluate(&unknown).unwrap_err().to_string().contains("token 300"));
    // No sequence at all is a batch: Poisson sampling draws it now and then.
    let empty = Batch::new::<Vec<u32>>(&[]).unwrap();
    let (losses, gradients) = gradients(&mut model, &empty);
    assert!(losses.is_empty() && gradients.iter().flatten().all(|&value| value == 0.0));
    assert!(model.evaluate(&empty).unwrap().per_sequence.is_empty());
}

#[test]
fn frozen_weights_may_be_bf16_and_trained_ones_not() {
    let config = ModelConfig::from_json(LLAMA).unwrap();
    let mut narrow = Parameters::new();
    let mut wide = Parameters::new();
    for (_, parameter) in init::random(&config, 7).unwrap().iter() {
        let rounded: Vec<half::bf16> =
            parameter.tensor.to_f32().into_iter().map(half::bf16::from_f32).collect();
        let shape = &parameter.spec.shape;
        let tensor = Tensor::new_bf16(shape, rounded).unwrap();
        wide.insert(parameter.spec.clone(), Tensor::new(shape, tensor.to_f32()).unwrap(), true)
            .unwrap();
        narrow.insert(parameter.spec.clone(), tensor, true).unwrap();
    }
    let lora = || LoraConfig {
        rank: 4,
        target_modules: TargetModules::names(["v_proj"]),
        ..LoraConfig::default()
    };
    let batch = Batch::new(&[tokens(30, 1), tokens(20, 2)]).unwrap();
    let run = |parameters: Parameters| {
        let mut model = LanguageModel::new(config.clone(), parameters, Some(lora()), 0).unwrap();
        gradients(&mut model, &batch)
    };
    let (narrow_run, wide_run) = (run(narrow.clone()), run(wide));
    for (a, b) in narrow_run.0.iter().zip(&wide_run.0) {
        assert!((a - b).abs() < 1e-5);
    }
    let error = LanguageModel::new(config.clone(), narrow, None, 0).unwrap_err().to_string();
    assert!(error.contains("model.embed_tokens.weight") && error.contains("bf16"), "{error}");
}

#[test]
fn lora_targets_are_checked_by_name() {
    let config = ModelConfig::from_json(LLAMA).unwrap();
    let parameters = init::random(&config, 7).unwrap();
    let lora = |name: &str, rank| LoraConfig {
        rank,
        target_modules: TargetModules::names([name]),
        ..LoraConfig::default()
    };
    let make = |lora| LanguageModel::new(config.clone(), parameters.clone(), Some(lora), 0);
    let error = make(lora("c_attn", 4)).unwrap_err().to_string();
    assert!(error.contains("c_attn") && error.contains("q_proj"), "{error}");
    assert!(make(lora("q_proj", 0)).unwrap_err().to_string().contains("rank"));
    let model = make(lora("q_proj", 4)).unwrap();
    let trained: Vec<_> = model.parameters().trainable().map(|(_, p)| p.spec.clone()).collect();
    assert_eq!(trained.len(), 6);
    assert_eq!(trained[0].name, "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight");
    assert!(
        trained.iter().all(|spec| matches!(spec.kind, ParameterKind::LoraA | ParameterKind::LoraB))
    );
}
