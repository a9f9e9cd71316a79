//! What identifies a version of a file without reading it.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A file that changed within this time of being looked at may change again without a new stamp:
/// clocks of file systems tick every few milliseconds, those of old ones every two seconds.
const GRANULARITY: Duration = Duration::from_secs(2);

/// Size, times and inode of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stamp {
    size: u64,
    modified_seconds: i64,
    modified_nanoseconds: i64,
    /// When contents or metadata last changed: `touch` can set the time above back, not this one.
    changed_seconds: i64,
    changed_nanoseconds: i64,
    inode: u64,
}

impl Stamp {
    pub(crate) fn of(path: &Path) -> std::io::Result<Self> {
        let metadata = std::fs::metadata(path)?;
        Ok(Self {
            size: metadata.size(),
            modified_seconds: metadata.mtime(),
            modified_nanoseconds: metadata.mtime_nsec(),
            changed_seconds: metadata.ctime(),
            changed_nanoseconds: metadata.ctime_nsec(),
            inode: metadata.ino(),
        })
    }

    /// Whether the file had been at rest long enough for any later change to show.
    pub(crate) fn was_at_rest(&self, now: SystemTime) -> bool {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let changed = u64::try_from(self.changed_seconds).map_or(now, Duration::from_secs);
        now.saturating_sub(changed) > GRANULARITY
    }
}

/// Writes a memory through a temporary name, if it changed and there is a folder for it.
pub(crate) fn save(memory: &Path, known: &impl Serialize) {
    let Ok(json) = serde_json::to_vec(known) else { return };
    if std::fs::read(memory).is_ok_and(|old| old == json) {
        return;
    }
    let temporary = memory.with_extension(format!("{}.tmp", std::process::id()));
    if std::fs::write(&temporary, json).is_ok() {
        let _ = std::fs::rename(&temporary, memory);
    }
}
