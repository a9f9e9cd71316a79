//! Scrubbing against a brute-force oracle, and refusals of tags that do not belong.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pft_artifact::{
    CorpusReader, CorpusWriter, Document, Kind, Manifest, Role, Span, Split, TaggedDocument,
    TagsReader, TagsWriter, Turn, count_rows, text_hash,
};
use pft_stage::{Context, Stage, StageError};
use proptest::prelude::*;
use scrub::{Config, Ids, Mode, Scrub, Untagged};

fn document(doc_id: &str, unit_id: &str, text: &str) -> Document {
    Document {
        doc_id: doc_id.into(),
        unit_id: unit_id.into(),
        split: Split::Train,
        text: text.into(),
        turns: Vec::new(),
    }
}

/// Tags every occurrence of the words, with the label given.
fn tag(document: &Document, words: &[(&str, &str)]) -> TaggedDocument {
    let mut spans: Vec<Span> = words
        .iter()
        .flat_map(|(word, label)| {
            document.text.match_indices(word).map(|(at, word)| Span {
                start: at as u32,
                end: (at + word.len()) as u32,
                label: (*label).into(),
                score: 0.9,
                source: "test".into(),
                other_labels: None,
            })
        })
        .collect();
    spans.sort_by_key(|span| span.start);
    TaggedDocument { doc_id: document.doc_id.clone(), text_hash: text_hash(&document.text), spans }
}

fn seal(folder: &Path, kind: Kind) {
    let rows = count_rows(folder, kind).unwrap();
    Manifest::seal(folder, kind, rows, serde_json::Value::Null).unwrap();
}

fn scrub(
    config: Config,
    documents: &[Document],
    tags: &[TaggedDocument],
) -> Result<(Vec<Document>, Vec<TaggedDocument>), StageError> {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| -> PathBuf {
        let path = folder.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    };
    let mut writer = CorpusWriter::create(&path("corpus")).unwrap();
    documents.iter().for_each(|d| writer.push(d).unwrap());
    writer.finish().unwrap();
    seal(&path("corpus"), Kind::Corpus);
    let mut writer = TagsWriter::create(&path("tags")).unwrap();
    tags.iter().for_each(|t| writer.push(t).unwrap());
    writer.finish().unwrap();
    seal(&path("tags"), Kind::Tags);
    let context = Context::for_tests(
        BTreeMap::from([("corpus".into(), path("corpus")), ("tags".into(), path("tags"))]),
        BTreeMap::from([("corpus".into(), path("out")), ("tags".into(), path("out-tags"))]),
        folder.path(),
        2,
    );
    let keeps = config.mode == Mode::Keep && config.label_modes.is_empty();
    let selects =
        config.labels.is_some() || config.min_score > 0.0 || !config.label_modes.is_empty();
    Scrub::run(config, &context)?;
    let statement = context.unit_notes().uses.remove(0);
    assert_eq!(statement.contains("replaced"), !keeps, "a privacy statement says so: {statement}");
    assert!(selects || !statement.contains("a part of"), "{statement}");
    seal(&path("out"), Kind::Corpus);
    seal(&path("out-tags"), Kind::Tags);
    let corpus = CorpusReader::open(&path("out")).unwrap().iter().map(Result::unwrap).collect();
    let tags = TagsReader::open(&path("out-tags")).unwrap().iter().map(Result::unwrap).collect();
    Ok((corpus, tags))
}

fn with(mode: Mode) -> Config {
    Config { mode, ..Config::default() }
}

