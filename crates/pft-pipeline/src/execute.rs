//! Running a graph: every stage whose key is not in the store, as soon as its inputs are.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use pft_artifact::{Action, KeyLock, Store};
use serde_json::Value;

use crate::RunError;
use crate::graph::{Graph, Node};
use crate::key::{self, difference, key};
use crate::outcome::{Outcome, Status};
use crate::outside::OutsideFiles;
use crate::process::{self, Job};
use crate::report::Reporter;
use crate::seal;

/// How to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which nodes to make.
    pub wanted: Vec<bool>,
    /// Which nodes to run even where their artifact exists.
    pub forced: Vec<bool>,
    /// How many stages may run at once.
    pub jobs: usize,
    /// Only says what would be done.
    pub dry_run: bool,
}

/// Everything that the threads of a run share.
struct Run<'a> {
    graph: &'a Graph,
    options: &'a Options,
    store: &'a Store,
    outside: OutsideFiles,
    /// The key parts of each stage when it was last run under this name, to explain a miss.
    previous: BTreeMap<String, Value>,
    run_id: String,
    logs: PathBuf,
    /// The keys that stages ran for in this run.
    made: Mutex<BTreeSet<String>>,
    interrupted: Arc<AtomicBool>,
    reporter: &'a Reporter,
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
) -> Result<Vec<Outcome>, RunError> {
    if !options.dry_run {
        check_paths(graph, &options.wanted)?;
    }
    let run_id = run_id();
    let logs = store.root().join("runs").join(&run_id);
    let memory = store.root().join("runs").join("last-keys.json");
    let previous: BTreeMap<String, Value> = std::fs::read(&memory)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    let run = Run {
        graph,
        options,
        store,
        outside: OutsideFiles::open(store.root().join("outside-files.json")),
        previous: previous.clone(),
        run_id,
        logs,
        made: Mutex::default(),
        interrupted,
        reporter,
    };
    let outcomes = run.schedule();
    run.outside.save();
    let mut keys = previous;
    for (node, outcome) in graph.nodes.iter().zip(&outcomes) {
        if let (Some(key), Status::Ran | Status::Cached) = (&outcome.key, outcome.status) {
            keys.insert(format!("{}/{}", graph.pipeline, node.name), key.parts.clone());
        }
    }
    if keys != run.previous {
        let temporary = memory.with_extension(format!("{}.tmp", std::process::id()));
        let written =
            serde_json::to_vec(&keys).is_ok_and(|json| std::fs::write(&temporary, json).is_ok());
        if written {
            let _ = std::fs::rename(&temporary, &memory);
        }
    }
    Ok(outcomes)
}

/// What a later stage would miss is said before an earlier one works for hours.
fn check_paths(graph: &Graph, wanted: &[bool]) -> Result<(), RunError> {
    let wanted = graph.nodes.iter().zip(wanted).filter(|(_, wanted)| **wanted);
    for (node, _) in wanted {
        key::check_paths(&node.binary.description, &node.config)
            .map_err(|error| at(node, error))?;
    }
    Ok(())
}

/// An error with the line of the stage that it is about.
fn at(node: &Node, error: RunError) -> RunError {
    RunError { message: format!("{}: {}", node.place, error.message), ..error }
}

fn run_id() -> String {
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%S").to_string();
    format!("{now}-{}", std::process::id())
}

