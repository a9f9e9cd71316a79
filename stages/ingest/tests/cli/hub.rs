//! The hub source against a local server that speaks the hub's routes.

use crate::common::{Workbench, columns};
use crate::server::{Answer, Request, Server};

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A data set `fable/cases` with two splits, behind a token or not.
fn hub(token: Option<&'static str>) -> Server {
    Server::start("127.0.0.1", move |request| answer(request, token))
}

/// What the hub has under a name.
pub(crate) fn file(name: &str) -> Option<&'static str> {
    match name {
        "data/test.jsonl" => Some("{\"id\": \"t\", \"text\": \"aus test\"}\n"),
        "data/train.jsonl" => {
            Some("{\"id\": \"a\", \"text\": \"aus train\"}\n{\"id\": \"b\", \"text\": \"auch\"}\n")
        }
        _ => None,
    }
}

/// The hub's description of a revision with these files.
pub(crate) fn revision(commit: &str, files: &[&str]) -> Answer {
    let siblings: Vec<_> =
        files.iter().map(|name| serde_json::json!({ "rfilename": name })).collect();
    let body = serde_json::json!({ "sha": commit, "siblings": siblings }).to_string();
    Answer::new("200 OK", body).with("Content-Type", "application/json")
}

pub(crate) const FILES: [&str; 3] = ["README.md", "data/test.jsonl", "data/train.jsonl"];

/// The name of a requested file.
pub(crate) fn requested(path: &str) -> Option<&str> {
    path.strip_prefix(&format!("/datasets/fable/cases/resolve/{COMMIT}/"))
}

fn answer(request: &Request, token: Option<&str>) -> Answer {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let info = ["main", "v1"].map(|r| format!("/api/datasets/fable/cases/revision/{r}"));
    if bearer.is_some() && request.authorization != bearer {
        Answer::new("401 Unauthorized", "")
    } else if info.contains(&request.path) {
        revision(COMMIT, &FILES)
    } else if let Some(contents) = requested(&request.path).and_then(file) {
        Answer::new("200 OK", contents)
            .with("ETag", format!("\"{:x}\"", contents.len()))
            .with("X-Repo-Commit", COMMIT)
    } else {
        Answer::new("404 Not Found", "")
    }
}

#[test]
fn a_data_set_is_fetched_once_and_then_taken_from_the_cache() {
    let bench = Workbench::new();
    let hub = hub(None);
    let home = bench.path().join("home");
    let home = home.to_str().unwrap();
    let config = "source: hf\npath: hf://datasets/fable/cases\nid_column: id\nsplit: {by: file}\n";
    let environment = [("HF_ENDPOINT", hub.endpoint.as_str()), ("HF_HOME", home)];
    let first = bench.run_with(config, &environment).corpus();
    assert_eq!(
        columns(&first),
        [("a", "a", "aus train"), ("b", "b", "auch"), ("t", "t", "aus test")]
    );
    assert_eq!(first[2].split.as_str(), "test");
    assert!(hub.paths().len() > 2);

    let again = bench.run_with(config, &environment).corpus();
    assert_eq!(again, first);
    assert_eq!(hub.paths(), ["/api/datasets/fable/cases/revision/main"]);

    // Another revision of the same commit, and one file of it.
    let part = "path: hf://datasets/fable/cases@v1/data/test.jsonl\nid_column: id\n";
    assert_eq!(bench.run_with(part, &environment).corpus().len(), 1);
    assert_eq!(hub.paths(), ["/api/datasets/fable/cases/revision/v1"]);

    // Without the network, what was fetched is there, and nothing else.
    let offline = [("HF_HUB_OFFLINE", "1"), ("HF_HOME", home)];
    assert_eq!(bench.run_with(config, &offline).corpus(), first);
    let absent = bench.run_with("path: hf://datasets/fable/cases@v2\nid_column: id\n", &offline);
    assert!(absent.failure(4).contains("run once without HF_HUB_OFFLINE"), "{}", absent.stderr);
    assert_eq!(hub.paths(), [""; 0]);
}

#[test]
fn tokens_are_sent_and_refusals_are_explained() {
    let bench = Workbench::new();
    let hub = hub(Some("hf_secret"));
    let home = bench.path().join("home");
    let cache = home.join("elsewhere");
    let mut environment = vec![
        ("HF_ENDPOINT", hub.endpoint.as_str()),
        ("HF_HOME", home.to_str().unwrap()),
        ("HF_HUB_CACHE", cache.to_str().unwrap()),
    ];
    let config = "path: hf://datasets/fable/cases\nid_column: id\n";
    let refused = bench.run_with(config, &environment);
    assert!(refused.failure(4).contains("set HF_TOKEN"), "{}", refused.stderr);
    environment.push(("HF_TOKEN", "hf_secret"));
    assert_eq!(bench.run_with(config, &environment).corpus().len(), 3);
    assert!(cache.join("datasets--fable--cases").is_dir());
    let missing = bench.run_with("path: hf://datasets/fable/nothing\n", &environment);
    assert!(missing.failure(4).contains("check the name"), "{}", missing.stderr);
    assert!(!missing.stderr.contains("hf_secret"));
}

#[test]
fn a_hub_that_is_away_is_a_failed_service() {
    let bench = Workbench::new();
    let home = bench.path().join("home");
    let environment = [("HF_ENDPOINT", "http://127.0.0.1:1"), ("HF_HOME", home.to_str().unwrap())];
    let finished = bench.run_with("path: hf://datasets/fable/cases\n", &environment);
    assert!(
        finished.failure(4).contains("check the network and HF_ENDPOINT"),
        "{}",
        finished.stderr
    );
    let wrong = bench.run_with("path: hf://models/fable/cases\n", &environment);
    assert!(wrong.failure(2).contains("hf://datasets/OWNER/NAME"), "{}", wrong.stderr);
}
