//! `log RUN STAGE`: what a stage wrote to standard error.

use clap::Args;
use pft_stage::{Event, noun};

use super::{StoreArgument, print};
use crate::record::{folder, log_name};
use crate::{RunError, runs};

/// Arguments of `log`.
#[derive(Debug, Args)]
pub(crate) struct LogArguments {
    /// The run's id, or the beginning of it, or `last`
    run: String,
    /// The stage's name in the pipeline, or the last part of it
    stage: String,
    #[command(flatten)]
    store: StoreArgument,
    /// Prints the lines as they were written: events are JSON
    #[arg(long)]
    json: bool,
}

impl LogArguments {
    pub(crate) fn run(&self) -> Result<u8, RunError> {
        let store = self.store.existing()?;
        let run = runs::find(&store, &self.run)?;
        let logs = folder(&store, &run.id).join("logs");
        let mut names: Vec<String> = walkdir::WalkDir::new(&logs)
            .sort_by_file_name()
            .into_iter()
            .flatten()
            .filter(|entry| entry.file_type().is_file())
            .filter_map(|entry| {
                let name = entry.path().strip_prefix(&logs).ok()?.to_string_lossy().into_owned();
                Some(name.strip_suffix(".log")?.to_string())
            })
            .collect();
        let is_meant =
            |name: &String| *name == self.stage || name.rsplit('/').next() == Some(&self.stage);
        let known = names.join(", ");
        names.retain(is_meant);
        let [name] = &names[..] else {
            let problem = if names.is_empty() { "has no log of" } else { "has several logs of" };
            let message = format!("run {} {problem} `{}`; it has: {known}", run.id, self.stage);
            return Err(RunError::config(message));
        };
        let path = folder(&store, &run.id).join(log_name(name));
        let text = std::fs::read_to_string(&path)
            .map_err(|error| RunError::config(format!("{}: {error}", path.display())))?;
        for line in text.lines() {
            match serde_json::from_str::<Event>(line) {
                Ok(event) if !self.json => print(&said(&event)),
                _ => print(line),
            }
        }
        Ok(0)
    }
}

/// An event as a line.
fn said(event: &Event) -> String {
    match event {
        Event::Start { task, total: Some(total), unit } => {
            format!("{task}: {total} {}", noun(unit, *total))
        }
        Event::Start { task, .. } => task.clone(),
        Event::Progress { task, done, total, unit, message } => {
            let of = total.map(|total| format!("/{total}")).unwrap_or_default();
            format!("{task}: {done}{of} {} {message}", noun(unit, total.unwrap_or(*done)))
        }
        Event::Finish { task, done, unit, seconds } => {
            format!("{task}: {done} {} in {seconds:.1} s", noun(unit, *done))
        }
        Event::Note { message } => message.clone(),
        Event::Error { message, .. } => format!("error: {message}"),
    }
}
