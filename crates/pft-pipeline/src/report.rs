//! What the person sees while a pipeline runs, and the JSON object at its end.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{MultiProgress, ProgressBar};
use pft_artifact::Store;
use pft_stage::{Event, noun};
use serde_json::{Value, json};

use crate::graph::{Graph, Node};
use crate::outcome::{Outcome, Status};
use crate::{lines, summary};

/// Prints the course of a run to standard error: the whole graph on a terminal that has room for it, a line
/// for each stage that runs on a smaller one, and lines as things happen elsewhere.
#[derive(Debug)]
pub struct Reporter {
    bars: Option<MultiProgress>,
    running: Mutex<BTreeMap<String, ProgressBar>>,
    /// Whether every stage has a line that stays.
    whole: AtomicBool,
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
        Self {
            bars,
            running: Mutex::default(),
            whole: AtomicBool::new(false),
            width,
            silent: false,
        }
    }

    /// One that says nothing.
    pub(crate) fn silent() -> Self {
        Self {
            bars: None,
            silent: true,
            running: Mutex::default(),
            whole: AtomicBool::new(false),
            width: 0,
        }
    }

    /// Draws the graph, each stage on a line, where the terminal has room for it and what is printed
    /// above.
    pub(crate) fn begin(&self, graph: &Graph) {
        let room = lines::rows().unwrap_or_default().saturating_sub(4);
        let (Some(bars), Ok(mut running)) = (&self.bars, self.running.lock()) else { return };
        if graph.nodes.len() > room {
            return;
        }
        for node in &graph.nodes {
            // Hidden until all of it is set: each change is drawn.
            let line = ProgressBar::hidden();
            line.set_prefix(format!("{:w$}", node.name, w = self.width));
            lines::still(&line, "waits".to_string());
            let line = bars.add(line);
            line.tick();
            running.insert(node.name.clone(), line);
        }
        self.whole.store(true, Ordering::Relaxed);
    }

    /// The line of a stage where the whole graph is drawn.
    fn place(&self, node: &Node) -> Option<ProgressBar> {
        let whole = self.whole.load(Ordering::Relaxed);
        whole.then(|| self.running.lock().ok()?.get(&node.name).cloned()).flatten()
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
        if let Some(line) = self.place(node) {
            return lines::busy(&line, format!("{stage} runs: {reason}"));
        }
        self.line(&format!("{:w$}  {stage} runs: {reason}", node.name, w = self.width));
    }

    pub(crate) fn waiting(&self, node: &Node) {
        let what = "waits for another run that makes the same";
        if let Some(line) = self.place(node) {
            return lines::still(&line, what.to_string());
        }
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
                let bar = match running.get(&node.name) {
                    Some(line) if self.whole.load(Ordering::Relaxed) => line.clone(),
                    _ => {
                        let bar = bars.add(ProgressBar::new_spinner());
                        if let Some(old) = running.insert(node.name.clone(), bar.clone()) {
                            old.finish_and_clear();
                        }
                        bar
                    }
                };
                bar.set_prefix(format!("{:w$}  {task}", node.name, w = self.width));
                lines::course(&bar, *total, unit);
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
                if let Some(line) = self.place(node) {
                    line.set_prefix(format!("{:w$}", node.name, w = self.width));
                    let done = format!("{task}: {done} {} in {seconds:.1} s", noun(unit, *done));
                    return lines::busy(&line, done);
                }
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
        let line = self.place(node);
        if line.is_none()
            && let Ok(mut running) = self.running.lock()
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
        if let Some(line) = line {
            line.set_prefix(format!("{:w$}", node.name, w = self.width));
            lines::still(&line, text.lines().next().unwrap_or_default().to_string());
            line.abandon();
            // What is wrong may take more than a line.
            if outcome.status != Status::Failed {
                return;
            }
        }
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
