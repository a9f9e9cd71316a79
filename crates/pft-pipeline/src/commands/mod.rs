//! The subcommands, one a file, and what they share.

pub(crate) mod compare;
pub(crate) mod diff;
pub(crate) mod explain;
pub(crate) mod gc;
pub(crate) mod graph;
pub(crate) mod init;
pub(crate) mod log;
pub(crate) mod manual;
pub(crate) mod pin;
pub(crate) mod plan;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod runs;
pub(crate) mod schema;
pub(crate) mod show;
pub(crate) mod status;
pub(crate) mod verify;

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use pft_artifact::Store;
use pft_stage::Override;
use serde_json::Value;

use crate::execute::Options;
use crate::file::Pipeline;
use crate::graph::Graph;
use crate::sweep::Axis;
use crate::{RunError, place};

/// Prints a result. A reader that has gone away is no failure.
pub(crate) fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{}", text.trim_end());
}

/// Says something to people, if anybody listens.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Which store.
#[derive(Debug, Clone, Args)]
pub(crate) struct StoreArgument {
    /// The store of artifacts; without it the nearest .pft above the pipeline file, else beside its .git
    #[arg(long, value_name = "DIR", env = "PFT_STORE", hide_env_values = true)]
    store: Option<PathBuf>,
}

impl StoreArgument {
    /// The store of a pipeline file.
    pub(crate) fn of_pipeline(&self, file: &Path) -> PathBuf {
        self.store.clone().unwrap_or_else(|| place::of_pipeline(file))
    }

    /// A store that exists, for commands that name no pipeline.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn existing(&self) -> Result<Store, RunError> {
        let root = match &self.store {
            Some(root) => root.clone(),
            None => place::of_working_directory()?,
        };
        if !root.join("artifacts").is_dir() {
            let message = format!("--store: {}: there is no store", root.display());
            return Err(RunError::config(message));
        }
        Ok(Store::at(&root))
    }
}

/// A pipeline with the settings of the command line.
#[derive(Debug, Clone, Args)]
pub(crate) struct PipelineArguments {
    /// Overrides a key of a stage's config; the value is YAML
    #[arg(long, value_name = "STAGE.KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Makes a stage, and what stands on it, once for each value
    #[arg(long, value_name = "STAGE.KEY=[VALUE, …]")]
    pub(crate) sweep: Vec<String>,
    #[command(flatten)]
    pub(crate) store: StoreArgument,
}

impl PipelineArguments {
    /// The checked graph of pipeline files.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn graph(&self, files: &[PathBuf]) -> Result<Graph, RunError> {
        let axes =
            self.sweep.iter().map(|text| Axis::parse(text)).collect::<Result<Vec<_>, _>>()?;
        let overrides = self
            .set
            .iter()
            .map(|text| Override::parse(text))
            .collect::<Result<Vec<_>, _>>()
            .map_err(RunError::config)?;
        Graph::build(&Pipeline::read_all(files)?.swept(&axes)?, &overrides)
    }

    /// The store of the first of these files.
    pub(crate) fn store_of(&self, files: &[PathBuf]) -> PathBuf {
        self.store.of_pipeline(files.first().map_or(Path::new("."), |file| file))
    }

    /// The settings, for the record.
    pub(crate) fn settings(&self) -> Vec<String> {
        let swept = self.sweep.iter().map(|sweep| format!("--sweep {sweep}"));
        self.set.iter().cloned().chain(swept).collect()
    }
}

/// Options that make all of a graph.
pub(crate) fn all_of(graph: &Graph) -> Options {
    let count = graph.nodes.len();
    Options {
        wanted: vec![true; count],
        forced: vec![false; count],
        jobs: 1,
        keep_going: false,
        verify: false,
        file: PathBuf::new(),
        set: Vec::new(),
    }
}

/// A value for people: a string without its quotes.
pub(crate) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}
