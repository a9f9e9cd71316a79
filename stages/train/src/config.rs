//! The settings of `train`.

mod device;

use pft_dp::accounting::Accountant;
use pft_dp::{BaseHasSeen, Clipping, ClippingFunction, ClippingStyle};
use pft_lm::layers::lora::LoraConfig;
use pft_lm::optimizer::OptimizerConfig;
use pft_lm::parameters::Precision;
use pft_lm::schedule::ScheduleKind;
use pft_stage::{OutsidePath, StageError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use device::{Device, Dtype};

/// Settings of the stage.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The model to start from: a Hugging Face folder or a GGUF file.
    pub base_model: Option<OutsidePath>,
    /// What a base model from elsewhere has seen of the units to train on: `nothing` is your
    /// declaration that it saw none of them in any training before, and the privacy statement
    /// rests on it; with `unknown` the statement holds only if that is so, and the model is not for
    /// release. What a model made by pft has seen is read from its files, and this changes none of it.
    pub base_has_seen: BaseHasSeen,
    /// Without a base model: the `config.json` of a model to initialise at random.
    pub random_init: Option<OutsidePath>,
    /// What the base model's matrices are kept in. `bf16` rounds them as they are loaded and takes
    /// half the memory; with `lora` only, since weights that train stay in 32 bits.
    pub base_precision: Precision,
    /// Trains low-rank adapters; the whole model without it.
    pub lora: Option<Lora>,
    /// The optimizer and its constants.
    pub optimizer: OptimizerConfig,
    /// The highest learning rate.
    pub learning_rate: f64,
    /// How the learning rate runs after its warm-up.
    pub schedule: ScheduleKind,
    /// Steps over which the learning rate climbs from 0.
    pub warmup_steps: u64,
    /// Optimizer steps. Without it, `epochs` decides.
    pub max_steps: Option<u64>,
    /// Passes over the training examples (with privacy: expected passes over the units).
    pub epochs: f64,
    /// Examples of an optimizer step; with privacy, the expected number of units.
    pub batch_size: u64,
    /// Tokens of one forward pass at most, more where a single unit has more: bounds the memory.
    /// With privacy and without LoRA a pass takes half as many, since it keeps about twice as much
    /// of each.
    pub micro_batch_tokens: u64,
    /// Clips the norm of the whole gradient, without privacy; 0 turns it off.
    pub max_grad_norm: f64,
    /// Keeps only the input of each block for the backward pass: less memory, more time.
    pub checkpoint_activations: bool,
    /// Where to train: `cpu`, or a GPU, `cuda` or `cuda:1`, with a build that has the feature
    /// `cuda`. `candle-cpu` computes as on a GPU, slowly, without one: for tests.
    #[serde(skip_serializing_if = "Device::is_default")]
    #[schemars(with = "String")]
    pub device: Device,
    /// What a GPU computes in: `f32`, or `bf16` for half the memory and more speed. Weights that
    /// train, clipping and noise are in f32 either way.
    #[serde(skip_serializing_if = "Dtype::is_default")]
    pub dtype: Dtype,
    /// Seed of initial adapters, shuffling and dropout. Not of the randomness of privacy.
    pub seed: u64,
    /// Differential privacy by DP-SGD; none without it.
    pub privacy: Option<Privacy>,
    /// When and on how much to evaluate.
    pub evaluation: Evaluation,
    /// Texts to generate at the end.
    pub samples: Samples,
    /// When to keep the state of training, to go on from after a kill.
    pub checkpoints: Checkpoints,
    /// Two steps, to see whether everything fits.
    pub dry_run: bool,
}

/// LoRA, by the names of PEFT.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Lora {
    /// Width of the bottleneck.
    pub rank: u32,
    /// The adapter's output is scaled by alpha / rank.
    pub alpha: f64,
    /// Share of the adapter's input that is dropped in training.
    pub dropout: f64,
    /// The linear layers that get an adapter, by the last part of their name.
    pub target_modules: Vec<String>,
}

impl Default for Lora {
    fn default() -> Self {
        let target_modules = ["q_proj", "v_proj"].map(String::from).to_vec();
        Self { rank: 8, alpha: 16.0, dropout: 0.0, target_modules }
    }
}

