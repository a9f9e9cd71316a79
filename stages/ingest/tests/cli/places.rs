//! What a path stands for: folders with glob signs in their names, pipes, stores of the runner.

use pft_artifact::Store;

use crate::common::Workbench;

fn ids(bench: &Workbench, path: &str) -> Vec<String> {
    let config = format!("source: jsonl\npath: \"{path}\"\nid_column: id\n");
    bench.corpus(&config).into_iter().map(|document| document.doc_id).collect()
}

fn write(bench: &Workbench, name: &str) {
    bench.write(name, format!("{{\"id\": \"{name}\", \"text\": \"x\"}}\n"));
}

#[test]
fn folders_may_have_glob_signs_in_their_names() {
    let bench = Workbench::new();
    let files = ["d[1]/a.jsonl", "d[1]/e?/b.jsonl", "d1/c.jsonl", "x*y.jsonl", "xzy.jsonl"];
    for file in files {
        write(&bench, file);
    }
    assert_eq!(ids(&bench, "d[1]"), ["d[1]/a.jsonl", "d[1]/e?/b.jsonl"]);
    assert_eq!(ids(&bench, "d[1]/*.jsonl"), ["d[1]/a.jsonl"]);
    assert_eq!(ids(&bench, "d[1]/e?/*"), ["d[1]/e?/b.jsonl"]);
    assert_eq!(ids(&bench, "d[1]/a.jsonl"), ["d[1]/a.jsonl"]);
    assert_eq!(ids(&bench, "x*y.jsonl"), ["x*y.jsonl"]);
    assert_eq!(ids(&bench, "d[0-9]/*.jsonl"), ["d1/c.jsonl"]);
    // The config's own folder, too.
    let inner = Workbench::new();
    let folder = inner.path().join("a[b]*");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("1.jsonl"), "{\"text\": \"x\"}\n").unwrap();
    std::fs::write(folder.join("config.yml"), "path: '*.jsonl'\n").unwrap();
    let done = std::process::Command::new(env!("CARGO_BIN_EXE_ingest"))
        .arg("--config")
        .arg(folder.join("config.yml"))
        .arg("--output")
        .arg(folder.join("out"))
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn a_pipe_or_a_device_is_no_data() {
    let bench = Workbench::new();
    write(&bench, "d/a.jsonl");
    let pipe = bench.path().join("d/b.jsonl");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for path in ["d", "d/b.jsonl", "/dev/null"] {
        let finished = bench.run(&format!("source: jsonl\npath: {path}\n"));
        let message = finished.failure(3);
        assert!(message.contains("is a pipe, a socket or a device, not a file"), "{message}");
    }
}

/// What a run leaves in a store below the corpus is not part of the corpus.
#[test]
fn a_store_below_the_corpus_is_not_read() {
    let bench = Workbench::new();
    write(&bench, "d/a.jsonl");
    let store = bench.path().join("d/.pft");
    Store::open(&store).unwrap();
    write(&bench, "d/.pft/artifacts/made.jsonl");
    write(&bench, "d/kept/.pft/b.jsonl");
    for path in ["d", "d/**/*.jsonl", "d*"] {
        assert_eq!(ids(&bench, path), ["d/a.jsonl", "d/kept/.pft/b.jsonl"], "{path}");
    }
    bench.write("d/.pft/artifacts/made.txt", "x");
    let finished = bench.run("source: text\npath: d\n");
    assert!(finished.failure(3).contains("no file of the kind"), "{}", finished.stderr);
}
