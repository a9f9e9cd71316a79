//! Files that cannot be read, and why.

use std::path::Path;

use pft_stage::StageError;

/// The longest line, record, message or text that is taken: a packed file of a few megabytes may hold
/// one of any length.
pub(super) const LONGEST_RECORD: usize = 256 << 20;

/// Packed bytes from which nothing can be unpacked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Damaged {
    /// The packing.
    pub(super) from: &'static str,
}

impl std::fmt::Display for Damaged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "its {} data is damaged or cut off", self.from)
    }
}

impl std::error::Error for Damaged {}

/// A file that the operating system does not let us read, or whose packing is damaged.
pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> StageError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Damaged>());
    if let Some(damaged) = inner {
        return StageError::input(format!("{}: {damaged}", path.display()))
            .with_help("fetch or make the file again");
    }
    StageError::input(format!("{}: cannot read: {error}", path.display()))
        .with_help("check that the file exists and that you may read it")
}

/// The message for a packing that is not read.
pub(super) fn not_read(path: &Path, packing: &str) -> StageError {
    StageError::input(format!("{}: is packed ({packing}) and cannot be read so", path.display()))
        .with_help(
            "unpack it first; files that are packed by gzip (.gz) or zstd (.zst) alone are read",
        )
}

/// The message for a record that fills the memory.
pub(super) fn too_long(place: &str, what: &str) -> StageError {
    StageError::input(format!(
        "{place}: a {what} of more than {} MiB begins here",
        LONGEST_RECORD >> 20
    ))
    .with_help("check that the file is what `source` says; no text of this length is one document")
}
