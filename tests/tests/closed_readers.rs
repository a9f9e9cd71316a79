//! Every command of every binary with its output closed, as `COMMAND | true` closes it: the exit code says
//! what became of the work, and nothing panics.

#![allow(clippy::unwrap_used)]

use std::process::{Command, Stdio};

use pft_tests::binary;

/// A pipe whose reading end is closed.
fn closed() -> Stdio {
    Stdio::from(std::io::pipe().unwrap().1)
}

#[test]
fn exit_codes_do_not_depend_on_readers() {
    let folder = tempfile::tempdir().unwrap();
    let audit = ["audit-step", "--canaries", "200", "--seed", "1"];
    let epsilon =
        ["epsilon", "--sample-rate", "0.01", "--noise-multiplier", "1", "--steps", "10", "--delta"];
    let commands: Vec<(&str, Vec<&str>, i32)> = vec![
        ("train", [&epsilon[..], &["1e-6"]].concat(), 0),
        ("train", [&epsilon[..], &["7"]].concat(), 2),
        ("train", audit.to_vec(), 0),
        ("train", vec!["audit-step", "--canaries", "x"], 2),
        ("train", vec!["verify", "absent"], 3),
        ("train", vec!["verify", "--help"], 0),
        ("train", vec!["--help"], 0),
        ("train", vec!["--describe"], 0),
        ("train", vec!["--output", "x"], 2),
        ("tag-pii", vec!["evaluate", "--gold", "absent", "--tags", "absent"], 3),
        ("tag-pii", vec!["merge", "--corpus", "absent", "--output", "x", "absent"], 3),
        ("tag-pii", vec!["train", "--gold", "absent", "--base", "absent", "--output", "x"], 3),
        ("tag-pii", vec!["train"], 2),
        ("pft-pipeline", vec!["describe", "train"], 0),
        ("pft-pipeline", vec!["describe", "absent"], 2),
        ("pft-pipeline", vec!["list", "absent"], 2),
        ("pft-pipeline", vec!["run", "absent.yml"], 2),
        ("ingest", vec!["--output", "x", "--set", "path=absent.jsonl"], 3),
    ];
    for (name, arguments, code) in commands {
        let mut command = Command::new(binary(name));
        command.args(&arguments).current_dir(folder.path());
        let listened = command.output().unwrap();
        let stderr = String::from_utf8_lossy(&listened.stderr);
        assert_eq!(listened.status.code(), Some(code), "{name} {arguments:?}: {stderr}");
        assert!(!stderr.contains("panicked"), "{name} {arguments:?}: {stderr}");
        let status = command.stdout(closed()).stderr(closed()).status().unwrap();
        assert_eq!(status.code(), Some(code), "{name} {arguments:?} with nobody listening");
    }
}
