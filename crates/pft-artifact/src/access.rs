//! Who may read what is written.
//!
//! Raw text, tags, tokens, weights and all that leads to them are their owner's alone. A bundle, and what
//! other programs share, is for whom the caller's umask lets.

use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;
use std::sync::OnceLock;

/// The umask that this process was started with.
static CALLERS: OnceLock<u32> = OnceLock::new();

fn set_umask(mask: u32) -> u32 {
    let mask = libc::mode_t::try_from(mask & 0o777).unwrap_or(0o077);
    // SAFETY: `umask` only exchanges a number of the process, and cannot fail.
    let before = unsafe { libc::umask(mask) };
    // Narrower than 32 bits on some systems.
    #[allow(clippy::useless_conversion)]
    u32::from(before)
}

fn callers_umask() -> u32 {
    *CALLERS.get_or_init(|| {
        // It can only be asked for by setting it: for the moment between, to what shuts others out.
        let callers = set_umask(0o077);
        set_umask(callers);
        callers
    })
}

/// From here on, whatever this process or one that it starts creates is its owner's alone, whichever
/// library creates it. [`share`] opens what is for others.
pub fn keep_private() {
    set_umask(callers_umask() | 0o077);
}

/// Gives a file or folder the mode that the caller's umask lets it have.
///
/// # Errors
/// When it is not there, or somebody else's.
pub fn share(path: &Path) -> io::Result<()> {
    let mode = if std::fs::metadata(path)?.is_dir() { 0o777 } else { 0o666 };
    set_mode(path, mode)
}

/// Makes a file or folder its owner's alone.
///
/// # Errors
/// When it is not there, or somebody else's.
pub fn protect(path: &Path) -> io::Result<()> {
    let mode = if std::fs::metadata(path)?.is_dir() { 0o700 } else { 0o600 };
    set_mode(path, mode)
}

/// Sets a mode, less what the caller's umask forbids.
pub(crate) fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    let mode = mode & !callers_umask();
    let current = std::fs::metadata(path)?.permissions().mode() & 0o7777;
    if current == mode {
        return Ok(());
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

/// Makes a folder, and those above it that are missing, for whom the caller's umask lets.
///
/// # Errors
/// When the operating system refuses.
pub fn create_shared_dir_all(path: &Path) -> io::Result<()> {
    // The parent of a name alone is the folder that one stands in.
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        create_shared_dir_all(parent)?;
    }
    match std::fs::create_dir(path) {
        Ok(()) => share(path),
        // Another process was first.
        Err(_) if path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Makes a folder, and those above it that are missing, their owner's alone.
///
/// # Errors
/// When the operating system refuses.
pub fn create_private_dir_all(path: &Path) -> io::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_above_a_bare_name_is_there() {
        assert_eq!(Path::new("out").parent(), Some(Path::new("")));
        create_shared_dir_all(Path::new("")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        create_shared_dir_all(&folder.path().join("a/b")).unwrap();
        assert!(folder.path().join("a/b").is_dir());
    }
}