impl From<&Lora> for LoraConfig {
    fn from(lora: &Lora) -> Self {
        Self {
            rank: lora.rank as usize,
            alpha: lora.alpha,
            dropout: lora.dropout,
            target_modules: lora.target_modules.clone(),
        }
    }
}

/// Differential privacy.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Privacy {
    /// ε to spend on the whole run; decides the noise. Exactly one of this and
    /// `noise_multiplier` must be set.
    pub target_epsilon: Option<f64>,
    /// δ; 1/N^1.1 for N units without it, but at most 0.001.
    pub target_delta: Option<f64>,
    /// Standard deviation of the noise divided by the clipping norm.
    pub noise_multiplier: Option<f64>,
    /// The clipping norm C.
    pub max_grad_norm: f64,
    /// The clipping function.
    pub clipping_function: ClippingFunction,
    /// The clipping style.
    pub clipping_style: ClippingStyle,
    /// γ of clipping function `automatic`.
    pub gamma: f64,
    /// Examples of a unit that take part in a step at most; drawn anew for each step.
    pub max_examples_per_unit: u32,
    /// The number of units N, as publicly declared: it decides sample rate, δ and, with `epochs`, the
    /// number of steps. Counted in the data without it, and then listed among what touched the data.
    pub units: Option<u64>,
    /// The accountant that decides the noise: pld or rdp, for gdp bounds nothing. All are reported.
    pub accountant: Accountant,
    /// Allows δ ≥ 1/N, which promises next to nothing.
    pub force_delta: bool,
    /// Draws sampling and noise from this seed instead of the operating system's entropy: for
    /// experiments; the privacy statement then says that the model is not for release.
    pub fixed_seed_not_for_release: Option<u64>,
}

impl Default for Privacy {
    fn default() -> Self {
        Self {
            target_epsilon: None,
            target_delta: None,
            noise_multiplier: None,
            max_grad_norm: 1.0,
            clipping_function: ClippingFunction::Abadi,
            clipping_style: ClippingStyle::AllLayer,
            gamma: 0.01,
            max_examples_per_unit: 1,
            units: None,
            accountant: Accountant::Pld,
            force_delta: false,
            fixed_seed_not_for_release: None,
        }
    }
}

/// Evaluation.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Evaluation {
    /// Steps between evaluations; only before and after training without it.
    pub every_steps: Option<u64>,
    /// Held-out examples to look at, at most.
    pub max_examples: u64,
    /// Training examples to look at, for the gap that memorisation makes.
    pub max_train_examples: u64,
}

impl Default for Evaluation {
    fn default() -> Self {
        Self { every_steps: None, max_examples: 64, max_train_examples: 64 }
    }
}

/// Texts generated at the end.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Samples {
    /// Beginnings to continue.
    pub prompts: Vec<String>,
    /// New tokens at most.
    pub max_new_tokens: u32,
    /// Divides the logits; 0 takes the likeliest token always.
    pub temperature: f64,
    /// Draw among the likeliest `top_k` tokens only.
    pub top_k: Option<u32>,
    /// Draw among the fewest likeliest tokens whose probabilities reach `top_p`.
    pub top_p: Option<f64>,
}

impl Default for Samples {
    fn default() -> Self {
        Self {
            prompts: Vec::new(),
            max_new_tokens: 48,
            temperature: 1.0,
            top_k: Some(40),
            top_p: None,
        }
    }
}

/// The state of training on disk.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Checkpoints {
    /// Steps between checkpoints; none without it.
    pub every_steps: Option<u64>,
    /// How many to keep.
    pub save_total_limit: u32,
}