#[test]
fn each_mode_puts_its_own_thing_in_the_place_of_a_span() {
    let documents = [
        document("1", "u", "Zoë met Ömer; Zoë left."),
        document("2", "v", "Ömer again."),
        document("3", "u", "Later, Ömer saw Zoë."),
    ];
    let words = [("Zoë", "PERSON"), ("Ömer", "PERSON")];
    let tags: Vec<_> = documents.iter().map(|d| tag(d, &words)).collect();
    let texts = |mode| -> Vec<String> {
        let (corpus, _) = scrub(with(mode), &documents, &tags).unwrap();
        corpus.into_iter().map(|d| d.text).collect()
    };
    assert_eq!(texts(Mode::Mask)[0], "<MASK> met <MASK>; <MASK> left.");
    assert_eq!(texts(Mode::Label)[1], "[PERSON] again.");
    assert_eq!(texts(Mode::Remove)[0], " met ;  left.");
    assert_eq!(texts(Mode::Keep)[2], documents[2].text);
    // One numbering a unit, across its documents, whatever stands between them.
    let expected = [
        "PERSON_1 met PERSON_2; PERSON_1 left.",
        "PERSON_1 again.",
        "Later, PERSON_2 saw PERSON_1.",
    ];
    assert_eq!(texts(Mode::Pseudonym), expected);
    let surrogate = texts(Mode::Surrogate);
    let first = surrogate[0].split(' ').next().unwrap();
    assert!(surrogate[0].ends_with(&format!("{first} left.")), "{surrogate:?}");
    assert!(surrogate[2].ends_with(&format!("saw {first}.")), "{surrogate:?}");
}

#[test]
fn labels_scores_and_label_modes_select() {
    let documents = [document("1", "u", "Ada paid 5 on Monday")];
    let mut tags = tag(&documents[0], &[("Ada", "PERSON"), ("5", "MONEY"), ("Monday", "DATE")]);
    tags.spans[2].score = 0.2;
    let config = Config {
        min_score: 0.5,
        label_modes: BTreeMap::from([("MONEY".into(), Mode::Label)]),
        ..Config::default()
    };
    let (corpus, new_tags) = scrub(config, &documents, std::slice::from_ref(&tags)).unwrap();
    assert_eq!(corpus[0].text, "<MASK> paid [MONEY] on Monday");
    let sources: Vec<&str> = new_tags[0].spans.iter().map(|s| &*s.source).collect();
    assert_eq!(sources, ["scrub", "scrub", "test"]);
    let monday = &new_tags[0].spans[2];
    assert_eq!(&corpus[0].text[monday.start as usize..monday.end as usize], "Monday");
    let config = Config { labels: Some(vec!["DATE".into()]), ..Config::default() };
    let (corpus, _) = scrub(config, &documents, &[tags]).unwrap();
    assert_eq!(corpus[0].text, "Ada paid 5 on <MASK>");
}

/// A misspelt label would leave all of its kind readable, and the model card would say otherwise.
#[test]
fn labels_that_no_span_has_are_refused_where_another_was_meant() {
    let documents = [document("1", "u", "Ada paid 5 on Monday")];
    let tags = tag(&documents[0], &[("Ada", "PERSON"), ("5", "MONEY"), ("Monday", "DATE")]);
    let run = |config: Config| scrub(config, &documents, std::slice::from_ref(&tags));
    let labels = |labels: &[&str]| Config {
        labels: Some(labels.iter().map(ToString::to_string).collect()),
        ..Config::default()
    };
    for (wrong, message) in [
        (labels(&["Date"]), "did you mean \"DATE\"?"),
        (labels(&["DATE", "Person"]), "did you mean \"PERSON\"?"),
        (labels(&["DATE", "PER"]), "did you mean \"PERSON\"?"),
        (labels(&["PERSON", "DATE_TIME"]), "did you mean \"DATE\"?"),
        (
            Config {
                label_modes: BTreeMap::from([("PER".into(), Mode::Label)]),
                ..Config::default()
            },
            "label_modes: no span has the label \"PER\"",
        ),
    ] {
        let error = run(wrong).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{error}");
        assert!(error.message().contains(message), "{error}");
    }
    let (corpus, _) = run(labels(&["PERSON", "IBAN"])).unwrap();
    assert_eq!(corpus[0].text, "<MASK> paid 5 on Monday");
    let (corpus, _) = run(labels(&["IBAN", "PERSON", "PERSON_ID"])).unwrap();
    assert_eq!(corpus[0].text, "<MASK> paid 5 on Monday", "a label that is configured was meant");
    let (corpus, _) = run(labels(&["IBAN"])).unwrap();
    assert_eq!(corpus[0].text, documents[0].text, "a corpus may have none of a kind");
    assert_eq!(Scrub::validate(&labels(&[])).unwrap_err().exit_code(), 2);
}

