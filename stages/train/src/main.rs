//! The `train` stage's binary, with commands that check its privacy and ask the accountant.

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match arguments.first().and_then(|first| first.to_str()) {
        Some("audit-step") => train::audit::command::main(&arguments),
        Some("verify") => train::verify::main(&arguments),
        Some("epsilon" | "noise" | "steps") => train::accountant::main(&arguments),
        _ => pft_stage::run_stage::<train::Train>(),
    }
}
