//! `verify`: reads everything in a store again, and names each file that is not as it was written.

use clap::Args;
use pft_artifact::{Lookup, MANIFEST, Manifest, Store, hash_file};
use serde_json::json;

use super::{StoreArgument, print, say};
use crate::RunError;
use crate::record::folder;
use crate::runs::{State, all};

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    #[command(flatten)]
    store: StoreArgument,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

/// What was found.
#[derive(Debug, Default)]
struct Findings {
    checked: usize,
    /// One line a damaged file: its path, and what is wrong.
    damaged: Vec<String>,
    /// What cannot be vouched for, though nothing is wrong with it.
    unsealed: Vec<String>,
}

impl VerifyArguments {
    pub(crate) fn run(&self) -> Result<u8, RunError> {
        let store = self.store.existing()?;
        let mut findings = Findings::default();
        findings.artifacts(&store);
        findings.actions(&store);
        findings.runs(&store);
        if self.json {
            let (checked, damaged) = (findings.checked, &findings.damaged);
            let unsealed = &findings.unsealed;
            print(
                &json!({ "checked": checked, "damaged": damaged, "unsealed": unsealed })
                    .to_string(),
            );
        } else {
            findings.damaged.iter().for_each(|line| print(line));
            findings.unsealed.iter().for_each(|line| say(line));
            let (checked, damaged) = (findings.checked, findings.damaged.len());
            print(&format!("{checked} files read, {damaged} damaged"));
        }
        Ok(if findings.damaged.is_empty() { 0 } else { 3 })
    }
}

impl Findings {
    fn damage(&mut self, what: impl std::fmt::Display) {
        self.damaged.push(what.to_string());
    }

    fn artifacts(&mut self, store: &Store) {
        for hash in store.artifacts() {
            let path = store.artifact_path(&hash);
            let manifest = match Manifest::open(&path) {
                Ok(manifest) => manifest,
                Err(error) => {
                    self.damage(error);
                    continue;
                }
            };
            self.checked += manifest.files.len() + 1;
            if manifest.content_hash != hash {
                let what = "is another artifact's: its content hash is not the name of the folder";
                self.damage(format!("{}: {what}", path.join(MANIFEST).display()));
            }
            for file in &manifest.files {
                let full = path.join(&file.path);
                match hash_file(&full) {
                    Ok(found) if found == file.blake3 => {}
                    Ok(_) => self.damage(format!(
                        "{}: its contents are not those that the manifest was sealed with",
                        full.display()
                    )),
                    Err(error) => self.damage(error),
                }
            }
        }
    }

    fn actions(&mut self, store: &Store) {
        for key in store.keys() {
            self.checked += 1;
            let path = store.action_path(&key);
            match store.action(&key) {
                None => self.damage(format!("{}: not as it was written", path.display())),
                Some(action) if action.seal.is_none() => self.unsealed.push(format!(
                    "{}: of an earlier version, which sealed no actions",
                    path.display()
                )),
                Some(_) => {}
            }
            // Artifacts that are damaged are named already; those that are gone are no damage.
            if let Lookup::Damaged(what) = store.look_up(&key)
                && !self.damaged.contains(&what)
                && store.action(&key).is_some()
                && !self.damaged.iter().any(|known| known.starts_with(&what))
            {
                self.damage(what);
            }
        }
    }

    fn runs(&mut self, store: &Store) {
        for run in all(store) {
            let record = match run.state {
                State::Ended(record) => record,
                State::Damaged => {
                    let path = folder(store, &run.id).join("run.json");
                    self.damage(format!("{}: not as it was written", path.display()));
                    continue;
                }
                State::Running | State::Killed => continue,
            };
            self.checked += 1 + record.files.len();
            for file in &record.files {
                let path = folder(store, &run.id).join(&file.path);
                match hash_file(&path) {
                    Ok(found) if found == file.blake3 => {}
                    Ok(_) => self.damage(format!("{}: not as it was written", path.display())),
                    Err(error) => self.damage(error),
                }
            }
        }
    }
}
