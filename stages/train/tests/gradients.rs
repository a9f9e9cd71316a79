//! The private sum of gradients against a brute-force oracle: one unit at a time through the
//! non-private path, clipped by the formulas of the papers.

#![allow(clippy::unwrap_used)]

#[path = "../../../crates/pft-lm/tests/fixtures/mod.rs"]
mod fixtures;

use candle_core::{DType, Device};
use fixtures::{Fixture, MODELS};
use pft_dp::accounting::Phase;
use pft_dp::{Clipping, ClippingFunction, ClippingStyle, Mechanism, Plan, UnitOutcome};
use pft_lm::batch::Batch;
use pft_lm::config::ModelConfig;
use pft_lm::device::DeviceModel;
use pft_lm::gradient::GradientSum;
use pft_lm::layers::lora::LoraConfig;
use pft_lm::layers::targets::TargetModules;
use pft_lm::model::{LanguageModel, init};
use pft_lm::parameters::{Parameters, Precision, Tensor, TensorData};
use train::data::{Sequence, batch_of};
use train::private::{DeviceUnitGradients, UnitGradients};

const VOCABULARY: u32 = 23;

const GPT2: &str = r#"{"model_type":"gpt2","vocab_size":23,"n_embd":16,"n_layer":2,"n_head":2,
    "n_positions":40,"initializer_range":0.3}"#;
const GPT2_UNTIED: &str = r#"{"model_type":"gpt2","vocab_size":23,"n_embd":16,"n_layer":2,
    "n_head":2,"n_positions":40,"initializer_range":0.3,"tie_word_embeddings":false}"#;
const LLAMA: &str = r#"{"model_type":"llama","vocab_size":23,"hidden_size":16,
    "num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,
    "intermediate_size":24,"max_position_embeddings":40,"initializer_range":0.3}"#;
const LLAMA_TIED: &str = r#"{"model_type":"llama","vocab_size":23,"hidden_size":16,
    "num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,
    "intermediate_size":24,"max_position_embeddings":40,"initializer_range":0.3,
    "tie_word_embeddings":true}"#;

const FUNCTIONS: [ClippingFunction; 3] =
    [ClippingFunction::Abadi, ClippingFunction::Automatic, ClippingFunction::Global];
const STYLES: [ClippingStyle; 4] = [
    ClippingStyle::AllLayer,
    ClippingStyle::LayerWise,
    ClippingStyle::ParamWise,
    ClippingStyle::BlockWise,
];

/// Numbers in [-1, 1) without a generator's crate.
fn noise(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1);
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (state >> 40) as f32 / 8_388_608.0 - 1.0
    }
}

fn full(config: &str, seed: u64) -> LanguageModel {
    let config = ModelConfig::from_json(config).unwrap();
    let mut parameters = init::random(&config, seed).unwrap();
    perturb(&mut parameters, seed);
    LanguageModel::new(config, parameters, None, seed).unwrap()
}

fn adapted(config: &str, targets: &[&str], seed: u64) -> LanguageModel {
    let parameters = init::random(&ModelConfig::from_json(config).unwrap(), seed).unwrap();
    adapted_base(config, parameters, targets, seed)
}

fn adapted_base(config: &str, base: Parameters, targets: &[&str], seed: u64) -> LanguageModel {
    let target_modules = TargetModules::names(targets.iter().copied());
    let lora = LoraConfig { rank: 3, alpha: 6.0, target_modules, ..LoraConfig::default() };
    adapted_as(config, base, lora, seed)
}

/// Adapters whose A stays as it was drawn, on every linear layer.
fn half_frozen(config: &str, seed: u64) -> LanguageModel {
    let base = init::random(&ModelConfig::from_json(config).unwrap(), seed).unwrap();
    let lora = LoraConfig {
        rank: 3,
        use_rslora: true,
        target_modules: TargetModules::all_linear(),
        freeze_a: true,
        ..LoraConfig::default()
    };
    adapted_as(config, base, lora, seed)
}

fn adapted_as(config: &str, base: Parameters, lora: LoraConfig, seed: u64) -> LanguageModel {
    let config = ModelConfig::from_json(config).unwrap();
    let mut model = LanguageModel::new(config, base, Some(lora), seed).unwrap();
    perturb(model.parameters_mut(), seed);
    model
}

