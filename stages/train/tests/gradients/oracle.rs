//! Models, units, and their clipped sums by brute force: one unit at a time through the non-private path,
//! clipped by the formulas of the papers.

use candle_core::{DType, Device};
use pft_dp::accounting::Phase;
use pft_dp::{Clipping, ClippingFunction, ClippingStyle, Mechanism, Plan, UnitOutcome};
use pft_lm::batch::Batch;
use pft_lm::config::ModelConfig;
use pft_lm::device::DeviceModel;
use pft_lm::gradient::GradientSum;
use pft_lm::layers::lora::LoraConfig;
use pft_lm::layers::targets::TargetModules;
use pft_lm::model::{LanguageModel, init};
use pft_lm::parameters::{Parameters, TensorData};
use train::data::{Sequence, batch_of};
use train::private::{DeviceUnitGradients, UnitGradients};

use crate::fixtures::{Fixture, MODELS};

pub(crate) const VOCABULARY: u32 = 23;

pub(crate) const GPT2: &str = r#"{"model_type":"gpt2","vocab_size":23,"n_embd":16,"n_layer":2,"n_head":2,
    "n_positions":40,"initializer_range":0.3}"#;
pub(crate) const GPT2_UNTIED: &str = r#"{"model_type":"gpt2","vocab_size":23,"n_embd":16,"n_layer":2,
    "n_head":2,"n_positions":40,"initializer_range":0.3,"tie_word_embeddings":false}"#;
pub(crate) const LLAMA: &str = r#"{"model_type":"llama","vocab_size":23,"hidden_size":16,
    "num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,
    "intermediate_size":24,"max_position_embeddings":40,"initializer_range":0.3}"#;
pub(crate) const LLAMA_TIED: &str = r#"{"model_type":"llama","vocab_size":23,"hidden_size":16,
    "num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,
    "intermediate_size":24,"max_position_embeddings":40,"initializer_range":0.3,
    "tie_word_embeddings":true}"#;

pub(crate) const FUNCTIONS: [ClippingFunction; 3] =
    [ClippingFunction::Abadi, ClippingFunction::Automatic, ClippingFunction::Global];
pub(crate) const STYLES: [ClippingStyle; 4] = [
    ClippingStyle::AllLayer,
    ClippingStyle::LayerWise,
    ClippingStyle::ParamWise,
    ClippingStyle::BlockWise,
];

/// Numbers in [-1, 1) without a generator's crate.
pub(crate) fn noise(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1);
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (state >> 40) as f32 / 8_388_608.0 - 1.0
    }
}

pub(crate) fn full(config: &str, seed: u64) -> LanguageModel {
    let config = ModelConfig::from_json(config).unwrap();
    let mut parameters = init::random(&config, seed).unwrap();
    perturb(&mut parameters, seed);
    LanguageModel::new(config, parameters, None, seed).unwrap()
}

pub(crate) fn adapted(config: &str, targets: &[&str], seed: u64) -> LanguageModel {
    let parameters = init::random(&ModelConfig::from_json(config).unwrap(), seed).unwrap();
    adapted_base(config, parameters, targets, seed)
}

pub(crate) fn adapted_base(
    config: &str,
    base: Parameters,
    targets: &[&str],
    seed: u64,
) -> LanguageModel {
    let target_modules = TargetModules::names(targets.iter().copied());
    let lora = LoraConfig { rank: 3, alpha: 6.0, target_modules, ..LoraConfig::default() };
    adapted_as(config, base, lora, seed)
}

/// Adapters whose A stays as it was drawn, on every linear layer.
pub(crate) fn half_frozen(config: &str, seed: u64) -> LanguageModel {
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

pub(crate) fn adapted_as(
    config: &str,
    base: Parameters,
    lora: LoraConfig,
    seed: u64,
) -> LanguageModel {
    let config = ModelConfig::from_json(config).unwrap();
    let mut model = LanguageModel::new(config, base, Some(lora), seed).unwrap();
    perturb(model.parameters_mut(), seed);
    model
}

/// Moves trainable parameters off their starting values: an adapter's B starts at zero, and a
/// norm's scale at one, where mistakes would not show.
pub(crate) fn perturb(parameters: &mut Parameters, seed: u64) {
    let mut next = noise(seed);
    for (_, parameter) in parameters.iter_mut().filter(|(_, parameter)| parameter.trainable) {
        if let TensorData::F32(values) = &mut parameter.tensor.data {
            values.iter_mut().for_each(|value| *value += 0.2 * next());
        }
    }
}

pub(crate) fn models() -> Vec<(&'static str, LanguageModel)> {
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
pub(crate) fn families() -> impl Iterator<Item = (&'static str, LanguageModel)> {
    let families = MODELS.into_iter().filter(|name| name.starts_with("families/"));
    families.map(|name| (name, Fixture::read(name).model()))
}

/// Units of one to three examples and of unequal length, in which tokens repeat.
pub(crate) fn units(seed: u64) -> Vec<Vec<Sequence>> {
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

pub(crate) fn borrowed(units: &[Vec<Sequence>]) -> Vec<Vec<&Sequence>> {
    units.iter().map(|unit| unit.iter().collect()).collect()
}

/// Each trainable parameter's gradient of one unit's mean loss.
pub(crate) fn unit_gradient(model: &mut LanguageModel, unit: &[&Sequence]) -> Vec<Vec<f32>> {
    let mut sum = GradientSum::new(model.parameters());
    let batch: Batch = batch_of(&[unit.to_vec()]).unwrap();
    model.forward_backward(&batch, 0, &mut sum).unwrap();
    sum.iter_mut().map(|(_, gradient)| gradient.to_vec()).collect()
}

pub(crate) fn names(model: &LanguageModel) -> Vec<String> {
    model.parameters().trainable().map(|(_, parameter)| parameter.spec.name.clone()).collect()
}

/// The layers of a style, spelled out from the names anew.
pub(crate) fn group(style: ClippingStyle, name: &str) -> String {
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

pub(crate) fn clip(
    mut gradient: Vec<Vec<f32>>,
    names: &[String],
    clipping: &Clipping,
) -> Vec<Vec<f32>> {
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

pub(crate) fn brute_force(
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

pub(crate) fn mechanism(clipping: Clipping) -> Mechanism {
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
pub(crate) fn engine(
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
pub(crate) fn engine_on_device(
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

pub(crate) fn norm(values: &[f32]) -> f64 {
    values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt()
}

pub(crate) fn distance(left: &[f32], right: &[f32]) -> f64 {
    let difference: Vec<f32> = left.iter().zip(right).map(|(l, r)| l - r).collect();
    norm(&difference)
}

/// Thresholds of which some units fall short and others do not.
pub(crate) fn middling_norm(model: &mut LanguageModel, units: &[Vec<&Sequence>]) -> f64 {
    let mut norms: Vec<f64> =
        units.iter().map(|unit| norm(&unit_gradient(model, unit).concat())).collect();
    norms.sort_by(f64::total_cmp);
    (norms[norms.len() / 2 - 1] + norms[norms.len() / 2]) / 2.0
}
