//! The `ingest` binary; see the library of this crate. Beside the stage it has a command that looks at a
//! corpus.

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match arguments.first().and_then(|first| first.to_str()) {
        Some("survey") => ingest::survey::main(&arguments),
        _ => pft_stage::run_stage::<ingest::Ingest>(),
    }
}
