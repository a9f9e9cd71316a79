//! `pin` and `unpin`: what garbage collection leaves alone.

use clap::Args;
use pft_artifact::Store;
use serde_json::json;

use super::{StoreArgument, print};
use crate::{RunError, runs};

/// Arguments of `pin`.
#[derive(Debug, Args)]
pub(crate) struct PinArguments {
    /// A name for the pin; without it the pins are listed
    name: Option<String>,
    /// The run whose artifacts are to be kept: its id, the beginning of it, or `last`
    #[arg(default_value = "last")]
    run: String,
    #[command(flatten)]
    store: StoreArgument,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

/// Arguments of `unpin`.
#[derive(Debug, Args)]
pub(crate) struct UnpinArguments {
    /// The pin's name
    name: String,
    #[command(flatten)]
    store: StoreArgument,
}

impl PinArguments {
    pub(crate) fn run(&self) -> Result<u8, RunError> {
        let store = self.store.existing()?;
        if let Some(name) = &self.name {
            let record = runs::record(&store, &self.run)?;
            let path = file(&store, name)?;
            let failed =
                |error: std::io::Error| RunError::config(format!("{}: {error}", path.display()));
            std::fs::create_dir_all(store.root().join("pins")).map_err(failed)?;
            std::fs::write(&path, format!("{}\n", record.run)).map_err(failed)?;
        }
        let pins = all(&store);
        if self.json {
            let pins: serde_json::Map<_, _> =
                pins.into_iter().map(|(name, run)| (name, json!(run))).collect();
            print(&json!(pins).to_string());
        } else {
            pins.iter().for_each(|(name, run)| print(&format!("{name}: {run}")));
        }
        Ok(0)
    }
}

impl UnpinArguments {
    pub(crate) fn run(&self) -> Result<u8, RunError> {
        let path = file(&self.store.existing()?, &self.name)?;
        std::fs::remove_file(&path)
            .map_err(|error| RunError::config(format!("{}: {error}", path.display())))?;
        Ok(0)
    }
}

fn file(store: &Store, name: &str) -> Result<std::path::PathBuf, RunError> {
    if name.is_empty() || name.starts_with('.') || name.contains('/') {
        return Err(RunError::config(format!("`{name}` cannot be the name of a pin")));
    }
    Ok(store.root().join("pins").join(name))
}

/// The pins of a store: name and run.
pub(crate) fn all(store: &Store) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(store.root().join("pins")).into_iter().flatten().flatten();
    let mut pins: Vec<(String, String)> = entries
        .filter_map(|entry| {
            let run = std::fs::read_to_string(entry.path()).ok()?;
            Some((entry.file_name().into_string().ok()?, run.trim().to_string()))
        })
        .collect();
    pins.sort();
    pins
}
