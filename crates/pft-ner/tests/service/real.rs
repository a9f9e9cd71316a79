//! Presidio's client against Presidio's own engine, which tests/reference/presidio_service.py serves
//! on loopback. It runs where `PFT_PYTHON` names a Python, which then has presidio-analyzer.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use pft_ner::service::{Connection, PresidioOptions, PresidioTagger};
use pft_pii::Tagger;
use pft_pii::combine::tag_texts;
use serde_json::{Value, json};

const TEXTS: [&str; 6] = [
    "Ms Zofia Marchewka (zofia@example.pl) wrote to Karlstad on 4 March 2003.",
    "é漢🙂 The IBAN is GB33BUKB20201555555555; ring +44 20 7946 0958, said Ólafur Einarsson.",
    "",
    "Nothing here.",
    "E\u{301}mile Zola’s server is at 192.168.17.4 — see https://example.org/é🙂 and ab@example.com.",
    "\n\n🙂",
];

/// Ends with the test.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_service_answers_as_the_engine_does() {
    let Some(python) = std::env::var_os("PFT_PYTHON") else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut command = Command::new(&python);
    command.arg(root.join("tests/reference/presidio_service.py")).arg(json!(TEXTS).to_string());
    let model = root.join("data/models/en_core_web_sm");
    if model.is_dir() {
        command.arg(&model);
    }
    let mut service =
        Service(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(service.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).expect("the service did not start");

    let mut compared = 0;
    for batch in [1, 3, 32] {
        let tagger = PresidioTagger::new(PresidioOptions {
            url: ready["url"].as_str().unwrap().to_string(),
            language: "en".into(),
            entities: Vec::new(),
            score_threshold: None,
            version: String::new(),
            authorization: None,
            connection: Connection { batch, ..Connection::default() },
        })
        .unwrap();
        let expected = ready["expected"].as_array().unwrap();
        for (spans, expected) in tag_texts(&tagger, &TEXTS).into_iter().zip(expected) {
            let mut found: Vec<(u64, u64, String, f64)> = spans
                .unwrap()
                .iter()
                .map(|span| {
                    (span.start as u64, span.end as u64, span.label.to_string(), span.score.into())
                })
                .collect();
            found.sort_by(|a, b| a.partial_cmp(b).unwrap());
            let expected: Vec<(u64, u64, String, f64)> =
                serde_json::from_value(expected.clone()).unwrap();
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(&expected) {
                assert_eq!((found.0, found.1, &found.2), (expected.0, expected.1, &expected.2));
                assert!((found.3 - expected.3).abs() < 1e-6);
                compared += 1;
            }
        }
    }
    assert!(compared >= 3 * 5, "{compared}");

    let error = PresidioTagger::new(PresidioOptions {
        url: ready["url"].as_str().unwrap().to_string(),
        language: "tlh".into(),
        entities: Vec::new(),
        score_threshold: None,
        version: String::new(),
        authorization: None,
        connection: Connection { retries: 0, ..Connection::default() },
    })
    .unwrap()
    .tag_batch(&TEXTS[..1])
    .remove(0)
    .unwrap_err();
    assert!(error.to_string().contains("HTTP 500"), "{error}");
}
