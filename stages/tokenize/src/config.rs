//! The settings of `tokenize`.

use pft_stage::{OutsidePath, StageError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a document becomes examples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// One example for each document, cut at `max_length` tokens, as LLM-PFT does.
    Truncate,
    /// The whole document, cut into blocks of `block_size` tokens.
    Blocks,
}

/// A split's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SplitName {
    /// Trained on.
    Train,
    /// Held out, looked at during training.
    Validation,
    /// Held out.
    Test,
}

impl From<SplitName> for pft_artifact::Split {
    fn from(name: SplitName) -> Self {
        match name {
            SplitName::Train => Self::Train,
            SplitName::Validation => Self::Validation,
            SplitName::Test => Self::Test,
        }
    }
}

/// What becomes of a control token's text, such as `<|im_end|>`, in what people wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SpecialTokensInText {
    /// It is text, encoded by its characters.
    #[default]
    Split,
    /// It is the control token, as in transformers: whoever wrote it ends a turn, or begins another's.
    Keep,
    /// Stop and say where.
    Refuse,
}

/// Which tokens of a conversation are learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Loss {
    /// Those of the assistant's turns, with the token that ends each: what stands in the template's
    /// `{% generation %}` blocks, or without such the turns themselves.
    #[default]
    Answers,
    /// All of them.
    All,
}

/// What becomes of a conversation of more than `max_length` tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LongConversation {
    /// It is cut at `max_length` tokens, wherever that is.
    #[default]
    Truncate,
    /// It becomes several, each of whole turns and beginning with a user's, below the system's turn.
    /// An exchange that is too long by itself is left out and counted.
    Split,
    /// It is left out and counted.
    LeaveOut,
}

/// What becomes of a conversation that the template refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Refused {
    /// Stop and say which.
    #[default]
    Refuse,
    /// It is left out and counted.
    LeaveOut,
}

/// How conversations become examples. `mode: truncate` goes with them; BOS and EOS are the template's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ChatConfig {
    /// A file with the chat template, a Jinja template as transformers has it; the tokenizer's own
    /// without it. The model's tokenizer keeps it.
    pub template: Option<OutsidePath>,
    /// Which tokens are learned.
    pub loss: Loss,
    /// What becomes of a conversation that is too long.
    pub long: LongConversation,
    /// What becomes of a conversation that the template refuses.
    pub refused: Refused,
    /// The day that a template is told if it asks, such as `2026-01-31`.
    pub date: Option<String>,
}

/// Settings of the stage.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// A folder that holds `tokenizer.json` or `vocab.json` and `merges.txt`, with the model's
    /// other tokenizer files; a GGUF file; or a `tokenizer.json` alone, without what lies beside it.
    #[schemars(extend("x-reads" = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja", "vocab.json", "merges.txt"]))]
    pub tokenizer: OutsidePath,
    /// How a document becomes examples.
    pub mode: Mode,
    /// With mode `truncate`: tokens of an example at most, BOS and EOS included.
    pub max_length: u32,
    /// With mode `blocks`: tokens of a block at most, BOS and EOS included.
    pub block_size: u32,
    /// With mode `blocks`: text tokens from one block's start to the next; a whole block without
    /// it, so that blocks do not overlap.
    pub stride: Option<u32>,
    /// Examples with fewer tokens are left out; one token has nothing to predict.
    pub min_length: u32,
    /// Starts every document with BOS; what the tokenizer says without it.
    pub add_bos: Option<bool>,
    /// Ends every document that was not cut with EOS, so that the model learns to stop.
    pub add_eos: bool,
    /// The BOS token, where the tokenizer's files do not say.
    pub bos_token: Option<String>,
    /// The EOS token, where the tokenizer's files do not say.
    pub eos_token: Option<String>,
    /// Keep these splits only; all of them without it.
    pub splits: Option<Vec<SplitName>>,
    /// Labels that count as personal data, if a span has any of them; all of them without it.
    pub pii_labels: Option<Vec<String>>,
    /// What becomes of a control token's text, such as `<|im_end|>`, in what people wrote.
    pub special_tokens_in_text: SpecialTokensInText,
    /// How conversations become examples.
    pub chat: ChatConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            tokenizer: OutsidePath::default(),
            mode: Mode::Truncate,
            max_length: 1024,
            block_size: 512,
            stride: None,
            min_length: 2,
            add_bos: None,
            add_eos: true,
            bos_token: None,
            eos_token: None,
            splits: None,
            pii_labels: None,
            special_tokens_in_text: SpecialTokensInText::Split,
            chat: ChatConfig::default(),
        }
    }
}

impl Config {
    pub(crate) fn validate(&self) -> Result<(), StageError> {
        if self.tokenizer.0.is_empty() {
            return Err(StageError::config("tokenizer: is missing").with_help(
                "name a tokenizer.json, a GGUF file, or a model folder, as in `tokenizer: data/models/…`",
            ));
        }
        let (key, length) = match self.mode {
            Mode::Truncate => ("max_length", self.max_length),
            Mode::Blocks => ("block_size", self.block_size),
        };
        if length < 4 {
            return Err(StageError::config(format!("{key}: is {length}, but must be at least 4")));
        }
        if let Some(stride) = self.stride {
            if self.mode == Mode::Truncate {
                return Err(StageError::config("stride: goes with `mode: blocks` only"));
            }
            if stride == 0 || stride > self.block_size {
                return Err(StageError::config(format!(
                    "stride: is {stride}, but must lie between 1 and block_size ({})",
                    self.block_size
                )));
            }
        }
        Ok(())
    }
}
