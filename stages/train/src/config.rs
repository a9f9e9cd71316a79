//! The settings of `train`.

mod budget;
mod device;
mod length;
mod limits;
mod validate;

use pft_dp::accounting::{Accountant, MAX_STEPS};
use pft_dp::{BaseHasSeen, BaseUnits, Clipping, ClippingFunction, ClippingStyle, Noise};
use pft_lm::layers::lora::LoraConfig;
use pft_lm::layers::targets::TargetModules;
use pft_lm::optimizer::OptimizerConfig;
use pft_lm::parameters::Precision;
use pft_lm::schedule::ScheduleKind;
use pft_stage::OutsidePath;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use device::{Device, Dtype};

use limits::{MAX_BATCH, MAX_EPOCHS, MAX_LEARNING_RATE, MAX_PASS_TOKENS};

/// Settings of the stage.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The model to start from: a Hugging Face folder or a GGUF file. Known by `model_type` are gpt2,
    /// llama, mistral, ministral, qwen2, qwen3, gpt_neox (Pythia), gemma2, gemma3_text, vaultgemma,
    /// olmo2, olmo3, smollm3, granite, phi (1.5 and 2) and phi3.
    #[schemars(extend("x-reads" = ["config.json", "generation_config.json", "manifest.json", "privacy.json", "README.md", "model.safetensors.index.json", ["model.safetensors", "*.safetensors"], "*.gguf"]))]
    pub base_model: Option<OutsidePath>,
    /// What a base model from elsewhere has seen of the units to train on: `nothing` is your
    /// declaration that it saw none of them in any training before, and the privacy statement
    /// rests on it; with `unknown` the statement holds only if that is so, and the model is not for
    /// release. What a model made by pft has seen is read from its files, and this changes none of it.
    pub base_has_seen: BaseHasSeen,
    /// For a base model that pft trained privately before: `same` is your declaration that what was one
    /// unit there is one here (a case and a case, not a case and its paragraphs), so that the ε of all
    /// trainings together is that of one unit; with `unknown` the model is not for release.
    pub base_units: BaseUnits,
    /// Without a base model: the `config.json` of a model to initialise at random.
    pub random_init: Option<OutsidePath>,
    /// What the base model's matrices are kept in, rounded as they are loaded: `bf16` takes half the
    /// memory of `f32`, and GGUF's blocks of 32 integers with a scale, `q8_0` and `q4_0`, a quarter
    /// and a seventh; products widen them a part at a time. With `lora` only, since weights that
    /// train stay in 32 bits. On a GPU `dtype` says what they take.
    pub base_precision: Precision,
    /// Trains low-rank adapters; the whole model without it.
    pub lora: Option<Lora>,
    /// Adapters to go on from instead of new ones: a model of this stage that has some, or a bundle
    /// of format `peft`, trained on `base_model`. What they have seen of the units is read from
    /// their files, and the privacy statement composes what all trainings spent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-reads" = ["adapter_config.json", "adapter_model.safetensors", "base.json", "manifest.json", "privacy.json"]))]
    pub base_adapters: Option<OutsidePath>,
    /// The optimizer and its constants.
    pub optimizer: OptimizerConfig,
    /// The highest learning rate.
    #[schemars(extend("exclusiveMinimum" = 0.0, "maximum" = MAX_LEARNING_RATE))]
    pub learning_rate: f64,
    /// How the learning rate runs after its warm-up.
    pub schedule: ScheduleKind,
    /// Steps over which the learning rate climbs from 0.
    #[schemars(extend("maximum" = MAX_STEPS))]
    pub warmup_steps: u64,
    /// Optimizer steps. Without it, `epochs` decides.
    #[schemars(extend("minimum" = 1, "maximum" = MAX_STEPS))]
    pub max_steps: Option<u64>,
    /// Passes over the training examples (with privacy: expected passes over the units).
    #[schemars(extend("exclusiveMinimum" = 0.0, "maximum" = MAX_EPOCHS))]
    pub epochs: f64,
    /// Examples of an optimizer step; with privacy, the expected number of units.
    #[schemars(extend("minimum" = 1, "maximum" = MAX_BATCH))]
    pub batch_size: u64,
    /// Tokens of one forward pass at most, more where a single unit has more: bounds the memory.
    /// With privacy and without LoRA a pass takes half as many, since it keeps about twice as much
    /// of each.
    #[schemars(extend("minimum" = 1, "maximum" = MAX_PASS_TOKENS))]
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
    /// The adapter's output is scaled by alpha / rank (`lora_alpha` and `r` in peft).
    pub alpha: f64,
    /// Scales by alpha / √rank instead, so that a higher rank does not learn more slowly (peft's
    /// `use_rslora`).
    #[serde(skip_serializing_if = "is_off")]
    pub use_rslora: bool,
    /// Share of the adapter's input that is dropped in training (`lora_dropout` in peft).
    pub dropout: f64,
    /// The linear layers that get an adapter, as peft's `target_modules`: a list of names, each the
    /// end of a layer's path (`q_proj`, and `lm_head` where the head is not the embedding); or
    /// `all-linear`, every linear layer of the blocks and never the head; or a regular expression
    /// that matches paths from end to end (`.*\.[0-7]\.self_attn\.[qv]_proj`).
    pub target_modules: TargetModules,
    /// Trains B alone and leaves A as it was drawn (FFA-LoRA): with privacy B alone is clipped and
    /// noised, and noise is never multiplied by noise. peft has no such setting, and loads what is
    /// written as any adapter.
    #[serde(skip_serializing_if = "is_off")]
    pub freeze_a: bool,
}

