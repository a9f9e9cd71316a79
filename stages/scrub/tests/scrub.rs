//! Scrubbing against a brute-force oracle, and refusals of tags that do not belong.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pft_artifact::{
    CorpusReader, CorpusWriter, Document, Kind, Manifest, Span, Split, TaggedDocument, TagsReader,
    TagsWriter, count_rows, text_hash,
};
use pft_stage::{Context, Stage, StageError};
use proptest::prelude::*;
use scrub::{Config, Mode, Scrub, Untagged};

fn document(doc_id: &str, unit_id: &str, text: &str) -> Document {
    Document {
        doc_id: doc_id.into(),
        unit_id: unit_id.into(),
        split: Split::Train,
        text: text.into(),
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
    Scrub::run(config, &context)?;
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
    refuse(&extra, "hold document \"doc-c\"");
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
    assert_eq!(corpus[0].doc_id, "b");
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
        let (all, all_tags) = scrub(with(mode), &documents, &tags).unwrap();
        let without = [documents[0].clone(), documents[2].clone()];
        let without_tags = [tags[0].clone(), tags[2].clone()];
        let (rest, rest_tags) = scrub(with(mode), &without, &without_tags).unwrap();
        assert_eq!(rest, [all[0].clone(), all[2].clone()]);
        assert_eq!(rest_tags, [all_tags[0].clone(), all_tags[2].clone()]);
    }
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
            spans.push(Span { start, end: text.len() as u32, label: "X".into(), score: 1.0, source: "t".into() });
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
    let tags = TagsReader::open(&path("out/tags")).unwrap().iter().next().unwrap().unwrap();
    assert_eq!(tags.text_hash, text_hash(&out.text));
    let found: Vec<&str> =
        tags.spans.iter().map(|s| &out.text[s.start as usize..s.end as usize]).collect();
    assert_eq!(found, ["PERSON_1", "PERSON_1"]);
}
