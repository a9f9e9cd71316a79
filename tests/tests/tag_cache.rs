//! Tags of texts are shared by all runs: what a corpus gained is what is tagged.

#![allow(clippy::unwrap_used)]

use std::fmt::Write;
use std::path::Path;

use pft_artifact::Manifest;
use pft_tests::{binary, run, run_pipeline, stage};
use serde_json::{Value, json};

const DOCUMENTS: usize = 10_000;

fn write_corpus(folder: &Path, documents: usize) {
    let mut text = String::new();
    for n in 0..documents {
        let document = json!({ "id": format!("d{n}"), "text": format!("Case {n}: write to a{n}@example.org.") });
        writeln!(text, "{document}").unwrap();
    }
    std::fs::write(folder.join("cases.jsonl"), text).unwrap();
}

/// How many texts each backend had to tag.
fn newly_tagged(tags: &Path) -> Value {
    Manifest::open(tags).unwrap().provenance["metrics"]["newly_tagged_texts"].clone()
}

#[test]
fn one_more_document_costs_the_tagging_of_one() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let pipeline = "pipeline: p\nstages:\n  cases: { stage: ingest, set: { path: cases.jsonl, \
                    id_column: id } }\n  tags: { stage: tag-pii, inputs: { corpus: cases.corpus }, \
                    set: { backends: [{ kind: rules }] } }\n";
    std::fs::write(folder.join("p.yml"), pipeline).unwrap();
    let tag = |set: &[&str]| {
        let result = run_pipeline(&[&["p.yml"], set].concat(), folder);
        let tags = stage(&result, "tags");
        assert_eq!(tags["status"], "ran");
        let path = Path::new(tags["path"].as_str().unwrap()).to_path_buf();
        assert!(Manifest::open(&path).unwrap().rows >= DOCUMENTS as u64);
        newly_tagged(&path)
    };
    write_corpus(folder, DOCUMENTS);
    assert_eq!(tag(&[]), json!({ "rules": DOCUMENTS }));
    write_corpus(folder, DOCUMENTS + 1);
    assert_eq!(tag(&[]), json!({ "rules": 1 }));
    // What happens behind the backends tags nothing, and another recognizer everything. (Equal tags
    // would be the earlier run's artifact, with its metrics.)
    let behind = "tags.ignore=['a77@example\\.org']";
    assert_eq!(tag(&["--set", behind]), json!({ "rules": 0 }));
    std::fs::write(folder.join("words.txt"), "write\n").unwrap();
    let other = "tags.backends=[{kind: rules, words: [{label: OCCUPATION, file: words.txt}]}]";
    assert_eq!(tag(&["--set", other]), json!({ "rules": DOCUMENTS + 1 }));

    // By hand, with a folder of one's own.
    let corpus = run_pipeline(&["p.yml"], folder);
    let corpus = stage(&corpus, "cases")["outputs"]["corpus"]["path"].as_str().unwrap().to_string();
    for (output, expected) in [("one", DOCUMENTS + 1), ("two", 0)] {
        let done = std::process::Command::new(binary("tag-pii"))
            .args(["--input", &format!("corpus={corpus}"), "--output", output])
            .args(["--set", "backends=[{kind: rules}]"])
            .env("PFT_CACHE_DIR", "cache")
            .current_dir(folder)
            .output()
            .unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        assert_eq!(newly_tagged(&folder.join(output)), json!({ "rules": expected }));
    }
    // Without one, nothing is left behind but the tags.
    let input = format!("corpus={corpus}");
    let arguments = ["--input", &input, "--output", "three", "--set", "backends=[{kind: rules}]"];
    assert_eq!(run("tag-pii", &arguments, folder).code, 0);
    assert_eq!(newly_tagged(&folder.join("three")), json!({ "rules": DOCUMENTS + 1 }));
}
