//! `train epsilon`, `train noise` and `train steps`: the accountant on the command line.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use pft_dp::cli::PrivacyCommand;
use pft_stage::{StageError, subcommand};

/// Asks the accountant of DP-SGD with Poisson sampling
#[derive(Debug, Parser)]
#[command(name = "train")]
struct Arguments {
    #[command(subcommand)]
    question: PrivacyCommand,
}

/// The commands' `main`; the first argument is the command's name.
pub fn main(arguments: &[OsString]) -> ExitCode {
    let all = std::iter::once(OsString::from("train")).chain(arguments.iter().cloned());
    subcommand::run("train", all, |arguments: Arguments| {
        let answer =
            arguments.question.run().map_err(|error| StageError::config(error.to_string()))?;
        subcommand::print(answer.trim_end_matches('\n'));
        Ok(())
    })
}