#[test]
fn tags_that_do_not_belong_are_refused_with_the_document_id() {
    let documents = [document("doc-a", "u", "Ada"), document("doc-b", "u", "Bob")];
    let good: Vec<_> = documents.iter().map(|d| tag(d, &[("Ada", "PERSON")])).collect();
    let refuse = |tags: &[TaggedDocument], expected: &str| {
        let error = scrub(Config::default(), &documents, tags).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        assert!(error.to_string().contains(expected), "{error}");
    };
    let mut other = good.clone();
    other[1].text_hash = text_hash("Rob");
    refuse(&other, "\"doc-b\": its tags were made for another text");
    refuse(&good[..1], "\"doc-b\" has no tags");
    let swapped = [good[1].clone(), good[0].clone()];
    refuse(&swapped, "\"doc-a\" has no tags");
    let mut extra = good.clone();
    extra.push(tag(&document("doc-c", "u", "Cy"), &[]));
    refuse(&extra, "\"doc-c\": is in the tags, but the corpus lacks it");
    let mut beyond = good.clone();
    beyond[0].spans[0].end = 30;
    refuse(&beyond, "\"doc-a\": span 0..30");
}

#[test]
fn a_document_without_tags_never_passes_as_clean() {
    let documents = [document("a", "u", "Ada"), document("b", "u", "Bob")];
    let tags = [tag(&documents[1], &[("Bob", "PERSON")])];
    let config = Config { untagged: Untagged::Drop, ..Config::default() };
    let (corpus, _) = scrub(config, &documents, &tags).unwrap();
    assert_eq!(corpus.len(), 1);
    assert_eq!(corpus[0].text, "<MASK>");
}

#[test]
fn text_that_equals_its_mask_is_refused() {
    let documents = [document("a", "u", "a <MASK> here")];
    let tags = [tag(&documents[0], &[("<MASK>", "PERSON")])];
    let error = scrub(Config::default(), &documents, &tags).unwrap_err();
    assert!(error.to_string().contains("would survive"), "{error}");
}

#[test]
fn deleting_a_unit_leaves_the_others_as_they_were() {
    let documents = [
        document("1", "u", "Ada and Bob"),
        document("2", "v", "Bob and Cy"),
        document("3", "u", "Cy and Ada"),
    ];
    let words = [("Ada", "PERSON"), ("Bob", "PERSON"), ("Cy", "PERSON")];
    let tags: Vec<_> = documents.iter().map(|d| tag(d, &words)).collect();
    for mode in [Mode::Pseudonym, Mode::Surrogate] {
        let config =
            || Config { ids: Ids::Keep, fixed_seed_not_for_release: Some(1), ..with(mode) };
        let (all, all_tags) = scrub(config(), &documents, &tags).unwrap();
        let without = [documents[0].clone(), documents[2].clone()];
        let without_tags = [tags[0].clone(), tags[2].clone()];
        let (rest, rest_tags) = scrub(config(), &without, &without_tags).unwrap();
        assert_eq!(rest, [all[0].clone(), all[2].clone()]);
        assert_eq!(rest_tags, [all_tags[0].clone(), all_tags[2].clone()]);
    }
}

/// A span that a tagger took for a date, and another in part for a person.
fn date_with_name() -> (Document, TaggedDocument) {
    let document = document("1", "u", "on 12 May Kowalski wrote");
    let mut tags = tag(&document, &[("12 May Kowalski", "DATE")]);
    tags.spans[0].other_labels = Some("LOC+PERSON".into());
    (document, tags)
}

