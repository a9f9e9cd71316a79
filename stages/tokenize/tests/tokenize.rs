//! Examples against their documents, and tokenizers against the reference implementation.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use pft_artifact::{DocumentRow, Example, SpanRow, Split};
use pft_gguf::{TokenType, Vocabulary};
use serde_json::Value;
use tokenize::{Config, Cutter, LoadedTokenizer, Mode, load_tokenizer};
use tokenizers::Tokenizer;

/// A byte-level BPE with a few merges: GPT-2's scheme in small.
fn vocabulary() -> Vocabulary {
    // GPT-2's table of printable stand-ins for bytes.
    let mut tokens: Vec<String> = (0..=255u8).map(|byte| stand_in(byte).to_string()).collect();
    let merges = ["t h", "th e", "Ġ the", "i n", "1 9", "e r"];
    tokens.extend(merges.iter().map(|merge| merge.replace(' ', "")));
    tokens.push("<|endoftext|>".into());
    let mut token_types = vec![TokenType::Normal; tokens.len()];
    *token_types.last_mut().unwrap() = TokenType::Control;
    let end = tokens.len() as u32 - 1;
    Vocabulary {
        model: "gpt2".into(),
        pre: "smollm".into(),
        tokens,
        token_types,
        merges: merges.iter().map(|m| m.to_string()).collect(),
        bos: Some(end),
        eos: Some(end),
        ..Vocabulary::default()
    }
}

fn stand_in(byte: u8) -> char {
    let printable = |b: u8| matches!(b, 33..=126 | 161..=172 | 174..=255);
    if printable(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|&b| !printable(b)).count() as u32;
    char::from_u32(256 + before).unwrap()
}

fn loaded() -> LoadedTokenizer {
    let json = vocabulary().tokenizer_json().unwrap();
    LoadedTokenizer {
        tokenizer: Tokenizer::from_bytes(json.to_string().as_bytes()).unwrap(),
        bos: vocabulary().bos,
        eos: vocabulary().eos,
        add_bos: false,
        carried: serde_json::Map::new(),
    }
}

/// What becomes of a document, and whether text was dropped.
fn examples(
    config: &Config,
    tokenizer: &LoadedTokenizer,
    text: &str,
    spans: &[SpanRow<'_>],
) -> (Vec<Example>, bool) {
    let document = DocumentRow { doc_id: "d", unit_id: "u", split: Split::Train, text, turns: &[] };
    let cut = Cutter::new(config, tokenizer).examples(document, spans.iter().copied()).unwrap();
    let mut examples = Vec::new();
    cut.each(|row| {
        examples.push(Example {
            example_id: row.example_id.into(),
            doc_id: row.doc_id.into(),
            unit_id: row.unit_id.into(),
            split: row.split,
            input_ids: row.input_ids.into(),
            pii: row.pii.into(),
            context: row.context,
            loss_mask: row.loss_mask.into(),
        });
        Ok::<_, std::convert::Infallible>(())
    })
    .unwrap();
    assert_eq!((cut.len(), cut.is_empty()), (examples.len(), examples.is_empty()));
    (examples, cut.truncated)
}

fn person(start: u32, end: u32) -> SpanRow<'static> {
    SpanRow { start, end, label: "PERSON", score: 1.0, source: "t", other_labels: None }
}

const TEXT: &str = "In 1961 the thinner other weather — naïve — in the 19th inn. ";

#[test]
fn blocks_without_overlap_are_the_document_and_its_end() {
    let tokenizer = loaded();
    let text = TEXT.repeat(7);
    let whole = tokenizer.tokenizer.encode(text.as_str(), false).unwrap();
    for block_size in [4, 5, 16, 33, 4096] {
        let config = Config { mode: Mode::Blocks, block_size, ..Config::default() };
        let (examples, truncated) = examples(&config, &tokenizer, &text, &[]);
        let joined: Vec<u32> = examples.iter().flat_map(|e| e.input_ids.iter().copied()).collect();
        let (end, body) = joined.split_last().unwrap();
        assert!(examples.iter().all(|e| e.input_ids.len() <= block_size as usize));
        // A last block of EOS alone, or of one token, has nothing to learn and is left out.
        if joined.len() == whole.get_ids().len() + 1 {
            assert_eq!(Some(*end), tokenizer.eos);
            assert_eq!(body, whole.get_ids());
        } else {
            assert!(whole.get_ids().starts_with(&joined));
            assert!(whole.get_ids().len() - joined.len() <= 1);
        }
        assert!(!truncated);
    }
}

