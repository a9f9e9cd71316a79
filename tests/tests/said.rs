//! What people read, held as snapshots in `snapshots/`: help, descriptions, error messages, model cards.
//!
//! A change here is a change for users. To accept one that is meant, run
//! `INSTA_UPDATE=always cargo test --release -p pft-tests --test said` and read the diff.

#![allow(clippy::unwrap_used)]

use std::fmt::Write;
use std::path::Path;

use pft_tests::{TINY_LLAMA, root, run, run_pipeline, shell, stage};

const STAGES: [&str; 6] = ["ingest", "tag-pii", "scrub", "tokenize", "train", "export"];

/// Compares with the snapshot of this name.
fn is_as_before(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}

#[test]
fn help() {
    let folder = tempfile::tempdir().unwrap();
    let all = STAGES.map(|stage| (stage, vec!["--help"])).into_iter().chain([
        ("tag-pii", vec!["evaluate", "--help"]),
        ("tag-pii", vec!["train", "--help"]),
        ("train", vec!["verify", "--help"]),
        ("train", vec!["epsilon", "--help"]),
        ("train", vec!["noise", "--help"]),
        ("train", vec!["steps", "--help"]),
        ("train", vec!["audit-step", "--help"]),
        ("pft-pipeline", vec!["--help"]),
        ("pft-pipeline", vec!["run", "--help"]),
        ("pft-pipeline", vec!["describe", "--help"]),
    ]);
    for (binary, arguments) in all {
        let finished = run(binary, &arguments, folder.path());
        assert_eq!(finished.code, 0, "{binary} {arguments:?}: {}", finished.stderr);
        let name = format!("help-{binary}-{}", arguments.join("-").replace("--help", ""));
        is_as_before(name.trim_end_matches('-'), &finished.stdout);
    }
}

/// The list of changes begins each stage's part with the revision that the stage has.
#[test]
fn changelog() {
    let folder = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(root().join("CHANGELOG.md")).unwrap();
    for stage in STAGES {
        let finished = run(stage, &["--describe"], folder.path());
        let description: serde_json::Value = serde_json::from_str(&finished.stdout).unwrap();
        let part = text.split(&format!("## {stage}\n")).nth(1).unwrap();
        let newest = part.trim_start().strip_prefix("- **").and_then(|l| l.split("**").next());
        assert_eq!(newest, Some(description["revision"].to_string().as_str()), "{stage}");
    }
}

#[test]
fn descriptions() {
    let folder = tempfile::tempdir().unwrap();
    for stage in STAGES {
        let finished = run(stage, &["--describe"], folder.path());
        assert_eq!(finished.code, 0, "{stage}: {}", finished.stderr);
        let json: serde_json::Value = serde_json::from_str(&finished.stdout).unwrap();
        // Bumped with every change of a stage's output, which is no change of what is said here.
        assert!(json["revision"].is_u64(), "{stage}");
        let text = serde_json::to_string_pretty(&json).unwrap();
        let revision = format!("\"revision\": {}", json["revision"]);
        is_as_before(&format!("describe-{stage}"), &text.replace(&revision, "\"revision\": …"));
    }
}

/// One wrong thing, and what is said of it.
struct Wrong {
    name: &'static str,
    /// Files in the folder that the command runs in.
    files: &'static [(&'static str, &'static str)],
    command: &'static str,
}

const CASES: (&str, &str) = ("cases.jsonl", "{\"id\": \"1\", \"text\": \"One.\"}\n");

