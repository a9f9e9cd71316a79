//! The command line of `pft-pipeline`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::commands::compare::CompareArguments;
use crate::commands::diff::DiffArguments;
use crate::commands::explain::ExplainArguments;
use crate::commands::gc::GcArguments;
use crate::commands::graph::GraphArguments;
use crate::commands::init::InitArguments;
use crate::commands::log::LogArguments;
use crate::commands::manual::{CompletionsArguments, ManArguments};
use crate::commands::pin::{PinArguments, UnpinArguments};
use crate::commands::plan::PlanArguments;
use crate::commands::report::ReportArguments;
use crate::commands::run::RunArguments;
use crate::commands::runs::RunsArguments;
use crate::commands::schema::SchemaArguments;
use crate::commands::show::ShowArguments;
use crate::commands::status::StatusArguments;
use crate::commands::verify::VerifyArguments;
use crate::commands::{print, say};
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
    /// Writes pipelines for your own corpus, after a look at it
    Init(InitArguments),
    /// Runs a pipeline, starting only the stages whose artifacts are missing
    Run(RunArguments),
    /// Says what a run would do, why, and about how long it takes
    Plan(PlanArguments),
    /// Shows a stage's whole cache key beside the nearest earlier one
    Explain(ExplainArguments),
    /// Draws the stages and what they stand on
    Graph(GraphArguments),
    /// Says what goes on in a store
    Status(StatusArguments),
    /// Lists the runs of a store
    Runs(RunsArguments),
    /// Shows a run, an artifact, or what a stage made last
    Show(ShowArguments),
    /// Prints what a stage of a run wrote to standard error
    Log(LogArguments),
    /// Says what differs between two runs
    Diff(DiffArguments),
    /// Puts the models of runs side by side
    Compare(CompareArguments),
    /// Writes a page about runs, for a browser
    Report(ReportArguments),
    /// Reads everything in a store again, and names each damaged file
    Verify(VerifyArguments),
    /// Removes what nobody needs any more
    Gc(GcArguments),
    /// Keeps what a run made from garbage collection, or lists what is kept
    Pin(PinArguments),
    /// Lets go of what was pinned
    Unpin(UnpinArguments),
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
    /// Prints the JSON Schema of pipeline files, or of a stage's config
    Schema(SchemaArguments),
    /// Prints the completions of a shell
    Completions(CompletionsArguments),
    /// Writes the manual pages
    Man(ManArguments),
}

impl Command {
    fn run(&self) -> Result<u8, RunError> {
        match self {
            Self::Init(arguments) => arguments.run(),
            Self::Run(arguments) => arguments.run(),
            Self::Plan(arguments) => arguments.run(),
            Self::Explain(arguments) => arguments.run(),
            Self::Graph(arguments) => arguments.run(),
            Self::Status(arguments) => arguments.run(),
            Self::Runs(arguments) => arguments.run(),
            Self::Show(arguments) => arguments.run(),
            Self::Log(arguments) => arguments.run(),
            Self::Diff(arguments) => arguments.run(),
            Self::Compare(arguments) => arguments.run(),
            Self::Report(arguments) => arguments.run(),
            Self::Verify(arguments) => arguments.run(),
            Self::Gc(arguments) => arguments.run(),
            Self::Pin(arguments) => arguments.run(),
            Self::Unpin(arguments) => arguments.run(),
            Self::Describe { stage, json } => describe_stage(stage, *json),
            Self::List { folder } => describe::list(folder).map(|text| {
                print(&text);
                0
            }),
            Self::Schema(arguments) => arguments.run(),
            Self::Completions(arguments) => arguments.run(Arguments::command()),
            Self::Man(arguments) => arguments.run(Arguments::command()),
        }
    }
}

/// The whole `main` of the runner.
pub fn main() -> ExitCode {
    let command = Arguments::parse().command;
    if !matches!(command, Command::Init(_) | Command::Schema(_) | Command::Man(_)) {
        // The store's private artifacts, scratch folders and logs; stages inherit it.
        pft_artifact::access::keep_private();
    }
    match command.run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            say(&format!("pft-pipeline: error: {error}"));
            ExitCode::from(error.exit_code)
        }
    }
}

fn describe_stage(stage: &str, json: bool) -> Result<u8, RunError> {
    let description = stages::describe(&stages::find(stage)?)?;
    if json {
        print(&serde_json::json!(description).to_string());
    } else {
        print(&describe::stage_text(&description));
    }
    Ok(0)
}
