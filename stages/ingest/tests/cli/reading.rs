//! What other programs find in what ingest writes.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use arrow::datatypes::Schema;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use pft_artifact::{CorpusReader, TagsReader};

use crate::common::Workbench;

/// The Parquet files of a port.
fn shards(port: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(port).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "parquet"))
        .collect();
    files.sort();
    files
}

/// Programs that take the types of the first file for those of all must find them.
fn schema(path: &Path) -> Schema {
    let reader = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    reader.schema().as_ref().clone()
}

#[test]
fn all_files_of_an_artifact_have_one_schema() {
    let bench = Workbench::new();
    let text = "same ".repeat(4_000_000);
    let rows = format!("{{\"id\": 1, \"text\": \"{text}\"}}\n{{\"id\": 2, \"text\": \"x\"}}\n");
    bench.write("a.jsonl", rows);
    let finished = bench.run("path: a.jsonl\nid_column: id\nsample_duplication_rate: 30\n");
    assert_eq!(finished.code, 0, "{}", finished.stderr);
    let large = shards(&finished.output.join("corpus"));
    assert!(large.len() > 1, "it must span files");
    let small = bench.run("source: synthetic\n");
    assert_eq!(small.code, 0, "{}", small.stderr);
    let small = shards(&small.output.join("corpus"));
    let first = schema(&large[0]);
    assert!(large.iter().chain(&small).all(|path| schema(path) == first));
}

/// The programs of docs/read-artifacts.md, where `PFT_PYTHON` names a Python that has the libraries.
#[test]
fn the_documented_programs_read_corpus_and_tags() {
    let bench = Workbench::new();
    let finished = bench.run("source: synthetic\n");
    assert_eq!(finished.code, 0, "{}", finished.stderr);
    std::fs::create_dir(bench.path().join("out")).unwrap();
    std::fs::rename(&finished.output, bench.path().join("out/cases")).unwrap();
    let output = bench.path().join("out/cases");
    let corpus = CorpusReader::open(&output.join("corpus")).unwrap();
    let tags = TagsReader::open(&output.join("tags")).unwrap();
    let mut expected: BTreeMap<String, u64> = BTreeMap::new();
    for (document, tagged) in corpus.iter().zip(tags.iter()) {
        let text = document.unwrap().text;
        for span in tagged.unwrap().spans {
            let piece = &text[span.start as usize..span.end as usize];
            *expected.entry(span.label.to_string()).or_default() += piece.chars().count() as u64;
        }
    }
    assert!(expected.len() > 3);
    let Some(python) = std::env::var_os("PFT_PYTHON") else { return };
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/read-artifacts.md");
    let page = std::fs::read_to_string(page).unwrap();
    let programs = page.split("```python\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let mut count = 0;
    for (library, program) in ["pandas, pyarrow", "polars", "duckdb"].into_iter().zip(programs) {
        let run = |program: &str| {
            Command::new(&python).args(["-c", program]).current_dir(bench.path()).output().unwrap()
        };
        count += 1;
        if !run(&format!("import {library}")).status.success() {
            continue;
        }
        let done = run(program);
        assert!(done.status.success(), "{library}: {}", String::from_utf8_lossy(&done.stderr));
        let found: BTreeMap<String, u64> = serde_json::from_slice(&done.stdout).unwrap();
        assert_eq!(found, expected, "{library}");
    }
    assert_eq!(count, 3);
}
