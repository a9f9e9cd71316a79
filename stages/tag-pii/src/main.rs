//! The `tag-pii` stage's binary: the stage contract, `--shard I/N`, and the subcommands
//! `evaluate`, `merge` and `train`. It may depend on this crate's library and on nothing else of its own.

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    match arguments.get(1).and_then(|first| first.to_str()) {
        Some("evaluate") => tag_pii::evaluate::main(&arguments[1..]),
        Some("train") => tag_pii::train::main(&arguments[1..]),
        Some("merge") => tag_pii::merge::main(&arguments[1..]),
        _ => pft_stage::run_stage_from::<tag_pii::TagPii>(tag_pii::shard::translate(arguments)),
    }
}