/// What is kept by one label is still what the other says.
#[test]
fn a_span_stays_only_if_all_its_labels_say_so() {
    let (document, tags) = date_with_name();
    let keep = |labels: &[&str]| -> BTreeMap<String, Mode> {
        labels.iter().map(|label| ((*label).to_string(), Mode::Keep)).collect()
    };
    let listed = |labels: &[&str]| Some(labels.iter().map(|l| (*l).to_string()).collect());
    let kept = document.text.as_str();
    let of_label = Config { mode: Mode::Label, ..Config::default() };
    for (config, expected) in [
        (of_label.clone(), "on [DATE] wrote"),
        (Config { label_modes: keep(&["DATE"]), ..of_label.clone() }, "on [LOC] wrote"),
        (Config { label_modes: keep(&["DATE", "LOC"]), ..of_label.clone() }, "on [PERSON] wrote"),
        (Config { label_modes: keep(&["DATE", "LOC", "PERSON"]), ..of_label.clone() }, kept),
        (Config { labels: listed(&["PERSON", "ORG"]), ..of_label.clone() }, "on [PERSON] wrote"),
        (Config { min_score: 1.0, ..of_label.clone() }, kept),
        (Config { label_modes: keep(&["DATE", "LOC"]), ..Config::default() }, "on <MASK> wrote"),
    ] {
        let (corpus, new_tags) =
            scrub(config, std::slice::from_ref(&document), std::slice::from_ref(&tags)).unwrap();
        assert_eq!(corpus[0].text, expected);
        assert_eq!(new_tags[0].spans[0].other_labels.as_deref(), Some("LOC+PERSON"));
    }
}

#[test]
fn a_surrogate_lets_no_word_through_that_may_be_a_name() {
    let (document, tags) = date_with_name();
    for label_modes in [BTreeMap::new(), BTreeMap::from([("DATE".into(), Mode::Keep)])] {
        let config = Config { label_modes, ..with(Mode::Surrogate) };
        let (corpus, _) =
            scrub(config, std::slice::from_ref(&document), std::slice::from_ref(&tags)).unwrap();
        let text = &corpus[0].text;
        assert!(!text.contains("Kowalski") && text.ends_with(" wrote"), "{text}");
    }
}

/// A key that can be known lets anybody try which dates give a surrogate.
#[test]
fn surrogates_differ_from_run_to_run_unless_a_seed_is_fixed() {
    let numbers: Vec<String> = (0..40).map(|n| format!("{}", 12_345_678 + n)).collect();
    let document = document("1", "u", &numbers.join(" "));
    let words: Vec<(&str, &str)> = numbers.iter().map(|n| (n.as_str(), "PHONE")).collect();
    let tags = [tag(&document, &words)];
    let run = |fixed_seed_not_for_release| {
        let config = Config { fixed_seed_not_for_release, ..with(Mode::Surrogate) };
        scrub(config, std::slice::from_ref(&document), &tags).unwrap().0.remove(0).text
    };
    assert_ne!(run(None), run(None));
    assert_eq!(run(Some(7)), run(Some(7)));
    assert_ne!(run(Some(7)), run(Some(8)));
}

