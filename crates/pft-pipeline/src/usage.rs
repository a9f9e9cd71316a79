//! How much room things take on the disk.

use std::path::Path;

/// The size of a file, or of all files below a folder, in bytes. What cannot be read counts nothing.
pub(crate) fn size_of(path: &Path) -> u64 {
    let entries = walkdir::WalkDir::new(path).into_iter().flatten();
    entries
        .filter(|entry| entry.file_type().is_file())
        .filter_map(|entry| Some(entry.metadata().ok()?.len()))
        .sum()
}