/// Moves trainable parameters off their starting values: an adapter's B starts at zero, and a
/// norm's scale at one, where mistakes would not show.
fn perturb(parameters: &mut Parameters, seed: u64) {
    let mut next = noise(seed);
    for (_, parameter) in parameters.iter_mut().filter(|(_, parameter)| parameter.trainable) {
        if let TensorData::F32(values) = &mut parameter.tensor.data {
            values.iter_mut().for_each(|value| *value += 0.2 * next());
        }
    }
}

fn models() -> Vec<(&'static str, LanguageModel)> {
    let llama = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];
    vec![
        ("gpt2", full(GPT2, 1)),
        ("gpt2 untied", full(GPT2_UNTIED, 2)),
        ("llama", full(LLAMA, 3)),
        ("llama tied", full(LLAMA_TIED, 4)),
        ("gpt2 lora", adapted(GPT2, &["c_attn", "c_proj", "c_fc"], 5)),
        ("llama lora", adapted(LLAMA, &llama, 6)),
        ("gpt2 lora with the head", adapted(GPT2_UNTIED, &["c_attn", "lm_head"], 11)),
        ("llama lora with the head", adapted(LLAMA, &["lm_head", "v_proj"], 12)),
        ("gpt2 lora, A frozen", half_frozen(GPT2, 7)),
        ("llama lora, A frozen", half_frozen(LLAMA, 8)),
    ]
}

/// The tiny models of every family, full and with adapters.
fn families() -> impl Iterator<Item = (&'static str, LanguageModel)> {
    let families = MODELS.into_iter().filter(|name| name.starts_with("families/"));
    families.map(|name| (name, Fixture::read(name).model()))
}

/// Units of one to three examples and of unequal length, in which tokens repeat.
fn units(seed: u64) -> Vec<Vec<Sequence>> {
    let mut next = noise(seed);
    let mut sequence = |length: usize| Sequence {
        input_ids: (0..length)
            .map(|_| ((next() + 1.0) / 2.0 * VOCABULARY as f32) as u32 % VOCABULARY)
            .collect(),
        pii: vec![false; length],
        context: 0,
        loss_mask: Vec::new(),
    };
    [vec![9], vec![2, 30], vec![17], vec![5, 5, 11], vec![40], vec![2]]
        .into_iter()
        .map(|lengths| lengths.into_iter().map(&mut sequence).collect())
        .collect()
}

fn borrowed(units: &[Vec<Sequence>]) -> Vec<Vec<&Sequence>> {
    units.iter().map(|unit| unit.iter().collect()).collect()
}

/// Each trainable parameter's gradient of one unit's mean loss.
fn unit_gradient(model: &mut LanguageModel, unit: &[&Sequence]) -> Vec<Vec<f32>> {
    let mut sum = GradientSum::new(model.parameters());
    let batch: Batch = batch_of(&[unit.to_vec()]).unwrap();
    model.forward_backward(&batch, 0, &mut sum).unwrap();
    sum.iter_mut().map(|(_, gradient)| gradient.to_vec()).collect()
}

fn names(model: &LanguageModel) -> Vec<String> {
    model.parameters().trainable().map(|(_, parameter)| parameter.spec.name.clone()).collect()
}

/// The layers of a style, spelled out from the names anew.
fn group(style: ClippingStyle, name: &str) -> String {
    match style {
        ClippingStyle::AllLayer => "all".into(),
        ClippingStyle::ParamWise => name.into(),
        ClippingStyle::LayerWise => {
            let layer = name.trim_end_matches(".weight").trim_end_matches(".bias");
            layer.trim_end_matches(".lora_A").trim_end_matches(".lora_B").into()
        }
        ClippingStyle::BlockWise => {
            let number = name.split('.').find(|part| part.bytes().all(|b| b.is_ascii_digit()));
            number.unwrap_or("outside").into()
        }
    }
}

