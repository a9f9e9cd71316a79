//! Clipping: how much of each unit's gradient goes into the sum.
//!
//! Parameters are divided into groups; group l has a threshold Cₗ with Σ Cₗ² = C², so that the
//! clipped gradient of a unit, and with it what one unit can change in the sum, has norm at most C
//! whatever the style.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The factor by which a gradient of norm n is multiplied.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum ClippingFunction {
    /// min(1, C / n): long gradients are shortened (Abadi et al. 2016).
    Abadi,
    /// C / (n + γ): every gradient is brought to nearly C (AUTO-S, Bu et al. 2023).
    #[default]
    Automatic,
    /// 1 if n ≤ C, else 0: long gradients are left out (Bu et al. 2021).
    Global,
}

/// Which parameters are clipped together.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum ClippingStyle {
    /// All of them.
    #[default]
    AllLayer,
    /// Those of a layer: a linear map's weight and bias, an adapter's A and B.
    LayerWise,
    /// Each parameter alone.
    ParamWise,
    /// Those of a transformer block; those outside the blocks are one more group.
    BlockWise,
}

impl ClippingStyle {
    /// The group of each parameter, by its name: groups are numbered in order of appearance.
    ///
    /// Names are Hugging Face's, as in `model.layers.3.mlp.up_proj.weight`.
    pub fn groups<S: AsRef<str>>(self, names: &[S]) -> Vec<usize> {
        let mut known: Vec<String> = Vec::new();
        names
            .iter()
            .map(|name| {
                let key = self.key(name.as_ref());
                known.iter().position(|other| *other == key).unwrap_or_else(|| {
                    known.push(key);
                    known.len() - 1
                })
            })
            .collect()
    }

    fn key(self, name: &str) -> String {
        match self {
            Self::AllLayer => String::new(),
            Self::ParamWise => name.to_owned(),
            Self::LayerWise => {
                let layer = name.rsplit_once('.').map_or(name, |(layer, _)| layer);
                let base = |suffix| layer.find(suffix).map(|at| &layer[..at]);
                base(".lora_A").or_else(|| base(".lora_B")).unwrap_or(layer).to_owned()
            }
            Self::BlockWise => {
                let mut prefix = Vec::new();
                for part in name.split('.') {
                    prefix.push(part);
                    if part.parse::<u32>().is_ok() {
                        return prefix.join(".");
                    }
                }
                String::new()
            }
        }
    }
}

/// The clipping norms that can be asked for. Far below, sums and noise would leave the range in which
/// single precision rounds relatively; far above, nothing is clipped and noise overflows.
const NORMS: std::ops::RangeInclusive<f64> = 1e-6..=1e6;

/// Settings of clipping.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Clipping {
    /// The clipping function.
    pub function: ClippingFunction,
    /// Which parameters are clipped together.
    pub style: ClippingStyle,
    /// C, the largest norm that a unit contributes with.
    pub max_grad_norm: f64,
    /// γ of the automatic function.
    pub stability: f64,
}

impl Default for Clipping {
    fn default() -> Self {
        Self {
            function: ClippingFunction::default(),
            style: ClippingStyle::default(),
            max_grad_norm: 1.0,
            stability: 0.01,
        }
    }
}

/// Settings that clip nothing or everything.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ClippingError {
    /// C is not a length that single precision can hold noise for.
    #[error("max_grad_norm is {0}; it must be between 0.000001 and 1000000")]
    Norm(f64),
    /// γ is not positive.
    #[error("gamma is {0}; it must be positive and at most 1000000")]
    Stability(f64),
}

impl Clipping {
    /// Refuses settings that are no clipping.
    ///
    /// # Errors
    /// When C is not between 10⁻⁶ and 10⁶, or γ is not positive or above 10⁶.
    pub fn validate(&self) -> Result<(), ClippingError> {
        if !NORMS.contains(&self.max_grad_norm) {
            return Err(ClippingError::Norm(self.max_grad_norm));
        }
        if !(self.stability > 0.0 && self.stability <= *NORMS.end()) {
            return Err(ClippingError::Stability(self.stability));
        }
        Ok(())
    }

    /// The threshold of each of `groups` groups: Cₗ = C / √groups.
    pub fn threshold(&self, groups: usize) -> f64 {
        self.max_grad_norm / (groups.max(1) as f64).sqrt()
    }

