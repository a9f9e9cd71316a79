//! The command line of `pft-pipeline`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use clap::{Args, Parser, Subcommand};
use pft_artifact::Store;
use pft_stage::Override;

use crate::execute::{Options, execute};
use crate::file::Pipeline;
use crate::graph::Graph;
use crate::report::{self, Reporter};
use crate::{RunError, describe, stages};

/// Runs pipelines of private fine-tuning stages
#[derive(Debug, Parser)]
#[command(name = "pft-pipeline", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a pipeline, starting only the stages whose artifacts are missing
    Run(RunArguments),
    /// Prints a stage's ports and config keys
    Describe {
        /// The stage's name, or the path of its executable
        stage: String,
        /// Prints the description as the stage gives it, one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Lists the pipelines of a folder
    List {
        /// The folder
        #[arg(default_value = "pipelines")]
        folder: PathBuf,
    },
}

#[derive(Debug, Args)]
struct RunArguments {
    /// The pipeline file
    pipeline: PathBuf,
    /// Checks everything and says what would run
    #[arg(long)]
    dry_run: bool,
    /// Makes this stage and what it needs, and no more
    #[arg(long, value_name = "STAGE")]
    until: Option<String>,
    /// Runs this stage even where its artifact exists
    #[arg(long, value_name = "STAGE")]
    force: Vec<String>,
    /// Overrides a key of a stage's config; the value is YAML
    #[arg(long, value_name = "STAGE.KEY=VALUE")]
    set: Vec<String>,
    /// How many stages may run at once
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    jobs: u16,
    /// The store of artifacts
    #[arg(long, value_name = "DIR", default_value = ".pft", env = "PFT_STORE")]
    store: PathBuf,
    /// Ends standard output with one JSON object: pipeline, run, stages
    #[arg(long)]
    json: bool,
}

/// The whole `main` of the runner.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match arguments.command {
        Command::Run(arguments) => run(&arguments),
        Command::Describe { stage, json } => describe_stage(&stage, json),
        Command::List { folder } => describe::list(&folder).map(|text| {
            print(text.trim_end());
            0
        }),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            say(&format!("pft-pipeline: error: {error}"));
            ExitCode::from(error.exit_code)
        }
    }
}

/// Prints a result. A reader that has gone away is no failure.
fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Says something to people, if anybody listens.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn describe_stage(stage: &str, json: bool) -> Result<u8, RunError> {
    let description = stages::describe(&stages::find(stage)?)?;
    if json {
        print(&serde_json::json!(description).to_string());
    } else {
        print(describe::stage_text(&description).trim_end());
    }
    Ok(0)
}

fn run(arguments: &RunArguments) -> Result<u8, RunError> {
    let started = Instant::now();
    let pipeline = Pipeline::read(&arguments.pipeline)?;
    let overrides = arguments
        .set
        .iter()
        .map(|text| Override::parse(text))
        .collect::<Result<Vec<_>, _>>()
        .map_err(RunError::config)?;
    let graph = Graph::build(&pipeline, &overrides)?;
    let wanted = match &arguments.until {
        Some(name) => graph.needed_for(name)?,
        None => vec![true; graph.nodes.len()],
    };
    let mut forced = vec![false; graph.nodes.len()];
    for name in &arguments.force {
        graph.find(name)?.into_iter().for_each(|index| forced[index] = true);
    }
    let options =
        Options { wanted, forced, jobs: usize::from(arguments.jobs), dry_run: arguments.dry_run };
    let store = Store::open(&arguments.store)
        .map_err(|error| RunError::config(format!("--store: {error}")))?;
    let reporter = Reporter::new(&graph);
    let interrupted = watch_signals()?;
    let outcomes = execute(&graph, &options, &store, interrupted.clone(), &reporter)?;

    let seconds = started.elapsed().as_secs_f64();
    say(&report::summary(&graph, &outcomes, seconds, arguments.dry_run));
    if arguments.json {
        let run = jiff::Timestamp::now().to_string();
        print(&report::to_json(&graph, &run, &outcomes).to_string());
    }
    let undone = is_undone(&options.wanted, &outcomes);
    if interrupted.load(Ordering::Relaxed) && undone {
        return Ok(130);
    }
    let failed = outcomes.iter().find(|outcome| outcome.status == Status::Failed);
    Ok(failed.map_or(0, |outcome| outcome.exit_code.max(1)))
}

/// Whether a wanted stage failed or was not come to.
fn is_undone(wanted: &[bool], outcomes: &[Outcome]) -> bool {
    let undone = |outcome: &Outcome| matches!(outcome.status, Status::Failed | Status::Skipped);
    wanted.iter().zip(outcomes).any(|(&wanted, outcome)| wanted && undone(outcome))
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