#[test]
fn a_stride_makes_blocks_overlap_and_cover_everything() {
    let tokenizer = loaded();
    let text = TEXT.repeat(5);
    let whole = tokenizer.tokenizer.encode(text.as_str(), false).unwrap().get_ids().to_vec();
    let config = Config {
        mode: Mode::Blocks,
        block_size: 20,
        stride: Some(8),
        add_eos: false,
        ..Config::default()
    };
    let (examples, _) = examples(&config, &tokenizer, &text, &[]);
    for (index, example) in examples.iter().enumerate() {
        let start = index * 8;
        assert_eq!(example.input_ids, whole[start..(start + 20).min(whole.len())]);
        assert_eq!(example.example_id, format!("d#{index}"));
    }
    let last = examples.len() - 1;
    assert!(last * 8 + 20 >= whole.len());
}

/// Beside its context each example has the tokens that none before it has, as in Hugging Face's recipe for
/// the perplexity of models of fixed length.
#[test]
fn every_token_is_outside_the_context_of_one_example() {
    let tokenizer = loaded();
    let text = TEXT.repeat(5);
    let whole = tokenizer.tokenizer.encode(text.as_str(), false).unwrap().get_ids().to_vec();
    for (block_size, stride) in [(20, 8), (20, 19), (20, 20), (7, 1), (5, 5), (4096, 3)] {
        for (add_bos, add_eos) in [(false, false), (true, false), (true, true)] {
            let config = Config {
                mode: Mode::Blocks,
                block_size,
                stride: Some(stride),
                add_bos: Some(add_bos),
                add_eos,
                ..Config::default()
            };
            let (examples, _) = examples(&config, &tokenizer, &text, &[]);
            let mut seen: Vec<u32> = Vec::new();
            for example in &examples {
                let beginning = match example.context {
                    0 => usize::from(add_bos),
                    context => context as usize,
                };
                assert!(example.context == 0 || !seen.is_empty());
                seen.extend(&example.input_ids[beginning..]);
            }
            if add_eos && seen.last() == tokenizer.eos.as_ref() {
                seen.pop();
            }
            // A last block of one token has nothing to predict and is left out.
            assert!(
                whole.starts_with(&seen) && whole.len() - seen.len() <= 1,
                "{block_size} {stride}"
            );
        }
    }
}

#[test]
fn truncation_keeps_the_beginning_and_ends_only_whole_documents() {
    let tokenizer = loaded();
    let whole = tokenizer.tokenizer.encode(TEXT, false).unwrap().get_ids().to_vec();
    let cut = |max_length| {
        let config = Config { max_length, add_bos: Some(true), ..Config::default() };
        let (examples, truncated) = examples(&config, &tokenizer, TEXT, &[]);
        (examples[0].input_ids.clone(), truncated)
    };
    let (ids, truncated) = cut(10);
    assert!(truncated);
    assert_eq!(ids[0], tokenizer.bos.unwrap());
    assert_eq!(ids[1..], whole[..9]);
    let (ids, truncated) = cut(1024);
    assert!(!truncated);
    assert_eq!(ids[1..ids.len() - 1], whole);
    assert_eq!(ids.last().copied(), tokenizer.eos);
}

#[test]
fn what_stands_around_an_example_is_not_personal() {
    let tokenizer = loaded();
    let spans = [person(0, 11)];
    let config = Config { add_bos: Some(true), ..Config::default() };
    let (found, _) = examples(&config, &tokenizer, "in the inner", &spans);
    let text = tokenizer.tokenizer.encode("in the inner", false).unwrap().len();
    let mut expected = vec![true; text + 2];
    (expected[0], expected[text + 1]) = (false, false);
    // The last letters lie behind the span.
    expected[text] =
        tokenizer.tokenizer.encode("in the inner", false).unwrap().get_offsets()[text - 1].0 < 11;
    assert_eq!(found[0].pii, expected);
}