/// Ids are addresses and paths more often than not.
#[test]
fn ids_are_numbers_in_the_order_of_the_corpus_unless_they_are_kept() {
    let documents = [
        document("mail/kowalski/7", "kowalski@example.com", "Ada"),
        document("mail/nagy/1", "nagy@example.com", "Ada"),
        document("mail/kowalski/8", "kowalski@example.com", "Ada"),
    ];
    let tags: Vec<_> = documents.iter().map(|d| tag(d, &[("Ada", "PERSON")])).collect();
    let ids = |config: Config, tags: &[TaggedDocument]| -> Vec<(String, String)> {
        let (corpus, tagged) = scrub(config, &documents, tags).unwrap();
        assert!(corpus.iter().zip(&tagged).all(|(document, tags)| document.doc_id == tags.doc_id));
        corpus.into_iter().map(|document| (document.doc_id, document.unit_id)).collect()
    };
    let of = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|&(d, u)| (d.to_string(), u.to_string())).collect()
    };
    let numbers = [("document-1", "unit-1"), ("document-2", "unit-2"), ("document-3", "unit-1")];
    assert_eq!(ids(Config::default(), &tags), of(&numbers));
    let kept = documents.each_ref().map(|d| (d.doc_id.as_str(), d.unit_id.as_str()));
    assert_eq!(ids(Config { ids: Ids::Keep, ..Config::default() }, &tags), of(&kept));
    // Documents that are left out do not count.
    let config = Config { untagged: Untagged::Drop, ..Config::default() };
    assert_eq!(ids(config, &tags[1..]), of(&[("document-1", "unit-1"), ("document-2", "unit-2")]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Pieces alternate between text that stays and text that goes; the oracle joins them.
    #[test]
    fn masking_agrees_with_joining_pieces(pieces in prop::collection::vec(("\\PC{0,6}", "\\PC{1,6}"), 0..12), tail in "\\PC{0,6}") {
        let mut text = String::new();
        let mut expected = String::new();
        let mut spans = Vec::new();
        for (stays, goes) in &pieces {
            prop_assume!(goes != "<MASK>");
            text.push_str(stays);
            expected.push_str(stays);
            let start = text.len() as u32;
            text.push_str(goes);
            expected.push_str("<MASK>");
            spans.push(Span { start, end: text.len() as u32, label: "X".into(), score: 1.0, source: "t".into(), other_labels: None });
        }
        text.push_str(&tail);
        expected.push_str(&tail);
        let documents = [document("d", "u", &text)];
        let tags = [TaggedDocument { doc_id: "d".into(), text_hash: text_hash(&text), spans }];
        let (corpus, new_tags) = scrub(with(Mode::Mask), &documents, &tags).unwrap();
        prop_assert_eq!(&corpus[0].text, &expected);
        prop_assert_eq!(new_tags[0].spans.len(), pieces.len());
        for span in &new_tags[0].spans {
            prop_assert_eq!(&corpus[0].text[span.start as usize..span.end as usize], "<MASK>");
        }
        prop_assert_eq!(&new_tags[0].text_hash, &text_hash(&expected));
    }
}

/// Through the binary: a wrong pairing is one message with exit code 3 and leaves nothing.
#[test]
fn the_binary_refuses_foreign_tags_and_seals_right_ones() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let right = document("d1", "u1", "Jonas Ekdal wrote to Jonas Ekdal.");
    let other = document("d1", "u1", "Nobody wrote.");
    for (name, tagged) in [("right", &right), ("foreign", &other)] {
        std::fs::create_dir(path(name)).unwrap();
        let mut writer = TagsWriter::create(&path(name)).unwrap();
        writer.push(&tag(tagged, &[("Jonas Ekdal", "PERSON")])).unwrap();
        writer.finish().unwrap();
        seal(&path(name), Kind::Tags);
    }
    std::fs::create_dir(path("corpus")).unwrap();
    let mut writer = CorpusWriter::create(&path("corpus")).unwrap();
    writer.push(&right).unwrap();
    writer.finish().unwrap();
    seal(&path("corpus"), Kind::Corpus);
    let run = |tags: &str| {
        let input = |port: &str, name: &str| format!("{port}={}", path(name).display());
        let done = std::process::Command::new(env!("CARGO_BIN_EXE_scrub"))
            .args(["--set", "mode=pseudonym", "--input", &input("corpus", "corpus")])
            .args(["--input", &input("tags", tags), "--output"])
            .arg(path("out"))
            .output()
            .unwrap();
        (done.status.code(), String::from_utf8(done.stderr).unwrap())
    };
    let (code, message) = run("foreign");
    assert_eq!(code, Some(3), "{message}");
    assert!(message.contains("document \"d1\": its tags were made for another text"), "{message}");
    assert!(!message.contains("Ekdal"), "a message must not quote the text");
    assert!(!path("out").exists());

    let (code, message) = run("right");
    assert_eq!(code, Some(0), "{message}");
    let out = CorpusReader::open(&path("out/corpus")).unwrap().iter().next().unwrap().unwrap();
    assert_eq!(out.text, "PERSON_1 wrote to PERSON_1.");
    assert_eq!((&*out.doc_id, &*out.unit_id), ("document-1", "unit-1"));
    let tags = TagsReader::open(&path("out/tags")).unwrap().iter().next().unwrap().unwrap();
    assert_eq!(tags.text_hash, text_hash(&out.text));
    let found: Vec<&str> =
        tags.spans.iter().map(|s| &out.text[s.start as usize..s.end as usize]).collect();
    assert_eq!(found, ["PERSON_1", "PERSON_1"]);
}

