//! The spaCy backend against spaCy (tests/reference/ner_spacy.py), with the small English
//! pipeline that `make models` fetches, and what it says about broken folders.

use std::fs;
use std::path::{Path, PathBuf};

use pft_ner::Tagger;
use pft_ner::spacy::SpacyTagger;
use serde_json::{Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The pipeline's folder, if it was fetched.
fn model() -> Option<PathBuf> {
    let folder = root().join("data/models/en_core_web_sm");
    let there = folder.join("ner/model").is_file();
    if !there {
        eprintln!("not checked: data/models/en_core_web_sm is not there; run `make models`");
    }
    there.then_some(folder)
}

fn cases() -> Vec<Value> {
    let path = root().join("tests/fixtures/ner/spacy/expected.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn tokens_and_entities_are_spacys() {
    let cases = cases();
    assert!(cases.len() > 30);
    let Some(folder) = model() else { return };
    let tagger = SpacyTagger::load(&folder).unwrap();
    let texts: Vec<&str> = cases.iter().map(|case| case["text"].as_str().unwrap()).collect();
    let tagged = tagger.tag_batch(&texts);
    assert_eq!(tagged.len(), texts.len());
    for ((case, text), spans) in cases.iter().zip(&texts).zip(tagged) {
        let tokens: Vec<Value> =
            tagger.tokens(text).iter().map(|range| json!([range.start, range.end])).collect();
        assert_eq!(Value::Array(tokens), case["tokens"], "tokens of {text}");
        let alone = tagger.tag_batch(&[text]).remove(0).unwrap();
        let spans = spans.unwrap();
        assert_eq!(alone, spans, "alone and in a batch: {text}");
        let entities: Vec<Value> =
            spans.iter().map(|span| json!([span.start, span.end, &*span.label])).collect();
        assert_eq!(Value::Array(entities), case["entities"], "entities of {text}");
    }
}

#[test]
fn damaged_pipelines_are_explained() {
    let error = |folder: &Path| match SpacyTagger::load(folder) {
        Ok(_) => panic!("a damaged pipeline was loaded"),
        Err(error) => error.to_string(),
    };
    let empty = tempfile::tempdir().unwrap();
    assert!(error(empty.path()).contains("ner/model"));
    let Some(folder) = model() else { return };
    for (file, keep) in [("tokenizer", 5000), ("ner/model", 100_000), ("ner/moves", 40)] {
        let copy = tempfile::tempdir().unwrap();
        for part in ["tokenizer", "vocab/lookups.bin", "ner/model", "ner/moves"] {
            let target = copy.path().join(part);
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            let bytes = fs::read(folder.join(part)).unwrap();
            fs::write(target, if part == file { &bytes[..keep] } else { &bytes }).unwrap();
        }
        let message = error(copy.path());
        assert!(message.contains(file), "{file}: {message}");
    }
}
