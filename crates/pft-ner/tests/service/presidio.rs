//! Presidio's client against servers that answer well, late, wrongly or not at all.

use std::time::Duration;

use pft_ner::service::{Connection, PresidioOptions, PresidioTagger};
use pft_pii::{LoadError, Tagger};
use serde_json::{Value, json};

use crate::server::{Reply, Request, Server, nowhere, quick};

fn options(url: &str, connection: Connection) -> PresidioOptions {
    PresidioOptions {
        url: url.to_string(),
        language: "en".into(),
        entities: Vec::new(),
        score_threshold: None,
        version: String::new(),
        authorization: None,
        connection,
    }
}

fn tagger(url: &str, connection: Connection) -> PresidioTagger {
    PresidioTagger::new(options(url, connection)).unwrap()
}

/// Capital letters followed by more of them, in characters, as the service would count.
fn entities(text: &str) -> Value {
    let characters: Vec<char> = text.chars().collect();
    let mut found = Vec::new();
    let mut at = 0;
    while at < characters.len() {
        let length = characters[at..].iter().take_while(|c| c.is_uppercase()).count();
        if length > 1 {
            found.insert(
                0,
                json!({"entity_type": "PERSON", "start": at, "end": at + length, "score": 0.85,
                    "analysis_explanation": null}),
            );
        }
        at += length.max(1);
    }
    Value::Array(found)
}

fn good(request: &Request) -> Reply {
    match &request.body["text"] {
        Value::Array(texts) => {
            Value::from_iter(texts.iter().map(|t| entities(t.as_str().unwrap()))).into()
        }
        text => entities(text.as_str().unwrap()).into(),
    }
}

fn found(tagger: &PresidioTagger, texts: &[&str]) -> Vec<Vec<String>> {
    let results = tagger.tag_batch(texts);
    texts
        .iter()
        .zip(results)
        .map(|(text, spans)| {
            spans.unwrap().iter().map(|span| text[span.start..span.end].to_string()).collect()
        })
        .collect()
}

fn error(tagger: &PresidioTagger, text: &str) -> String {
    tagger.tag_batch(&[text]).remove(0).unwrap_err().to_string()
}

const TEXTS: [&str; 5] =
    ["é ŻÓŁĆ met JAN 🙂 ΑΘΗΝΑ", "nobody", "", "🙂🙂 E\u{301}e XY", "plain ASCII"];
const FOUND: [&[&str]; 5] = [&["ŻÓŁĆ", "JAN", "ΑΘΗΝΑ"], &[], &[], &["XY"], &["ASCII"]];

#[test]
fn characters_become_bytes_and_batches_keep_their_order() {
    let server = Server::start(|_, request| good(request));
    for batch in [1, 2, 50] {
        let tagger = tagger(&server.url, Connection { batch, ..quick() });
        assert_eq!(found(&tagger, &TEXTS), FOUND);
    }
    let requests = server.requests();
    assert_eq!(requests.len(), 4 + 2 + 1, "the empty text is not sent");
    assert!(requests.iter().all(|request| request.path == "/analyze"));
    assert!(requests.iter().all(|request| request.body["language"] == "en"));
    assert_eq!(requests[6].body["text"].as_array().unwrap().len(), 4);
    assert!(requests[0].body["text"].is_string());
}

#[test]
fn settings_travel_and_make_the_fingerprint() {
    let server = Server::start(|_, request| good(request));
    let with = |change: &dyn Fn(&mut PresidioOptions)| {
        let mut options = options(&(server.url.clone() + "/base/"), quick());
        change(&mut options);
        PresidioTagger::new(options).unwrap()
    };
    let all = with(&|options| {
        options.entities = vec!["PERSON".into(), "IP_ADDRESS".into()];
        options.score_threshold = Some(0.35);
        options.authorization = Some("Bearer abc".into());
    });
    let _ = all.tag_batch(&["x"]);
    let request = &server.requests()[0];
    assert_eq!(request.path, "/base/analyze");
    assert_eq!(request.body["entities"], json!(["IP_ADDRESS", "PERSON"]));
    assert_eq!(request.body["score_threshold"], json!(0.35));
    assert_eq!(request.headers["authorization"], "Bearer abc");
    assert!(!all.fingerprint().contains("abc"));

    let plain = with(&|_| {}).fingerprint();
    assert_eq!(plain, with(&|options| options.connection.batch = 7).fingerprint());
    let changes: [&dyn Fn(&mut PresidioOptions); 4] = [
        &|options| options.language = "de".into(),
        &|options| options.version = "2".into(),
        &|options| options.score_threshold = Some(0.5),
        &|options| options.entities = vec!["PERSON".into()],
    ];
    for change in changes {
        assert_ne!(plain, with(change).fingerprint());
    }
}

