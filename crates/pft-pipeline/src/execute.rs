//! Running a graph: every stage whose key is not in the store, as soon as its inputs are.
//!
//! A run first looks at everything without starting anything: where all is cached, that was the run;
//! otherwise the configs of what is to come are checked, and only then is a stage started.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use pft_artifact::Store;

use crate::board::Board;
use crate::checked::CheckedFiles;
use crate::checks;
use crate::graph::{Graph, Node};
use crate::history::History;
use crate::limits::Machine;
use crate::outcome::{Outcome, Status};
use crate::outside::OutsideFiles;
use crate::record::{Recorder, RunRecord, RunStatus, StageRecord};
use crate::report::Reporter;
use crate::{RunError, key, latest};

/// How to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which nodes to make.
    pub wanted: Vec<bool>,
    /// Which nodes to run even where their artifact exists.
    pub forced: Vec<bool>,
    /// How many stages may run at once.
    pub jobs: usize,
    /// After a failure, goes on with what does not need what failed.
    pub keep_going: bool,
    /// Reads every file of a cached artifact again before it counts as made.
    pub verify: bool,
    /// The pipeline file, for the record.
    pub file: PathBuf,
    /// Settings of the command line, for the record.
    pub set: Vec<String>,
}

/// Everything that the threads of a run share.
pub(crate) struct Run<'a> {
    pub(crate) graph: &'a Graph,
    pub(crate) options: &'a Options,
    pub(crate) store: &'a Store,
    pub(crate) outside: OutsideFiles,
    pub(crate) checked: CheckedFiles,
    pub(crate) history: History,
    pub(crate) machine: Machine,
    pub(crate) recorder: Option<Recorder>,
    /// The keys that stages ran for in this run.
    pub(crate) made: Mutex<BTreeSet<String>>,
    /// Stages that must not start, and why.
    pub(crate) refused: BTreeMap<usize, RunError>,
    pub(crate) interrupted: Arc<AtomicBool>,
    pub(crate) reporter: &'a Reporter,
}

impl<'a> Run<'a> {
    fn new(
        graph: &'a Graph,
        options: &'a Options,
        store: &'a Store,
        interrupted: Arc<AtomicBool>,
        reporter: &'a Reporter,
    ) -> Self {
        Self {
            graph,
            options,
            store,
            outside: OutsideFiles::open(store.root().join("outside-files.json")),
            checked: CheckedFiles::open(store),
            history: History::open(store),
            machine: Machine::new(),
            recorder: None,
            made: Mutex::default(),
            refused: BTreeMap::new(),
            interrupted,
            reporter,
        }
    }
}

/// What a run would do. Nothing is started, and nothing is written. The result has one outcome a node,
/// in the graph's order.
///
/// # Errors
/// Only what would stop the whole run.
pub fn plan(graph: &Graph, options: &Options, store: &Store) -> Result<Vec<Outcome>, RunError> {
    let reporter = Reporter::silent();
    let run = Run::new(graph, options, store, Arc::default(), &reporter);
    let board = run.look();
    let mut outcomes = board.into_outcomes();
    for (index, error) in checks::check(graph, &to_come(&outcomes)) {
        let reason = outcomes[index].reason.take().unwrap_or_default();
        // A file that is missing is named already.
        outcomes[index].reason = Some(if reason.contains("once this is mended") {
            reason
        } else {
            format!("{reason}; once this is mended: {error}")
        });
    }
    Ok(outcomes)
}

/// Runs the wanted part of a graph. The result has one outcome a node, in the graph's order.
///
/// # Errors
/// Only what stops the whole run, as files that its configs name and that are missing; a failed stage is
/// an outcome.
pub fn execute(
    graph: &Graph,
    options: &Options,
    store: &Store,
    interrupted: Arc<AtomicBool>,
    reporter: &Reporter,
) -> Result<(Vec<Outcome>, String), RunError> {
    let (began, started) = (Instant::now(), jiff::Timestamp::now().to_string());
    let mut run = Run::new(graph, options, store, interrupted, reporter);
    run.refuse(run.missing_paths())?;
    let looked = run.look();
    let to_come = to_come(&looked.snapshot());
    run.refuse(checks::check(graph, &to_come))?;
    let outcomes = match (Recorder::begin(store, &graph.pipeline), to_come.first()) {
        (Ok(recorder), Some(_)) => {
            run.recorder = Some(recorder);
            reporter.begin(graph);
            run.schedule()
        }
        (Ok(recorder), None) => {
            run.recorder = Some(recorder);
            run.done(looked.into_outcomes())
        }
        // What is made already can be had from a store that cannot be written to.
        (Err(_), None) => run.done(looked.into_outcomes()),
        (Err(error), Some(&first)) => {
            let mut outcomes = looked.into_outcomes();
            to_come.iter().for_each(|&index| outcomes[index] = Outcome::skipped());
            outcomes[first] = Outcome::failed(error);
            run.done(outcomes)
        }
    };
    run.outside.save();
    run.checked.save();
    run.history.save(graph, &outcomes);
    latest::link(store, graph, &outcomes);
    let id = run.recorder.as_ref().map(|recorder| recorder.run.clone()).unwrap_or_default();
    // What was made is made, though nobody will read how.
    if let Err(error) = run.record(&outcomes, started, began.elapsed().as_secs_f64()) {
        reporter.line(&format!("the run's record cannot be written: {error}"));
    }
    Ok((outcomes, id))
}

