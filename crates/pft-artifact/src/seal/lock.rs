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

    /// Takes the lock for reading, together with others, and waits where it has to.
    ///
    /// # Errors
    /// When the lock file cannot be opened or locked.
    pub fn shared(path: &Path) -> Result<Self, ArtifactError> {
        let file = open(path)?;
        file.lock_shared().map_err(ArtifactError::io(path, "lock"))?;
        Ok(Self { _file: file })
    }

    /// Takes the lock alone, and waits where it has to.
    ///
    /// # Errors
    /// When the lock file cannot be opened or locked.
    pub fn exclusive(path: &Path) -> Result<Self, ArtifactError> {
        let file = open(path)?;
        file.lock().map_err(ArtifactError::io(path, "lock"))?;
        Ok(Self { _file: file })
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