/// Left out where it is off, so that earlier settings keep their cache keys.
fn is_off(value: &bool) -> bool {
    !value
}

impl Default for Lora {
    fn default() -> Self {
        Self {
            rank: 8,
            alpha: 16.0,
            use_rslora: false,
            dropout: 0.0,
            target_modules: TargetModules::names(["q_proj", "v_proj"]),
            freeze_a: false,
        }
    }
}

impl From<&Lora> for LoraConfig {
    fn from(lora: &Lora) -> Self {
        Self {
            rank: lora.rank as usize,
            alpha: lora.alpha,
            use_rslora: lora.use_rslora,
            dropout: lora.dropout,
            target_modules: lora.target_modules.clone(),
            freeze_a: lora.freeze_a,
        }
    }
}

/// Differential privacy.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Privacy {
    /// ε to spend on the whole run; decides the noise. Exactly one of this and
    /// `noise_multiplier` must be set. `.inf` is `noise_multiplier: 0`.
    #[serde(with = "budget")]
    #[schemars(with = "Option<budget::Budget>")]
    pub target_epsilon: Option<f64>,
    /// δ, the chance that the promise of ε does not hold: below 1/N for N units, and at most 0.001.
    /// Without it 1/N^1.1, but at most 0.001.
    pub target_delta: Option<f64>,
    /// Standard deviation of the noise divided by the clipping norm. 0 samples and clips as a
    /// private run does, and adds no noise: a baseline that is not private.
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
    /// The largest number of units N that the data may hold, chosen without looking at whether one
    /// unit more or less is there: it decides sample rate, δ and, with `epochs`, the number of steps,
    /// and the guarantee is over data sets with at most so many units; more are refused. Counted in
    /// the data without it: then those numbers tell who is there, and the model is not for release.
    #[schemars(extend("minimum" = 1))]
    pub units: Option<u64>,
    /// The accountant that decides the noise: pld or rdp, for gdp bounds nothing. All are reported.
    pub accountant: Accountant,
    /// Allows a δ of 1/N or more, or above 0.001, which promises nothing: the model is then not for
    /// release.
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
            base_units: BaseUnits::Unknown,
            random_init: None,
            base_precision: Precision::F32,
            lora: None,
            base_adapters: None,
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
    /// How much noise is asked for; none where it is to be left out.
    pub fn noise(&self) -> Option<Noise> {
        match (self.noise_multiplier, self.target_epsilon) {
            (Some(0.0), _) | (None, Some(f64::INFINITY)) => None,
            (Some(multiplier), _) => Some(Noise::Multiplier(multiplier)),
            // Without either the settings are refused.
            (None, target) => Some(Noise::ForEpsilon {
                target: target.unwrap_or_default(),
                accountant: self.accountant,
            }),
        }
    }

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
