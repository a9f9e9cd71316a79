//! What can be wrong with a GGUF file.

use std::path::PathBuf;

use thiserror::Error;

/// A GGUF file that cannot be read or written, with the place where it goes wrong.
#[derive(Debug, Error)]
pub enum GgufError {
    /// The operating system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried: open, map, write.
        action: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The file is not a GGUF file, or not a whole one.
    #[error("{}, byte {offset}: {problem}; the file is damaged or cut short, fetch it again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where reading stopped.
        offset: usize,
        /// What is wrong there.
        problem: String,
    },
    /// The file is sound, but holds something that is not supported here.
    #[error("{}: {problem}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What is not supported, and what is.
        problem: String,
    },
    /// The file lacks a tensor or a metadata key that was asked for.
    #[error("{}: {what} is missing", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The tensor or key.
        what: String,
    },
}
