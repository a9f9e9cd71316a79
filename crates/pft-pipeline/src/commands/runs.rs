//! `runs`: the runs of a store.

use clap::Args;
use serde_json::json;

use super::{StoreArgument, print};
use crate::RunError;
use crate::runs::{State, all};
use crate::table::{row, table, time};

/// Arguments of `runs`.
#[derive(Debug, Args)]
pub(crate) struct RunsArguments {
    #[command(flatten)]
    store: StoreArgument,
    /// Lists runs of this pipeline only
    #[arg(long, value_name = "NAME")]
    pipeline: Option<String>,
    /// Lists the last N
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20)]
    last: usize,
    /// Prints a JSON object a line
    #[arg(long)]
    json: bool,
}

impl RunsArguments {
    pub(crate) fn run(&self) -> Result<u8, RunError> {
        let mut runs = all(&self.store.existing()?);
        runs.retain(|run| self.pipeline.as_ref().is_none_or(|name| run.pipeline == *name));
        let skipped = runs.len().saturating_sub(self.last);
        let mut rows =
            vec![row(["run", "pipeline", "", "ran", "cached", "failed", "time", "settings"])];
        for run in &runs[skipped..] {
            let State::Ended(record) = &run.state else {
                if self.json {
                    let state = run.state.name();
                    print(
                        &json!({ "run": run.id, "pipeline": run.pipeline, "status": state })
                            .to_string(),
                    );
                }
                rows.push(row([&run.id, &run.pipeline, &run.state.name(), "", "", "", "", ""]));
                continue;
            };
            if self.json {
                print(&json!(record).to_string());
            }
            let count = |status: &str| {
                let count = record.stages.iter().filter(|stage| stage.status == status).count();
                if count == 0 { String::new() } else { count.to_string() }
            };
            rows.push(vec![
                run.id.clone(),
                run.pipeline.clone(),
                run.state.name(),
                count("ran"),
                count("cached"),
                count("failed"),
                time(record.seconds),
                record.set.join(" "),
            ]);
        }
        if !self.json {
            print(&table(&rows));
            if skipped > 0 {
                print(&format!("and {skipped} earlier ones; --last shows more"));
            }
        }
        Ok(0)
    }
}
