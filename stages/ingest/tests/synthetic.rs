//! The synthetic source: gold spans are right, and units depend on nothing but seed and number.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeSet, HashSet};

use ingest::document::RawDocument;
use ingest::split::{SplitBy, SplitConfig, UnitSplitter};
use ingest::synthetic::config::{CanaryConfig, DocumentKind, Kind, SyntheticConfig};
use ingest::synthetic::{canary_table, open};
use pft_artifact::Split;
use proptest::prelude::*;

fn config(kind: Kind, units: u64, seed: u64) -> SyntheticConfig {
    SyntheticConfig { kind, units, seed, ..SyntheticConfig::default() }
}

fn make(config: &SyntheticConfig) -> Vec<RawDocument> {
    open(config, &SplitConfig::default()).unwrap().documents.collect::<Result<_, _>>().unwrap()
}

/// The text with every gold span blanked out, after checking the spans themselves.
fn outside_of_spans(document: &RawDocument) -> String {
    let mut outside = String::new();
    let mut end = 0;
    for span in document.spans.as_ref().unwrap() {
        assert!(span.start >= end && span.start < span.end, "{}", document.origin);
        let surface = &document.text[span.start as usize..span.end as usize];
        assert_eq!(surface.trim(), surface, "a span has white space at its border");
        outside.push_str(&document.text[end as usize..span.start as usize]);
        outside.push('\u{1}');
        end = span.end;
    }
    outside.push_str(&document.text[end as usize..]);
    outside
}

/// The paragraph number that half of the cases have.
fn without_number(text: &str) -> &str {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    text[digits..].strip_prefix(".  ").unwrap_or(text)
}

fn check(document: &RawDocument) {
    let outside = outside_of_spans(document);
    let outside = without_number(&outside);
    let origin = &document.origin;
    // Every number of the material is a slot or a labelled literal, so that a digit outside of
    // the spans is a value that was not labelled.
    assert!(!outside.contains(|c: char| c.is_ascii_digit()), "{origin}: {outside}");
    assert!(!document.text.contains(['{', '}', '\u{0}']), "{origin}: {outside}");
    // A neutral citation, [2003] AB 12, is a value; elsewhere brackets are template syntax.
    assert!(!outside.contains(['[', ']']), "{origin}: {outside}");
    for slip in ["a(n)", "A(n)", "a \u{1}\u{1}", " .", " ,", "..", "the the "] {
        assert!(!outside.contains(slip), "{origin}: {slip:?} in {outside}");
    }
    assert!(!document.text.trim().is_empty() && document.text.trim() == document.text);
}

#[test]
fn spans_cover_every_value_and_nothing_is_left_unfilled() {
    for kind in [Kind::Echr, Kind::Enron, Kind::Support] {
        for document in make(&config(kind, 1200, 3)) {
            check(&document);
        }
    }
}

#[test]
fn a_person_who_was_named_is_labelled_wherever_the_name_stands() {
    for kind in [Kind::Echr, Kind::Enron, Kind::Support] {
        for document in make(&config(kind, 300, 9)) {
            let outside = outside_of_spans(&document);
            for span in document.spans.as_ref().unwrap() {
                let surface = &document.text[span.start as usize..span.end as usize];
                if &*span.label == "PERSON" && surface.contains(' ') {
                    assert!(!outside.contains(surface), "{}: {outside}", document.origin);
                }
            }
        }
    }
}

#[test]
fn a_unit_depends_on_the_seed_and_its_number_alone() {
    for kind in [Kind::Echr, Kind::Enron, Kind::Support] {
        let few = make(&config(kind, 40, 5));
        let many = make(&config(kind, 700, 5));
        assert_eq!(few, many[..few.len()]);
        assert_eq!(many, make(&config(kind, 700, 5)));
        assert_ne!(few, make(&config(kind, 40, 6)));
    }
}

#[test]
fn a_case_is_its_paragraphs() {
    let paragraphs = make(&config(Kind::Echr, 30, 2));
    let cases =
        make(&SyntheticConfig { document: DocumentKind::Case, ..config(Kind::Echr, 30, 2) });
    assert_eq!(cases.len(), 30);
    for case in &cases {
        assert!(!outside_of_spans(case).is_empty());
        let own: Vec<&str> = paragraphs
            .iter()
            .filter(|paragraph| paragraph.unit_id == case.unit_id)
            .map(|paragraph| paragraph.text.as_str())
            .collect();
        assert!(own.len() >= 5);
        assert_eq!(own.join("\n"), case.text);
    }
}

#[test]
fn documents_are_varied() {
    for (kind, least) in [(Kind::Echr, 0.995), (Kind::Enron, 0.9999)] {
        let documents = make(&config(kind, 1300, 0));
        let distinct: HashSet<&str> =
            documents.iter().map(|document| document.text.as_str()).collect();
        assert!(documents.len() > 8_000);
        assert!(distinct.len() as f64 >= least * documents.len() as f64);
    }
}

