//! What can be wrong with an artifact, said for the person who has to mend it.

use std::path::{Path, PathBuf};

use crate::Quoted;

/// An artifact that cannot be read, written or trusted.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The operating system refused a read or a write.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, as a verb phrase.
        action: &'static str,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The folder or file is not what it should be.
    #[error("{}: {message}", path.display())]
    Invalid {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong, and what to do where there is something to do.
        message: String,
    },
    /// A record that breaks the schema's rules was offered to a writer.
    #[error("document {}: {message}", Quoted(doc_id))]
    Record {
        /// The record's `doc_id`, or `example_id` for examples.
        doc_id: String,
        /// The rule that it breaks.
        message: String,
    },
}

impl ArtifactError {
    pub(crate) fn io(
        path: impl AsRef<Path>,
        action: &'static str,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Self::Io { path, action, source }
    }

    pub(crate) fn invalid(path: impl AsRef<Path>, message: impl Into<String>) -> Self {
        Self::Invalid { path: path.as_ref().to_path_buf(), message: message.into() }
    }

    pub(crate) fn record(doc_id: &str, message: impl Into<String>) -> Self {
        Self::Record { doc_id: doc_id.to_string(), message: message.into() }
    }
}
