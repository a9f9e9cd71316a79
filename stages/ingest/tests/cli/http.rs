//! Files at addresses, from a server on loopback.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::common::{Finished, Workbench, columns};

const ROWS: &str = "{\"id\": \"a\", \"text\": \"eins\"}\n{\"id\": \"b\", \"text\": \"zwei\"}\n";

/// What came in: the path, and the headers in lower case.
#[derive(Debug, Clone)]
struct Request {
    path: String,
    headers: Vec<(String, String)>,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What goes out: status, headers, body. A `content-length` is added where there is none.
struct Answer(&'static str, Vec<(&'static str, String)>, Vec<u8>);

struct Server {
    address: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    fn start(answer: impl Fn(&Request) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = requests.clone();
        // The thread ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let Some(request) = read(&stream) else { continue };
                log.lock().unwrap().push(request.clone());
                write(&mut stream, answer(&request));
            }
        });
        Self { address, requests }
    }

    fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let path = lines.next()?.ok()?.split(' ').nth(1)?.to_string();
    let headers = lines
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| {
            let (name, value) = line.split_once(": ")?;
            Some((name.to_ascii_lowercase(), value.to_string()))
        })
        .collect();
    Some(Request { path, headers })
}

fn write(stream: &mut TcpStream, Answer(status, headers, body): Answer) {
    let mut head = format!("HTTP/1.1 {status}\r\nconnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "content-length") {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let _ = stream
        .write_all(format!("{head}\r\n").as_bytes())
        .and_then(|()| stream.write_all(&body))
        .and_then(|()| stream.shutdown(std::net::Shutdown::Write))
        .and_then(|()| stream.read_to_end(&mut Vec::new()));
}

fn ingest(bench: &Workbench, config: &str) -> Finished {
    let cache = bench.path().join("cache");
    bench.run_with(config, &[("PFT_CACHE_DIR", cache.to_str().unwrap())])
}

/// The files in the cache, without the folders above them.
fn cached(bench: &Workbench) -> Vec<String> {
    let entries = walkdir::WalkDir::new(bench.path().join("cache")).sort_by_file_name();
    let files = entries.into_iter().map(Result::unwrap).filter(|entry| entry.file_type().is_file());
    let names = files.map(|file| file.file_name().to_string_lossy().into_owned());
    names.filter(|name| name != "lock").collect()
}

#[test]
fn a_file_is_fetched_once_and_asked_for_again_by_its_tag() {
    let bench = Workbench::new();
    let version = Arc::new(AtomicUsize::new(1));
    let served = version.clone();
    let server = Server::start(move |request| {
        let version = served.load(Ordering::SeqCst);
        let tag = format!("\"v{version}\"");
        if request.path != "/data/cases.jsonl?key=secret" {
            return Answer("404 Not Found", vec![], vec![]);
        }
        if request.header("if-none-match") == Some(&tag) {
            return Answer("304 Not Modified", vec![("etag", tag)], vec![]);
        }
        Answer("200 OK", vec![("etag", tag)], ROWS.repeat(version).into_bytes())
    });
    let config = format!("path: \"{}/data/cases.jsonl?key=secret\"\n", server.address);
    let first = ingest(&bench, &format!("{config}id_column: id\n")).corpus();
    assert_eq!(columns(&first), [("a", "a", "eins"), ("b", "b", "zwei")]);
    assert_eq!(cached(&bench), ["cases.jsonl", "answer.json"].map(str::to_string));
    assert_eq!(server.requests().len(), 1);
    assert_eq!(ingest(&bench, &format!("{config}id_column: id\n")).corpus(), first);
    let requests = server.requests();
    assert_eq!((requests.len(), requests[0].header("if-none-match")), (1, Some("\"v1\"")));
    assert_eq!(requests[0].header("authorization"), None);
    version.store(2, Ordering::SeqCst);
    assert_eq!(ingest(&bench, &config).corpus().len(), 4);
    assert_eq!(cached(&bench).len(), 2, "the old version is gone");
    // A damaged cache is fetched anew.
    for entry in walkdir::WalkDir::new(bench.path().join("cache")).into_iter().flatten() {
        if entry.file_name() == "cases.jsonl" {
            std::fs::write(entry.path(), "cut").unwrap();
        }
    }
    assert_eq!(ingest(&bench, &config).corpus().len(), 4);
    // The query may be a key: it is in no message and no name.
    let missing = ingest(&bench, &format!("path: \"{}/no.jsonl?key=secret\"\n", server.address));
    let message = missing.failure(4);
    assert!(message.contains("/no.jsonl: the server answered 404"), "{message}");
    assert!(!message.contains("secret"), "{message}");
}

#[test]
fn packed_files_and_other_formats_come_from_addresses_too() {
    let bench = Workbench::new();
    let server = Server::start(|request| {
        let body = match request.path.as_str() {
            "/train.jsonl.zst" => zstd::encode_all(ROWS.as_bytes(), 3).unwrap(),
            "/a.csv" => b"id,text\na,x\n".to_vec(),
            "/a.txt" | "/download" => b"whole".to_vec(),
            _ => b"From a@b.org Mon Jan  1 10:00:00 2001\nFrom: a@b.org\n\nx\n".to_vec(),
        };
        Answer("200 OK", vec![], body)
    });
    let at =
        |path: &str, rest: &str| ingest(&bench, &format!("path: {}{path}\n{rest}", server.address));
    let corpus = at("/train.jsonl.zst", "id_column: id\nsplit: {by: file}\n").corpus();
    assert_eq!(columns(&corpus), [("a", "a", "eins"), ("b", "b", "zwei")]);
    assert_eq!(corpus[0].split.as_str(), "train");
    assert_eq!(columns(&at("/a.csv", "id_column: id\n").corpus()), [("a", "a", "x")]);
    assert_eq!(columns(&at("/a.txt", "").corpus()), [("a.txt", "a.txt", "whole")]);
    assert_eq!(
        columns(&at("/download", "source: text\n").corpus()),
        [("download", "download", "whole")]
    );
    assert_eq!(at("/old.mbox", "").corpus()[0].unit_id, "a@b.org");
    assert!(at("/download", "").failure(2).contains("source: is missing"));
}

#[test]
fn redirects_are_followed_and_nothing_secret_goes_along() {
    let bench = Workbench::new();
    let other = Server::start(|_| Answer("200 OK", vec![], ROWS.into()));
    let elsewhere = format!("{}/b.jsonl", other.address);
    let server = Server::start(move |request| {
        let to =
            if request.path == "/round.jsonl" { "/round.jsonl".into() } else { elsewhere.clone() };
        Answer("302 Found", vec![("location", to)], vec![])
    });
    let config = format!("path: {}/a.jsonl\nid_column: id\n", server.address);
    assert_eq!(ingest(&bench, &config).corpus().len(), 2);
    let arrived = other.requests();
    assert_eq!(arrived.len(), 1);
    for name in ["authorization", "cookie", "proxy-authorization"] {
        assert_eq!(arrived[0].header(name), None);
    }
    let round = ingest(&bench, &format!("path: {}/round.jsonl\n", server.address));
    assert!(round.failure(4).contains("redirect"), "{}", round.stderr);
    let password = ingest(&bench, "path: http://ann:pass-word@127.0.0.1:9/a.jsonl\n");
    let message = password.failure(2);
    assert!(
        message.contains("has a user or a password") && !message.contains("pass-word"),
        "{message}"
    );
}

#[test]
fn failures_are_tried_again_or_named() {
    let bench = Workbench::new();
    let count = AtomicUsize::new(0);
    let server = Server::start(move |request| {
        let number = count.fetch_add(1, Ordering::SeqCst);
        let now = || vec![("retry-after", "0".to_string())];
        match request.path.as_str() {
            "/later.jsonl" if number < 2 => Answer("503 Service Unavailable", now(), vec![]),
            "/later.jsonl" => Answer("200 OK", vec![], ROWS.into()),
            "/never.jsonl" => Answer("429 Too Many Requests", now(), vec![]),
            "/page.jsonl" => {
                Answer("200 OK", vec![("content-type", "text/html".into())], b"<html>".to_vec())
            }
            "/mine.jsonl" => Answer("403 Forbidden", vec![], vec![]),
            _ => Answer("200 OK", vec![("content-length", "900".into())], ROWS.into()),
        }
    });
    let at = |path: &str| ingest(&bench, &format!("path: {}{path}\n", server.address));
    assert_eq!(at("/later.jsonl").corpus().len(), 2);
    let never = at("/never.jsonl");
    assert!(never.failure(4).contains("the server answered 429 (4 tries)"), "{}", never.stderr);
    let page = at("/page.jsonl");
    assert!(page.failure(4).contains("answered with a web page"), "{}", page.stderr);
    let mine = at("/mine.jsonl");
    assert!(mine.failure(4).contains("the server answered 403"), "{}", mine.stderr);
    let before = cached(&bench);
    let cut = at("/cut.jsonl");
    let message = cut.failure(4);
    assert!(message.contains("(4 tries)") && message.contains("/cut.jsonl"), "{message}");
    assert_eq!(cached(&bench), before, "half a file was left in the cache");
    let away = ingest(&bench, "path: http://127.0.0.1:1/a.jsonl\n");
    assert!(away.failure(4).contains("check the address and the network"), "{}", away.stderr);
}
