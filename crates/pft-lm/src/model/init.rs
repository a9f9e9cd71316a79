//! Random initial values, distributed as transformers and PEFT draw them.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;

use crate::config::{Architecture, ModelConfig, NormKind};
use crate::parameters::{
    ParameterError, ParameterKind, ParameterSpec, Parameters, Precision, Tensor, parameter_specs,
};

/// A model with random weights: N(0, `initializer_range`²), GPT-2's output projections divided
/// by √(2 · layers), biases 0, norms 1. The same seed gives the same weights everywhere.
///
/// # Errors
/// When a config repeats a name, which no config made by this crate does.
pub fn random(config: &ModelConfig, seed: u64) -> Result<Parameters, ParameterError> {
    random_in(config, seed, Precision::F32)
}

/// [`random`] in any precision: matrices are rounded as they are drawn, so that frozen models that fill the memory are never there in 32 bits.
///
/// # Errors
/// As [`random`], and where a matrix has rows that are no whole blocks.
pub fn random_in(
    config: &ModelConfig,
    seed: u64,
    precision: Precision,
) -> Result<Parameters, ParameterError> {
    table(config, |spec, stream| Tensor::kept(spec, values(config, spec, seed, stream), precision))
}

fn table(
    config: &ModelConfig,
    draw: impl Fn(&ParameterSpec, u64) -> Result<Tensor, ParameterError> + Sync,
) -> Result<Parameters, ParameterError> {
    let specs = parameter_specs(config);
    let tensors: Vec<Tensor> = specs
        .par_iter()
        .enumerate()
        .map(|(stream, spec)| draw(spec, stream as u64))
        .collect::<Result<_, _>>()?;
    let mut parameters = Parameters::new();
    for (spec, tensor) in specs.into_iter().zip(tensors) {
        parameters.insert(spec, tensor, true)?;
    }
    Ok(parameters)
}

fn values(config: &ModelConfig, spec: &ParameterSpec, seed: u64, stream: u64) -> Vec<f32> {
    match spec.kind {
        ParameterKind::Bias | ParameterKind::NormShift => vec![0.0; spec.len()],
        ParameterKind::NormScale => {
            let from_one = config.design.norm == NormKind::RmsFromOne;
            vec![if from_one { 0.0 } else { 1.0 }; spec.len()]
        }
        ParameterKind::LoraA | ParameterKind::LoraB => adapter(spec, seed, stream),
        ParameterKind::Embedding | ParameterKind::Weight => {
            let narrowed =
                config.architecture == Architecture::Gpt2 && spec.name.ends_with("c_proj.weight");
            let layers = config.num_hidden_layers as f64;
            let divisor = if narrowed { (2.0 * layers).sqrt() } else { 1.0 };
            normal(spec.len(), config.initializer_range / divisor, seed, stream)
        }
    }
}

/// A uniform in ±1/√in (Kaiming with a = √5, as `torch.nn.Linear`), B zero.
pub(crate) fn adapter(spec: &ParameterSpec, seed: u64, stream: u64) -> Vec<f32> {
    if spec.kind == ParameterKind::LoraB {
        return vec![0.0; spec.len()];
    }
    let bound = 1.0 / (spec.shape[1] as f64).sqrt();
    let mut generator = generator(seed, stream);
    (0..spec.len()).map(|_| ((uniform(&mut generator) * 2.0 - 1.0) * bound) as f32).collect()
}

fn generator(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    generator.set_stream(stream);
    generator
}

/// Uniform in (0, 1).
pub(crate) fn uniform(generator: &mut ChaCha8Rng) -> f64 {
    ((generator.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
}

/// Gaussian numbers by Box and Muller's method.
fn normal(count: usize, deviation: f64, seed: u64, stream: u64) -> Vec<f32> {
    let mut generator = generator(seed, stream);
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        let radius = (-2.0 * uniform(&mut generator).ln()).sqrt() * deviation;
        let (sine, cosine) = (std::f64::consts::TAU * uniform(&mut generator)).sin_cos();
        values.push((radius * cosine) as f32);
        values.push((radius * sine) as f32);
    }
    values.truncate(count);
    values
}
