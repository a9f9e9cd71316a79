//! Files that are written all or none, and never over others.

use std::io::Write;
use std::path::{Component, Path, PathBuf};

use crate::RunError;

/// A file to write: its name below the folder, and its text.
pub(crate) type File = (String, String);

/// Writes files into a folder, which is made where it is missing.
///
/// # Errors
/// When one of them is there already or cannot be written; then none of them is left.
pub(crate) fn write(folder: &Path, files: &[File]) -> Result<Vec<PathBuf>, RunError> {
    let paths: Vec<PathBuf> = files.iter().map(|(name, _)| folder.join(name)).collect();
    if let Some(path) = paths.iter().find(|path| path.symlink_metadata().is_ok()) {
        return Err(RunError::config(format!(
            "{}: is there already, and nothing was written\n  help: name another folder with --output, or \
             remove the file",
            path.display()
        )));
    }
    std::fs::create_dir_all(folder).map_err(|error| RunError::failed_write(folder, &error))?;
    for (index, (path, (_, text))) in paths.iter().zip(files).enumerate() {
        // What another wrote in this moment is not ours to remove.
        let created = std::fs::OpenOptions::new().write(true).create_new(true).open(path);
        let ours = if created.is_ok() { index + 1 } else { index };
        if let Err(error) = created.and_then(|mut file| file.write_all(text.as_bytes())) {
            paths[..ours].iter().for_each(|path| drop(std::fs::remove_file(path)));
            return Err(RunError::failed_write(path, &error));
        }
    }
    Ok(paths)
}

/// How a file is called from a folder, so that both can move together.
pub(crate) fn relative(from: &Path, to: &Path) -> PathBuf {
    let (from, to) = (settled(from), settled(to));
    let shared = from.components().zip(to.components()).take_while(|(a, b)| a == b).count();
    // From root to root there is no shorter way than the whole path.
    if shared <= 1 {
        return to;
    }
    let up = from.components().skip(shared).map(|_| Component::ParentDir);
    up.chain(to.components().skip(shared)).collect()
}

/// The whole path, links followed as far as it exists.
fn settled(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    for ancestor in path.ancestors() {
        if let (Ok(whole), Ok(rest)) = (ancestor.canonicalize(), path.strip_prefix(ancestor)) {
            return if rest.as_os_str().is_empty() { whole } else { whole.join(rest) };
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_or_none_are_written_and_nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| (name.to_string(), "new".to_string());
        std::fs::write(folder.path().join("b"), "old").unwrap();
        let refused = write(folder.path(), &[file("a"), file("b")]).unwrap_err();
        assert!(refused.message.contains("/b: is there already"), "{}", refused.message);
        assert!(!folder.path().join("a").exists());
        assert_eq!(std::fs::read_to_string(folder.path().join("b")).unwrap(), "old");
        assert!(write(&folder.path().join("new"), &[file("a"), file("missing/b")]).is_err());
        assert!(!folder.path().join("new/a").exists());
    }

    #[test]
    fn ways_lead_from_folder_to_file() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("corpus.csv"), "").unwrap();
        assert_eq!(relative(&at("new/deep"), &at("corpus.csv")), Path::new("../../corpus.csv"));
        assert_eq!(relative(folder.path(), &at("corpus.csv")), Path::new("corpus.csv"));
    }
}
