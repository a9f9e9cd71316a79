//! What stages said of units reaches whoever trains on their output, whatever the store held before and
//! whatever stands in between.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use pft_tests::{run_pipeline, shell, stage};
use serde_json::{Value, json};

/// A stage of two lines' work that knows nothing of manifests: it copies a corpus.
const COPY: &str = r#"#!/bin/sh
if [ "$1" = --describe ]; then
  port='[{"name":"corpus","kind":"corpus","required":true}]'
  echo "{\"name\":\"copy\",\"revision\":1,\"inputs\":$port,\"outputs\":$port,\"config\":{\"type\":\"object\"}}"
  exit
fi
while [ $# -gt 0 ]; do
  case $1 in --input) input=${2#*=};; --output) output=$2;; esac
  shift
done
mkdir -p "$output" && cp "$input"/*.parquet "$output"
"#;

/// One that makes its corpus anew with `ingest`, which knows nothing of what the first one did.
const INGEST_AGAIN: &str = r#"#!/bin/sh
if [ "$1" = --describe ]; then
  port='[{"name":"corpus","kind":"corpus","required":true}]'
  echo "{\"name\":\"again\",\"revision\":1,\"inputs\":$port,\"outputs\":$port,\"config\":{\"type\":\"object\"}}"
  exit
fi
while [ $# -gt 0 ]; do
  case $1 in --input) input=${2#*=};; --output) output=$2;; esac
  shift
done
raw=$(mktemp -d) && cp "$input"/*.parquet "$raw" || exit 1
ingest --set source=parquet --set path="$raw" --set unit_column=unit_id --set id_column=doc_id \
  --set split.by=column --output "$raw/made" && mkdir -p "$output" && mv "$raw"/made/corpus/* "$output"
"#;

const PIPELINE: &str = "pipeline: p
stages:
  cases: { stage: ingest, set: { source: jsonl, path: cases.jsonl, unit_column: unit } }
  copy: { stage: ./copy.sh, inputs: { corpus: cases } }
";

fn couplings(manifest: &Value) -> Vec<&str> {
    let steps = manifest["provenance"]["lineage"].as_array().expect("a lineage");
    let said = steps.iter().flat_map(|step| step["units"]["couplings"].as_array());
    said.flatten().filter_map(Value::as_str).collect()
}

/// A manifest that a stage sealed without its inputs' lineage gets it from the runner, and says that the
/// stage is not known to have kept units apart.
#[test]
fn a_stage_that_calls_another_does_not_lose_what_came_before() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let lines: Vec<String> = (0..5)
        .map(|i| json!({ "text": format!("The case of applicant {i}."), "unit": i.to_string() }))
        .map(|line| line.to_string())
        .collect();
    std::fs::write(at("cases.jsonl"), lines.join("\n")).unwrap();
    std::fs::write(at("p.yml"), PIPELINE.replace("copy", "again")).unwrap();
    std::fs::write(at("again.sh"), INGEST_AGAIN).unwrap();
    std::fs::set_permissions(at("again.sh"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let line = "pft-pipeline run p.yml --json --store .pft --set cases.deduplicate=across_units";
    let finished = shell(line, folder.path());
    assert_eq!(finished.code, 0, "{}", finished.stderr);
    let result: Value = serde_json::from_str(finished.stdout.lines().last().unwrap()).unwrap();
    let path = stage(&result, "again")["path"].as_str().unwrap();
    let manifest = std::fs::read(Path::new(path).join("manifest.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let said = couplings(&manifest).join("\n");
    assert!(said.contains("across_units") && said.contains("again does not say"), "{said}");
    let steps = manifest["provenance"]["lineage"].as_array().unwrap();
    let names: Vec<&str> = steps.iter().filter_map(|step| step["stage"].as_str()).collect();
    // The first one, the one that the stage ran itself, and the stage.
    assert_eq!(names, ["ingest", "ingest", "again"]);
}

#[test]
fn a_coupling_that_left_the_bytes_alone_is_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let lines: Vec<String> = (0..5)
        .map(|i| json!({ "text": format!("The case of applicant {i}."), "unit": i.to_string() }))
        .map(|line| line.to_string())
        .collect();
    std::fs::write(at("cases.jsonl"), lines.join("\n")).unwrap();
    std::fs::write(at("p.yml"), PIPELINE).unwrap();
    std::fs::write(at("copy.sh"), COPY).unwrap();
    std::fs::set_permissions(at("copy.sh"), std::fs::Permissions::from_mode(0o755)).unwrap();

    let mut rows = Vec::new();
    let mut found = Vec::new();
    // The second setting is that of the first again, after another one made the same bytes.
    for deduplicate in ["within_unit", "across_units", "within_unit"] {
        let set = format!("cases.deduplicate={deduplicate}");
        let result = run_pipeline(&["p.yml", "--set", &set], folder.path());
        let path = stage(&result, "copy")["path"].as_str().unwrap();
        let manifest = std::fs::read(Path::new(path).join("manifest.json")).unwrap();
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        rows.push(manifest["files"].clone());
        let coupled = couplings(&manifest).iter().any(|said| said.contains("across_units"));
        found.push((coupled, manifest["content_hash"].clone()));
        let lineage = manifest["provenance"]["lineage"].to_string();
        assert!(lineage.contains("copy does not say what it did"), "{lineage}");
        assert!(lineage.contains("\"stage\":\"ingest\""), "{lineage}");
    }
    assert_eq!(rows[0], rows[1], "the two settings make the same files, or this shows nothing");
    assert_eq!(found.iter().map(|(coupled, _)| *coupled).collect::<Vec<_>>(), [false, true, false]);
    assert_ne!(found[0].1, found[1].1);
    assert_eq!(found[0].1, found[2].1);
}
