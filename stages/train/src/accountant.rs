//! `train epsilon`, `train noise` and `train steps`: the accountant on the command line.

use std::process::ExitCode;

use clap::Parser;
use pft_dp::cli::PrivacyCommand;

/// Asks the accountant of DP-SGD with Poisson sampling
#[derive(Debug, Parser)]
#[command(name = "train")]
struct Arguments {
    #[command(subcommand)]
    question: PrivacyCommand,
}

/// The commands' `main`; the first argument is the command's name.
pub fn main(arguments: &[String]) -> ExitCode {
    let all = std::iter::once("train".to_string()).chain(arguments.iter().cloned());
    let arguments = match Arguments::try_parse_from(all) {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match arguments.question.run() {
        Ok(answer) => {
            print!("{answer}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("train: error: {error}");
            ExitCode::from(2)
        }
    }
}