    /// The factor of each group of one unit, from its squared norms; all are zero where a norm is
    /// not finite.
    pub fn factors(&self, squared_norms: &[f64], factors: &mut [f32]) -> UnitOutcome {
        debug_assert_eq!(squared_norms.len(), factors.len());
        if squared_norms.iter().any(|norm| !norm.is_finite()) {
            factors.fill(0.0);
            return UnitOutcome::NotFinite;
        }
        let threshold = self.threshold(squared_norms.len());
        let mut clipped = false;
        for (factor, squared) in factors.iter_mut().zip(squared_norms) {
            let norm = squared.max(0.0).sqrt();
            let exact = match self.function {
                ClippingFunction::Abadi if norm <= threshold => 1.0,
                ClippingFunction::Abadi => threshold / norm,
                ClippingFunction::Automatic => threshold / (norm + self.stability),
                ClippingFunction::Global if norm <= threshold => 1.0,
                ClippingFunction::Global => 0.0,
            };
            clipped |= norm > threshold;
            *factor = exact as f32;
        }
        if clipped { UnitOutcome::Clipped } else { UnitOutcome::Whole }
    }
}

/// What became of a unit. Private: counts of these must not be published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnitOutcome {
    /// Its gradient was within the threshold.
    Whole,
    /// It was longer.
    Clipped,
    /// It was not finite, and contributes nothing.
    NotFinite,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NAMES: [&str; 6] = [
        "model.embed_tokens.weight",
        "model.layers.0.self_attn.q_proj.lora_A.weight",
        "model.layers.0.self_attn.q_proj.lora_B.weight",
        "model.layers.0.mlp.up_proj.bias",
        "model.layers.1.mlp.up_proj.weight",
        "model.norm.weight",
    ];

    #[test]
    fn styles_group_parameters() {
        assert_eq!(ClippingStyle::AllLayer.groups(&NAMES), [0; 6]);
        assert_eq!(ClippingStyle::LayerWise.groups(&NAMES), [0, 1, 1, 2, 3, 4]);
        assert_eq!(ClippingStyle::ParamWise.groups(&NAMES), [0, 1, 2, 3, 4, 5]);
        assert_eq!(ClippingStyle::BlockWise.groups(&NAMES), [0, 1, 1, 1, 2, 0]);
    }

    #[test]
    fn functions_at_known_norms() {
        let factor = |function, squared| {
            let clipping = Clipping { function, max_grad_norm: 2.0, ..Clipping::default() };
            let mut factors = [0.0];
            let outcome = clipping.factors(&[squared], &mut factors);
            (factors[0], outcome)
        };
        assert_eq!(factor(ClippingFunction::Abadi, 1.0), (1.0, UnitOutcome::Whole));
        assert_eq!(factor(ClippingFunction::Abadi, 16.0), (0.5, UnitOutcome::Clipped));
        assert_eq!(factor(ClippingFunction::Automatic, 16.0).0, (2.0 / 4.01) as f32);
        assert_eq!(factor(ClippingFunction::Global, 4.0), (1.0, UnitOutcome::Whole));
        assert_eq!(factor(ClippingFunction::Global, 4.1), (0.0, UnitOutcome::Clipped));
        assert_eq!(factor(ClippingFunction::Automatic, f64::NAN), (0.0, UnitOutcome::NotFinite));
        assert_eq!(factor(ClippingFunction::Abadi, f64::INFINITY), (0.0, UnitOutcome::NotFinite));
    }

    #[test]
    fn one_group_that_is_not_finite_removes_the_unit() {
        let mut factors = [1.0; 3];
        let outcome = Clipping::default().factors(&[1.0, f64::NAN, 1.0], &mut factors);
        assert_eq!((outcome, factors), (UnitOutcome::NotFinite, [0.0; 3]));
    }

    #[test]
    fn settings_that_do_not_clip_are_refused() {
        let clipping =
            |max_grad_norm, stability| Clipping { max_grad_norm, stability, ..Clipping::default() };
        assert!(clipping(1.0, 0.01).validate().is_ok());
        assert!(clipping(0.0, 0.01).validate().is_err());
        assert!(clipping(f64::INFINITY, 0.01).validate().is_err());
        assert!(clipping(1.0, f64::NAN).validate().is_err());
    }

    proptest! {
        #[test]
        fn no_unit_contributes_more_than_the_norm(
            squared in prop::collection::vec(0.0_f64..1e12, 1..20),
            function in 0_usize..3,
            max_grad_norm in 1e-3_f64..1e3,
        ) {
            let function = [
                ClippingFunction::Abadi, ClippingFunction::Automatic, ClippingFunction::Global,
            ][function];
            let clipping = Clipping { function, max_grad_norm, ..Clipping::default() };
            let mut factors = vec![0.0; squared.len()];
            clipping.factors(&squared, &mut factors);
            let norm = squared
                .iter()
                .zip(&factors)
                .map(|(squared, &factor)| squared * f64::from(factor).powi(2))
                .sum::<f64>()
                .sqrt();
            prop_assert!(norm <= max_grad_norm * (1.0 + 1e-6));
        }
    }
}
