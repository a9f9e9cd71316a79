//! `train verify MODEL`: recomputes ε from a model's ledger.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use pft_artifact::{MANIFEST, Manifest};
use pft_dp::{LedgerContents, PrivacyStatement};
use pft_stage::StageError;

use crate::output::EVERY_RUN;

/// Recomputes a model's privacy.json from its ledger, and fails if anything in it is different, or if
/// a file of the model is not the one that was sealed
#[derive(Debug, Parser)]
#[command(name = "train verify")]
struct Arguments {
    /// A model artifact, or a bundle that was exported with diagnostics
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
    let bytes = std::fs::read(&path).map_err(|error| {
        StageError::input(format!("{}: {error}", path.display()))
            .with_help("name a model artifact, the output of train")
    })?;
    let statement: PrivacyStatement = serde_json::from_slice(&bytes)
        .map_err(|_| StageError::input(format!("{}: not a privacy statement", path.display())))?;
    let report = match statement {
        PrivacyStatement::Private(report) => report,
        PrivacyStatement::NotPrivate(_) => {
            return Err(StageError::input(format!(
                "{}: the model was trained without differential privacy: there is nothing to verify",
                model.display()
            )));
        }
    };
    let ledger = LedgerContents::read(&ledger_of(model)?)
        .map_err(|error| StageError::input(error.to_string()))?;
    report.verify(&ledger).map_err(|error| StageError::input(error.to_string()))?;
    if let Some(missing) =
        EVERY_RUN.iter().find(|use_| !report.other_uses.iter().any(|u| u == *use_))
    {
        return Err(StageError::input(format!(
            "{}: other_uses does not say: {missing}",
            path.display()
        )));
    }
    // Weights and ledger are of one run if both are as they were sealed.
    if model.join(MANIFEST).is_file() {
        Manifest::open(model)?.verify(model)?;
    }
    Ok(report.statement)
}

/// The ledger of a model artifact, or of a bundle's diagnostics.
fn ledger_of(model: &Path) -> Result<PathBuf, StageError> {
    let places = [model.join("ledger.jsonl"), model.join("diagnostics/ledger.jsonl")];
    places.into_iter().find(|path| path.is_file()).ok_or_else(|| {
        StageError::input(format!("{}: there is no ledger.jsonl", model.display())).with_help(
            "a bundle leaves its ledger with the model artifact that it was exported from: verify \
             that one, or export with include_diagnostics: true",
        )
    })
}
