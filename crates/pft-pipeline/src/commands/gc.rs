//! `gc`: removes what nobody needs any more.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::{StoreArgument, print};
use crate::RunError;
use crate::collect::{Garbage, Rules};
use crate::limits::{parse_bytes, parse_time};
use crate::table::size;

/// Arguments of `gc`.
#[derive(Debug, Args)]
pub(crate) struct GcArguments {
    #[command(flatten)]
    store: StoreArgument,
    /// Keeps what the last N runs of each pipeline made or used
    #[arg(long, value_name = "N", default_value_t = 5)]
    keep_runs: usize,
    /// Keeps what was used within this time, such as 30d
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    keep_for: Option<Duration>,
    /// Removes no more than it takes for the artifacts to fit into this, such as 50GB: what was used
    /// longest ago goes first
    #[arg(long, value_name = "SIZE", value_parser = parse_bytes)]
    max_size: Option<u64>,
    /// Says what would go, and removes nothing: what happens without --yes
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Removes it
    #[arg(long)]
    yes: bool,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

impl GcArguments {
    pub(crate) fn run(&self) -> Result<u8, RunError> {
        let store = self.store.existing()?;
        let rules = Rules { runs: self.keep_runs, age: self.keep_for, budget: self.max_size };
        let garbage = match self.yes {
            true => Garbage::remove(&store, &rules)?,
            false => Garbage::find(&store, &rules),
        };
        let bytes: u64 = garbage.artifacts.iter().map(|(_, size)| size).sum();
        let others: u64 = garbage.others.iter().map(|(_, size)| size).sum();
        if self.json {
            let artifacts: Vec<&String> = garbage.artifacts.iter().map(|(hash, _)| hash).collect();
            let paths: Vec<_> = garbage.others.iter().map(|(path, _)| path).collect();
            print(&json!({
                "removed": self.yes, "keys": garbage.keys, "artifacts": artifacts, "others": paths,
                "artifact_bytes": bytes, "other_bytes": others, "kept_bytes": garbage.kept,
            }).to_string());
            return Ok(0);
        }
        for (hash, bytes) in &garbage.artifacts {
            print(&format!("{}  {}", store.artifact_path(hash).display(), size(*bytes)));
        }
        for (path, bytes) in &garbage.others {
            print(&format!("{}  {}", path.display(), size(*bytes)));
        }
        let verb = if self.yes { "removed" } else { "would remove" };
        print(&format!(
            "{verb} {} artifacts ({}) and {} other things ({}); {} of artifacts stay{}",
            garbage.artifacts.len(),
            size(bytes),
            garbage.others.len(),
            size(others),
            size(garbage.kept),
            if self.yes { "" } else { "; --yes removes them" }
        ));
        Ok(0)
    }
}
