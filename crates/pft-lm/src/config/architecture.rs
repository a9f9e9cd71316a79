//! The decoder families by name, and what their classes in transformers take for granted.

use serde_json::Value;

use super::fields::Fields;
use super::{ConfigError, invalid};

/// The decoder families, by the name of the class in transformers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// `GPT2LMHeadModel`: learned positions, LayerNorm, GELU, weights stored `[in, out]`.
    Gpt2,
    /// `LlamaForCausalLM`: rotary positions, RMSNorm, SwiGLU, grouped-query attention.
    Llama,
    /// `MistralForCausalLM`: LLaMA, with a sliding window where its config has one.
    Mistral,
    /// `MinistralForCausalLM`: Mistral with a window in some layers.
    Ministral,
    /// `Qwen2ForCausalLM`: LLaMA with biases of queries, keys and values.
    Qwen2,
    /// `Qwen3ForCausalLM`: LLaMA with normalised queries and keys.
    Qwen3,
    /// `GPTNeoXForCausalLM` (Pythia): parallel residual, LayerNorm, biases, partial rotary positions.
    GptNeoX,
    /// `Gemma2ForCausalLM`.
    Gemma2,
    /// `Gemma3ForCausalLM`, the text model.
    Gemma3,
    /// `VaultGemmaForCausalLM`: Gemma 2 without the norms behind attention and feed-forward.
    VaultGemma,
    /// `Olmo2ForCausalLM`: norms behind attention and feed-forward, normalised queries and keys.
    Olmo2,
    /// `Olmo3ForCausalLM`: OLMo 2 with windows.
    Olmo3,
    /// `SmolLM3ForCausalLM`: LLaMA with layers that know no positions.
    SmolLm3,
    /// `GraniteForCausalLM`: LLaMA with four multipliers.
    Granite,
    /// `PhiForCausalLM` (Phi-1.5, Phi-2): parallel residual behind one norm, biases, partial rotary.
    Phi,
    /// `Phi3ForCausalLM`: LLaMA with fused matrices.
    Phi3,
}

/// What stands where a `config.json` is silent: the defaults of the class in transformers.
pub(super) struct Defaults {
    pub(super) positions: usize,
    pub(super) key_heads: Option<usize>,
    pub(super) head_dim: Option<usize>,
    pub(super) norm_eps: f64,
    pub(super) theta: f64,
    pub(super) partial_rotary_factor: f64,
    pub(super) tied: bool,
    pub(super) activation: &'static str,
}

const LLAMA: Defaults = Defaults {
    positions: 2048,
    key_heads: None,
    head_dim: None,
    norm_eps: 1e-6,
    theta: 10_000.0,
    partial_rotary_factor: 1.0,
    tied: false,
    activation: "silu",
};

const GEMMA: Defaults = Defaults {
    positions: 8192,
    key_heads: Some(4),
    head_dim: Some(256),
    tied: true,
    activation: "gelu_pytorch_tanh",
    ..LLAMA
};

/// Class in transformers and `model_type` of each family.
const NAMES: [(Architecture, &str, &str); 16] = [
    (Architecture::Gpt2, "GPT2LMHeadModel", "gpt2"),
    (Architecture::Llama, "LlamaForCausalLM", "llama"),
    (Architecture::Mistral, "MistralForCausalLM", "mistral"),
    (Architecture::Ministral, "MinistralForCausalLM", "ministral"),
    (Architecture::Qwen2, "Qwen2ForCausalLM", "qwen2"),
    (Architecture::Qwen3, "Qwen3ForCausalLM", "qwen3"),
    (Architecture::GptNeoX, "GPTNeoXForCausalLM", "gpt_neox"),
    (Architecture::Gemma2, "Gemma2ForCausalLM", "gemma2"),
    (Architecture::Gemma3, "Gemma3ForCausalLM", "gemma3_text"),
    (Architecture::VaultGemma, "VaultGemmaForCausalLM", "vaultgemma"),
    (Architecture::Olmo2, "Olmo2ForCausalLM", "olmo2"),
    (Architecture::Olmo3, "Olmo3ForCausalLM", "olmo3"),
    (Architecture::SmolLm3, "SmolLM3ForCausalLM", "smollm3"),
    (Architecture::Granite, "GraniteForCausalLM", "granite"),
    (Architecture::Phi, "PhiForCausalLM", "phi"),
    (Architecture::Phi3, "Phi3ForCausalLM", "phi3"),
];

