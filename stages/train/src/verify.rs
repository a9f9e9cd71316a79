//! `train verify MODEL`: recomputes ε from a model's ledger.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use pft_artifact::kinds::{bundle, model as files};
use pft_artifact::{MANIFEST, Manifest};
use pft_dp::{LedgerContents, PrivacyStatement};
use pft_lm::checkpoint::is_as_written;
use pft_stage::{StageError, subcommand};

use crate::marks;
use crate::output::EVERY_RUN;

/// Recomputes a model's privacy.json from its ledger, and fails if anything in it is different, or if
/// a file of the model is not the one that was sealed
#[derive(Debug, Parser)]
#[command(name = "train verify")]
struct Arguments {
    /// A model artifact, or a bundle that was exported with diagnostics
    model: PathBuf,
}

/// The command's `main`; the first argument is the command's name.
pub fn main(arguments: &[OsString]) -> ExitCode {
    subcommand::run("train verify", arguments, |arguments: Arguments| {
        subcommand::print(&verify(&arguments.model)?);
        Ok(())
    })
}

/// Checks a model's privacy statement against its ledger, and the records in its weights files
/// against the statement; returns the statement.
///
/// # Errors
/// When a file is missing or damaged, or two of them disagree, or there is no bound to verify.
pub fn verify(model: &Path) -> Result<String, StageError> {
    let path = model.join(files::PRIVACY.name);
    let text = std::fs::read_to_string(&path).map_err(|error| {
        StageError::input(format!("{}: {error}", path.display()))
            .with_help("name a model artifact, the output of train")
    })?;
    let statement = PrivacyStatement::from_json(&text)
        .map_err(|error| StageError::input(format!("{}: {error}", path.display())))?;
    check_weights(model, &statement)?;
    let PrivacyStatement::Private(report) = &statement else {
        // A private training may have been on weights that let no bound hold; the ledger says so too.
        if let Some(path) = find_ledger(model) {
            check_ledger(&statement, &path)?;
        }
        return Err(StageError::input(format!(
            "{}: {} There is no bound to verify",
            model.display(),
            statement.statement()
        )));
    };
    check_ledger(&statement, &ledger_of(model)?)?;
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
    Ok(report.statement.clone())
}

fn check_ledger(statement: &PrivacyStatement, path: &Path) -> Result<(), StageError> {
    LedgerContents::read(path)
        .and_then(|ledger| statement.verify(&ledger))
        .map_err(|error| StageError::input(error.to_string()))
}

/// Every weights file carries the history that the statement tells: a file that is copied alone would
/// else tell another.
fn check_weights(model: &Path, statement: &PrivacyStatement) -> Result<(), StageError> {
    let mut checked = 0;
    for name in [files::WEIGHTS.name, files::ADAPTER.name, bundle::GGUF] {
        let path = model.join(name);
        if !path.is_file() {
            continue;
        }
        checked += 1;
        if !is_as_written(&path).map_err(|error| StageError::input(error.to_string()))? {
            return Err(StageError::input(format!(
                "{}: its weights are not the ones that its record of trainings was written for: the file \
                 was changed",
                path.display()
            )));
        }
        let found = marks::in_weights(std::slice::from_ref(&path))?;
        if found.first() != Some(statement.history()) {
            let what = if found.is_empty() { "carries no" } else { "carries another" };
            return Err(StageError::input(format!(
                "{}: {what} record of trainings, where privacy.json tells one; the file was changed, \
                 or is another model's",
                path.display()
            )));
        }
    }
    if checked == 0 {
        return Err(StageError::input(format!("{}: there are no weights here", model.display())));
    }
    Ok(())
}

/// The ledger of a model artifact, or of a bundle's diagnostics.
fn ledger_of(model: &Path) -> Result<PathBuf, StageError> {
    find_ledger(model).ok_or_else(|| {
        StageError::input(format!("{}: there is no ledger.jsonl", model.display())).with_help(
            "a bundle leaves its ledger with the model artifact that it was exported from: verify \
             that one, or export with include_diagnostics: true",
        )
    })
}

fn find_ledger(model: &Path) -> Option<PathBuf> {
    let ledger = files::LEDGER.name;
    let places = [model.join(ledger), model.join(bundle::DIAGNOSTICS).join(ledger)];
    places.into_iter().find(|path| path.is_file())
}