impl Run<'_> {
    fn schedule(&self) -> Vec<Outcome> {
        let count = self.graph.nodes.len();
        let outcomes: Vec<Mutex<Option<Outcome>>> = (0..count).map(|_| Mutex::new(None)).collect();
        let get = |index: usize| outcomes[index].lock().ok().and_then(|o| o.clone());
        let put = |index: usize, outcome: Outcome| {
            self.reporter.outcome(&self.graph.nodes[index], &outcome);
            if let Ok(mut slot) = outcomes[index].lock() {
                *slot = Some(outcome);
            }
        };
        let (done, finished) = mpsc::channel();
        std::thread::scope(|scope| {
            let mut started = vec![false; count];
            let mut running = 0;
            let mut stop = false;
            loop {
                for (index, started) in started.iter_mut().enumerate() {
                    if *started || running >= self.options.jobs.max(1) {
                        continue;
                    }
                    let node = &self.graph.nodes[index];
                    let inputs: Option<Vec<Outcome>> =
                        node.inputs.values().map(|(from, _)| get(*from)).collect();
                    let Some(inputs) = inputs else { continue };
                    *started = true;
                    let blocked = inputs
                        .iter()
                        .any(|input| matches!(input.status, Status::Failed | Status::Skipped));
                    if !self.options.wanted[index] || blocked || stop {
                        put(index, Outcome::skipped());
                        continue;
                    }
                    running += 1;
                    let done = done.clone();
                    let (get, put) = (&get, &put);
                    // The thread lives as long as its stage: the kernel ends a stage together
                    // with the thread that started it.
                    scope.spawn(move || {
                        put(index, self.make(node, get));
                        let _ = done.send(());
                    });
                }
                if running == 0 && started.iter().all(|&s| s) {
                    return;
                }
                if running > 0 {
                    let _ = finished.recv();
                    running -= 1;
                }
                let failed =
                    (0..count).filter_map(get).any(|outcome| outcome.status == Status::Failed);
                stop = failed || self.interrupted.load(Ordering::Relaxed);
            }
        });
        (0..count).map(|index| get(index).unwrap_or_else(Outcome::skipped)).collect()
    }

    fn make(&self, node: &Node, get: &dyn Fn(usize) -> Option<Outcome>) -> Outcome {
        let started = Instant::now();
        let mut outcome = Outcome::skipped();
        if let Err(error) = self.try_make(node, get, &mut outcome) {
            outcome.status = Status::Failed;
            outcome.reason = Some(error.message);
            outcome.exit_code = error.exit_code;
        }
        outcome.seconds = started.elapsed().as_secs_f64();
        outcome
    }

    fn try_make(
        &self,
        node: &Node,
        get: &dyn Fn(usize) -> Option<Outcome>,
        outcome: &mut Outcome,
    ) -> Result<(), RunError> {
        let mut hashes = BTreeMap::new();
        let mut paths = BTreeMap::new();
        for (port, (from, output)) in &node.inputs {
            let source = get(*from).unwrap_or_else(Outcome::skipped);
            if source.status == Status::WouldRun {
                outcome.status = Status::WouldRun;
                let name = &self.graph.nodes[*from].name;
                let paths = key::check_paths(&node.binary.description, &node.config);
                outcome.reason = Some(match paths {
                    Ok(()) => format!("`{name}` would run first"),
                    Err(error) => format!("`{name}` would run first; once this is mended: {error}"),
                });
                return Ok(());
            }
            let Some((hash, path)) = source.outputs.get(output) else {
                return Err(RunError::config(format!(
                    "{}: stage `{}` made no `{output}` with this config, which `{}` needs",
                    node.place, self.graph.nodes[*from].name, node.name
                )));
            };
            hashes.insert(port.clone(), hash.clone());
            paths.insert(port.clone(), path.clone());
        }
        let key = match key(&node.binary.description, &node.config, &hashes, &self.outside) {
            Ok(key) => key,
            // A dry run checks a pipeline before its data and models are fetched.
            Err(error) if self.options.dry_run => {
                outcome.status = Status::WouldRun;
                outcome.reason = Some(format!("once this is mended: {error}"));
                return Ok(());
            }
            Err(error) => return Err(at(node, error)),
        };
        outcome.key = Some(key.clone());
        let forced = self.is_forced(node) && !self.was_made(&key.hash);
        if !forced && let Some(action) = self.store.lookup(&key.hash) {
            self.found(outcome, &action);
            return Ok(());
        }
        let reason = self.explain(node, &key, forced);
        if self.options.dry_run {
            outcome.status = Status::WouldRun;
            outcome.reason = Some(reason);
            return Ok(());
        }
        // Whoever holds the key's lock makes the artifact; whoever waited finds it.
        let _lock = self.lock(node, &key.hash)?;
        // Nodes of several pipelines may share a key: forced or not, it is made once a run.
        let forced = forced && !self.was_made(&key.hash);
        if !forced && let Some(action) = self.store.lookup(&key.hash) {
            self.found(outcome, &action);
            return Ok(());
        }
        self.reporter.started(node, &reason);
        let action = self.run_stage(node, &key, paths)?;
        if let Ok(mut made) = self.made.lock() {
            made.insert(key.hash.clone());
        }
        self.found(outcome, &action);
        outcome.status = Status::Ran;
        outcome.reason = Some(reason);
        Ok(())
    }

    /// Waits for a key's lock, as long as nobody interrupts.
    fn lock(&self, node: &Node, key: &str) -> Result<KeyLock, RunError> {
        let mut waits = false;
        loop {
            if let Some(lock) = self.store.try_lock(key)? {
                return Ok(lock);
            }
            if self.interrupted.load(Ordering::Relaxed) {
                let message = "interrupted while it waited for another run".to_string();
                return Err(RunError { message, exit_code: 130 });
            }
            if !std::mem::replace(&mut waits, true) {
                self.reporter.waiting(node);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn was_made(&self, key: &str) -> bool {
        self.made.lock().is_ok_and(|made| made.contains(key))
    }

    fn is_forced(&self, node: &Node) -> bool {
        let index = self.graph.nodes.iter().position(|other| other.name == node.name);
        index.is_some_and(|index| self.options.forced[index])
    }

    fn found(&self, outcome: &mut Outcome, action: &Action) {
        outcome.status = Status::Cached;
        outcome.outputs = action
            .outputs
            .iter()
            .map(|(port, hash)| (port.clone(), (hash.clone(), self.store.artifact_path(hash))))
            .collect();
    }

    fn explain(&self, node: &Node, key: &Key, forced: bool) -> String {
        if forced {
            return "forced".to_string();
        }
        match self.previous.get(&format!("{}/{}", self.graph.pipeline, node.name)) {
            None => "first run".to_string(),
            Some(parts) if *parts == key.parts => "its artifact is gone or incomplete".to_string(),
            Some(parts) => difference(parts, &key.parts, 3).join(", "),
        }
    }

    fn run_stage(
        &self,
        node: &Node,
        key: &Key,
        inputs: BTreeMap<String, PathBuf>,
    ) -> Result<Action, RunError> {
        let failed = |error: std::io::Error| {
            RunError::bug(format!("{}: {error}", self.store.root().display()))
        };
        // The lock's holder is alone with this folder; what is in it a killed attempt left.
        let work = self.store.root().join("tmp").join(&key.hash);
        match std::fs::remove_dir_all(&work) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed(error));
            }
            _ => {}
        }
        std::fs::create_dir_all(&work).map_err(failed)?;
        std::fs::create_dir_all(&self.logs).map_err(failed)?;
        let cache = self.store.root().join("cache").join(&node.binary.description.name);
        std::fs::create_dir_all(&cache).map_err(failed)?;
        let config = work.join("config.json");
        let output = work.join("output");
        let scratch = self.store.scratch(&key.hash)?;
        std::fs::write(&config, format!("{:#}\n", node.config)).map_err(failed)?;
        let log = self.logs.join(format!("{}.log", node.name.replace('/', "-")));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let sources = inputs.clone();
        let job = Job {
            executable: &node.binary.path,
            config: &config,
            inputs,
            output: &output,
            scratch: &scratch,
            cache: &cache,
            threads: (cores / self.options.jobs.max(1)).max(1),
            log: &log,
        };
        let started = Instant::now();
        let result =
            process::run(&job, &self.interrupted, &|event| self.reporter.event(node, event));
        if let Err(error) = result {
            let _ = std::fs::remove_dir_all(&work);
            return Err(error);
        }
        let seconds = started.elapsed().as_secs_f64();
        self.check_unchanged(node, key)?;
        let run = seal::Run { pipeline: &self.graph.pipeline, id: &self.run_id };
        let outputs = seal::outputs(node, key, &sources, &output, run)?;
        let action = self.store.commit(&key.hash, &outputs, key.parts.clone(), seconds)?;
        std::fs::remove_dir_all(&work).map_err(failed)?;
        std::fs::remove_dir_all(&scratch).map_err(failed)?;
        Ok(action)
    }

    /// What was read while it changed is not what the key says.
    fn check_unchanged(&self, node: &Node, before: &Key) -> Result<(), RunError> {
        let inputs = serde_json::from_value(before.parts["inputs"].clone()).unwrap_or_default();
        let after = key(&node.binary.description, &node.config, &inputs, &self.outside)?;
        if after.hash == before.hash {
            return Ok(());
        }
        Err(RunError::config(format!(
            "{}: a file that the config of `{}` names changed while the stage ran; run again when it is \
             at rest",
            node.place, node.name
        )))
    }
}
