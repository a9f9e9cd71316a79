//! What a stage says of itself.

use pft_artifact::Kind;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An input or output of a stage, typed by the kind of artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// The port's name, unique among the inputs or the outputs.
    pub name: String,
    /// The kind of artifact.
    pub kind: Kind,
    /// For an input: whether it must be given. For an output: whether it is always made.
    pub required: bool,
}

impl Port {
    /// An input that must be given, or an output that is always made.
    pub fn required(name: &str, kind: Kind) -> Self {
        Self { name: name.to_string(), kind, required: true }
    }

    /// An input that may be left out.
    pub fn optional(name: &str, kind: Kind) -> Self {
        Self { name: name.to_string(), kind, required: false }
    }

    /// An output that is made only where the config asks for it: left empty, it is not sealed.
    pub fn optional_output(name: &str, kind: Kind) -> Self {
        Self::optional(name, kind)
    }
}

/// The answer to `STAGE --describe`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// The stage's name.
    pub name: String,
    /// Bumped when the stage's output for the same input changes.
    pub revision: u32,
    /// One line on what it does.
    #[serde(default)]
    pub about: String,
    /// Input ports.
    pub inputs: Vec<Port>,
    /// Output ports.
    pub outputs: Vec<Port>,
    /// JSON Schema of the config, with defaults.
    pub config: Value,
    /// Whether the stage answers `--check`; see [`crate::Facts`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub checks: bool,
}

impl Description {
    /// Describes a stage written in Rust.
    pub fn of<S: crate::Stage>() -> Self {
        Self {
            name: S::NAME.to_string(),
            revision: S::REVISION,
            about: S::ABOUT.to_string(),
            inputs: S::inputs(),
            outputs: S::outputs(),
            config: schemars::schema_for!(S::Config).to_value(),
            checks: true,
        }
    }
}
