//! What a pipeline file says of a stage.

use std::path::PathBuf;

use pft_stage::yaml::Node;

use crate::limits::Limits;

/// One stage of a pipeline.
#[derive(Debug, Clone)]
pub struct StageEntry {
    /// Unique name: `tags`, or `echr-dp8/tags` where it comes from an included pipeline.
    pub name: String,
    /// The executable: a name, or a path relative to the file.
    pub stage: String,
    /// The config file, absolute.
    pub config: Option<PathBuf>,
    /// What each input port is connected to.
    pub inputs: Vec<Connection>,
    /// Overrides of the config's keys.
    pub set: Vec<Setting>,
    /// What it may take, and how often it is tried.
    pub limits: Limits,
    /// The file that it stands in.
    pub file: PathBuf,
    /// The line that it stands on.
    pub line: u64,
}

/// `port: stage` or `port: stage.port`.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The input port.
    pub port: String,
    /// Unique name of the stage whose output is taken.
    pub from: String,
    /// Its output port; the only one where none is named.
    pub from_port: Option<String>,
    /// The line that it stands on.
    pub line: u64,
}

/// A key of `set`.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Dotted key of the config.
    pub key: String,
    /// The value.
    pub value: Node,
    /// The line that it stands on.
    pub line: u64,
}

impl StageEntry {
    /// The stage as it is called where its pipeline is included.
    pub(crate) fn inside(mut self, pipeline: &str) -> Self {
        self.name = format!("{pipeline}/{}", self.name);
        for input in &mut self.inputs {
            input.from = format!("{pipeline}/{}", input.from);
        }
        self
    }

    /// `file:line` of a line in this stage's file.
    pub fn place(&self, line: u64) -> String {
        format!("{}:{line}", self.file.display())
    }
}
