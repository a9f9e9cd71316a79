//! The `export` stage's binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    pft_stage::run_stage::<export::Export>()
}