const WRONG: &[Wrong] = &[
    Wrong {
        name: "misspelt-key",
        files: &[CASES, ("c.yml", "source: jsonl\npath: cases.jsonl\ntext_colum: text\n")],
        command: "ingest --config c.yml --output out",
    },
    Wrong {
        name: "misspelt-choice",
        files: &[("c.yml", "mode: masc\n")],
        command: "scrub --config c.yml --output out",
    },
    Wrong {
        name: "not-yaml",
        files: &[("c.yml", "source: jsonl\n path: [\n")],
        command: "ingest --config c.yml --output out",
    },
    Wrong { name: "no-config", files: &[], command: "ingest --config c.yml --output out" },
    Wrong {
        name: "no-corpus-file",
        files: &[("c.yml", "source: jsonl\npath: cases.jsonl\n")],
        command: "ingest --config c.yml --output out",
    },
    Wrong {
        name: "missing-column",
        files: &[CASES, ("c.yml", "source: jsonl\npath: cases.jsonl\ntext_column: body\n")],
        command: "ingest --config c.yml --output out",
    },
    Wrong {
        name: "broken-line",
        files: &[
            (
                "cases.jsonl",
                "{\"id\": \"1\", \"text\": \"One.\"}\n{\"id\": \"2\", \"text\": \"Two\n",
            ),
            ("c.yml", "source: jsonl\npath: cases.jsonl\n"),
        ],
        command: "ingest --config c.yml --output out",
    },
    Wrong {
        name: "same-id-twice",
        files: &[
            (
                "cases.jsonl",
                "{\"id\": \"1\", \"text\": \"One.\"}\n{\"id\": \"1\", \"text\": \"Two.\"}\n",
            ),
            ("c.yml", "source: jsonl\npath: cases.jsonl\nid_column: id\n"),
        ],
        command: "ingest --config c.yml --output out",
    },
    Wrong { name: "missing-input", files: &[], command: "scrub --set mode=mask --output out" },
    Wrong {
        name: "input-is-not-there",
        files: &[],
        command: "tokenize --set tokenizer=t.json --input corpus=none --output out",
    },
    Wrong {
        name: "input-is-no-artifact",
        files: &[CASES],
        command: "tag-pii --set 'backends=[{kind: rules}]' --input corpus=. --output out",
    },
    Wrong {
        name: "unknown-backend",
        files: &[],
        command: "tag-pii --set 'backends=[{kind: rulez}]' --input corpus=. --output out",
    },
    Wrong {
        name: "output-in-use",
        files: &[CASES, ("c.yml", "source: jsonl\npath: cases.jsonl\n"), ("out", "")],
        command: "ingest --config c.yml --output out",
    },
    Wrong {
        name: "no-noise",
        files: &[],
        command: "train --set random_init=t.json --set 'privacy={}' --input tokens=. --output out",
    },
    Wrong {
        name: "no-base-model",
        files: &[],
        command: "train --set max_steps=1 --input tokens=. --output out",
    },
    Wrong { name: "no-model-to-verify", files: &[], command: "train verify none" },
    Wrong {
        name: "impossible-rate",
        files: &[],
        command: "train epsilon --sample-rate 2 --noise-multiplier 1 --steps 1 --delta 1e-6",
    },
    Wrong { name: "no-gold", files: &[], command: "tag-pii evaluate --gold gold.jsonl --tags out" },
    Wrong {
        name: "misspelt-stage",
        files: &[("p.yml", "pipeline: p\nstages:\n  cases:\n    stage: ingst\n")],
        command: "pft-pipeline run p.yml",
    },
    Wrong {
        name: "circle",
        files: &[(
            "p.yml",
            "pipeline: p\nstages:\n  \
             a: { stage: scrub, inputs: { corpus: b.corpus, tags: b.tags } }\n  \
             b: { stage: scrub, inputs: { corpus: a.corpus, tags: a.tags } }\n",
        )],
        command: "pft-pipeline run p.yml",
    },
    Wrong {
        name: "unknown-port",
        files: &[(
            "p.yml",
            "pipeline: p\nstages:\n  \
             cases: { stage: ingest, set: { source: synthetic } }\n  \
             tags: { stage: tag-pii, inputs: { corpora: cases.corpus } }\n",
        )],
        command: "pft-pipeline run p.yml",
    },
    Wrong {
        name: "set-for-nobody",
        files: &[(
            "p.yml",
            "pipeline: p\nstages:\n  cases: { stage: ingest, set: { source: synthetic } }\n",
        )],
        command: "pft-pipeline run p.yml --set case.limit=3",
    },
];

#[test]
fn errors() {
    for wrong in WRONG {
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in wrong.files {
            std::fs::write(folder.path().join(file), text).unwrap();
        }
        let finished = shell(wrong.command, folder.path());
        assert_ne!(finished.code, 0, "{}: nothing is wrong", wrong.name);
        let place = folder.path().to_string_lossy().into_owned();
        let printed = finished.stderr.replace(&place, "FOLDER");
        let text = format!("$ {}\n{printed}exit code {}", wrong.command, finished.code);
        is_as_before(&format!("error-{}", wrong.name), &text);
    }
}

/// The cards of three models from the same data.
#[test]
fn model_cards() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tiny.json"), TINY_LLAMA).unwrap();
    let pipeline = root().join("pipelines/echr-compare.yml");
    let mut arguments = vec![pipeline.to_str().unwrap()];
    for set in [
        "cases.synthetic.units=30",
        "tags.backends=[{kind: rules}]",
        "model.base_model=null",
        "model.random_init=tiny.json",
        "model.lora=null",
        "model.max_steps=2",
        "model.batch_size=4",
        "model.samples.prompts=[]",
    ] {
        arguments.extend(["--set", set]);
    }
    let result = run_pipeline(&arguments, folder.path());
    for defence in ["undefended", "scrubbed", "dp8"] {
        let release = stage(&result, &format!("echr-{defence}/release"));
        let release = Path::new(release["path"].as_str().unwrap());
        let card = std::fs::read_to_string(release.join("README.md")).unwrap();
        is_as_before(&format!("card-{defence}"), &without_revisions(&card));
    }
}

/// A card whose table of stages says `…` for every revision.
fn without_revisions(card: &str) -> String {
    let mut text = String::new();
    for line in card.lines() {
        let stage = line.strip_prefix("| ").and_then(|rest| rest.split(" | ").next());
        match stage.filter(|stage| STAGES.contains(stage)) {
            Some(stage) => writeln!(text, "| {stage} | … |").unwrap(),
            None => writeln!(text, "{line}").unwrap(),
        }
    }
    text
}
