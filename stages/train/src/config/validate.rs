//! What the settings must be, asked before anything is read.

use std::ops::RangeInclusive;

use pft_dp::accounting::{Accountant, MAX_STEPS};
use pft_dp::refuse_large_delta;
use pft_lm::optimizer::OptimizerConfig;
use pft_lm::parameters::Precision;
use pft_stage::StageError;

use super::limits::{MAX_BATCH, MAX_EPOCHS, MAX_FACTOR, MAX_LEARNING_RATE, MAX_PASS_TOKENS};
use super::{Config, Lora, Privacy};

fn wrong(message: impl Into<String>) -> Result<(), StageError> {
    Err(StageError::config(message))
}

/// Refuses a number that is not greater than 0 and at most `most`; NaN too.
fn positive(name: &str, value: f64, most: f64) -> Result<(), StageError> {
    if value > 0.0 && value <= most {
        return Ok(());
    }
    wrong(format!("{name}: is {value:?}, but must be greater than 0 and at most {most}"))
}

/// Refuses a number that is not in `range`; NaN too.
fn within<T>(name: &str, value: T, range: RangeInclusive<T>) -> Result<(), StageError>
where
    T: PartialOrd + std::fmt::Debug + std::fmt::Display,
{
    if range.contains(&value) {
        return Ok(());
    }
    let (start, end) = range.into_inner();
    wrong(format!("{name}: is {value:?}, but must lie between {start} and {end}"))
}

/// Refuses a share of 1 or more, or below 0.
fn share(name: &str, value: f64) -> Result<(), StageError> {
    if (0.0..1.0).contains(&value) {
        return Ok(());
    }
    wrong(format!("{name}: is {value:?}, but must be at least 0 and less than 1"))
}

impl Config {
    pub(crate) fn validate(&self) -> Result<(), StageError> {
        match (&self.base_model, &self.random_init) {
            (None, None) => return wrong("base_model: is missing; or set random_init"),
            (Some(_), Some(_)) => return wrong("base_model and random_init: set one of them"),
            _ => {}
        }
        if self.base_precision != Precision::F32 && self.lora.is_none() {
            return wrong(format!(
                "base_precision: {} is for frozen weights; set lora, or use f32",
                self.base_precision.name()
            ));
        }
        if self.base_adapters.is_some() && (self.lora.is_none() || self.base_model.is_none()) {
            return wrong("base_adapters: needs base_model and lora, with the adapters' settings");
        }
        self.validate_length()?;
        positive("learning_rate", self.learning_rate, MAX_LEARNING_RATE)?;
        if !(self.max_grad_norm >= 0.0 && self.max_grad_norm.is_finite()) {
            return wrong("max_grad_norm: must be at least 0; 0 turns clipping off");
        }
        validate_optimizer(&self.optimizer)?;
        if let Some(lora) = &self.lora {
            lora.validate()?;
        }
        self.validate_samples()?;
        self.device.validate(self.dtype)?;
        let Some(privacy) = &self.privacy else { return Ok(()) };
        if self.lora.as_ref().is_some_and(|lora| lora.dropout > 0.0) {
            // A mask would depend on where in the batch a unit stands, and so on other units.
            return wrong("lora.dropout: must be 0 with privacy");
        }
        privacy.validate()?;
        if let Some(units) = privacy.units {
            // Then the number of steps is known already.
            self.planned_steps(units, 0)?;
        }
        Ok(())
    }

    fn validate_length(&self) -> Result<(), StageError> {
        within("batch_size", self.batch_size, 1..=MAX_BATCH)?;
        within("micro_batch_tokens", self.micro_batch_tokens, 1..=MAX_PASS_TOKENS)?;
        within("warmup_steps", self.warmup_steps, 0..=MAX_STEPS)?;
        for (name, steps) in [
            ("max_steps", self.max_steps),
            ("evaluation.every_steps", self.evaluation.every_steps),
            ("checkpoints.every_steps", self.checkpoints.every_steps),
        ] {
            if let Some(steps) = steps {
                within(name, steps, 1..=MAX_STEPS)?;
            }
        }
        if self.max_steps.is_none() {
            positive("epochs", self.epochs, MAX_EPOCHS)?;
        }
        Ok(())
    }

    fn validate_samples(&self) -> Result<(), StageError> {
        let samples = &self.samples;
        within("samples.temperature", samples.temperature, 0.0..=MAX_FACTOR)?;
        if let Some(top_p) = samples.top_p {
            positive("samples.top_p", top_p, 1.0)?;
        }
        if samples.top_k == Some(0) {
            return wrong("samples.top_k: must be at least 1");
        }
        Ok(())
    }
}

fn validate_optimizer(optimizer: &OptimizerConfig) -> Result<(), StageError> {
    match *optimizer {
        OptimizerConfig::AdamW { beta1, beta2, epsilon, weight_decay } => {
            share("optimizer.beta1", beta1)?;
            share("optimizer.beta2", beta2)?;
            positive("optimizer.epsilon", epsilon, MAX_FACTOR)?;
            within("optimizer.weight_decay", weight_decay, 0.0..=MAX_FACTOR)
        }
        OptimizerConfig::Sgd { momentum, weight_decay } => {
            share("optimizer.momentum", momentum)?;
            within("optimizer.weight_decay", weight_decay, 0.0..=MAX_FACTOR)
        }
    }
}

impl Lora {
    fn validate(&self) -> Result<(), StageError> {
        within("lora.rank", self.rank, 1..=65_536)?;
        positive("lora.alpha", self.alpha, MAX_FACTOR)?;
        share("lora.dropout", self.dropout)
    }
}

impl Privacy {
    fn validate(&self) -> Result<(), StageError> {
        match (self.target_epsilon, self.noise_multiplier) {
            (Some(_), Some(_)) => {
                return wrong("privacy: set target_epsilon or noise_multiplier, not both");
            }
            (None, None) => return wrong("privacy: set target_epsilon or noise_multiplier"),
            _ => {}
        }
        if let Some(noise) = self.noise() {
            noise.check().map_err(|error| {
                StageError::config(format!("privacy.{error}")).with_help(
                    "noise_multiplier: 0, or target_epsilon: .inf, samples and clips without noise: a \
                     baseline, not private",
                )
            })?;
        }
        if self.accountant == Accountant::Gdp {
            return wrong(
                "privacy.accountant: gdp is an approximation that can give too little noise; use pld \
                 or rdp (privacy.json reports gdp's figure beside theirs)",
            );
        }
        self.clipping()
            .validate()
            .map_err(|error| StageError::config(format!("privacy.{error}")))?;
        if self.max_examples_per_unit == 0 {
            return wrong("privacy.max_examples_per_unit: must be at least 1");
        }
        if self.units == Some(0) {
            return wrong("privacy.units: must be at least 1");
        }
        if self.target_delta.is_some_and(|delta| !(1e-50..1.0).contains(&delta)) {
            return wrong("privacy.target_delta: must be at least 1e-50 and less than 1");
        }
        if let (Some(delta), Some(units), false) = (self.target_delta, self.units, self.force_delta)
        {
            refuse_large_delta(delta, units)
                .map_err(|error| StageError::config(format!("privacy.target_{error}")))?;
        }
        Ok(())
    }
}
