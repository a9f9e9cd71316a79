//! Commands as programs: their exit codes hold whoever listens, and a panic shows no data.

#![allow(clippy::unwrap_used)]

use std::process::{Command, ExitCode, Output};

use clap::Parser;
use pft_stage::{StageError, subcommand};

#[derive(Parser)]
struct Arguments {
    what: String,
}

/// What the tests below start as a process of its own.
#[test]
fn child() {
    let Ok(what) = std::env::var("PFT_TEST_COMMAND") else { return };
    if std::env::var_os("PFT_TEST_NOBODY_LISTENS").is_some() {
        use std::os::fd::AsRawFd;

        // The test's own program has said its lines. A pipe whose reading end is closed:
        let (_, closed) = std::io::pipe().unwrap();
        for stream in [1, 2] {
            // SAFETY: both are open files, and nothing else is written to them meanwhile.
            assert_eq!(unsafe { libc::dup2(closed.as_raw_fd(), stream) }, stream);
        }
    }
    let code = subcommand::run("test command", ["command", &what], |arguments: Arguments| {
        subcommand::print("a result");
        match arguments.what.as_str() {
            "fails" => Err(StageError::input("nothing to read").with_help("give more")),
            "panics" => panic!("Anna Nowak"),
            _ => Ok(()),
        }
    });
    let code = [ExitCode::SUCCESS, ExitCode::FAILURE, ExitCode::from(3)]
        .iter()
        .position(|known| *known == code)
        .map_or(99, |at| [0, 1, 3][at]);
    std::process::exit(code);
}

fn command(what: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture"]).env("PFT_TEST_COMMAND", what);
    command
}

fn run(what: &str) -> (i32, String) {
    let Output { status, stderr, .. } = command(what).output().unwrap();
    (status.code().unwrap_or(-1), String::from_utf8(stderr).unwrap())
}

#[test]
fn failures_have_one_message_and_the_code_of_their_class() {
    let expected = "test command: error: nothing to read\n  help: give more\n";
    assert_eq!(run("fails"), (3, expected.to_string()));
    assert_eq!(run("works"), (0, String::new()));
    let (code, stderr) = run("panics");
    assert_eq!(code, 1);
    assert!(stderr.contains("internal error at ") && stderr.contains("subcommand.rs"), "{stderr}");
    assert!(!stderr.contains("Nowak"), "{stderr}");
}

#[test]
fn codes_are_kept_when_nobody_listens() {
    for (what, code) in [("works", 0), ("fails", 3), ("panics", 1)] {
        let done = command(what).env("PFT_TEST_NOBODY_LISTENS", "1").output().unwrap();
        assert_eq!(done.status.code(), Some(code), "{what}: {done:?}");
    }
}
