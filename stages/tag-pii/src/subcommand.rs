//! What `evaluate`, `merge` and `train` share as programs.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use pft_stage::StageError;

/// Parses a subcommand's arguments, the first of which is its name, and runs it.
pub(crate) fn run<A: Parser>(
    name: &str,
    arguments: &[OsString],
    run: impl FnOnce(A) -> Result<(), StageError>,
) -> ExitCode {
    let arguments = match A::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help goes to standard output with code 0, wrong usage to standard error with 2.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tag-pii {name}: error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

/// Prints a result.
pub(crate) fn print(text: &str) {
    // A reader that has gone away is no failure.
    let _ = writeln!(std::io::stdout(), "{text}");
}
