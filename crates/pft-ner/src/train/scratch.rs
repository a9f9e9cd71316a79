//! The folder `NAME.PID.partial` beside the output `NAME`, in which a training works: it goes when the
//! training does, and what a killed one left goes when the next one of the same name starts.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::TrainError;

/// A folder of a training that runs.
pub(super) struct Scratch {
    pub(super) folder: PathBuf,
    // The kernel's lock on the folder, which goes with the process, however that dies.
    _lock: Option<File>,
}

impl Scratch {
    /// Removes what killed trainings of the same output left, and makes a folder for this one.
    pub(super) fn create(output: &Path) -> Result<Self, TrainError> {
        let own = std::process::id();
        for (folder, process) in partial_folders(output) {
            if abandoned(&folder, process, own) {
                // A folder that does not go is in nobody's way.
                let _ = fs::remove_dir_all(&folder);
            }
        }
        let mut name = output.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{own}.partial"));
        let folder = output.with_file_name(name);
        if let Some(parent) = folder.parent() {
            fs::create_dir_all(parent).map_err(TrainError::write(parent))?;
        }
        fs::create_dir(&folder).map_err(TrainError::write(&folder))?;
        // Where the file system knows no locks, the process's number alone has to do.
        let lock = File::open(&folder).ok().filter(|file| file.try_lock().is_ok());
        Ok(Self { folder, _lock: lock })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing can be done about a folder that does not go.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The folders of trainings with this output, and the numbers of their processes.
fn partial_folders(output: &Path) -> Vec<(PathBuf, u32)> {
    let parent = match output.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let Some(name) = output.file_name().and_then(|name| name.to_str()) else { return Vec::new() };
    let folders = fs::read_dir(parent).into_iter().flatten().flatten();
    let process = |folder: &Path| -> Option<u32> {
        let rest = folder.file_name()?.to_str()?.strip_prefix(name)?;
        let number = rest.strip_prefix('.')?.strip_suffix(".partial")?;
        // As it is written, so that `model.+7.partial` is not taken for one of ours.
        number.parse().ok().filter(|parsed: &u32| parsed.to_string() == number)
    };
    folders
        // A link is somebody's, and not followed.
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .filter_map(|entry| process(&entry.path()).map(|number| (entry.path(), number)))
        .collect()
}

/// Whether nobody works in a folder any more: no process has its number, and nobody holds its lock,
/// which a process on another machine or in another container would, whose number says nothing here.
/// A folder with the number of this process is of an earlier one.
fn abandoned(folder: &Path, process: u32, own: u32) -> bool {
    if process != own && is_running(process) {
        return false;
    }
    let Ok(file) = File::open(folder) else { return false };
    !matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock))
}

/// Whether a process with this number exists, whoever it belongs to.
fn is_running(process: u32) -> bool {
    let Ok(process) = libc::pid_t::try_from(process) else { return false };
    // Zero and negative numbers mean groups.
    if process < 1 {
        return false;
    }
    // SAFETY: signal 0 is sent to nobody; the call only says whether it could be.
    let answer = unsafe { libc::kill(process, 0) };
    answer == 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_dead_left_goes_and_what_others_work_in_stays() {
        let parent = tempfile::tempdir().unwrap();
        let output = parent.path().join("model");
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        let (dead, own) = (child.id(), std::process::id());
        let make = |name: String| {
            let folder = parent.path().join(name);
            fs::create_dir_all(folder.join("model")).unwrap();
            folder
        };
        let gone = [make(format!("model.{dead}.partial")), make(format!("model.{own}.partial"))];
        let kept = [
            // Process 1 always runs, and is somebody else's.
            make("model.1.partial".into()),
            make(format!("model.0{dead}.partial")),
            make(format!("model.{dead}.partial.old")),
            make(format!("other.{dead}.partial")),
            make(format!("model-2.{dead}.partial")),
            make("model.x.partial".into()),
        ];
        let scratch = Scratch::create(&output).unwrap();
        assert!(!gone[0].exists());
        assert!(gone[1].exists() && !gone[1].join("model").exists(), "this training's own is new");
        assert!(kept.iter().all(|folder| folder.exists()), "{kept:?}");
        drop(scratch);
        assert!(!gone[1].exists());

        // Somebody whose process cannot be seen from here.
        let elsewhere = make(format!("model.{dead}.partial"));
        let lock = File::open(&elsewhere).unwrap();
        lock.try_lock().unwrap();
        drop(Scratch::create(&output).unwrap());
        assert!(elsewhere.exists());
        drop(lock);
        drop(Scratch::create(&output).unwrap());
        assert!(!elsewhere.exists());
    }

    #[test]
    fn a_working_folder_with_this_number_is_not_shared() {
        let parent = tempfile::tempdir().unwrap();
        let output = parent.path().join("model");
        let first = Scratch::create(&output).unwrap();
        assert!(Scratch::create(&output).is_err());
        assert!(first.folder.exists());
    }
}