fn clip(mut gradient: Vec<Vec<f32>>, names: &[String], clipping: &Clipping) -> Vec<Vec<f32>> {
    let groups: Vec<String> = names.iter().map(|name| group(clipping.style, name)).collect();
    let distinct: std::collections::BTreeSet<&String> = groups.iter().collect();
    let bound = clipping.max_grad_norm / (distinct.len() as f64).sqrt();
    for wanted in distinct {
        let norm = gradient
            .iter()
            .zip(&groups)
            .filter(|(_, group)| *group == wanted)
            .flat_map(|(values, _)| values)
            .map(|value| f64::from(*value).powi(2))
            .sum::<f64>()
            .sqrt();
        let factor = match clipping.function {
            ClippingFunction::Abadi => (bound / norm).min(1.0),
            ClippingFunction::Automatic => bound / (norm + clipping.stability),
            ClippingFunction::Global => f64::from(u8::from(norm <= bound)),
        };
        for (values, _) in gradient.iter_mut().zip(&groups).filter(|(_, group)| *group == wanted) {
            values.iter_mut().for_each(|value| *value = (f64::from(*value) * factor) as f32);
        }
    }
    gradient
}

fn brute_force(
    model: &mut LanguageModel,
    units: &[Vec<&Sequence>],
    clipping: &Clipping,
) -> Vec<Vec<f32>> {
    let names = names(model);
    let mut sum: Vec<Vec<f32>> = Vec::new();
    for unit in units {
        let clipped = clip(unit_gradient(model, unit), &names, clipping);
        if sum.is_empty() {
            sum = clipped;
        } else {
            for (sum, values) in sum.iter_mut().flatten().zip(clipped.iter().flatten()) {
                *sum += values;
            }
        }
    }
    sum
}

fn mechanism(clipping: Clipping) -> Mechanism {
    let plan = Plan {
        declared_units: 100,
        units_were_counted: false,
        phase: Phase { sample_rate: 0.1, noise_multiplier: 1.0, steps: 1 },
        delta: 1e-4,
        clipping,
        max_examples_per_unit: 3,
        noise_draws: 1,
    };
    Mechanism::new(plan, false).unwrap()
}

/// The engine's clipped sum over units in the given micro-batches.
fn engine(
    model: &mut LanguageModel,
    micro_batches: &[&[Vec<&Sequence>]],
    clipping: Clipping,
) -> (Vec<Vec<f32>>, u64) {
    let mut gradients = UnitGradients::new(model, &mechanism(clipping));
    let mut not_finite = 0;
    for units in micro_batches {
        let batch = batch_of(units).unwrap();
        let sequences: Vec<usize> = units.iter().map(Vec::len).collect();
        gradients.expect(&sequences);
        model.forward_backward(&batch, 0, &mut gradients).unwrap();
        let outcomes = gradients.clip().unwrap();
        not_finite += outcomes.iter().filter(|&&o| o == UnitOutcome::NotFinite).count() as u64;
    }
    (gradients.take().tensors(), not_finite)
}

/// The same by the model and the engine for devices.
fn engine_on_device(
    model: &LanguageModel,
    micro_batches: &[&[Vec<&Sequence>]],
    clipping: Clipping,
) -> (Vec<Vec<f32>>, u64) {
    let mut on_device = DeviceModel::new(model, &Device::Cpu, DType::F32).unwrap();
    let mut gradients = DeviceUnitGradients::new(model, &mechanism(clipping), &Device::Cpu);
    let mut not_finite = 0;
    for units in micro_batches {
        let batch = batch_of(units).unwrap();
        let sequences: Vec<usize> = units.iter().map(Vec::len).collect();
        gradients.expect(&sequences);
        on_device.forward_backward(&batch, 0, &mut gradients).unwrap();
        let outcomes = gradients.clip().unwrap();
        not_finite += outcomes.iter().filter(|&&o| o == UnitOutcome::NotFinite).count() as u64;
    }
    (gradients.take().unwrap().tensors(), not_finite)
}

fn norm(values: &[f32]) -> f64 {
    values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt()
}

fn distance(left: &[f32], right: &[f32]) -> f64 {
    let difference: Vec<f32> = left.iter().zip(right).map(|(l, r)| l - r).collect();
    norm(&difference)
}

/// Thresholds of which some units fall short and others do not.
fn middling_norm(model: &mut LanguageModel, units: &[Vec<&Sequence>]) -> f64 {
    let mut norms: Vec<f64> =
        units.iter().map(|unit| norm(&unit_gradient(model, unit).concat())).collect();
    norms.sort_by(f64::total_cmp);
    (norms[norms.len() / 2 - 1] + norms[norms.len() / 2]) / 2.0
}

