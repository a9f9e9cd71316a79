//! Parameters that do not make the model that they are for.

use thiserror::Error;

/// Parameters that do not make the model that they are for.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ParameterError {
    /// Elements and shape disagree.
    #[error("{elements} elements do not fill the shape {shape:?}")]
    Length {
        /// The shape given.
        shape: Vec<usize>,
        /// The elements given.
        elements: usize,
    },
    /// The model needs a tensor that is not there.
    #[error("parameter `{0}` is missing")]
    Missing(String),
    /// A tensor has another shape than the config says.
    #[error("parameter `{name}` has shape {found:?} where the config needs {expected:?}")]
    Shape {
        /// The parameter's name.
        name: String,
        /// The shape it has.
        found: Vec<usize>,
        /// The shape it should have.
        expected: Vec<usize>,
    },
    /// A name occurs twice.
    #[error("parameter `{0}` occurs twice")]
    Duplicate(String),
    /// A trainable parameter is not kept in 32 bits.
    #[error("parameter `{name}` is to be trained but kept in {precision}; load it as f32")]
    NotTrainable {
        /// The parameter's name.
        name: String,
        /// What it is kept in.
        precision: &'static str,
    },
    /// A matrix whose rows are no whole blocks.
    #[error(
        "parameter `{name}` has rows of {width} numbers, but {precision} keeps blocks of 32; keep \
         the model in bf16"
    )]
    Rows {
        /// The parameter's name.
        name: String,
        /// Numbers of a row.
        width: usize,
        /// The precision asked for.
        precision: &'static str,
    },
    /// LoRA was asked for modules that the model does not have.
    #[error("LoRA target module `{name}` matches no linear layer; this model has {known}")]
    NoSuchModule {
        /// The name asked for.
        name: String,
        /// The names that would match.
        known: String,
    },
    /// LoRA settings that make no adapter.
    #[error("LoRA {0}")]
    Lora(String),
}