#[test]
fn pii_flags_follow_bytes_not_characters() {
    let tokenizer = loaded();
    let text = "naïve Ömer in the inn";
    let start = text.find("Ömer").unwrap() as u32;
    let end = start + "Ömer".len() as u32;
    let span = person(start, end);
    let config = Config { add_eos: false, ..Config::default() };
    let (found, _) = examples(&config, &tokenizer, text, &[span]);
    let example = &found[0];
    let encoding = tokenizer.tokenizer.encode(text, false).unwrap();
    for (index, &(from, to)) in encoding.get_offsets().iter().enumerate() {
        let touches = from < span.end as usize && to > span.start as usize;
        assert_eq!(example.pii[index], touches, "token {index} at {from}..{to}");
    }
    assert!(example.pii.iter().any(|&flag| flag) && !example.pii.iter().all(|&flag| flag));
    let config = Config { pii_labels: Some(vec!["DATE".into()]), ..config };
    let (found, _) = examples(&config, &tokenizer, text, &[span]);
    assert!(found[0].pii.iter().all(|&flag| !flag));
    let span = SpanRow { other_labels: Some("DATE+ORG"), ..span };
    let (found, _) = examples(&config, &tokenizer, text, &[span]);
    assert_eq!(found[0].pii, example.pii, "any of its labels counts");
}

#[test]
fn sentence_piece_vocabularies_merge_by_score_and_fall_back_to_bytes() {
    let mut tokens: Vec<String> = ["<unk>", "<s>", "</s>"].map(String::from).to_vec();
    tokens.extend((0..=255u8).map(|byte| format!("<0x{byte:02X}>")));
    let pieces = [
        ("▁", -9.0),
        ("a", -9.0),
        ("b", -9.0),
        ("c", -9.0),
        ("ab", -1.0),
        ("bc", -2.0),
        ("▁ab", -3.0),
    ];
    let mut scores = vec![0.0; tokens.len()];
    let mut token_types = vec![TokenType::Unknown, TokenType::Control, TokenType::Control];
    token_types.extend([TokenType::Byte; 256]);
    for (piece, score) in pieces {
        tokens.push(piece.into());
        scores.push(score);
        token_types.push(TokenType::Normal);
    }
    let vocabulary = Vocabulary {
        model: "llama".into(),
        tokens: tokens.clone(),
        scores,
        token_types,
        unknown: Some(0),
        add_space_prefix: true,
        ..Vocabulary::default()
    };
    let json = vocabulary.tokenizer_json().unwrap();
    let tokenizer = Tokenizer::from_bytes(json.to_string().as_bytes()).unwrap();
    let encoding = tokenizer.encode("abc é", false).unwrap();
    // `ab` has a better score than `bc`, so `abc` is `ab` + `c`; é is two bytes.
    assert_eq!(encoding.get_tokens(), ["▁ab", "c", "▁", "<0xC3>", "<0xA9>"]);
    assert_eq!(tokenizer.decode(encoding.get_ids(), true).unwrap(), "abc é");
}

#[test]
fn unknown_tokenizers_are_refused_by_name() {
    let mut other = vocabulary();
    other.pre = "tekken".into();
    assert!(other.tokenizer_json().unwrap_err().contains("tekken"));
    other.pre.clear();
    assert!(other.tokenizer_json().unwrap_err().contains("tokenizer.ggml.pre"));
    other.model = "wordpiece".into();
    assert!(other.tokenizer_json().unwrap_err().contains("wordpiece"));
    let config = Config { tokenizer: "/no/such/file".into(), ..Config::default() };
    let error = load_tokenizer(&config).unwrap_err();
    assert!(error.exit_code() == 2 && error.to_string().contains("/no/such/file"));
}

#[test]
fn what_holds_no_tokenizer_is_named_with_the_way_out() {
    let place = tempfile::tempdir().unwrap();
    let told = |path: &Path| {
        let tokenizer = path.to_string_lossy().as_ref().into();
        let error = load_tokenizer(&Config { tokenizer, ..Config::default() }).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        error.to_string()
    };
    let folder = |name: &str| {
        let folder = place.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    };
    let pieces = folder("sentence-piece");
    std::fs::write(pieces.join("tokenizer.model"), b"\n\x05").unwrap();
    for path in [pieces.clone(), pieces.join("tokenizer.model")] {
        let message = told(&path);
        assert!(
            message.contains("SentencePiece") && message.contains("save_pretrained"),
            "{message}"
        );
    }
    let adapter = folder("adapter");
    std::fs::write(adapter.join("adapter_config.json"), "{}").unwrap();
    assert!(told(&adapter).contains("LoRA adapters"));
    let pointer = folder("pointer");
    let text = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n";
    std::fs::write(pointer.join("tokenizer.json"), text).unwrap();
    assert!(told(&pointer).contains("git lfs pull"));
    assert!(told(&pointer.join("tokenizer.json")).contains("git lfs pull"));
    folder("models--org--name/snapshots/0123");
    assert!(told(&place.path().join("models--org--name")).contains("snapshots/0123"));
    assert!(told(&place.path().join("org/name")).contains("hf download org/name"));
}

