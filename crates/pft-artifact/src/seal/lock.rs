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
        loop {
            let file = open(path)?;
            match file.try_lock() {
                // Garbage collection may have removed the file between the two calls; then the next
                // one to come would lock another.
                Ok(()) if is_at(&file, path) => return Ok(Some(Self { _file: file })),
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => {
                    return Err(ArtifactError::write(path, "lock")(error));
                }
            }
        }
    }

    /// Takes the lock for reading, together with others, and waits where it has to.
    ///
    /// # Errors
    /// When the lock file cannot be opened or locked.
    pub fn shared(path: &Path) -> Result<Self, ArtifactError> {
        let file = open(path)?;
        file.lock_shared().map_err(ArtifactError::write(path, "lock"))?;
        Ok(Self { _file: file })
    }

    /// Takes the lock alone, and waits where it has to.
    ///
    /// # Errors
    /// When the lock file cannot be opened or locked.
    pub fn exclusive(path: &Path) -> Result<Self, ArtifactError> {
        let file = open(path)?;
        file.lock().map_err(ArtifactError::write(path, "lock"))?;
        Ok(Self { _file: file })
    }
}

/// Whether an open file is the one that a path names.
fn is_at(file: &File, path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        let inode = |metadata: std::fs::Metadata| (metadata.dev(), metadata.ino());
        let (open, named) = (file.metadata().map(inode), std::fs::metadata(path).map(inode));
        matches!((open, named), (Ok(open), Ok(named)) if open == named)
    }
    #[cfg(not(unix))]
    {
        let _ = (file, path);
        true
    }
}

fn open(path: &Path) -> Result<File, ArtifactError> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(ArtifactError::write(path, "open the lock file"))
}