impl Default for Checkpoints {
    fn default() -> Self {
        Self { every_steps: Some(50), save_total_limit: 2 }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            base_model: None,
            base_has_seen: BaseHasSeen::Unknown,
            random_init: None,
            base_precision: Precision::F32,
            lora: None,
            optimizer: OptimizerConfig::default(),
            learning_rate: 5e-5,
            schedule: ScheduleKind::Linear,
            warmup_steps: 0,
            max_steps: None,
            epochs: 1.0,
            batch_size: 8,
            micro_batch_tokens: 1024,
            max_grad_norm: 1.0,
            checkpoint_activations: false,
            device: Device::default(),
            dtype: Dtype::default(),
            seed: 42,
            privacy: None,
            evaluation: Evaluation::default(),
            samples: Samples::default(),
            checkpoints: Checkpoints::default(),
            dry_run: false,
        }
    }
}

impl Privacy {
    /// The clipping settings.
    pub fn clipping(&self) -> Clipping {
        Clipping {
            function: self.clipping_function,
            style: self.clipping_style,
            max_grad_norm: self.max_grad_norm,
            stability: self.gamma,
        }
    }
}

impl Config {
    pub(crate) fn validate(&self) -> Result<(), StageError> {
        let wrong = |message: &str| Err(StageError::config(message));
        match (&self.base_model, &self.random_init) {
            (None, None) => return wrong("base_model: is missing; or set random_init"),
            (Some(_), Some(_)) => return wrong("base_model and random_init: set one of them"),
            _ => {}
        }
        if self.base_precision == Precision::Bf16 && self.lora.is_none() {
            return wrong("base_precision: bf16 is for frozen weights; set lora, or use f32");
        }
        if self.batch_size == 0 || self.micro_batch_tokens == 0 {
            return wrong("batch_size and micro_batch_tokens: must be at least 1");
        }
        if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) {
            return wrong("learning_rate: must be greater than 0");
        }
        if self.max_steps.is_none() && !(self.epochs > 0.0 && self.epochs.is_finite()) {
            return wrong("epochs: must be greater than 0");
        }
        if self.max_grad_norm < 0.0 {
            return wrong("max_grad_norm: must be at least 0; 0 turns clipping off");
        }
        let samples = &self.samples;
        if !(samples.temperature >= 0.0 && samples.temperature.is_finite()) {
            return wrong("samples.temperature: must be at least 0");
        }
        if samples.top_p.is_some_and(|top_p| !(top_p > 0.0 && top_p <= 1.0)) {
            return wrong("samples.top_p: must be greater than 0 and at most 1");
        }
        if samples.top_k == Some(0) {
            return wrong("samples.top_k: must be at least 1");
        }
        self.device.validate(self.dtype)?;
        let Some(privacy) = &self.privacy else { return Ok(()) };
        if self.lora.as_ref().is_some_and(|lora| lora.dropout > 0.0) {
            // A mask would depend on where in the batch a unit stands, and so on other units.
            return wrong("lora.dropout: must be 0 with privacy");
        }
        match (privacy.target_epsilon, privacy.noise_multiplier) {
            (Some(_), Some(_)) => {
                return wrong("privacy: set target_epsilon or noise_multiplier, not both");
            }
            (None, None) => return wrong("privacy: set target_epsilon or noise_multiplier"),
            (Some(epsilon), None) if !(epsilon > 0.0 && epsilon.is_finite()) => {
                return wrong("privacy.target_epsilon: must be greater than 0");
            }
            (None, Some(noise)) if !(noise > 0.0 && noise.is_finite()) => {
                return wrong("privacy.noise_multiplier: must be greater than 0");
            }
            _ => {}
        }
        if privacy.accountant == Accountant::Gdp {
            return wrong(
                "privacy.accountant: gdp is an approximation that can give too little noise; use pld \
                 or rdp (privacy.json reports gdp's figure beside theirs)",
            );
        }
        if !(privacy.max_grad_norm > 0.0 && privacy.max_grad_norm.is_finite()) {
            return wrong("privacy.max_grad_norm: must be greater than 0");
        }
        if privacy.gamma <= 0.0 {
            return wrong("privacy.gamma: must be greater than 0");
        }
        if privacy.max_examples_per_unit == 0 {
            return wrong("privacy.max_examples_per_unit: must be at least 1");
        }
        if privacy.target_delta.is_some_and(|delta| !(1e-50..1.0).contains(&delta)) {
            return wrong("privacy.target_delta: must be at least 1e-50 and less than 1");
        }
        Ok(())
    }
}