#[test]
fn clipped_sums_are_those_of_one_unit_at_a_time() {
    let units = units(1);
    let units = borrowed(&units);
    for (what, mut model) in models().into_iter().chain(families()) {
        let bound = middling_norm(&mut model, &units);
        let names = names(&model);
        for function in FUNCTIONS {
            for style in STYLES {
                let clipping = Clipping { function, style, max_grad_norm: bound, stability: 0.01 };
                let expected = brute_force(&mut model, &units, &clipping);
                let parts = [&units[..3], &units[3..]];
                let on_cpu = engine(&mut model, &parts, clipping);
                let on_device = engine_on_device(&model, &parts, clipping);
                // The device's model rounds elsewhere, and a layer's gradient may be small against
                // what it is the difference of.
                let engines = [("CPU", on_cpu, 1e-5), ("device", on_device, 1e-4)];
                for (engine, (found, not_finite), share) in engines {
                    assert_eq!(not_finite, 0);
                    assert_eq!(found.len(), names.len());
                    for ((name, found), expected) in names.iter().zip(&found).zip(&expected) {
                        let error = distance(found, expected);
                        assert!(
                            error <= share * norm(expected) + 1e-6 * bound,
                            "{what}, {function:?}, {style:?}, {name}, {engine}: {error} of {}",
                            norm(expected)
                        );
                    }
                }
            }
        }
    }
}

/// Where A is frozen, the bound is on B alone: what A's gradient would be takes no part in a norm.
#[test]
fn a_frozen_a_is_neither_clipped_nor_noised() {
    let units = units(1);
    let units = borrowed(&units);
    let mut model = half_frozen(LLAMA, 8);
    assert!(names(&model).iter().all(|name| name.ends_with(".lora_B.weight")));
    assert_eq!(names(&model).len(), 14);
    let bound = middling_norm(&mut model, &units);
    let clipping = Clipping { max_grad_norm: bound, ..Clipping::default() };
    // The same weights with A trained: its B's gradients are the same, but clipped by more.
    let lora = LoraConfig { freeze_a: false, ..model.lora().unwrap().clone() };
    let parameters = model.parameters().clone();
    let mut free = LanguageModel::new(model.config().clone(), parameters, Some(lora), 0).unwrap();
    let sizes = [&mut model, &mut free].map(|model| {
        let names = names(model);
        let sum = engine(model, &[&units], clipping).0;
        let of_b = names.iter().zip(&sum).filter(|(name, _)| name.contains(".lora_B."));
        norm(&of_b.flat_map(|(_, values)| values.clone()).collect::<Vec<_>>())
    });
    assert!(sizes[0] > 1.01 * sizes[1], "{sizes:?}");
}

