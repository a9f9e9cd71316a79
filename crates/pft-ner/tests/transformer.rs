//! The transformer backend against transformers on small random checkpoints
//! (tests/reference/ner_transformer.py), and what it says about broken ones.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use pft_ner::transformer::{TransformerOptions, TransformerTagger};
use pft_pii::{LoadError, Tagger};
use serde_json::Value;

const FAMILIES: [&str; 5] = ["bert", "distilbert", "roberta", "xlm-roberta", "deberta-v3"];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/ner/transformer")
}

fn load(dir: &Path) -> Result<TransformerTagger, LoadError> {
    TransformerTagger::load(dir, TransformerOptions::default())
}

fn load_error(dir: &Path) -> String {
    match load(dir) {
        Ok(_) => panic!("a broken checkpoint was loaded"),
        Err(error) => error.to_string(),
    }
}

fn cases(family: &str) -> Vec<Value> {
    let text = fs::read_to_string(fixtures().join(family).join("expected.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn logits_and_offsets_agree_with_transformers() {
    for family in FAMILIES {
        let tagger = load(&fixtures().join(family)).unwrap();
        for case in cases(family) {
            let text = case["text"].as_str().unwrap();
            let (offsets, logits) = tagger.logits(text).unwrap();
            let offsets: Vec<Value> =
                offsets.iter().map(|range| serde_json::json!([range.start, range.end])).collect();
            assert_eq!(Value::Array(offsets), case["offsets"], "{family}: {text}");
            let expected = case["logits"].as_array().unwrap();
            assert_eq!(logits.len(), expected.len());
            for (logit, expected) in logits.iter().zip(expected) {
                let difference = f64::from(*logit) - expected.as_f64().unwrap();
                assert!(difference.abs() < 1e-4, "{family}: {logit} for {expected} in {text}");
            }
        }
    }
}

#[test]
fn entities_agree_with_the_pipeline() {
    for family in FAMILIES {
        let tagger = load(&fixtures().join(family)).unwrap();
        let cases = cases(family);
        let texts: Vec<&str> = cases.iter().map(|case| case["text"].as_str().unwrap()).collect();
        let mut compared = 0;
        for (case, spans) in cases.iter().zip(tagger.tag_batch(&texts)) {
            let spans = spans.unwrap();
            let expected = case["entities"].as_array().unwrap();
            assert_eq!(spans.len(), expected.len(), "{family}: {}", case["text"]);
            for (span, expected) in spans.iter().zip(expected) {
                let found = serde_json::json!([span.start, span.end, &*span.label]);
                assert_eq!(found.as_array().unwrap()[..], expected.as_array().unwrap()[..3]);
                assert!((f64::from(span.score) - expected[3].as_f64().unwrap()).abs() < 1e-4);
                compared += 1;
            }
        }
        assert!(compared > 10, "{family}");
    }
}

#[test]
fn a_text_answers_the_same_alone_and_in_a_batch() {
    let tagger = load(&fixtures().join("bert")).unwrap();
    let cases = cases("bert");
    let mut texts: Vec<&str> = cases.iter().map(|case| case["text"].as_str().unwrap()).collect();
    texts.insert(2, "");
    let together = tagger.tag_batch(&texts);
    for (text, together) in texts.iter().zip(together) {
        let alone = tagger.tag_batch(&[text]).remove(0).unwrap();
        let together = together.unwrap();
        assert_eq!(alone.len(), together.len());
        for (a, b) in alone.iter().zip(&together) {
            assert_eq!((a.start, a.end, &a.label), (b.start, b.end, &b.label));
        }
    }
}

#[test]
fn long_texts_are_tagged_to_their_end() {
    let tagger = load(&fixtures().join("bert")).unwrap();
    let sentence = "Ms Zofia Marchewka wrote to the Registrar in Strasbourg on 4 March 2003. ";
    let text = sentence.repeat(60);
    let spans = tagger.tag_batch(&[&text]).remove(0).unwrap();
    for (index, _) in text.match_indices(sentence) {
        let inside = spans.iter().filter(|s| s.start >= index && s.start < index + sentence.len());
        assert!(inside.count() > 0, "nothing found from byte {index}");
    }
    assert!(spans.windows(2).all(|pair| pair[0].end <= pair[1].start));
    assert!(spans.iter().all(|span| span.end <= text.len() && !span.is_empty()));
}

/// A copy of the BERT fixture, and `change` made to it.
fn broken(change: impl FnOnce(&Path)) -> String {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(fixtures().join("bert")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    change(copy.path());
    load_error(copy.path())
}

fn edit_config(dir: &Path, edit: impl FnOnce(&mut Value)) {
    let path = dir.join("config.json");
    let mut config = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    edit(&mut config);
    fs::write(path, config.to_string()).unwrap();
}

#[test]
fn broken_checkpoints_are_explained() {
    let message = broken(|dir| edit_config(dir, |config| config["id2label"] = Value::Null));
    assert!(message.contains("id2label"), "{message}");
    let message = broken(|dir| edit_config(dir, |config| config["hidden_size"] = 64.into()));
    assert!(message.contains("has shape") && message.contains("config.json"), "{message}");
    let message = broken(|dir| edit_config(dir, |config| config["model_type"] = "t5".into()));
    assert!(message.contains("t5"), "{message}");
    let message = broken(|dir| fs::remove_file(dir.join("tokenizer.json")).unwrap());
    assert!(message.contains("vocab.txt"), "{message}");
    let message = broken(|dir| {
        let path = dir.join("model.safetensors");
        let bytes = fs::read(&path).unwrap();
        fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    });
    assert!(message.contains("damaged"), "{message}");
    let message = broken(|dir| {
        fs::rename(dir.join("model.safetensors"), dir.join("pytorch_model.bin")).unwrap();
    });
    assert!(message.contains("pytorch_model.bin: it is no file of PyTorch"), "{message}");
    let message = broken(|dir| fs::remove_file(dir.join("model.safetensors")).unwrap());
    for name in ["model.safetensors", "pytorch_model.bin", "model.onnx", "onnx/model.onnx"] {
        assert!(message.contains(name), "{message}");
    }
    let message = load_error(Path::new("/nonexistent/checkpoint"));
    assert!(message.contains("config.json"), "{message}");
}
