//! The `ingest` binary; see the library of this crate.

fn main() -> std::process::ExitCode {
    pft_stage::run_stage::<ingest::Ingest>()
}
