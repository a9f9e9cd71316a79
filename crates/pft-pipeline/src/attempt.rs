//! Starting a stage, as often as its pipeline allows, and taking what it made into the store.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use pft_artifact::Action;
use pft_stage::schema;

use crate::RunError;
use crate::decide::Ready;
use crate::execute::Run;
use crate::graph::Node;
use crate::key::{Key, key};
use crate::outcome::Attempt;
use crate::process::{self, Job, TIMED_OUT};
use crate::seal;

/// The exit code of a stage that cannot go on from its scratch folder.
const DAMAGED_SCRATCH: u8 = 5;

impl Run<'_> {
    /// Runs a stage and commits its outputs. `attempt` says how far it came, also where it failed.
    pub(crate) fn run_stage(
        &self,
        node: &Node,
        ready: &Ready,
        attempt: &mut Option<Attempt>,
    ) -> Result<(Action, Attempt), RunError> {
        let failed = |error: std::io::Error| RunError::failed_write(self.store.root(), &error);
        // The lock's holder is alone with this folder; what is in it a killed attempt left.
        let work = self.store.root().join("tmp").join(&ready.key.hash);
        let started = Instant::now();
        let mut begun = Attempt {
            started: jiff::Timestamp::now().to_string(),
            threads: self.threads(node),
            peak_memory: 0,
            attempts: 0,
        };
        let mut set_aside = false;
        loop {
            begun.attempts += 1;
            let result = self.start(node, ready, &work, &mut begun);
            *attempt = Some(begun.clone());
            let Err(error) = result else { break };
            let _ = std::fs::remove_dir_all(&work);
            if error.exit_code == DAMAGED_SCRATCH && !std::mem::replace(&mut set_aside, true) {
                self.store.set_scratch_aside(&ready.key.hash)?;
                begun.attempts -= 1;
                self.reporter.line_of(node, &format!("starts again: {}", error.message));
                continue;
            }
            if begun.attempts > node.limits.retries || !self.may_try_again(&error) {
                return Err(error);
            }
            self.reporter.line_of(node, &format!("tries again: {}", error.message));
            self.pause(begun.attempts);
        }
        let seconds = started.elapsed().as_secs_f64();
        self.check_unchanged(node, &ready.key)?;
        let pipeline = &self.graph.pipeline;
        let id = self.recorder.as_ref().map_or("", |recorder| &recorder.run);
        let output = work.join("output");
        let outputs =
            seal::outputs(node, &ready.key, &ready.paths, &output, seal::Run { pipeline, id })?;
        let (hash, parts) = (&ready.key.hash, ready.key.parts.clone());
        let action = self.leased(|| self.store.commit(hash, &outputs, parts, seconds))?;
        std::fs::remove_dir_all(&work).map_err(failed)?;
        std::fs::remove_dir_all(self.store.scratch(hash)?).map_err(failed)?;
        Ok((action, begun))
    }

    fn threads(&self, node: &Node) -> usize {
        let cores = self.machine.cores();
        let share = (cores / self.options.jobs.max(1)).max(1);
        node.limits.threads.map_or(share, |threads| threads.min(cores))
    }

    fn start(
        &self,
        node: &Node,
        ready: &Ready,
        work: &Path,
        attempt: &mut Attempt,
    ) -> Result<(), RunError> {
        let failed = |error: std::io::Error| RunError::failed_write(self.store.root(), &error);
        match std::fs::remove_dir_all(work) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(failed(error));
            }
            _ => {}
        }
        std::fs::create_dir_all(work).map_err(failed)?;
        let cache = self.store.root().join("cache").join(&node.binary.description.name);
        std::fs::create_dir_all(&cache).map_err(failed)?;
        let config = work.join("config.json");
        std::fs::write(&config, format!("{:#}\n", node.config)).map_err(failed)?;
        let outside = work.join("outside.json");
        std::fs::write(&outside, serde_json::json!(self.outside_of(node)).to_string())
            .map_err(failed)?;
        let Some(recorder) = &self.recorder else {
            return Err(RunError::bug("the run was not recorded"));
        };
        let (log, _) = recorder.log(&node.name).map_err(failed)?;
        let job = Job {
            executable: &node.binary.path,
            config: &config,
            inputs: ready.paths.clone(),
            output: &work.join("output"),
            scratch: &self.store.scratch(&ready.key.hash)?,
            cache: &cache,
            outside: &outside,
            threads: attempt.threads,
            log: &log,
            timeout: node.limits.timeout,
        };
        let ended = process::run(&job, &self.interrupted, &|event| {
            self.reporter.event(node, event);
            recorder.stage_event(&node.name, event);
        })?;
        attempt.peak_memory = attempt.peak_memory.max(ended.peak_memory);
        ended.result
    }

    /// Where the files lie that the configs of a stage and of those before it name. Artifacts say where
    /// they lay when they were made, which may be on another machine.
    fn outside_of(&self, node: &Node) -> Vec<String> {
        let (mut paths, mut seen) = (Vec::new(), BTreeSet::new());
        let mut open = vec![node];
        while let Some(node) = open.pop() {
            let (mut config, schema) = (node.config.clone(), &node.binary.description.config);
            schema::visit_paths(&mut config, schema, &mut |path| paths.push(path.clone()));
            let from = node.inputs.values().map(|(from, _)| *from);
            open.extend(from.filter(|from| seen.insert(*from)).map(|from| &self.graph.nodes[from]));
        }
        paths.sort();
        paths.dedup();
        paths
    }

    /// Whether another attempt may go better: not where config or input is wrong.
    fn may_try_again(&self, error: &RunError) -> bool {
        let interrupted = self.interrupted.load(Ordering::Relaxed);
        !interrupted && matches!(error.exit_code, 1 | 4 | TIMED_OUT)
    }

    /// A service that is down, or memory that others hold, may take a while: a second, then two, four…
    fn pause(&self, attempts: u32) {
        let until = Instant::now() + Duration::from_secs(1 << attempts.saturating_sub(1).min(6));
        while Instant::now() < until && !self.interrupted.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(50));
        }
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
