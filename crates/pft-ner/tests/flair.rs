//! The Flair backend against flair on small random models (tests/reference/ner_flair.py), and what
//! it says about broken ones.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use pft_ner::flair::{FlairOptions, FlairTagger};
use pft_pii::{LoadError, Tagger};
use proptest::prelude::*;
use serde_json::Value;

/// The old ones are as before Flair 0.12, and as before PyTorch 1.6.
const MODELS: [&str; 5] =
    ["transformer", "transformer-no-context", "transformer-old", "stacked", "stacked-old"];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/ner/flair")
}

fn load(path: &Path) -> Result<FlairTagger, LoadError> {
    let folder = if path.is_dir() { path } else { path.parent().unwrap() };
    let tokenizer = folder.join("tokenizer.json");
    FlairTagger::load(path, &FlairOptions { tokenizer: tokenizer.is_file().then_some(tokenizer) })
}

fn cases(model: &str) -> Vec<Value> {
    let text = fs::read_to_string(fixtures().join(model).join("expected.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn close(found: f32, expected: &Value) -> bool {
    (f64::from(found) - expected.as_f64().unwrap()).abs() < 1e-3
}

#[test]
fn sentences_tokens_and_tags_agree_with_flair() {
    for model in MODELS {
        let tagger = load(&fixtures().join(model)).unwrap();
        for case in cases(model) {
            let text = case["text"].as_str().unwrap();
            let found = tagger.tokens(text).unwrap();
            let expected: Vec<&Vec<Value>> = case["sentences"]
                .as_array()
                .unwrap()
                .iter()
                .map(|sentence| sentence.as_array().unwrap())
                .filter(|sentence| !sentence.is_empty())
                .collect();
            assert_eq!(found.len(), expected.len(), "{model}: {text}");
            for (found, expected) in found.iter().zip(expected) {
                assert_eq!(found.len(), expected.len(), "{model}: {text}");
                for (token, expected) in found.iter().zip(expected) {
                    let row = serde_json::json!([token.start, token.end, token.tag]);
                    assert_eq!(row.as_array().unwrap()[..], expected.as_array().unwrap()[..3]);
                    let score = &expected[3];
                    assert!(score.is_null() || close(token.score, score), "{model}: {token:?}");
                }
            }
        }
    }
}

#[test]
fn spans_agree_with_flair_alone_and_in_a_batch() {
    for model in MODELS {
        let tagger = load(&fixtures().join(model)).unwrap();
        let cases = cases(model);
        let texts: Vec<&str> = cases.iter().map(|case| case["text"].as_str().unwrap()).collect();
        let together = tagger.tag_batch(&texts);
        let alone = texts.iter().map(|text| tagger.tag_batch(&[text]).remove(0));
        for results in [together, alone.collect()] {
            let mut compared = 0;
            for (case, spans) in cases.iter().zip(results) {
                let (spans, expected) = (spans.unwrap(), case["spans"].as_array().unwrap());
                assert_eq!(spans.len(), expected.len(), "{model}: {}", case["text"]);
                for (span, expected) in spans.iter().zip(expected) {
                    let row = serde_json::json!([span.start, span.end, &*span.label]);
                    assert_eq!(row.as_array().unwrap()[..], expected.as_array().unwrap()[..3]);
                    assert!(close(span.score, &expected[3]), "{model}: {span:?} {expected}");
                    compared += 1;
                }
            }
            assert!(compared > 30, "{model}");
        }
    }
}

#[test]
fn context_comes_from_the_same_text_only() {
    let tagger = load(&fixtures().join("transformer")).unwrap();
    let sentence = "Ms Zofia Marchewka wrote to the Registrar in Strasbourg.";
    let before = "Mr. Ólafur Þór Einarsson lives in Reykjavík. ";
    let scores = |text: &str| -> Vec<f32> {
        tagger.tokens(text).unwrap().last().unwrap().iter().map(|token| token.score).collect()
    };
    let (alone, after) = (scores(sentence), scores(&format!("{before}{sentence}")));
    assert_eq!(alone.len(), after.len());
    assert!(alone.iter().zip(&after).any(|(a, b)| (a - b).abs() > 1e-3), "context is not read");
    let batch = tagger.tag_batch(&[before, sentence]);
    let single = tagger.tag_batch(&[sentence]).remove(0).unwrap();
    for (a, b) in batch[1].as_ref().unwrap().iter().zip(&single) {
        assert_eq!((a.start, a.end, &a.label), (b.start, b.end, &b.label));
        assert!((a.score - b.score).abs() < 1e-5);
    }
}

#[test]
fn broken_files_are_explained() {
    let error = |path: &Path| match load(path) {
        Ok(_) => panic!("a broken file was loaded"),
        Err(error) => error.to_string(),
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pytorch_model.bin");
    let bytes = fs::read(fixtures().join("stacked/pytorch_model.bin")).unwrap();
    assert!(error(&file).contains("cannot be read"));
    fs::write(&file, b"\x80\x02no archive").unwrap();
    assert!(error(folder.path()).contains("no file of PyTorch"), "{}", error(folder.path()));
    let old = fs::read(fixtures().join("stacked-old/pytorch_model.bin")).unwrap();
    fs::write(&file, &old[..old.len() - 5]).unwrap();
    assert!(error(&file).contains("downloaded"), "{}", error(&file));
    fs::copy(fixtures().join("transformer-old/pytorch_model.bin"), &file).unwrap();
    assert!(error(&file).contains("`tokenizer`"), "{}", error(&file));
    fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    assert!(error(&file).contains("downloaded"));
    let place = find(&bytes, b"tag_dictionary").unwrap();
    let mut other = bytes.clone();
    other[place] = b'T';
    fs::write(&file, &other).unwrap();
    assert!(error(&file).contains("no SequenceTagger"), "{}", error(&file));
    let mut other = bytes.clone();
    let place = find(&bytes, b"FlairEmbeddings").unwrap();
    other[place..place + 5].copy_from_slice(b"Fancy");
    fs::write(&file, &other).unwrap();
    assert!(error(&file).contains("FancyEmbeddings"), "{}", error(&file));
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn damaged_files_never_make_it_panic(
        model in 0..MODELS.len(),
        changes in proptest::collection::vec((0.0f64..1.0, any::<u8>()), 1..6),
        in_pickle in any::<bool>(),
    ) {
        let mut bytes = fs::read(fixtures().join(MODELS[model]).join("pytorch_model.bin")).unwrap();
        // The pickle comes first in the archive and holds what is worth damaging most.
        let end = if in_pickle { find(&bytes, b"FB").unwrap_or(8000).min(8000) } else { bytes.len() };
        for (place, value) in changes {
            let place = (place * end as f64) as usize;
            bytes[place] = value;
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), &bytes).unwrap();
        if let Ok(tagger) = load(file.path()) {
            let _ = tagger.tag_batch(&["Ms Zofia Marchewka wrote. She lives in 漢字."]);
        }
    }
}
