//! YaRN's rotary frequencies (Peng et al. 2023, <https://arxiv.org/abs/2309.00071>), as
//! transformers computes them.

use serde_json::{Map, Value, json};

use super::{ConfigError, RopeConfig, invalid};

/// High frequencies are kept, low ones divided by `factor`, with a ramp between, and cosines and sines
/// are multiplied by `attention_factor`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Yarn {
    /// Divisor of the low frequencies.
    pub factor: f64,
    /// The context that the model was first trained with.
    pub original_max_position_embeddings: usize,
    /// Turns within the original context from which a frequency is kept.
    pub beta_fast: f64,
    /// Turns below which it is divided.
    pub beta_slow: f64,
    /// Whether the ramp's ends are rounded to whole dimensions.
    pub truncate: bool,
    /// Multiplies cosines and sines.
    pub attention_factor: f64,
}

impl Yarn {
    /// Reads the object under `rope_scaling` or `rope_parameters`.
    pub(super) fn read(
        object: &Map<String, Value>,
        original_max_position_embeddings: usize,
    ) -> Result<Self, ConfigError> {
        let number = |name: &str, default: Option<f64>| match object.get(name) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => match value.as_f64().filter(|number| number.is_finite()) {
                Some(number) if number > 0.0 => Ok(Some(number)),
                _ => Err(invalid("rope_scaling", format!("lacks a positive `{name}`"))),
            },
        };
        let factor = number("factor", None)?
            .ok_or_else(|| invalid("rope_scaling", "lacks a positive `factor`"))?;
        let scale = |strength: f64| {
            if factor <= 1.0 { 1.0 } else { 0.1 * strength * factor.ln() + 1.0 }
        };
        let inferred = match (number("mscale", None)?, number("mscale_all_dim", None)?) {
            (Some(mscale), Some(all)) => scale(mscale) / scale(all),
            _ => scale(1.0),
        };
        Ok(Self {
            factor,
            original_max_position_embeddings,
            beta_fast: number("beta_fast", Some(32.0))?.unwrap_or(32.0),
            beta_slow: number("beta_slow", Some(1.0))?.unwrap_or(1.0),
            truncate: object.get("truncate").and_then(Value::as_bool).unwrap_or(true),
            attention_factor: number("attention_factor", None)?.unwrap_or(inferred),
        })
    }

    /// The object to be written.
    pub(super) fn to_json(self) -> Value {
        json!({
            "rope_type": "yarn",
            "factor": self.factor,
            "original_max_position_embeddings": self.original_max_position_embeddings,
            "beta_fast": self.beta_fast,
            "beta_slow": self.beta_slow,
            "truncate": self.truncate,
            "attention_factor": self.attention_factor,
        })
    }

    /// Frequency `index` of `rope`.
    pub(crate) fn frequency(self, rope: &RopeConfig, index: usize) -> f64 {
        let dim = rope.rotary_dim as f64;
        let plain = rope.theta.powf(-2.0 * index as f64 / dim);
        // The dimension that turns so often within the original context.
        let dimension = |turns: f64| {
            let original = self.original_max_position_embeddings as f64;
            dim * (original / (turns * std::f64::consts::TAU)).ln() / (2.0 * rope.theta.ln())
        };
        let (mut low, mut high) = (dimension(self.beta_fast), dimension(self.beta_slow));
        if self.truncate {
            (low, high) = (low.floor(), high.ceil());
        }
        (low, high) = (low.max(0.0), high.min(dim - 1.0));
        if low == high {
            high += 0.001;
        }
        let divided = ((index as f64 - low) / (high - low)).clamp(0.0, 1.0);
        plain / self.factor * divided + plain * (1.0 - divided)
    }
}
