//! The settings of `export`.

use pft_gguf::WriteType;
use pft_lm::checkpoint::SavedType;
use pft_lm::parameters::Precision;
use pft_stage::{OutsidePath, StageError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a bundle is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// A whole model for transformers; adapters are merged into the weights.
    Hf,
    /// LoRA adapters for peft, without the base model.
    Peft,
}

/// What the weights of a whole model are stored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// As they were trained.
    Float32,
    /// Half the size.
    Float16,
    /// Half the size, with the range of 32 bits.
    Bfloat16,
}

impl Dtype {
    /// What holds every value of this type.
    pub(crate) fn precision(self) -> Precision {
        match self {
            Self::Float32 | Self::Float16 => Precision::F32,
            Self::Bfloat16 => Precision::Bf16,
        }
    }
}

impl From<Dtype> for SavedType {
    fn from(dtype: Dtype) -> Self {
        match dtype {
            Dtype::Float32 => Self::F32,
            Dtype::Float16 => Self::F16,
            Dtype::Bfloat16 => Self::Bf16,
        }
    }
}

/// What the matrices of a GGUF file are stored in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum GgufType {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// 8-bit integers with a scale for each 32.
    #[serde(rename = "q8_0")]
    Q8,
}

impl From<GgufType> for WriteType {
    fn from(kind: GgufType) -> Self {
        match kind {
            GgufType::F32 => Self::F32,
            GgufType::F16 => Self::F16,
            GgufType::Q8 => Self::Q8_0,
        }
    }
}

/// Settings of the stage.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// A whole model (`hf`) or adapters alone (`peft`).
    pub format: Format,
    /// What the weights of a whole model are stored in.
    pub dtype: Dtype,
    /// Also writes the whole model as `model.gguf`, in this type.
    pub gguf: Option<GgufType>,
    /// Where the base model of adapters lies now, if not where training found it.
    #[schemars(extend("x-reads" = ["config.json", "generation_config.json", "model.safetensors.index.json", ["model.safetensors", "*.safetensors"], "*.gguf"]))]
    pub base_model: Option<OutsidePath>,
    /// What users know the base model as: a name on the hub, or a path of theirs.
    pub base_model_name: Option<String>,
    /// Adds training's metrics, samples and settings, as `diagnostics/`. They were computed on
    /// private data without protection: only for people who may see the data.
    pub include_diagnostics: bool,
    /// The largest relative difference between the perplexity that training reported and that
    /// of the files written. The 8-bit GGUF file may differ five times as much.
    pub perplexity_tolerance: f64,
    /// The model card's title.
    pub model_name: Option<String>,
    /// The model card's licence, as the hub spells it: `apache-2.0`.
    pub license: Option<String>,
    /// The model card's languages: `[en]`.
    pub language: Vec<String>,
    /// What the model card says of the data.
    pub data: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            format: Format::Hf,
            dtype: Dtype::Float32,
            gguf: None,
            base_model: None,
            base_model_name: None,
            include_diagnostics: false,
            perplexity_tolerance: 0.01,
            model_name: None,
            license: None,
            language: Vec::new(),
            data: None,
        }
    }
}

impl Config {
    pub(crate) fn validate(&self) -> Result<(), StageError> {
        if !(self.perplexity_tolerance > 0.0 && self.perplexity_tolerance <= 1.0) {
            return Err(StageError::config(format!(
                "perplexity_tolerance: is {}, but must be above 0 and at most 1",
                self.perplexity_tolerance
            )));
        }
        if self.format == Format::Peft && self.dtype != Dtype::Float32 {
            return Err(StageError::config("dtype: goes with `format: hf` only")
                .with_help("adapters are small and stay in 32 bits"));
        }
        Ok(())
    }
}
