//! Presidio's client against Presidio's own engine, which tests/reference/presidio_service.py serves
//! on loopback. It runs where `PFT_PYTHON` names a Python, which then has presidio-analyzer.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use pft_ner::service::{Connection, PresidioOptions, PresidioTagger};
use pft_pii::combine::{Policy, combine, tag_texts};
use pft_pii::labels::default_pii;
use pft_pii::{Span, Tagger};
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

/// The spaCy pipeline that `make test` fetches.
fn model() -> Option<PathBuf> {
    let folder = root().join("data/models/en_core_web_sm");
    folder.is_dir().then_some(folder)
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Starts the service, where there is a Python for it; what it says when it is ready has what the engine
/// finds in `texts`.
fn start(texts: &[&str]) -> Option<(Service, Value)> {
    let python = std::env::var_os("PFT_PYTHON")?;
    let mut command = Command::new(&python);
    command.arg(root().join("tests/reference/presidio_service.py")).arg(json!(texts).to_string());
    if let Some(model) = model() {
        command.arg(&model);
    }
    let mut service =
        Service(command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(service.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready = serde_json::from_str(&line).expect("the service did not start");
    Some((service, ready))
}

fn tagger(ready: &Value, language: &str, connection: Connection) -> PresidioTagger {
    PresidioTagger::new(PresidioOptions {
        url: ready["url"].as_str().unwrap().to_string(),
        language: language.into(),
        entities: Vec::new(),
        score_threshold: None,
        version: String::new(),
        authorization: None,
        connection,
    })
    .unwrap()
}

#[test]
fn the_service_answers_as_the_engine_does() {
    let Some((_service, ready)) = start(&TEXTS) else { return };
    let mut compared = 0;
    for batch in [1, 3, 32] {
        let tagger = tagger(&ready, "en", Connection { batch, ..Connection::default() });
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

    let error = tagger(&ready, "tlh", Connection { retries: 0, ..Connection::default() })
        .tag_batch(&TEXTS[..1])
        .remove(0)
        .unwrap_err();
    assert!(error.to_string().contains("HTTP 500"), "{error}");
}

/// Presidio gives a bare number that spaCy takes for a date 0.85 as DATE_TIME, and less as what it is. Whoever
/// keeps dates must not keep it: the union has all labels, and scrub leaves what each of them says to keep.
#[test]
fn a_number_that_passes_for_a_date_is_known_as_an_identifier_too() {
    let texts = [
        ("My passport number is 912803456.", "912803456", "CASE_NUMBER"),
        ("912803456", "912803456", "CASE_NUMBER"),
        ("912803456", "912803456", "US_SSN"),
    ];
    if model().is_none() {
        return;
    }
    let Some((_service, ready)) = start(&texts.map(|(text, ..)| text)) else { return };
    let tagger = tagger(&ready, "en", Connection::default());
    let policy = Policy::new(default_pii());
    for (text, number, label) in texts {
        let found = tag_texts(&tagger, &[text]).remove(0).unwrap();
        let start = text.find(number).unwrap();
        let here = |span: &&Span| (span.start..span.end) == (start..start + number.len());
        let best = found.iter().filter(here).max_by(|a, b| a.score.total_cmp(&b.score)).unwrap();
        assert_eq!(&*best.label, "DATE_TIME", "Presidio ranks them otherwise now: {found:?}");
        let spans = combine(text, &[(0, &found)], &policy);
        let span = spans.iter().find(here).unwrap();
        assert_eq!(&*span.label, "DATE");
        assert!(span.labels().any(|known| &**known == label), "{text:?}: {span:?}");
    }
}
