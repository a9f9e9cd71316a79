//! The `main` of a command that a stage's binary has beside the stage.

use std::ffi::OsString;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::Parser;

use crate::StageError;
use crate::command::silence_panics;

/// Parses a command's arguments, the first of which stands for the program's name, runs it, and turns
/// every failure into one message and an exit code. `name` is what a person types: `train verify`.
/// What the command writes is its owner's alone.
pub fn run<A: Parser>(
    name: &str,
    arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>,
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
    pft_artifact::access::keep_private();
    silence_panics();
    let result = catch_unwind(AssertUnwindSafe(|| run(arguments)))
        .unwrap_or_else(|_| Err(StageError::bug("an internal error stopped the command")));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("{name}: error: {error}"));
            ExitCode::from(error.exit_code())
        }
    }
}

/// Prints a line of a result. A reader that has gone away is no failure.
pub fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Says a line to the person, if anybody listens.
pub fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
