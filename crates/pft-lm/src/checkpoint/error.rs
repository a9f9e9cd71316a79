//! What can be wrong with a checkpoint.

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::config::ConfigError;
use crate::parameters::ParameterError;

/// A checkpoint that cannot be read or written.
#[derive(Debug, Error)]
pub enum CheckpointError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The checkpoint is not what it should be.
    #[error("{}: {problem}", path.display())]
    Unusable {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A pickled checkpoint.
    #[error(
        "{} is a pickled checkpoint, which can run any program when it is read and is never opened \
         here; convert it where you trust it: AutoModelForCausalLM.from_pretrained(FOLDER)\
         .save_pretrained(FOLDER, safe_serialization=True)",
        .0.display()
    )]
    Pickle(PathBuf),
    /// The config cannot be used.
    #[error("{}: {source}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// The field and what is wrong with it.
        source: ConfigError,
    },
    /// A tensor's shape does not fit the config.
    #[error(
        "{}: tensor `{name}` has shape {found:?}, but the model's config makes it {expected:?}; \
         config and weights are of different models",
        path.display()
    )]
    Shape {
        /// The file that holds the tensor.
        path: PathBuf,
        /// The tensor's name in that file.
        name: String,
        /// Its shape there.
        found: Vec<usize>,
        /// The shape that follows from the config.
        expected: Vec<usize>,
    },
    /// A model that a format has no words for.
    #[error("{0}")]
    NotWritten(String),
    /// A GGUF file is damaged or not supported.
    #[error(transparent)]
    Gguf(#[from] pft_gguf::GgufError),
    /// The tensors do not make a model.
    #[error(transparent)]
    Parameters(#[from] ParameterError),
}

impl CheckpointError {
    pub(crate) fn unusable(path: &Path, problem: impl Into<String>) -> Self {
        Self::Unusable { path: path.to_path_buf(), problem: problem.into() }
    }

    pub(crate) fn io(path: &Path, action: &'static str) -> impl Fn(std::io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { path: path.clone(), action, source }
    }
}
