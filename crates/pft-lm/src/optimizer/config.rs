//! Which rule, with its constants, as a config says it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which rule, with its constants.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum OptimizerConfig {
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019), as `torch.optim.AdamW`.
    #[serde(rename = "adamw")]
    AdamW {
        /// Decay of the mean of gradients.
        #[serde(default = "default_beta1")]
        #[schemars(extend("minimum" = 0.0, "exclusiveMaximum" = 1.0))]
        beta1: f64,
        /// Decay of the mean of squared gradients.
        #[serde(default = "default_beta2")]
        #[schemars(extend("minimum" = 0.0, "exclusiveMaximum" = 1.0))]
        beta2: f64,
        /// Added to the root of the squared mean.
        #[serde(default = "default_epsilon")]
        #[schemars(extend("exclusiveMinimum" = 0.0))]
        epsilon: f64,
        /// Share of each weight that a step at learning rate 1 takes away.
        #[serde(default)]
        #[schemars(extend("minimum" = 0.0))]
        weight_decay: f64,
    },
    /// Stochastic gradient descent, as `torch.optim.SGD`.
    Sgd {
        /// Share of the last step's direction that is kept.
        #[serde(default)]
        #[schemars(extend("minimum" = 0.0, "exclusiveMaximum" = 1.0))]
        momentum: f64,
        /// Added to the gradient, times the weight.
        #[serde(default)]
        #[schemars(extend("minimum" = 0.0))]
        weight_decay: f64,
    },
}

fn default_beta1() -> f64 {
    0.9
}

fn default_beta2() -> f64 {
    0.999
}

fn default_epsilon() -> f64 {
    1e-8
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self::AdamW {
            beta1: default_beta1(),
            beta2: default_beta2(),
            epsilon: default_epsilon(),
            weight_decay: 0.0,
        }
    }
}

impl OptimizerConfig {
    /// The names of what is kept for each parameter.
    pub(crate) fn moments(&self) -> &'static [&'static str] {
        match self {
            Self::AdamW { .. } => &["exp_avg", "exp_avg_sq"],
            Self::Sgd { momentum, .. } if *momentum != 0.0 => &["momentum_buffer"],
            Self::Sgd { .. } => &[],
        }
    }

    pub(crate) fn weight_decay(&self) -> f64 {
        match self {
            Self::AdamW { weight_decay, .. } | Self::Sgd { weight_decay, .. } => *weight_decay,
        }
    }
}
