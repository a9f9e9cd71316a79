//! Garbage collection: what goes, and why the rest stays.
//!
//! A key is kept while a pin or one of the last runs of its pipeline names it, while it was used
//! within the time that is asked for, and while a run that goes on may use it. Of the others those used
//! longest ago go first, where there is a budget; without one, all.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use pft_artifact::{KeyLock, Store};

use crate::commands::pin;
use crate::runs::{State, all, is_running};
use crate::usage::size_of;

/// What to keep.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// The last runs of each pipeline.
    pub(crate) runs: usize,
    /// What was used within this time.
    pub(crate) age: Option<Duration>,
    /// Removes no more than it takes for the artifacts to fit into this many bytes.
    pub(crate) budget: Option<u64>,
}

/// What goes.
#[derive(Debug, Default)]
pub(crate) struct Garbage {
    /// Keys whose actions go.
    pub(crate) keys: Vec<String>,
    /// Artifacts that nothing points at then, with their sizes.
    pub(crate) artifacts: Vec<(String, u64)>,
    /// Run folders, scratch of abandoned keys, locks, and what was set aside, with their sizes.
    pub(crate) others: Vec<(PathBuf, u64)>,
    /// The size of what stays of the artifacts.
    pub(crate) kept: u64,
}

impl Garbage {
    /// Finds out what goes.
    pub(crate) fn find(store: &Store, rules: &Rules) -> Self {
        let runs = all(store);
        let pinned: BTreeSet<String> = pin::all(store).into_iter().map(|(_, run)| run).collect();
        let mut by_pipeline: BTreeMap<&str, usize> = BTreeMap::new();
        let (mut roots, mut garbage) = (BTreeSet::new(), Self::default());
        for run in runs.iter().rev() {
            let seen = by_pipeline.entry(&run.pipeline).or_default();
            *seen += 1;
            let is_kept = *seen <= rules.runs || pinned.contains(&run.id);
            match &run.state {
                State::Ended(record) if is_kept => {
                    roots.extend(record.stages.iter().filter_map(|stage| stage.key.clone()));
                }
                _ if is_kept || matches!(run.state, State::Running) => {}
                _ => {
                    let folder = crate::record::folder(store, &run.id);
                    let size = size_of(&folder);
                    garbage.others.push((folder, size));
                }
            }
        }
        // What a run that goes on has found is marked as used since it began.
        let folders = runs.iter().map(|run| crate::record::folder(store, &run.id));
        let begun =
            folders.filter(|f| is_running(f)).filter_map(|f| f.metadata().ok()?.created().ok());
        let recently = rules.age.and_then(|age| SystemTime::now().checked_sub(age));
        let since = begun.chain(recently).min();
        garbage.choose(store, rules, &roots, since);
        garbage.leftovers(store, rules);
        garbage
    }

    fn choose(
        &mut self,
        store: &Store,
        rules: &Rules,
        roots: &BTreeSet<String>,
        since: Option<SystemTime>,
    ) {
        let mut users: BTreeMap<String, usize> = BTreeMap::new();
        let mut loose = Vec::new();
        for key in store.keys() {
            let action = store.action(&key);
            let outputs = action.as_ref().map(|a| a.outputs.values().cloned().collect());
            let outputs: BTreeSet<String> = outputs.unwrap_or_default();
            outputs.iter().for_each(|hash| *users.entry(hash.clone()).or_default() += 1);
            let used = store.action_path(&key).metadata().and_then(|m| m.modified());
            let used = used.unwrap_or(SystemTime::UNIX_EPOCH);
            if !roots.contains(&key) && since.is_none_or(|since| used < since) {
                loose.push((used, key, outputs));
            }
        }
        loose.sort();
        let sizes: BTreeMap<String, u64> = store
            .artifacts()
            .into_iter()
            .map(|hash| (hash.clone(), size_of(&store.artifact_path(&hash))))
            .collect();
        self.kept = sizes.values().sum();
        for (_, key, outputs) in loose {
            if rules.budget.is_some_and(|budget| self.kept <= budget) {
                break;
            }
            self.keys.push(key);
            for hash in outputs {
                let left = users.get_mut(&hash).map_or(0, |count| {
                    *count -= 1;
                    *count
                });
                if left == 0 {
                    let size = sizes.get(&hash).copied().unwrap_or(0);
                    self.kept -= size;
                    self.artifacts.push((hash, size));
                }
            }
        }
        // What no action points at was left by a kill between the two steps of a commit, or by an
        // action that was set aside.
        for (hash, size) in sizes {
            let fresh = store.artifact_path(&hash).metadata().and_then(|m| m.modified());
            let fresh = fresh.is_ok_and(|time| since.is_some_and(|since| time >= since));
            if !users.contains_key(&hash) && !fresh {
                self.kept -= size;
                self.artifacts.push((hash, size));
            }
        }
    }