/// The indices of what is still to be made.
fn to_come(outcomes: &[Outcome]) -> Vec<usize> {
    (0..outcomes.len()).filter(|&index| outcomes[index].status.is_to_come()).collect()
}

impl Run<'_> {
    /// What a later stage would miss is said before an earlier one works for hours.
    fn missing_paths(&self) -> Vec<(usize, RunError)> {
        let nodes = self.graph.nodes.iter().enumerate();
        nodes
            .filter(|(index, _)| self.options.wanted[*index])
            .filter_map(|(index, node)| {
                let paths = key::check_paths(&node.binary.description, &node.config);
                Some((index, paths.err()?))
            })
            .collect()
    }

    /// Takes note of stages that cannot start. With `--keep-going` the others go on.
    fn refuse(&mut self, errors: Vec<(usize, RunError)>) -> Result<(), RunError> {
        let at = |index: usize, error: RunError| {
            let place = &self.graph.nodes[index].place;
            RunError { message: format!("{place}: {}", error.message), ..error }
        };
        let errors: Vec<_> = errors.into_iter().map(|(index, e)| (index, at(index, e))).collect();
        if self.options.keep_going {
            self.refused.extend(errors);
            return Ok(());
        }
        let Some((_, first)) = errors.first() else { return Ok(()) };
        let mut messages: Vec<&str> = errors.iter().map(|(_, e)| e.message.as_str()).collect();
        messages.dedup();
        Err(RunError { message: messages.join("\n"), exit_code: first.exit_code })
    }

    /// Says what became of all stages.
    fn done(&self, outcomes: Vec<Outcome>) -> Vec<Outcome> {
        for (node, outcome) in self.graph.nodes.iter().zip(&outcomes) {
            self.tell(node, outcome);
        }
        outcomes
    }

    /// Says what became of a stage, to people and in the record.
    pub(crate) fn tell(&self, node: &Node, outcome: &Outcome) {
        self.reporter.outcome(node, outcome);
        if let Some(recorder) = &self.recorder {
            let fields = serde_json::json!({
                "name": node.name,
                "status": outcome.status.name(),
                "seconds": outcome.seconds,
                "reason": outcome.reason,
            });
            recorder.say("outcome", fields);
        }
    }

    fn record(&self, outcomes: &[Outcome], started: String, seconds: f64) -> Result<(), RunError> {
        let Some(recorder) = &self.recorder else { return Ok(()) };
        let undone = |(outcome, wanted): (&Outcome, &bool)| *wanted && outcome.status.blocks();
        let status = match outcomes.iter().zip(&self.options.wanted).any(undone) {
            true if self.interrupted.load(Ordering::Relaxed) => RunStatus::Interrupted,
            true => RunStatus::Failed,
            false => RunStatus::Done,
        };
        recorder.finish(RunRecord {
            run: recorder.run.clone(),
            pipeline: self.graph.pipeline.clone(),
            file: std::path::absolute(&self.options.file).unwrap_or_default(),
            set: self.options.set.clone(),
            started,
            seconds,
            status,
            cores: self.machine.cores(),
            jobs: self.options.jobs,
            version: env!("CARGO_PKG_VERSION").to_string(),
            stages: self.graph.nodes.iter().zip(outcomes).map(|(n, o)| self.stage(n, o)).collect(),
            files: Vec::new(),
            seal: String::new(),
        })
    }

    fn stage(&self, node: &Node, outcome: &Outcome) -> StageRecord {
        let attempt = outcome.attempt.as_ref();
        let inputs = node.inputs.iter().map(|(port, (from, output))| {
            (port.clone(), format!("{}.{output}", self.graph.nodes[*from].name))
        });
        let outputs = outcome.outputs.iter().map(|(port, (hash, _))| (port.clone(), hash.clone()));
        StageRecord {
            name: node.name.clone(),
            stage: node.binary.description.name.clone(),
            revision: node.binary.description.revision,
            status: outcome.status.name().to_string(),
            reason: outcome.reason.clone(),
            key: outcome.key.as_ref().map(|key| key.hash.clone()),
            inputs: inputs.collect(),
            outputs: outputs.collect(),
            started: attempt.map(|attempt| attempt.started.clone()),
            seconds: outcome.seconds,
            threads: attempt.map(|attempt| attempt.threads),
            peak_memory: attempt.map(|attempt| attempt.peak_memory),
            attempts: attempt.map_or(0, |attempt| attempt.attempts),
            exit_code: (outcome.status == Status::Failed).then_some(outcome.exit_code),
            log: attempt.map(|_| crate::record::log_name(&node.name)),
        }
    }

    /// Looks at every wanted stage in order, and starts nothing.
    fn look(&self) -> Board {
        let board = Board::new(self.graph.nodes.len());
        let _lease = self.store.lease();
        for index in 0..self.graph.nodes.len() {
            board.put(index, self.looked_at(index, &board));
        }
        board
    }
}
