//! Tokenizers inside GGUF files against their reference implementations
//! (tests/reference/tokenizers_gguf.py).

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use tokenize::{Config, LoadedTokenizer, load_tokenizer};

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/tokenizers")
}

fn load(name: &str) -> LoadedTokenizer {
    let path = fixtures().join(format!("{name}.gguf"));
    let tokenizer = path.to_string_lossy().as_ref().into();
    load_tokenizer(&Config { tokenizer, ..Config::default() }).unwrap()
}

/// Compares the ids of every text, and that the ids decode to it.
fn check(name: &str) {
    let json = std::fs::read(fixtures().join(format!("{name}.json"))).unwrap();
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&json).unwrap();
    assert!(rows.len() >= 15);
    let loaded = load(name);
    for row in rows {
        let text = row["text"].as_str().unwrap();
        let encoding = loaded.tokenizer.encode(text, false).unwrap();
        assert_eq!(serde_json::json!(encoding.get_ids()), row["ids"], "{name}: {text:?}");
        assert_eq!(loaded.tokenizer.decode(encoding.get_ids(), false).unwrap(), text, "{name}");
    }
}

#[test]
fn sentence_piece_agrees_with_sentencepiece() {
    check("llama");
    let loaded = load("llama");
    assert_eq!((loaded.bos, loaded.eos, loaded.add_bos), (Some(1), Some(2), true));
}

#[test]
fn gpt2_agrees_with_transformers() {
    check("gpt-2");
}

#[test]
fn llama3_agrees_with_tokenizers() {
    check("llama-bpe");
}