/// transformers 5's names for what 4 calls otherwise, and templates in a folder of their own.
#[test]
fn settings_of_transformers_5_are_carried_along_under_names_that_both_read() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("tokenizer.json", &vocabulary().tokenizer_json().unwrap().to_string());
    std::fs::create_dir_all(folder.path().join("additional_chat_templates")).unwrap();
    write("additional_chat_templates/tool_use.jinja", "{{ tools }}");
    write("chat_template.jinja", "{{ messages }}");
    let carried = |settings: &str| -> Value {
        write("tokenizer_config.json", settings);
        let tokenizer = folder.path().to_string_lossy().as_ref().into();
        let loaded = load_tokenizer(&Config { tokenizer, ..Config::default() }).unwrap();
        Value::Object(loaded.carried)
    };
    let five = carried(
        r#"{"extra_special_tokens": ["the", "<nowhere>"],
            "model_specific_special_tokens": {"image_token": "in", "lost_token": "<nowhere>"}}"#,
    );
    let four = carried(
        r#"{"additional_special_tokens": ["the", "<nowhere>"],
            "extra_special_tokens": {"image_token": "in", "lost_token": "<nowhere>"}}"#,
    );
    assert_eq!(four, five);
    assert_eq!(five["additional_special_tokens"], serde_json::json!(["the"]));
    assert_eq!(five["extra_special_tokens"], serde_json::json!({ "image_token": "in" }));
    let templates = serde_json::json!([
        { "name": "default", "template": "{{ messages }}" },
        { "name": "tool_use", "template": "{{ tools }}" },
    ]);
    assert_eq!(five["chat_template"], templates);
}

#[test]
fn vocab_and_merges_files_make_the_same_tokenizer() {
    let folder = tempfile::tempdir().unwrap();
    let vocabulary = vocabulary();
    let vocab: serde_json::Map<String, serde_json::Value> = vocabulary
        .tokens
        .iter()
        .enumerate()
        .map(|(id, token)| (token.clone(), id.into()))
        .collect();
    std::fs::write(folder.path().join("vocab.json"), serde_json::to_string(&vocab).unwrap())
        .unwrap();
    let merges = format!("#version: 0.2\n{}\n", vocabulary.merges.join("\n"));
    std::fs::write(folder.path().join("merges.txt"), merges).unwrap();
    let tokenizer = folder.path().to_string_lossy().into_owned().as_str().into();
    let from_files = load_tokenizer(&Config { tokenizer, ..Config::default() }).unwrap();
    assert_eq!(from_files.eos, vocabulary.eos);
    let mut gpt2 = vocabulary;
    gpt2.pre = "gpt-2".into();
    let json = gpt2.tokenizer_json().unwrap().to_string();
    let expected = Tokenizer::from_bytes(json.as_bytes()).unwrap();
    let ids = |tokenizer: &Tokenizer| tokenizer.encode(TEXT, false).unwrap().get_ids().to_vec();
    assert_eq!(ids(&from_files.tokenizer), ids(&expected));
    // Saved and loaded again, it is the same.
    from_files.save(folder.path()).unwrap();
    let tokenizer = folder.path().join("tokenizer.json").to_string_lossy().as_ref().into();
    let again = load_tokenizer(&Config { tokenizer, ..Config::default() }).unwrap();
    assert_eq!(ids(&again.tokenizer), ids(&expected));
    assert_eq!((again.bos, again.eos), (from_files.bos, from_files.eos));
}

