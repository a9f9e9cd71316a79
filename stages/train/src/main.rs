//! The `train` stage's binary, with commands that check its privacy and ask the accountant.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("audit-step") => train::audit::command::main(&arguments[1..]),
        Some("verify") => train::verify::main(&arguments[1..]),
        Some("epsilon" | "noise" | "steps") => train::accountant::main(&arguments),
        _ => pft_stage::run_stage::<train::Train>(),
    }
}
