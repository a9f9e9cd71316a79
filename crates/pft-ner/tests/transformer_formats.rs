//! Checkpoints with weights in PyTorch's form and in ONNX (tests/reference/ner_formats.py) against
//! transformers on the same models, and what is said about those that are not read.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use pft_ner::transformer::{TransformerOptions, TransformerTagger};
use pft_pii::Tagger;
use serde_json::Value;
use tempfile::TempDir;

/// Form, and the checkpoint whose weights it holds.
const READ: [(&str, &str); 7] = [
    ("deberta-v3-pytorch", "deberta-v3"),
    ("bert", "bert"),
    ("roberta-external", "roberta"),
    ("xlm-roberta-unfolded", "xlm-roberta"),
    ("distilbert-dynamo", "distilbert"),
    ("deberta-v3-dynamo", "deberta-v3"),
    ("distilbert-fp16", "distilbert"),
];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/ner")
}

/// A folder with a checkpoint's config and tokenizer, and weights in another form in `inside`.
fn folder(form: &str, checkpoint: &str, inside: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["config.json", "tokenizer.json"] {
        let from = fixtures().join("transformer").join(checkpoint).join(name);
        fs::copy(from, folder.path().join(name)).unwrap();
    }
    let target = folder.path().join(inside);
    fs::create_dir_all(&target).unwrap();
    for entry in fs::read_dir(fixtures().join("formats").join(form)).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != "expected.json" {
            fs::copy(entry.path(), target.join(entry.file_name())).unwrap();
        }
    }
    folder
}

fn load(dir: &Path) -> Result<TransformerTagger, String> {
    let options = TransformerOptions::default();
    TransformerTagger::load(dir, options).map_err(|error| error.to_string())
}

/// What is said about a folder that is not read.
fn refused(dir: &Path) -> String {
    load(dir).err().expect("it was loaded")
}

#[test]
fn logits_agree_with_transformers_whatever_the_form() {
    for (form, checkpoint) in READ {
        let folder = folder(form, checkpoint, if form == "bert" { "onnx" } else { "." });
        let tagger = load(folder.path()).unwrap_or_else(|error| panic!("{form}: {error}"));
        let own = fixtures().join("formats").join(form).join("expected.json");
        let same = fixtures().join("transformer").join(checkpoint).join("expected.json");
        let expected = fs::read_to_string(if own.exists() { own } else { same }).unwrap();
        let cases: Vec<Value> = serde_json::from_str(&expected).unwrap();
        let mut compared = 0;
        for case in &cases {
            let (_, logits) = tagger.logits(case["text"].as_str().unwrap()).unwrap();
            let expected = case["logits"].as_array().unwrap();
            assert_eq!(logits.len(), expected.len(), "{form}");
            for (logit, expected) in logits.iter().zip(expected) {
                let difference = f64::from(*logit) - expected.as_f64().unwrap();
                assert!(difference.abs() < 1e-4, "{form}: {logit} for {expected}");
                compared += 1;
            }
        }
        assert!(compared > 500, "{form}");
    }
}

/// Not only to a tolerance: the same numbers reach the same code.
#[test]
fn every_form_answers_with_the_bits_of_safetensors() {
    let text = "Ms Zofia Marchewka wrote to the Registrar in Strasbourg on 4 March 2003.";
    for (form, checkpoint) in READ {
        if form.ends_with("fp16") {
            continue;
        }
        let usual = load(&fixtures().join("transformer").join(checkpoint)).unwrap();
        let other = load(folder(form, checkpoint, ".").path()).unwrap();
        assert_eq!(usual.logits(text).unwrap(), other.logits(text).unwrap(), "{form}");
        assert_ne!(usual.fingerprint(), other.fingerprint(), "{form}");
    }
}

#[test]
fn the_fingerprint_covers_every_byte_of_the_weights() {
    for (form, checkpoint, name) in [
        ("bert", "bert", "model.onnx"),
        ("roberta-external", "roberta", "model.onnx_data"),
        ("deberta-v3-pytorch", "deberta-v3", "pytorch_model.bin"),
    ] {
        let folder = folder(form, checkpoint, ".");
        let before = load(folder.path()).unwrap().fingerprint();
        assert_eq!(load(folder.path()).unwrap().fingerprint(), before);
        let path = folder.path().join(name);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 8 * 4;
        bytes[middle] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert_ne!(load(folder.path()).unwrap().fingerprint(), before, "{form}");
    }
}

#[test]
fn safetensors_come_first_then_pytorch_then_onnx() {
    let folder = folder("bert", "bert", "onnx");
    let beside = |name: &str| folder.path().join(name);
    let by_onnx = load(folder.path()).unwrap().fingerprint();
    fs::write(beside("model.onnx"), "broken").unwrap();
    assert!(refused(folder.path()).contains("model.onnx cannot be read as ONNX"));
    fs::write(beside("pytorch_model.bin"), "broken").unwrap();
    assert!(refused(folder.path()).contains("pytorch_model.bin"));
    fs::copy(fixtures().join("transformer/bert/model.safetensors"), beside("model.safetensors"))
        .unwrap();
    assert_ne!(load(folder.path()).unwrap().fingerprint(), by_onnx);
}

#[test]
fn quantised_weights_are_refused() {
    let folder = folder("distilbert-int8", "distilbert", "onnx");
    let message = refused(folder.path());
    assert!(message.contains("quantised") && message.contains("DynamicQuantize"), "{message}");
    assert!(message.contains("onnx/model.onnx"), "{message}");
}

#[test]
fn another_shape_than_the_config_says_is_refused() {
    let folder = folder("bert", "bert", ".");
    let path = folder.path().join("config.json");
    let mut config: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    config["intermediate_size"] = 40.into();
    fs::write(path, config.to_string()).unwrap();
    let message = refused(folder.path());
    assert!(message.contains("intermediate") && message.contains("has shape"), "{message}");
}

/// Wherever a download ended, and whatever bytes a broken disk returns, there is an answer or an
/// error, and no panic.
#[test]
fn damaged_files_are_errors() {
    for (form, checkpoint, name) in [
        ("distilbert-dynamo", "distilbert", "model.onnx"),
        ("roberta-external", "roberta", "model.onnx"),
        ("roberta-external", "roberta", "model.onnx_data"),
        ("deberta-v3-pytorch", "deberta-v3", "pytorch_model.bin"),
    ] {
        let folder = folder(form, checkpoint, ".");
        let path = folder.path().join(name);
        let whole = fs::read(&path).unwrap();
        for part in (0..whole.len()).step_by(whole.len() / 61) {
            fs::write(&path, &whole[..part]).unwrap();
            let message = refused(folder.path());
            assert!(message.contains(&folder.path().display().to_string()), "{message}");
        }
        for place in (0..whole.len()).step_by(whole.len() / 211) {
            let mut damaged = whole.clone();
            damaged[place] ^= 0x5a;
            fs::write(&path, &damaged).unwrap();
            // A number that is another can be anything but a panic.
            let _ = load(folder.path());
        }
    }
    let folder = folder("roberta-external", "roberta", ".");
    fs::remove_file(folder.path().join("model.onnx_data")).unwrap();
    let message = refused(folder.path());
    assert!(message.contains("model.onnx_data"), "{message}");
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n";
    fs::write(folder.path().join("model.onnx"), pointer).unwrap();
    assert!(refused(folder.path()).contains("not downloaded completely"));
}