#[test]
fn removing_one_unit_moves_the_sum_by_at_most_the_bound() {
    for seed in 10..14 {
        let units = units(seed);
        let units = borrowed(&units);
        for (what, mut model) in models() {
            for function in FUNCTIONS {
                for style in STYLES {
                    let clipping =
                        Clipping { function, style, max_grad_norm: 0.7, stability: 0.01 };
                    let all = engine(&mut model, &[&units], clipping).0.concat();
                    for left_out in [0, 3] {
                        let mut others = units.clone();
                        others.remove(left_out);
                        let fewer = engine(&mut model, &[&others], clipping).0.concat();
                        let moved = distance(&all, &fewer);
                        assert!(
                            moved <= 0.7 * (1.0 + 1e-5),
                            "{what}, {function:?}, {style:?}: moved by {moved}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn a_unit_s_part_does_not_depend_on_its_batch_mates() {
    let units = units(20);
    let units = borrowed(&units);
    let clipping = Clipping { max_grad_norm: 0.7, ..Clipping::default() };
    for (what, mut model) in models().into_iter().chain(families()) {
        let alone = engine(&mut model, &[&units[..1]], clipping).0.concat();
        let with = engine(&mut model, &[&units], clipping).0.concat();
        let without = engine(&mut model, &[&units[1..]], clipping).0.concat();
        let part: Vec<f32> = with.iter().zip(&without).map(|(w, o)| w - o).collect();
        assert!(distance(&part, &alone) <= 2e-6, "{what}: {}", distance(&part, &alone));
    }
}

#[test]
fn a_unit_without_a_finite_gradient_adds_nothing_and_is_counted() {
    let units = units(30);
    let units = borrowed(&units);
    for (what, mut model) in [("gpt2 untied", full(GPT2_UNTIED, 2)), ("llama", full(LLAMA, 3))] {
        // The embedding of one token overflows: units that hold it are lost, the others are not.
        let width = model.config().hidden_size;
        let broken = units[0][0].input_ids[0];
        let name = &model.parameters().iter().next().unwrap().1.spec.name.clone();
        let id = model.parameters().id(name).unwrap();
        let hit =
            |unit: &[&Sequence]| unit.iter().any(|sequence| sequence.input_ids.contains(&broken));
        let lost = units.iter().filter(|unit| hit(unit)).count() as u64;
        let kept: Vec<Vec<&Sequence>> = units.iter().filter(|unit| !hit(unit)).cloned().collect();
        assert!(lost > 0 && !kept.is_empty(), "{what}: the test needs units of both kinds");
        let clipping = Clipping { max_grad_norm: 0.7, ..Clipping::default() };
        if let TensorData::F32(values) = &mut model.parameters_mut().get_mut(id).tensor.data {
            values[broken as usize * width] = f32::NAN;
        }
        let (found, not_finite) = engine(&mut model, &[&units], clipping);
        let (expected, none) = engine(&mut model, &[&kept], clipping);
        assert_eq!((not_finite, none), (lost, 0), "{what}");
        let (found, expected) = (found.concat(), expected.concat());
        assert!(found.iter().all(|value| value.is_finite()), "{what}");
        let error = distance(&found, &expected);
        assert!(error <= 1e-5 * norm(&expected), "{what}: {error}");
        let (found, not_finite) = engine_on_device(&model, &[&units], clipping);
        assert_eq!(not_finite, lost, "{what} on a device");
        let error = distance(&found.concat(), &expected);
        assert!(error <= 1e-5 * norm(&expected), "{what} on a device: {error}");
    }
}

/// A base kept in fewer bits is the model of its rounded weights: losses and the adapters' gradients,
/// with privacy and without, are those over the same weights in 32 bits.
#[test]
fn a_base_in_fewer_bits_trains_as_its_rounded_weights_do() {
    let units = units(40);
    let units = borrowed(&units);
    let all: Vec<Vec<&Sequence>> = units.clone();
    let cases: [(&str, &[&str]); 4] = [
        (GPT2, &["c_attn", "c_fc"]),
        (GPT2_UNTIED, &["c_proj", "lm_head"]),
        (LLAMA, &["q_proj", "v_proj"]),
        (LLAMA_TIED, &["down_proj"]),
    ];
    let kinds = [Precision::Bf16, Precision::Q8_0, Precision::Q4_0];
    for ((config, targets), kind) in cases.into_iter().flat_map(|case| kinds.map(|k| (case, k))) {
        // Rows of whole blocks.
        let config = &config
            .replace("\"n_embd\":16", "\"n_embd\":32")
            .replace("\"hidden_size\":16", "\"hidden_size\":32")
            .replace("\"intermediate_size\":24", "\"intermediate_size\":64");
        let parsed = ModelConfig::from_json(config).unwrap();
        let narrow = init::random_in(&parsed, 9, kind).unwrap();
        let mut wide = Parameters::new();
        for (_, parameter) in narrow.iter() {
            let (spec, tensor) = (parameter.spec.clone(), &parameter.tensor);
            let tensor = Tensor::new(&tensor.shape, tensor.to_f32()).unwrap();
            wide.insert(spec, tensor, true).unwrap();
        }
        assert_ne!(wide, init::random(&parsed, 9).unwrap(), "rounding changed nothing");
        let mut narrow = adapted_base(config, narrow, targets, 9);
        let mut wide = adapted_base(config, wide, targets, 9);
        let kept_narrow = |(_, parameter): (_, &pft_lm::parameters::Parameter)| {
            parameter.tensor.precision() == kind
        };
        assert!(narrow.parameters().iter().any(kept_narrow));
        assert!(!wide.parameters().iter().any(kept_narrow));

        let batch = batch_of(&all).unwrap();
        let losses = [&mut narrow, &mut wide].map(|model| {
            let losses = model.evaluate(&batch).unwrap();
            (losses.per_token, model.logits(&batch).unwrap())
        });
        for (found, expected) in [(&losses[0].0, &losses[1].0), (&losses[0].1, &losses[1].1)] {
            assert!(distance(found, expected) <= 1e-6 * norm(expected), "{targets:?}");
        }
        for unit in &units {
            let found = unit_gradient(&mut narrow, unit).concat();
            let expected = unit_gradient(&mut wide, unit).concat();
            assert!(norm(&expected) > 0.0 || unit.iter().all(|s| s.input_ids.len() < 2));
            assert!(distance(&found, &expected) <= 1e-5 * norm(&expected), "{targets:?}");
        }
        let clipping = Clipping { max_grad_norm: 0.7, ..Clipping::default() };
        let found = engine(&mut narrow, &[&units], clipping).0.concat();
        let expected = engine(&mut wide, &[&units], clipping).0.concat();
        assert!(distance(&found, &expected) <= 1e-5 * norm(&expected), "{targets:?}");
        let found = engine_on_device(&narrow, &[&units], clipping).0.concat();
        let error = distance(&found, &expected);
        assert!(error <= 1e-4 * norm(&expected), "{targets:?} on a device: {error}");
    }
}

/// Units whose answers are some of their tokens: short ones beside long ones, and one of a single token.
fn masked_units(seed: u64) -> Vec<Vec<Sequence>> {
    let mut units = units(seed);
    let mut next = noise(seed + 1);
    for sequence in units.iter_mut().flatten() {
        let last = sequence.input_ids.len() - 1;
        let mut mask: Vec<bool> = (0..=last).map(|_| next() > 0.4).collect();
        mask[last] = true;
        sequence.loss_mask = mask;
    }
    units
}

/// The mean of the gradients of a unit's answer tokens, each by itself: nothing of how batches are
/// weighed is in it.
fn answers_gradient(model: &mut LanguageModel, unit: &[&Sequence]) -> Vec<Vec<f32>> {
    let mut sum = GradientSum::new(model.parameters());
    let mut count = 0;
    for sequence in unit {
        for at in 1..sequence.input_ids.len() {
            if sequence.loss_mask[at] {
                let mut batch = Batch::new(&[&sequence.input_ids]).unwrap();
                batch.loss_weights_mut().fill(0.0);
                batch.loss_weights_mut()[at] = 1.0;
                model.forward_backward(&batch, 0, &mut sum).unwrap();
                count += 1;
            }
        }
    }
    let mean = |value: &f32| value / count as f32;
    sum.iter_mut().map(|(_, gradient)| gradient.iter().map(mean).collect()).collect()
}

/// A unit's gradient is the mean over its own answers before it is clipped, whoever is beside it. Where
/// the mean is over a batch's answers, a neighbour without many makes a unit's gradient several times as
/// long as when it is alone, and what is added of it several times the bound.
#[test]
fn gradients_of_answers_are_those_of_each_unit_s_own() {
    let units = masked_units(5);
    let units = borrowed(&units);
    for (what, mut model) in models() {
        let names = names(&model);
        let alone: Vec<Vec<Vec<f32>>> =
            units.iter().map(|unit| answers_gradient(&mut model, unit)).collect();
        let mut norms: Vec<f64> = alone.iter().map(|unit| norm(&unit.concat())).collect();
        norms.sort_by(f64::total_cmp);
        let bound = (norms[2] + norms[3]) / 2.0;
        for function in FUNCTIONS {
            let style = ClippingStyle::AllLayer;
            let clipping = Clipping { function, style, max_grad_norm: bound, stability: 0.01 };
            let mut expected: Vec<Vec<f32>> = Vec::new();
            for unit in &alone {
                let clipped = clip(unit.clone(), &names, &clipping);
                if expected.is_empty() {
                    expected = clipped;
                } else {
                    let all = expected.iter_mut().flatten().zip(clipped.iter().flatten());
                    all.for_each(|(sum, value)| *sum += value);
                }
            }
            let parts: [&[&[Vec<&Sequence>]]; 3] = [
                &[&units[..]],
                &[&units[..2], &units[2..]],
                &[&units[..1], &units[1..4], &units[4..]],
            ];
            for parts in parts {
                let on_cpu = engine(&mut model, parts, clipping).0;
                let on_device = engine_on_device(&model, parts, clipping).0;
                for (engine, found, share) in [("CPU", on_cpu, 2e-5), ("device", on_device, 2e-4)] {
                    for ((name, found), expected) in names.iter().zip(&found).zip(&expected) {
                        let error = distance(found, expected);
                        assert!(
                            error <= share * norm(expected) + 2e-6 * bound,
                            "{what}, {function:?}, {name}, {engine}: {error} of {}",
                            norm(expected)
                        );
                    }
                }
            }
        }
    }
}