#[test]
fn passing_failures_are_tried_again() {
    let server = Server::start(|number, request| match number {
        0 => Reply::status(500),
        1 => Reply { headers: "Retry-After: 0\r\n", ..Reply::status(429) },
        _ => good(request),
    });
    let connection = Connection { retry_delay_seconds: 0.01, ..quick() };
    assert_eq!(found(&tagger(&server.url, connection), &TEXTS[..1]), FOUND[..1]);
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn failures_are_explained_without_the_text() {
    for (status, tries, says) in [
        (500, 4, "HTTP 500"),
        (503, 4, "HTTP 503"),
        (400, 1, "HTTP 400"),
        (401, 1, "key"),
        (302, 1, "root of the service"),
    ] {
        let server = Server::start(move |_, _| Reply {
            headers: "Location: http://127.0.0.1:1/elsewhere\r\n",
            ..Reply::status(status)
        });
        let message = error(&tagger(&server.url, quick()), "Ms JANE DOE");
        assert!(message.contains("presidio at http://127.0.0.1"), "{message}");
        assert!(message.contains(says), "{message}");
        assert!(!message.contains("JANE") && !message.contains("DOCUMENT"), "{message}");
        assert_eq!(server.requests().len(), tries, "{status}");
    }
    let message = error(&tagger(&nowhere(), quick()), "Ms JANE DOE");
    assert!(message.contains("cannot be talked to") && message.contains("4 tries"), "{message}");
}

#[test]
fn a_slow_service_is_given_up() {
    let server =
        Server::start(|_, request| Reply { delay: Duration::from_secs(3), ..good(request) });
    let connection = Connection { timeout_seconds: 0.2, retries: 1, ..quick() };
    let message = error(&tagger(&server.url, connection), "Ms JANE DOE");
    assert!(message.contains("did not answer within 0.2 s (2 tries)"), "{message}");
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn nonsense_is_no_answer() {
    let entity = |change: Value| {
        let mut entity = json!({"entity_type": "PERSON", "start": 0, "end": 2, "score": 0.5});
        entity.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        json!([entity]).to_string()
    };
    for (body, says) in [
        ("<html>SECRET</html>".to_string(), "JSON"),
        (json!({"SECRET": 1}).to_string(), "JSON"),
        (json!([["SECRET"]]).to_string(), "JSON"),
        (entity(json!({"start": -1})), "JSON"),
        (entity(json!({"end": 6})), "offsets"),
        (entity(json!({"start": 2})), "offsets"),
        (entity(json!({"end": u64::MAX})), "offsets"),
        (entity(json!({"score": 7.0})), "score"),
        (entity(json!({"score": "SECRET"})), "JSON"),
        (entity(json!({"entity_type": ""})), "label"),
        (entity(json!({"entity_type": "SECRET\nline"})), "label"),
    ] {
        let copy = body.clone();
        let server = Server::start(move |_, _| Reply::raw(copy.clone()));
        let message = error(&tagger(&server.url, quick()), "é🙂abc");
        assert!(message.contains("nonsense") && message.contains(says), "{body}: {message}");
        assert!(!message.contains("SECRET"), "{message}");
        assert_eq!(server.requests().len(), 1, "trying again would not help");
    }
    let server = Server::start(|_, _| json!([[], [], []]).into());
    let results = tagger(&server.url, Connection { batch: 9, ..quick() }).tag_batch(&["a", "b"]);
    assert!(results.iter().all(|r| r.as_ref().unwrap_err().to_string().contains("nonsense")));
}

#[test]
fn one_bad_text_takes_no_other_with_it() {
    let server = Server::start(|_, request| {
        if request.body["text"].to_string().contains("bad") {
            return Reply::status(500);
        }
        good(request)
    });
    let tagger = tagger(&server.url, Connection { batch: 10, ..quick() });
    let results = tagger.tag_batch(&["one AB", "bad", "CD two"]);
    assert_eq!(results[0].as_ref().unwrap().len(), 1);
    assert!(results[1].as_ref().unwrap_err().to_string().contains("HTTP 500"));
    assert_eq!(results[2].as_ref().unwrap().len(), 1);
    assert_eq!(server.requests().len(), 4 + 3);
}

#[test]
fn a_service_that_is_away_is_not_asked_for_every_text() {
    let server = Server::start(|_, _| Reply::status(503));
    let connection = Connection { max_concurrency: 1, ..quick() };
    let texts = vec!["text"; 50];
    let results = tagger(&server.url, connection).tag_batch(&texts);
    assert!(results.iter().all(|r| r.as_ref().unwrap_err().to_string().contains("HTTP 503")));
    assert_eq!(server.requests().len(), 4);
}

#[test]
fn requests_under_way_are_bounded_over_all_callers() {
    let server =
        Server::start(|_, request| Reply { delay: Duration::from_millis(20), ..good(request) });
    let tagger = tagger(&server.url, quick());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(found(&tagger, &TEXTS), FOUND));
        }
    });
    assert_eq!(server.requests().len(), 16);
    assert!((1..=3).contains(&server.most_at_once()));
}

#[test]
fn wrong_settings_are_named() {
    let wrong = |change: &dyn Fn(&mut PresidioOptions), key: &str| {
        let mut options = options("http://127.0.0.1:9", quick());
        change(&mut options);
        match PresidioTagger::new(options) {
            Err(LoadError::Config(message)) => assert!(message.contains(key), "{message}"),
            _ => panic!("{key} was taken"),
        }
    };
    wrong(&|options| options.url = "file:///etc".into(), "url");
    wrong(&|options| options.language = String::new(), "language");
    wrong(&|options| options.score_threshold = Some(f32::NAN), "score_threshold");
    wrong(&|options| options.connection.timeout_seconds = 0.0, "timeout_seconds");
    wrong(&|options| options.connection.retry_delay_seconds = f64::NAN, "retry_delay_seconds");
    wrong(&|options| options.connection.max_concurrency = 0, "max_concurrency");
    wrong(&|options| options.connection.batch = 0, "batch");
    wrong(&|options| options.authorization = Some("a\r\nb".into()), "environment");
}
