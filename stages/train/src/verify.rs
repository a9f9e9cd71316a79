//! `train verify MODEL`: recomputes ε from a model's ledger.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use pft_dp::{LedgerContents, PrivacyReport};
use pft_stage::StageError;

/// Recomputes ε from a model's privacy ledger, and fails if its privacy.json says otherwise
#[derive(Debug, Parser)]
#[command(name = "train verify")]
struct Arguments {
    /// A model artifact, or an exported bundle with a ledger
    model: PathBuf,
}

/// The command's `main`.
pub fn main(arguments: &[String]) -> ExitCode {
    let all = std::iter::once("train verify".to_string()).chain(arguments.iter().cloned());
    let arguments = match Arguments::try_parse_from(all) {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match verify(&arguments.model) {
        Ok(statement) => {
            println!("{statement}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("train verify: error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

/// Checks a model's privacy statement against its ledger; returns the statement.
///
/// # Errors
/// When a file is missing or damaged, or the two disagree.
pub fn verify(model: &Path) -> Result<String, StageError> {
    let path = model.join("privacy.json");
    let bytes = std::fs::read(&path)
        .map_err(|error| StageError::input(format!("{}: {error}", path.display())))?;
    let report: PrivacyReport = serde_json::from_slice(&bytes).map_err(|error| {
        StageError::input(format!("{}: {error}", path.display()))
            .with_help("a model that was trained without privacy has nothing to verify")
    })?;
    let ledger = LedgerContents::read(&model.join("ledger.jsonl"))
        .map_err(|error| StageError::input(error.to_string()))?;
    report.verify(&ledger).map_err(|error| StageError::input(error.to_string()))?;
    Ok(report.statement)
}