fn conversation(doc_id: &str, unit_id: &str, contents: &[(Role, String)]) -> Document {
    let (text, turns) = Turn::join(contents.iter().map(|(role, text)| (*role, text))).unwrap();
    Document { text, turns, ..document(doc_id, unit_id, "") }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Scrubbing a conversation is scrubbing each of its turns as a document of the same unit: the oracle
    /// knows nothing of turns.
    #[test]
    fn a_turn_is_scrubbed_as_a_document_of_its_unit(
        contents in prop::collection::vec(
            prop::collection::vec(
                prop::sample::select(vec!["Zoë", "Ömer", "x", " ", "\n\n", "said"]), 0..7),
            1..6),
        mode in prop::sample::select(
            vec![Mode::Mask, Mode::Label, Mode::Pseudonym, Mode::Surrogate, Mode::Remove, Mode::Keep]),
    ) {
        let roles = [Role::System, Role::User, Role::Assistant, Role::Tool];
        let contents: Vec<(Role, String)> =
            contents.into_iter().enumerate().map(|(i, c)| (roles[i % 4], c.concat())).collect();
        let words = [("Zoë", "PERSON"), ("Ömer", "PERSON")];
        let config = Config { fixed_seed_not_for_release: Some(5), ..with(mode) };
        let chats = [conversation("1", "u", &contents), conversation("2", "u", &contents)];
        let tags: Vec<_> = chats.iter().map(|d| tag(d, &words)).collect();
        let (scrubbed, new_tags) = scrub(config.clone(), &chats, &tags).unwrap();

        let turns: Vec<Document> = contents.iter().enumerate()
            .map(|(i, (_, text))| document(&i.to_string(), "u", text))
            .collect();
        let tags: Vec<_> = turns.iter().map(|d| tag(d, &words)).collect();
        let (expected, _) = scrub(config, &turns, &tags).unwrap();
        for (chat, new_tags) in scrubbed.iter().zip(&new_tags) {
            let said: Vec<(Role, &str)> =
                chat.turns.iter().map(|turn| (turn.role, &chat.text[turn.range()])).collect();
            let expected: Vec<(Role, &str)> = contents.iter().zip(&expected)
                .map(|((role, _), turn)| (*role, turn.text.as_str()))
                .collect();
            prop_assert_eq!(said, expected);
            prop_assert_eq!(&new_tags.text_hash, &text_hash(&chat.text));
        }
    }
}

/// Such a span's replacement would belong to no turn, or to two.
#[test]
fn spans_over_the_border_of_a_turn_are_refused() {
    let contents = [(Role::User, "I am Zoë".to_string()), (Role::Assistant, "Ömer here".into())];
    let chat = conversation("c", "u", &contents);
    let middle = chat.turns[0].end;
    for (start, end) in [(5, middle + 1), (5, middle + 4), (middle, middle + 2)] {
        let mut tags = tag(&chat, &[("Zoë", "PERSON")]);
        (tags.spans[0].start, tags.spans[0].end) = (start, end);
        let error = scrub(with(Mode::Mask), std::slice::from_ref(&chat), &[tags]).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        assert!(error.message().contains("turn") && !error.message().contains("Zoë"), "{error}");
    }
}
