//! `pft-pipeline`: runs a pipeline file, starting only the stages whose artifacts are missing.

use std::process::ExitCode;

fn main() -> ExitCode {
    pft_pipeline::main()
}
