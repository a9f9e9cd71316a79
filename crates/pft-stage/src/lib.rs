//! The stage contract: what lets any executable be a room of the pipeline.
//!
//! A stage is a binary with one command line (`STAGE --config FILE --input PORT=PATH --output
//! DIR`), one way to describe itself (`STAGE --describe`), one set of exit codes and one progress
//! protocol. A stage whose description says `checks` also answers `STAGE --check --config FILE`: it
//! checks the config and prints its [`Facts`]. This crate implements the contract for stages written in Rust through the [`Stage`]
//! trait and [`run_stage`], and holds the types that the runner shares with them
//! ([`Description`], [`schema`], [`yaml`]). It may depend on `pft-artifact`, and knows no stage.
//!
//! ```no_run
//! use pft_stage::{Context, Kind, Port, Stage, StageError, run_stage};
//!
//! /// Settings of the stage; the field's documentation becomes its description.
//! #[derive(Default, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
//! #[serde(default, deny_unknown_fields)]
//! struct Config {
//!     /// Upper case instead of lower case.
//!     upper: bool,
//! }
//!
//! struct Fold;
//!
//! impl Stage for Fold {
//!     const NAME: &'static str = "fold";
//!     const REVISION: u32 = 1;
//!     const ABOUT: &'static str = "Folds the case of a corpus";
//!     type Config = Config;
//!     fn inputs() -> Vec<Port> {
//!         vec![Port::required("corpus", Kind::Corpus)]
//!     }
//!     fn outputs() -> Vec<Port> {
//!         vec![Port::required("corpus", Kind::Corpus)]
//!     }
//!     fn run(config: Config, context: &Context) -> Result<(), StageError> {
//!         let _ = (config.upper, context.input("corpus")?, context.output("corpus"));
//!         Ok(())
//!     }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     run_stage::<Fold>()
//! }
//! ```

mod command;
mod config;
mod context;
mod describe;
mod error;
mod facts;
mod outside_path;
mod progress;
mod seal;

pub mod allocator;
pub mod schema;
pub mod subcommand;
pub mod yaml;

pub use command::{run_stage, run_stage_from, watch_signals};
pub use config::{ConfigSource, Override, load_config};
pub use context::Context;
pub use describe::{Description, Port};
pub use error::StageError;
pub use facts::{Facts, Limit};
pub use outside_path::{Glob, OutsidePath};
pub use pft_artifact::{Kind, UnitNotes};
pub use progress::{Bar, Event, Progress, ProgressMode, noun};

/// One room of the pipeline.
pub trait Stage {
    /// The binary's name.
    const NAME: &'static str;
    /// Bumped when the output for the same input and config changes: it is part of the cache key.
    const REVISION: u32;
    /// One line for `--help`.
    const ABOUT: &'static str;
    /// Lines of `--help` on commands that the binary has beside the stage.
    const COMMANDS: &'static str = "";
    /// The settings. Its JSON Schema, with defaults, is part of the description.
    type Config: serde::de::DeserializeOwned + serde::Serialize + schemars::JsonSchema;

    /// The input ports.
    fn inputs() -> Vec<Port>;

    /// The output ports. With one port `--output DIR` is the artifact itself, with several each
    /// lies in `DIR/PORT`.
    fn outputs() -> Vec<Port>;

    /// Checks what a schema cannot express, before anything is read.
    ///
    /// # Errors
    /// [`StageError::config`] that names the keys.
    fn validate(_config: &Self::Config) -> Result<(), StageError> {
        Ok(())
    }

    /// What is known from the config alone, for `--check`: asked before any stage of a pipeline
    /// starts, so it must be quick. It may look at the files that the config names, and refuse them.
    ///
    /// # Errors
    /// [`StageError::config`] that names the keys.
    fn facts(_config: &Self::Config) -> Result<Facts, StageError> {
        Ok(Facts::default())
    }

    /// Does the work: reads `context.input(…)`, writes files into `context.output(…)`.
    ///
    /// # Errors
    /// Whatever went wrong, with the exit code of its class.
    fn run(config: Self::Config, context: &Context) -> Result<(), StageError>;
}