/// Chat models keep their template in a file of its own, older ones their tokens in another.
#[test]
fn what_others_need_of_a_tokenizer_s_settings_is_carried_along() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let vocabulary = vocabulary();
    let ids = vocabulary.tokens.iter().zip(0..);
    let vocab: serde_json::Map<String, Value> =
        ids.map(|(token, id)| (token.replace("<|endoftext|>", "<|other|>"), id.into())).collect();
    write("vocab.json", &Value::from(vocab).to_string());
    write("merges.txt", &vocabulary.merges.join("\n"));
    write("added_tokens.json", r#"{"<|stop|>": 263, "<|tool|>": 264}"#);
    write("special_tokens_map.json", r#"{"eos_token": {"content": "<|stop|>"}}"#);
    write(
        "tokenizer_config.json",
        r#"{"add_prefix_space": true, "pad_token": "<|other|>", "unk_token": "<nowhere>",
            "additional_special_tokens": ["<|other|>", "<nowhere>"], "padding_side": "left",
            "chat_template": [{"name": "default", "template": "old"}]}"#,
    );
    write("chat_template.jinja", "{{ messages }}");
    let path = folder.path().to_string_lossy().as_ref().into();
    let loaded = load_tokenizer(&Config { tokenizer: path, ..Config::default() }).unwrap();
    assert_eq!(loaded.eos, Some(263));
    let encoded = loaded.tokenizer.encode("the<|stop|>", false).unwrap();
    assert_eq!(encoded.get_ids(), [258, 263], "a space before, and the token whole");
    assert_eq!(loaded.tokenizer.decode(&[263, 264], true).unwrap(), "<|tool|>");

    let saved = tempfile::tempdir().unwrap();
    loaded.save(saved.path()).unwrap();
    let text = std::fs::read_to_string(saved.path().join("tokenizer_config.json")).unwrap();
    let settings: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(settings["eos_token"], "<|stop|>");
    assert_eq!(settings["pad_token"], "<|other|>");
    assert_eq!(settings["additional_special_tokens"], serde_json::json!(["<|other|>"]));
    assert_eq!(settings["padding_side"], "left");
    assert_eq!(settings["chat_template"], "{{ messages }}");
    assert!(settings["unk_token"].is_null(), "a token beyond the vocabulary: {text}");
}

/// SmolLM2's own tokenizer, out of its GGUF file, against the reference implementation's ids.
#[test]
fn the_default_model_s_tokenizer_agrees_with_the_reference() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let gguf = root.join("data/models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf");
    if !gguf.is_file() {
        eprintln!("not run: `make models` has not fetched the default model");
        return;
    }
    let fixture = root.join("tests/fixtures/tokenizers/smollm2.json");
    let rows: serde_json::Value = serde_json::from_slice(&std::fs::read(fixture).unwrap()).unwrap();
    let tokenizer = gguf.to_string_lossy().as_ref().into();
    let loaded = load_tokenizer(&Config { tokenizer, ..Config::default() }).unwrap();
    let rows = rows.as_array().unwrap();
    assert!(rows.len() >= 10);
    for row in rows {
        let text = row["text"].as_str().unwrap();
        let encoding = loaded.tokenizer.encode(text, false).unwrap();
        let ids: Vec<u64> = encoding.get_ids().iter().map(|&id| u64::from(id)).collect();
        assert_eq!(serde_json::json!(ids), row["ids"], "{text:?}");
    }
    assert_eq!(loaded.tokenizer.id_to_token(loaded.eos.unwrap()).unwrap(), "<|im_end|>");
}

/// Real judgments, where they are, by words that were seen before and by the crate.
#[test]
fn real_judgments_have_the_tokens_that_the_crate_gives_them() {
    let Some(data) = std::env::var_os("PFT_REAL_DATA") else { return };
    let file = std::path::Path::new(&data).join("echr/judgments.jsonl");
    let lines = std::fs::read_to_string(file).unwrap();
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures");
    let config = Config {
        tokenizer: fixtures.join("tokenizers/gpt-2.gguf").to_string_lossy().as_ref().into(),
        ..Config::default()
    };
    let loaded = load_tokenizer(&config).unwrap();
    let words = tokenize::WordEncoder::new(&loaded.tokenizer).expect("GPT-2's expression");
    for line in lines.lines().take(40) {
        let judgment: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = judgment["text"].as_str().unwrap();
        let expected = loaded.tokenizer.encode(text, false).unwrap();
        let mut found = tokenize::Encoded::default();
        words.encode(text, &mut found).unwrap();
        assert!(found.ids == expected.get_ids(), "other ids in {}", judgment["item_id"]);
        assert!(found.offsets == expected.get_offsets(), "other offsets");
    }
}