impl Architecture {
    /// Every family, in the order of their names' table.
    pub fn all() -> impl Iterator<Item = Self> {
        NAMES.into_iter().map(|(architecture, ..)| architecture)
    }

    /// The class name in transformers.
    pub fn class_name(self) -> &'static str {
        NAMES[self as usize].1
    }

    /// The `model_type` field.
    pub fn model_type(self) -> &'static str {
        NAMES[self as usize].2
    }

    /// The field of the nonlinearity.
    pub(super) fn activation_field(self) -> &'static str {
        match self {
            Self::Gpt2 => "activation_function",
            Self::Gemma2 | Self::Gemma3 | Self::VaultGemma => "hidden_activation",
            _ => "hidden_act",
        }
    }

    /// The field of the norms' epsilon.
    pub(super) fn norm_eps_field(self) -> &'static str {
        match self {
            Self::Gpt2 => "layer_norm_epsilon",
            Self::GptNeoX | Self::Phi => "layer_norm_eps",
            _ => "rms_norm_eps",
        }
    }

    pub(super) fn defaults(self) -> Defaults {
        match self {
            Self::Gpt2 | Self::Llama | Self::Granite => LLAMA,
            Self::Mistral | Self::Ministral => {
                Defaults { positions: 131_072, key_heads: Some(8), ..LLAMA }
            }
            Self::Qwen2 => Defaults { positions: 32_768, key_heads: Some(32), ..LLAMA },
            Self::Qwen3 => {
                Defaults { positions: 32_768, key_heads: Some(32), head_dim: Some(128), ..LLAMA }
            }
            Self::GptNeoX => Defaults {
                norm_eps: 1e-5,
                partial_rotary_factor: 0.25,
                activation: "gelu",
                ..LLAMA
            },
            Self::Gemma2 | Self::VaultGemma => GEMMA,
            Self::Gemma3 => Defaults { positions: 131_072, theta: 1_000_000.0, ..GEMMA },
            Self::Olmo2 => Defaults { norm_eps: 1e-5, ..LLAMA },
            Self::Olmo3 => Defaults { norm_eps: 1e-5, theta: 500_000.0, ..LLAMA },
            Self::SmolLm3 => Defaults {
                positions: 32_768,
                key_heads: Some(4),
                theta: 2_000_000.0,
                tied: true,
                ..LLAMA
            },
            Self::Phi => Defaults {
                norm_eps: 1e-5,
                partial_rotary_factor: 0.5,
                activation: "gelu_new",
                ..LLAMA
            },
            Self::Phi3 => Defaults { positions: 4096, norm_eps: 1e-5, ..LLAMA },
        }
    }

    /// The family that `architectures`, or else `model_type`, names.
    pub(super) fn read(fields: &mut Fields) -> Result<Self, ConfigError> {
        let class = match fields.take("architectures") {
            Some(Value::Array(names)) => names.first().and_then(Value::as_str).map(str::to_owned),
            _ => None,
        };
        let model_type =
            fields.take("model_type").and_then(|name| name.as_str().map(str::to_owned));
        let name = class.or(model_type).ok_or(ConfigError::Missing { field: "architectures" })?;
        let bare = name.strip_suffix("Model");
        NAMES
            .into_iter()
            .find(|(_, class, model_type)| {
                let stem = class.strip_suffix("ForCausalLM").or(class.strip_suffix("LMHeadModel"));
                name == *class || name == *model_type || (bare.is_some() && bare == stem)
            })
            .map(|(architecture, ..)| architecture)
            .ok_or_else(|| invalid("architectures", unknown(&name)))
    }
}

/// Why a family cannot be used, and which can.
fn unknown(name: &str) -> String {
    let lower = name.to_lowercase();
    let reason = if lower.contains("moe") || lower.contains("mixtral") || lower.contains("gptoss") {
        ", a mixture of experts, which is not supported"
    } else if lower.contains("qwen3_5") || lower.contains("qwen3next") || lower.contains("mamba") {
        ", whose layers are no plain attention, which is not supported"
    } else if lower.contains("conditionalgeneration") || lower.contains("vision") {
        ", a model of more than text, which is not supported (its text part alone may be)"
    } else {
        ""
    };
    let known: Vec<&str> = NAMES.iter().map(|(_, class, _)| *class).collect();
    format!("is \"{name}\"{reason}; known are {}", known.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_families() {
        for (index, (architecture, ..)) in NAMES.into_iter().enumerate() {
            assert_eq!(architecture as usize, index);
        }
    }
}
