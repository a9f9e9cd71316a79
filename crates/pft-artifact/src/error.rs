//! What can be wrong with an artifact, said for the person who has to mend it.

use std::path::{Path, PathBuf};

use crate::Quoted;

/// An artifact that cannot be read, written or trusted.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The operating system refused a read.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, as a verb phrase.
        action: &'static str,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The operating system refused a write.
    #[error("{}: cannot {action}: {source}", path.display())]
    Write {
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

    pub(crate) fn write(
        path: impl AsRef<Path>,
        action: &'static str,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Self::Write { path, action, source }
    }

    /// What a library says that was to write a file; the kind of the operating system's reason is kept.
    pub(crate) fn not_written(
        path: &Path,
        error: impl std::error::Error + Send + Sync + 'static,
    ) -> Self {
        let kind = if is_full_disk(&error) {
            std::io::ErrorKind::StorageFull
        } else {
            std::io::ErrorKind::Other
        };
        Self::write(path, "write")(std::io::Error::new(kind, error))
    }

    pub(crate) fn invalid(path: impl AsRef<Path>, message: impl Into<String>) -> Self {
        Self::Invalid { path: path.as_ref().to_path_buf(), message: message.into() }
    }

    pub(crate) fn record(doc_id: &str, message: impl Into<String>) -> Self {
        Self::Record { doc_id: doc_id.to_string(), message: message.into() }
    }
}

/// Whether an error comes from a disk, or a share of one, that has no room left, however many libraries
/// wrapped it.
pub fn is_full_disk(error: &(dyn std::error::Error + 'static)) -> bool {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};

    let mut next = Some(error);
    while let Some(error) = next {
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|error| matches!(error.kind(), StorageFull | QuotaExceeded)) {
            return true;
        }
        // What an I/O error wraps is not its source but the wrapped error's.
        next = match io.and_then(std::io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    false
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::*;

    #[test]
    fn a_full_disk_is_known_by_its_kind_through_every_wrapping() {
        let full = || Error::from(ErrorKind::StorageFull);
        assert!(is_full_disk(&full()));
        assert!(is_full_disk(&Error::from(ErrorKind::QuotaExceeded)));
        assert!(is_full_disk(&Error::other(Error::other(full()))));
        let parquet = parquet::errors::ParquetError::from(full());
        assert!(is_full_disk(&ArtifactError::not_written(Path::new("x"), parquet)));
        let named = Error::other("No space left on device.yml");
        assert!(!is_full_disk(&named));
        assert!(!is_full_disk(&ArtifactError::io("x", "read")(named)));
    }
}