    /// Scratch, work folders and locks of keys that nobody works on, and what was set aside.
    fn leftovers(&mut self, store: &Store, rules: &Rules) {
        let now = SystemTime::now();
        let age = rules.age.unwrap_or(Duration::ZERO);
        for part in ["scratch", "tmp", "locks", "damaged"] {
            let entries =
                std::fs::read_dir(store.root().join(part)).into_iter().flatten().flatten();
            for entry in entries {
                let path = entry.path();
                let name = entry.file_name().to_string_lossy().into_owned();
                let changed = entry.metadata().and_then(|metadata| metadata.modified());
                let old =
                    changed.is_ok_and(|time| now.duration_since(time).is_ok_and(|d| d >= age));
                if name == "gc" || !old || is_worked_on(store, &name) {
                    continue;
                }
                self.others.push((path.clone(), size_of(&path)));
            }
        }
    }

    /// Removes it. Nobody finds an artifact between the look at what is used and its removal, since
    /// whoever looks one up waits for the lock that is held here.
    pub(crate) fn remove(store: &Store, rules: &Rules) -> Result<Self, crate::RunError> {
        let lock = KeyLock::exclusive(&store.gc_lock_path())?;
        let garbage = Self::find(store, rules);
        let away = store.root().join("tmp").join(format!("gc-{}", std::process::id()));
        std::fs::create_dir_all(&away)
            .map_err(|error| crate::RunError::bug(format!("{}: {error}", away.display())))?;
        for key in &garbage.keys {
            // Whoever works on a key keeps it.
            if let Ok(Some(_lock)) = store.try_lock(key) {
                let _ = std::fs::remove_file(store.action_path(key));
            }
        }
        for (hash, _) in &garbage.artifacts {
            let _ = std::fs::rename(store.artifact_path(hash), away.join(hash));
        }
        drop(lock);
        for (path, _) in &garbage.others {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            // Held until it is removed: nobody begins to work there in between.
            let lock = store.lock_path(&name);
            let _lock = match lock.is_file() {
                true => match KeyLock::try_acquire(&lock) {
                    Ok(Some(lock)) => Some(lock),
                    _ => continue,
                },
                false => None,
            };
            let _ = if path.is_dir() {
                std::fs::remove_dir_all(path)
            } else {
                std::fs::remove_file(path)
            };
        }
        let _ = std::fs::remove_dir_all(&away);
        unlink_dead(&store.root().join("latest"));
        Ok(garbage)
    }
}

/// Whether somebody holds the lock of a key.
fn is_worked_on(store: &Store, key: &str) -> bool {
    let path = store.lock_path(key);
    path.is_file() && !matches!(KeyLock::try_acquire(&path), Ok(Some(_)))
}

/// Removes links to what is gone, and folders that held nothing else.
fn unlink_dead(folder: &std::path::Path) {
    let entries = walkdir::WalkDir::new(folder).contents_first(true).into_iter().flatten();
    for entry in entries {
        if entry.path_is_symlink() && !entry.path().exists() {
            let _ = std::fs::remove_file(entry.path());
        } else if entry.file_type().is_dir() && entry.depth() > 0 {
            let _ = std::fs::remove_dir(entry.path());
        }
    }
}
