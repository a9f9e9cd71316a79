//! A look at a corpus, by the stage that will read it: `ingest survey`.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde::Deserialize;

use crate::ask::ask;
use crate::{RunError, stages};

/// How long a look may take: a corpus is read once for each of its columns.
const PATIENCE: Duration = Duration::from_secs(6 * 3600);

/// What `ingest survey --json` says of a column.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) is_text: bool,
    pub(crate) distinct: u64,
    /// Rows of the value that most rows have.
    pub(crate) most: u64,
    pub(crate) mean_chars: f64,
    /// Why it can be neither text nor unit.
    pub(crate) problem: Option<String>,
}

/// What `ingest survey --json` says of a corpus.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub(crate) struct Survey {
    pub(crate) source: String,
    pub(crate) documents: u64,
    /// Units, where no column says them.
    pub(crate) units: Option<u64>,
    pub(crate) largest_unit: Option<u64>,
    pub(crate) columns: Vec<Column>,
}

/// Asks the stage `ingest` what a corpus has.
///
/// # Errors
/// The stage's own message: no such file, nothing in it, no text.
pub(crate) fn survey(path: &str, source: Option<&str>) -> Result<Survey, RunError> {
    if !path.contains("://") && !path.contains(['*', '?', '[']) && !Path::new(path).exists() {
        let message = format!("{path}: there is no such file or folder");
        return Err(RunError::config(message));
    }
    let executable = stages::find("ingest")?;
    let mut command = Command::new(&executable);
    command.args(["survey", "--json"]);
    if let Some(source) = source {
        command.args(["--source", source]);
    }
    command.arg("--").arg(path);
    let failed = |reason: String| {
        RunError::bug(format!("{}: `survey` failed: {reason}", executable.display()))
    };
    let output = ask(command, PATIENCE).map_err(|error| failed(error.to_string()))?;
    let output = output.ok_or_else(|| failed("it took too long".to_string()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim().trim_start_matches("ingest survey: error: ");
        let said =
            said.replace("set source to", "set --source to").replace("source: is", "--source is");
        let exit_code = output.status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
        return Err(RunError { message: said, exit_code });
    }
    serde_json::from_slice(&output.stdout).map_err(|error| failed(error.to_string()))
}
