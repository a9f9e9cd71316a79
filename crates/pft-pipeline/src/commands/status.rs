//! `status`: what goes on in a store, what was made last, and how much it holds.

use clap::Args;
use pft_artifact::Store;
use serde_json::{Value, json};

use super::{StoreArgument, print};
use crate::RunError;
use crate::record::folder;
use crate::runs::{KnownRun, State, all};
use crate::table::{row, size, table, time};
use crate::usage::size_of;

/// Arguments of `status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArguments {
    #[command(flatten)]
    store: StoreArgument,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

impl StatusArguments {
    pub(crate) fn run(&self) -> Result<u8, RunError> {
        let store = self.store.existing()?;
        let runs = all(&store);
        let (running, ended): (Vec<&KnownRun>, Vec<&KnownRun>) =
            runs.iter().partition(|run| matches!(run.state, State::Running));
        // The last one of each pipeline.
        let mut last: Vec<&KnownRun> = Vec::new();
        for run in ended.into_iter().rev() {
            if !last.iter().any(|known| known.pipeline == run.pipeline) {
                last.push(run);
            }
        }
        let sizes: Vec<(&str, u64)> = ["artifacts", "scratch", "cache", "damaged"]
            .map(|part| (part, size_of(&store.root().join(part))))
            .to_vec();
        if self.json {
            let running: Vec<Value> = running
                .iter()
                .map(|run| json!({ "run": run.id, "pipeline": run.pipeline, "stages": doing(&store, &run.id) }))
                .collect();
            let last: Vec<Value> = last
                .iter()
                .map(|run| json!({ "run": run.id, "pipeline": run.pipeline, "status": run.state.name() }))
                .collect();
            let bytes: serde_json::Map<String, Value> =
                sizes.iter().map(|(part, bytes)| ((*part).to_string(), json!(bytes))).collect();
            let all =
                json!({ "store": store.root(), "running": running, "last": last, "bytes": bytes });
            print(&all.to_string());
            return Ok(0);
        }
        for run in &running {
            print(&format!("running: {} ({})", run.pipeline, run.id));
            for (stage, what) in doing(&store, &run.id).as_object().into_iter().flatten() {
                print(&format!("  {stage}: {}", super::plain(what)));
            }
        }
        let mut rows = vec![row(["pipeline", "last run", "", "time"])];
        for run in &last {
            let seconds = match &run.state {
                State::Ended(record) => time(record.seconds),
                _ => String::new(),
            };
            rows.push(vec![run.pipeline.clone(), run.id.clone(), run.state.name(), seconds]);
        }
        if rows.len() > 1 {
            print(&table(&rows));
        }
        let sizes: Vec<String> =
            sizes.iter().map(|(part, bytes)| format!("{part} {}", size(*bytes))).collect();
        print(&format!("{}: {}", store.root().display(), sizes.join(", ")));
        Ok(0)
    }
}

/// What the stages of a run were doing by its last events.
fn doing(store: &Store, run: &str) -> Value {
    let text = std::fs::read_to_string(folder(store, run).join("events.jsonl"));
    let mut stages = serde_json::Map::new();
    for line in text.unwrap_or_default().lines() {
        let Ok(event) = serde_json::from_str::<Value>(line) else { continue };
        let Some(name) = event["name"].as_str() else { continue };
        match event["event"].as_str() {
            Some("outcome") => drop(stages.remove(name)),
            Some("stage") => {
                let said = &event["said"];
                let task = said["task"].as_str().unwrap_or_default();
                let of = |total: u64| format!("/{total}");
                let total = said["total"].as_u64().map(of).unwrap_or_default();
                let done = said["done"].as_u64().map(|done| format!(" {done}{total}"));
                let done = done.unwrap_or_default();
                let message = said["message"].as_str().unwrap_or_default();
                let text = format!("{task}{done} {message}");
                stages.insert(name.to_string(), json!(text.trim()));
            }
            _ => {}
        }
    }
    Value::Object(stages)
}
