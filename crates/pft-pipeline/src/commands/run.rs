//! `run FILE`: makes what is missing.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use clap::Args;
use pft_artifact::Store;

use super::{PipelineArguments, all_of, print, say};
use crate::execute::{Options, execute, plan};
use crate::graph::Graph;
use crate::outcome::{Outcome, Status};
use crate::report::{self, Reporter};
use crate::{RunError, summary};

/// Arguments of `run`.
#[derive(Debug, Args)]
pub(crate) struct RunArguments {
    /// The pipeline files; several are run as one graph
    #[arg(required = true)]
    pipeline: Vec<PathBuf>,
    /// Checks everything and says what would run
    #[arg(long)]
    dry_run: bool,
    /// Makes this stage and what it needs, and no more
    #[arg(long, value_name = "STAGE")]
    until: Option<String>,
    /// Runs this stage even where its artifact exists
    #[arg(long, value_name = "STAGE")]
    force: Vec<String>,
    #[command(flatten)]
    settings: PipelineArguments,
    /// How many stages may run at once
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    jobs: u16,
    /// After a failure, goes on with what does not need what failed
    #[arg(long)]
    keep_going: bool,
    /// Reads every file of a cached artifact again, and makes damaged ones anew
    #[arg(long)]
    verify: bool,
    /// Ends standard output with one JSON object: pipeline, run, stages
    #[arg(long)]
    json: bool,
}

impl RunArguments {
    pub(crate) fn run(&self) -> Result<u8, RunError> {
        let started = Instant::now();
        let graph = self.settings.graph(&self.pipeline)?;
        let options = self.options(&graph)?;
        let root = self.settings.store_of(&self.pipeline);
        let reporter = Reporter::new(&graph);
        if self.dry_run {
            let store = Store::at(&root);
            let outcomes = plan(&graph, &options, &store)?;
            for (node, outcome) in graph.nodes.iter().zip(&outcomes) {
                reporter.outcome(node, outcome);
            }
            say(&summary::text(&graph, &store, &outcomes, started.elapsed().as_secs_f64()));
            if self.json {
                print(&report::to_json(&graph, &store, "", &outcomes).to_string());
            }
            return Ok(0);
        }
        let store =
            Store::open(&root).map_err(|error| RunError::config(format!("--store: {error}")))?;
        let interrupted = watch_signals()?;
        let (outcomes, run) = execute(&graph, &options, &store, interrupted.clone(), &reporter)?;
        say(&summary::text(&graph, &store, &outcomes, started.elapsed().as_secs_f64()));
        if self.json {
            print(&report::to_json(&graph, &store, &run, &outcomes).to_string());
        }
        if interrupted.load(Ordering::Relaxed) && is_undone(&options.wanted, &outcomes) {
            return Ok(130);
        }
        let failed = outcomes.iter().find(|outcome| outcome.status == Status::Failed);
        Ok(failed.map_or(0, |outcome| outcome.exit_code.max(1)))
    }

    fn options(&self, graph: &Graph) -> Result<Options, RunError> {
        let mut options = Options {
            jobs: usize::from(self.jobs),
            keep_going: self.keep_going,
            verify: self.verify,
            file: self.pipeline.first().cloned().unwrap_or_default(),
            set: self.settings.settings(),
            ..all_of(graph)
        };
        if let Some(name) = &self.until {
            options.wanted = graph.needed_for(name)?;
        }
        for name in &self.force {
            graph.find(name)?.into_iter().for_each(|index| options.forced[index] = true);
        }
        Ok(options)
    }
}

/// Whether a wanted stage failed or was not come to.
fn is_undone(wanted: &[bool], outcomes: &[Outcome]) -> bool {
    wanted.iter().zip(outcomes).any(|(&wanted, outcome)| wanted && outcome.status.blocks())
}

/// The first SIGINT or SIGTERM lets the running stages stop in order; the second ends the runner.
fn watch_signals() -> Result<Arc<AtomicBool>, RunError> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, 130, flag.clone())
            .and_then(|_| signal_hook::flag::register(signal, flag.clone()))
            .map_err(|error| RunError::bug(format!("cannot watch for signals: {error}")))?;
    }
    Ok(flag)
}