#[test]
fn senders_write_as_many_messages_as_the_config_says() {
    let mut config = config(Kind::Enron, 200, 1);
    config.emails_per_sender.min = 2;
    config.emails_per_sender.max = 4;
    let documents = make(&config);
    let mut counts = BTreeSet::new();
    for unit in 0..200 {
        let id = format!("sender-{unit:07}");
        counts.insert(documents.iter().filter(|d| d.unit_id.as_ref() == Some(&id)).count());
    }
    assert_eq!(counts, BTreeSet::from([2, 3, 4]));

    config.emails_per_sender.min = 5;
    assert!(open(&config, &SplitConfig::default()).is_err());
}

#[test]
fn canaries_stand_where_the_table_says_and_nowhere_else() {
    for kind in [Kind::Echr, Kind::Enron, Kind::Support] {
        let plain = config(kind, 300, 4);
        let planted = SyntheticConfig {
            canaries: vec![
                CanaryConfig { repetitions: 5, units: 7, ..CanaryConfig::default() },
                CanaryConfig {
                    text: "My number is {digits}, do not tell.".to_string(),
                    digits: 9,
                    repetitions: 20,
                    units: 1,
                },
            ],
            ..plain.clone()
        };
        let split = SplitConfig::default();
        let table = canary_table(&planted, &split).unwrap();
        let documents = make(&planted);
        let splitter = UnitSplitter::new(&split);
        assert_eq!(table[0].units.len(), 7);
        assert_eq!(table[1].secret.len(), 9);
        for canary in &table {
            assert!(canary.text.contains(&canary.secret));
            let mut found = 0;
            for document in &documents {
                let count = document.text.matches(&canary.text).count();
                let labelled = document.spans.iter().flatten().filter(|span| {
                    &*span.label == "CANARY"
                        && document.text[span.start as usize..span.end as usize] == canary.secret
                });
                assert_eq!(labelled.count(), count);
                if count > 0 {
                    let unit = document.unit_id.as_ref().unwrap();
                    assert!(canary.units.contains(unit));
                    assert_eq!(splitter.split(unit), Split::Train);
                }
                found += count;
            }
            assert_eq!(found, canary.units.len() * canary.repetitions as usize);
        }
        let chosen: BTreeSet<&String> = table.iter().flat_map(|canary| &canary.units).collect();
        for (with, without) in documents.iter().zip(make(&plain)) {
            let is_chosen = chosen.contains(with.unit_id.as_ref().unwrap());
            assert!(is_chosen || *with == without);
            assert!(with.text.starts_with(&without.text));
        }
        // One more unit displaces at most one of the chosen.
        let more = SyntheticConfig { units: 301, ..planted.clone() };
        let before: BTreeSet<_> = table[0].units.iter().collect();
        let after = canary_table(&more, &split).unwrap();
        assert!(after[0].units.iter().filter(|unit| !before.contains(unit)).count() <= 1);
    }
}

#[test]
fn senseless_canaries_are_refused() {
    let refused = |canary: CanaryConfig, split: &SplitConfig| {
        let config = SyntheticConfig { canaries: vec![canary], ..config(Kind::Echr, 10, 0) };
        open(&config, split).map(|_| ()).unwrap_err().to_string()
    };
    let split = SplitConfig::default();
    let text = CanaryConfig { text: "no place".to_string(), ..CanaryConfig::default() };
    assert!(refused(text, &split).contains("synthetic.canaries[0]"));
    let units = CanaryConfig { units: 11, ..CanaryConfig::default() };
    assert!(refused(units, &split).contains("units"));
    let by_file = SplitConfig { by: SplitBy::LlmPft, ..SplitConfig::default() };
    let units = CanaryConfig { units: 11, ..CanaryConfig::default() };
    assert!(refused(units, &by_file).contains("10 units"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn any_seed_makes_sound_documents(seed: u64, enron: bool) {
        let kind = if enron { Kind::Enron } else { Kind::Echr };
        for document in make(&config(kind, 5, seed)) {
            check(&document);
        }
    }
}

/// Turns alternate and begin with the customer's; spans lie in them, canaries in the last.
#[test]
fn tickets_are_conversations() {
    use pft_artifact::Role;
    let canaries = vec![CanaryConfig { repetitions: 3, units: 20, ..CanaryConfig::default() }];
    let documents = make(&SyntheticConfig { canaries, ..config(Kind::Support, 300, 1) });
    let mut turns_of = BTreeSet::new();
    for document in &documents {
        let turns = &document.turns;
        turns_of.insert(turns.len());
        for (turn, role) in turns.iter().zip([Role::User, Role::Assistant].into_iter().cycle()) {
            assert_eq!(turn.role, role);
            assert!(!document.text[turn.range()].trim().is_empty());
        }
        assert_eq!(turns.last().unwrap().end as usize, document.text.len());
        for span in document.spans.iter().flatten() {
            assert!(turns.iter().any(|turn| turn.start <= span.start && span.end <= turn.end));
        }
    }
    assert_eq!(turns_of, BTreeSet::from([4, 6]));
    let units: BTreeSet<_> = documents.iter().map(|document| &document.unit_id).collect();
    assert_eq!(units.len(), 300);
    for kind in [Kind::Echr, Kind::Enron] {
        assert!(make(&config(kind, 3, 1)).iter().all(|document| document.turns.is_empty()));
    }
}
