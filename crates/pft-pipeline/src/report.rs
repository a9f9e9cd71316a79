//! What the person sees while a pipeline runs, and the JSON object at its end.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Mutex;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use pft_artifact::Store;
use pft_stage::{Event, noun};
use serde_json::{Value, json};

use crate::graph::{Graph, Node};
use crate::outcome::{Outcome, Status};
use crate::summary;

/// Prints the course of a run to standard error: bars on a terminal, lines otherwise.
#[derive(Debug)]
pub struct Reporter {
    bars: Option<MultiProgress>,
    running: Mutex<BTreeMap<String, ProgressBar>>,
    width: usize,
    silent: bool,
}

impl Reporter {
    /// A reporter for the stages of a graph.
    pub fn new(graph: &Graph) -> Self {
        let width = graph.nodes.iter().map(|node| node.name.len()).max().unwrap_or(8);
        // Hidden where there is no terminal, or one that cannot move its cursor (TERM=dumb): what is
        // printed through it would be lost there.
        let bars = Some(MultiProgress::new()).filter(|bars| !bars.is_hidden());
        Self { bars, running: Mutex::default(), width, silent: false }
    }

    /// One that says nothing.
    pub(crate) fn silent() -> Self {
        Self { bars: None, running: Mutex::default(), width: 0, silent: true }
    }

    /// A line about a stage.
    pub(crate) fn line_of(&self, node: &Node, text: &str) {
        self.line(&format!("{:w$}  {text}", node.name, w = self.width));
    }

    pub(crate) fn line(&self, text: &str) {
        match &self.bars {
            _ if self.silent => {}
            // A terminal that has gone away is no reason to stop working.
            Some(bars) => drop(bars.println(text)),
            None => drop(writeln!(std::io::stderr().lock(), "{text}")),
        }
    }

    pub(crate) fn started(&self, node: &Node, reason: &str) {
        let stage = &node.binary.description.name;
        self.line(&format!("{:w$}  {stage} runs: {reason}", node.name, w = self.width));
    }

    pub(crate) fn waiting(&self, node: &Node) {
        let what = "waits for another run that makes the same";
        self.line(&format!("{:w$}  {what}", node.name, w = self.width));
    }

    pub(crate) fn event(&self, node: &Node, event: &Event) {
        match event {
            Event::Note { message } => {
                self.line(&format!("{:w$}  {message}", node.name, w = self.width));
            }
            Event::Start { task, total, unit } => {
                let (Some(bars), Ok(mut running)) = (&self.bars, self.running.lock()) else {
                    return;
                };
                let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
                let template = if total.is_some() {
                    "{prefix}  {bar:30.cyan} {human_pos}/{human_len} UNIT {per_sec} eta {eta} {msg}"
                } else {
                    "{prefix}  {spinner} {human_pos} UNIT {per_sec} {msg}"
                };
                if let Ok(style) = ProgressStyle::with_template(&template.replace("UNIT", unit)) {
                    bar.set_style(style);
                }
                bar.set_prefix(format!("{:w$}  {task}", node.name, w = self.width));
                let bar = bars.add(bar);
                if let Some(old) = running.insert(node.name.clone(), bar) {
                    old.finish_and_clear();
                }
            }
            Event::Progress { done, message, task, total, unit } => {
                if self.bars.is_some() {
                    if let Ok(running) = self.running.lock()
                        && let Some(bar) = running.get(&node.name)
                    {
                        bar.set_position(*done);
                        bar.set_message(message.clone());
                    }
                    return;
                }
                self.plain_progress(node, task, *done, *total, unit, message);
            }
            Event::Finish { task, done, unit, seconds } => {
                if let Ok(mut running) = self.running.lock()
                    && let Some(bar) = running.remove(&node.name)
                {
                    bar.finish_and_clear();
                }
                self.line(&format!(
                    "{:w$}  {task}: {done} {} in {seconds:.1} s",
                    node.name,
                    noun(unit, *done),
                    w = self.width
                ));
            }
            Event::Error { .. } => {}
        }
    }

    /// Off a terminal a line at most every ten seconds, told by a hidden bar that keeps the time.
    fn plain_progress(
        &self,
        node: &Node,
        task: &str,
        done: u64,
        total: Option<u64>,
        unit: &str,
        message: &str,
    ) {
        let Ok(mut running) = self.running.lock() else {
            return;
        };
        let clock = running.entry(node.name.clone()).or_insert_with(ProgressBar::hidden);
        if clock.elapsed().as_secs() < 10 {
            return;
        }
        clock.reset_elapsed();
        let of = total.map(|total| format!("/{total}")).unwrap_or_default();
        let unit = noun(unit, total.unwrap_or(done));
        let line = format!("{:w$}  {task}: {done}{of} {unit} {message}", node.name, w = self.width);
        drop(running);
        self.line(line.trim_end());
    }

    pub(crate) fn outcome(&self, node: &Node, outcome: &Outcome) {
        if let Ok(mut running) = self.running.lock()
            && let Some(bar) = running.remove(&node.name)
        {
            bar.finish_and_clear();
        }
        let reason = outcome.reason.as_deref().unwrap_or_default();
        let text = match outcome.status {
            Status::Ran => format!("done in {:.1} s", outcome.seconds),
            Status::Cached => "cached".to_string(),
            Status::Skipped => "skipped".to_string(),
            Status::WouldRun | Status::Waits => format!("would run: {reason}"),
            Status::Failed => format!("failed: {reason}"),
        };
        self.line(&format!("{:w$}  {text}", node.name, w = self.width));
    }
}

/// The name of a status in the JSON result.
fn status_name(status: Status) -> &'static str {
    if status.is_to_come() { "skipped" } else { status.name() }
}

/// The result as one JSON object: `pipeline`, `run`, `stages`.
pub(crate) fn to_json(graph: &Graph, store: &Store, run: &str, outcomes: &[Outcome]) -> Value {
    let stages: Vec<Value> = graph
        .nodes
        .iter()
        .zip(outcomes)
        .map(|(node, outcome)| {
            let outputs: BTreeMap<&String, Value> = outcome
                .outputs
                .iter()
                .map(|(port, (hash, path))| (port, json!({ "artifact": hash, "path": path })))
                .collect();
            let first = node
                .binary
                .description
                .outputs
                .iter()
                .find_map(|port| outcome.outputs.get(&port.name));
            json!({
                "name": node.name,
                "stage": node.binary.description.name,
                "status": status_name(outcome.status),
                "seconds": outcome.seconds,
                "key": outcome.key.as_ref().map(|key| &key.hash),
                "artifact": first.map(|(hash, _)| hash),
                "path": first.map(|(_, path)| path),
                "outputs": outputs,
                "reason": outcome.reason,
                "figures": summary::figures(store, outcome).map(|figures| figures.to_json()),
                "latest": summary::latest_path(graph, store, node, outcome),
            })
        })
        .collect();
    json!({ "pipeline": graph.pipeline, "run": run, "stages": stages })
}
