//! The hub source against a local server that speaks the hub's routes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::common::{Workbench, columns};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A data set `fable/cases` with two splits, behind a token or not.
struct Hub {
    endpoint: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Hub {
    fn start(token: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = requests.clone();
        // The thread ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), token, &log);
            }
        });
        Self { endpoint, requests }
    }

    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

fn file(name: &str) -> Option<&'static str> {
    match name {
        "data/test.jsonl" => Some("{\"id\": \"t\", \"text\": \"aus test\"}\n"),
        "data/train.jsonl" => {
            Some("{\"id\": \"a\", \"text\": \"aus train\"}\n{\"id\": \"b\", \"text\": \"auch\"}\n")
        }
        _ => None,
    }
}

fn answer(mut stream: TcpStream, token: Option<&str>, log: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let path = line.split(' ').nth(1).unwrap_or_default().to_string();
    let (mut range, mut authorized) = (None, token.is_none());
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        let header = header.trim();
        if header.is_empty() {
            break;
        }
        let (name, value) = header.split_once(": ").unwrap();
        match name.to_ascii_lowercase().as_str() {
            "range" => range = value.strip_prefix("bytes=").map(str::to_string),
            "authorization" => {
                authorized |= token.map(|t| format!("Bearer {t}")).as_deref() == Some(value)
            }
            _ => {}
        }
    }
    log.lock().unwrap().push(path.clone());
    let resolve = [
        format!("/datasets/fable/cases/resolve/{COMMIT}/"),
        "/datasets/fable/cases/resolve/main/".to_string(),
    ];
    let info = ["main", "v1"].map(|r| format!("/api/datasets/fable/cases/revision/{r}"));
    if !authorized {
        respond(&mut stream, "401 Unauthorized", &[], b"");
    } else if info.contains(&path) {
        let files = ["README.md", "data/test.jsonl", "data/train.jsonl"];
        let siblings: Vec<_> = files.map(|f| serde_json::json!({ "rfilename": f })).into();
        let body = serde_json::json!({ "sha": COMMIT, "siblings": siblings }).to_string();
        respond(
            &mut stream,
            "200 OK",
            &[("Content-Type", "application/json".into())],
            body.as_bytes(),
        );
    } else if let Some(contents) = resolve.iter().find_map(|r| path.strip_prefix(r)).and_then(file)
    {
        let bytes = contents.as_bytes();
        let (start, end) = match range.as_deref().and_then(|r| r.split_once('-')) {
            Some((start, end)) => (
                start.parse().unwrap_or(0),
                end.parse().unwrap_or(bytes.len() - 1).min(bytes.len() - 1),
            ),
            None => (0, bytes.len() - 1),
        };
        let headers = [
            ("ETag", format!("\"{:x}\"", bytes.len())),
            ("X-Repo-Commit", COMMIT.to_string()),
            ("Content-Range", format!("bytes {start}-{end}/{}", bytes.len())),
        ];
        respond(&mut stream, "206 Partial Content", &headers, &bytes[start..=end]);
    } else {
        respond(&mut stream, "404 Not Found", &[], b"");
    }
}

fn respond(stream: &mut TcpStream, status: &str, headers: &[(&str, String)], body: &[u8]) {
    let mut head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n", body.len());
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    // A client may close as soon as it has what it wanted, whatever is still to be sent; the
    // next request must find the server alive.
    let _ = stream
        .write_all(format!("{head}\r\n").as_bytes())
        .and_then(|()| stream.write_all(body))
        .and_then(|()| stream.shutdown(std::net::Shutdown::Write))
        // Read to the end, so that closing does not reset the connection under the answer.
        .and_then(|()| stream.read_to_end(&mut Vec::new()));
}

#[test]
fn a_data_set_is_fetched_once_and_then_taken_from_the_cache() {
    let bench = Workbench::new();
    let hub = Hub::start(None);
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
    assert!(hub.requests().len() > 2);

    let again = bench.run_with(config, &environment).corpus();
    assert_eq!(again, first);
    assert_eq!(hub.requests(), ["/api/datasets/fable/cases/revision/main"]);

    // Another revision of the same commit, and one file of it.
    let part = "path: hf://datasets/fable/cases@v1/data/test.jsonl\nid_column: id\n";
    assert_eq!(bench.run_with(part, &environment).corpus().len(), 1);
    assert_eq!(hub.requests(), ["/api/datasets/fable/cases/revision/v1"]);
}

#[test]
fn tokens_are_sent_and_refusals_are_explained() {
    let bench = Workbench::new();
    let hub = Hub::start(Some("hf_secret"));
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
