//! One lock a key, held by the kernel: it goes with the process that holds it, however that dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;

use crate::ArtifactError;

/// An exclusive lock on a file, released when dropped or when the process ends.
#[derive(Debug)]
pub struct KeyLock {
    // The lock lives as long as the open file.
    _file: File,
}

impl KeyLock {
    /// Takes the lock if nobody holds it.
    ///
    /// # Errors
    /// When the lock file cannot be opened.
    pub fn try_acquire(path: &Path) -> Result<Option<Self>, ArtifactError> {
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(ArtifactError::io(path, "lock")(error)),
        }
    }
}

fn open(path: &Path) -> Result<File, ArtifactError> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(ArtifactError::io(path, "open the lock file"))
}
