//! Tokenizers of every kind in bundles and GGUF files: transformers 4 and 5 and llama.cpp give the ids
//! of training, or the bundle is refused by name.

#![allow(clippy::unwrap_used)]

#[path = "house/mod.rs"]
mod house;

use std::path::PathBuf;

use export::{Config, Dtype, GgufType};
use serde_json::{Value, json};

use house::{Bundle, byte_level, model, python, tokenizer, transformers5};

const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const O200K: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Texts on which tokenizers part ways, other than those that the stage itself looks at.
const TEXTS: [&str; 14] = [
    "The applicant lived in Łódź in 1961.",
    " leading and  double   spaces  ",
    "they'll say I'd; THEY'LL SAY I'D",
    "हिन्दी में एक वाक्य है और दूसरा भी",
    "in 7, 42, 365, 1984 and 123456 days; १२३४",
    "tab\tnew\nline\r\n\n  indented",
    "camelCase HTTPServer naïve café e\u{301}",
    "path/to/file\n/// !!!\n",
    "<|end|> marks<|end|>the end <|end|>",
    "emoji 👩\u{200d}👩\u{200d}👧 and 漢字",
    "\u{a0}nbsp\u{3000}wide\u{200b}",
    "",
    " ",
    "privacy of the documents within the pipeline",
];

fn digits(individual: bool) -> Value {
    json!({ "type": "Digits", "individual_digits": individual })
}

fn split(expression: &str) -> Value {
    json!({ "type": "Split", "pattern": { "Regex": expression }, "behavior": "Isolated", "invert": false })
}

fn sequence(parts: &[Value]) -> Value {
    json!({ "type": "Sequence", "pretokenizers": parts })
}

/// Byte-level tokenizers with the name of the pre-tokenizer that a GGUF file must give them, or the
/// setting that a refusal must name.
fn variants() -> Vec<(&'static str, Value, Result<&'static str, &'static str>)> {
    let bytes = byte_level(false, true);
    let whole = byte_level(false, false);
    let llama3 = sequence(&[split(LLAMA3), whole.clone()]);
    let qwen2 = sequence(&[split(&LLAMA3.replace("{1,3}", "")), whole.clone()]);
    let mut removed = llama3.clone();
    removed["pretokenizers"][0]["behavior"] = json!("Removed");
    removed["pretokenizers"][0]["invert"] = json!(true);
    let with = |pre: Value, merges: bool, normalizer: Value| {
        let mut json = tokenizer(pre);
        json["model"]["ignore_merges"] = json!(!merges);
        json["normalizer"] = normalizer;
        json
    };
    let nfc = || json!({ "type": "NFC" });
    let smollm = sequence(&[digits(true), bytes.clone()]);
    vec![
        ("gpt-2", with(bytes.clone(), true, Value::Null), Ok("gpt-2")),
        ("smollm", with(smollm, true, Value::Null), Ok("smollm")),
        ("llama 3", with(llama3.clone(), false, Value::Null), Ok("llama-bpe")),
        ("llama 3, matches alone", with(removed, false, Value::Null), Ok("llama-bpe")),
        ("llama 3 with merges", with(llama3.clone(), true, Value::Null), Ok("dbrx")),
        ("qwen 2", with(qwen2.clone(), true, Value::Null), Ok("qwen2")),
        ("prefix", with(byte_level(true, true), true, Value::Null), Err("add_prefix_space: true")),
        ("no expression", with(whole.clone(), true, Value::Null), Err("use_regex: false")),
        (
            "digits together",
            with(sequence(&[digits(false), bytes.clone()]), true, Value::Null),
            Err("individual_digits: false"),
        ),
        ("normalizer", with(bytes, true, nfc()), Err("NFC")),
        ("qwen 2 as published", with(qwen2, true, nfc()), Err("NFC")),
        (
            "tekken",
            with(sequence(&[split(TEKKEN), whole.clone()]), false, Value::Null),
            Err("Split"),
        ),
        ("o200k", with(sequence(&[split(O200K), whole.clone()]), false, Value::Null), Err("Split")),
        (
            "prefix in a sequence",
            with(sequence(&[split(LLAMA3), byte_level(true, false)]), false, Value::Null),
            Err("add_prefix_space: true"),
        ),
        (
            "two expressions",
            with(sequence(&[split(LLAMA3), byte_level(false, true)]), false, Value::Null),
            Err("use_regex: true"),
        ),
    ]
}

fn ids(json: &Value, text: &str) -> Vec<u32> {
    let tokenizer = tokenizers::Tokenizer::from_bytes(json.to_string().as_bytes()).unwrap();
    tokenizer.encode(text, false).unwrap().get_ids().to_vec()
}

fn texts(json: &Value) -> Value {
    let rows = TEXTS.map(|text| json!({ "text": text, "ids": ids(json, text) }));
    json!(rows)
}

fn write(path: PathBuf, value: &Value) -> PathBuf {
    std::fs::write(&path, value.to_string()).unwrap();
    path
}

/// Every variant as a GGUF file: refused by the setting, or llama.cpp gives training's ids and the
/// trained model's logits.
#[test]
fn llama_cpp_gives_the_ids_of_training_or_the_file_is_refused() {
    let config = Config { gguf: Some(GgufType::F32), ..Config::default() };
    let mut arguments = Vec::new();
    let mut kept = Vec::new();
    for (name, json, expected) in variants() {
        for scaled in [false, true] {
            let bundle = Bundle::export(model(scaled), &json, json!({}), config.clone());
            let bundle = match (bundle, expected) {
                (Err(error), Err(setting)) => {
                    assert!(error.message().contains(setting), "{name}: {error}");
                    assert_eq!(error.exit_code(), 2, "{name}");
                    continue;
                }
                (Ok(_), Err(setting)) => panic!("{name}: {setting} was written"),
                (bundle, Ok(_)) => bundle.unwrap_or_else(|error| panic!("{name}: {error}")),
            };
            let path = bundle.path("model.gguf");
            let file = pft_gguf::Gguf::open(&path).unwrap();
            assert_eq!(file.str("tokenizer.ggml.pre"), expected.ok(), "{name}");
            let prompt = ids(&json, TEXTS[0]);
            let told = json!({
                "texts": texts(&json), "prompt": prompt, "logits": bundle.logits(&prompt),
            });
            arguments.extend([path, write(bundle.root.path().join("told.json"), &told)]);
            kept.push(bundle);
        }
    }
    assert_eq!(kept.len(), 12);
    python("llama_cpp.py", &arguments, None);
}

/// Every variant as a bundle, under the two versions of transformers that rebuild tokenizers from
/// their files each in its own way.
#[test]
fn transformers_4_and_5_give_the_ids_of_training() {
    let mut kept = Vec::new();
    for (index, (name, mut json, _)) in variants().into_iter().enumerate() {
        // A token that the model has no row for.
        let rows = house::ROWS;
        let lost = json!({ "id": rows, "content": "<lost>", "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": false, "special": true });
        let known = json.clone();
        json["added_tokens"].as_array_mut().unwrap().push(lost);
        let settings = json!({
            "pad_token": "<lost>", "mask_token": "<lost>",
            "additional_special_tokens": ["Ġwithin", "<lost>"],
            "extra_special_tokens": { "image_token": "Ġpipeline", "lost_token": "<lost>" },
            "chat_template": [{ "name": "default", "template": "D" }, { "name": "tool", "template": "T" }],
        });
        let (dtype, said) = [
            (Dtype::Float32, "float32"),
            (Dtype::Float16, "float16"),
            (Dtype::Bfloat16, "bfloat16"),
        ][index % 3];
        let config = Config { dtype, perplexity_tolerance: 0.5, ..Config::default() };
        let bundle = Bundle::export(model(index % 2 == 0), &json, settings, config)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let written = bundle.json("tokenizer.json");
        assert!(!written.to_string().contains("<lost>"), "{name}");
        let settings = bundle.json("tokenizer_config.json");
        assert!(!settings.to_string().contains("<lost>"), "{settings}");
        let prefix = json["pre_tokenizer"].to_string().contains("\"add_prefix_space\":true");
        assert_eq!(settings["add_prefix_space"] == true, prefix, "{name}: {settings}");
        let prompt = ids(&known, TEXTS[0]);
        let logits = bundle.logits(&prompt);
        kept.push((bundle, texts(&known), said, prompt, logits));
    }
    for (version, folder) in [("4.", None), ("5.", Some(transformers5()))] {
        let mut arguments: Vec<PathBuf> = Vec::new();
        for (bundle, texts, dtype, prompt, logits) in &kept {
            let told = json!({
                "version": version, "texts": texts, "special": ["Ġwithin", "Ġpipeline"],
                "named": { "image_token": "Ġpipeline" }, "templates": { "default": "D", "tool": "T" },
                "rows": house::ROWS, "dtype": dtype, "prompt": prompt, "logits": logits,
            });
            arguments.push(bundle.folder());
            arguments.push(write(bundle.root.path().join("told.json"), &told));
        }
        python("bundles.py", &arguments, folder.as_deref());
    }
}

#[test]
fn a_post_processor_with_a_token_without_a_row_is_refused() {
    let mut json = tokenizer(byte_level(false, true));
    let added = json["added_tokens"].as_array_mut().unwrap();
    let mut lost = added[0].clone();
    (lost["id"], lost["content"]) = (json!(house::ROWS), json!("<lost>"));
    added.push(lost);
    json["post_processor"] = json!({
        "type": "TemplateProcessing",
        "single": [{ "SpecialToken": { "id": "<lost>", "type_id": 0 } }, { "Sequence": { "id": "A", "type_id": 0 } }],
        "pair": [{ "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 1 } }],
        "special_tokens": { "<lost>": { "id": "<lost>", "ids": [house::ROWS], "tokens": ["<lost>"] } },
    });
    let error = Bundle::export(model(false), &json, json!({}), Config::default()).unwrap_err();
    assert!(error.message().contains("<lost>") && error.message().contains("no row"), "{error}");
}

/// Whoever gives a model on is bound by the licence of what it was made from.
#[test]
fn the_licence_of_the_base_goes_with_the_bundle() {
    let json = tokenizer(byte_level(false, true));
    for (license, expected) in [(None, ["other", "some"]), (Some("mit"), ["mit", ""])] {
        let config = Config {
            gguf: Some(GgufType::F32),
            license: license.map(str::to_owned),
            ..Config::default()
        };
        let bundle = Bundle::export(model(false), &json, json!({}), config).unwrap();
        let card = std::fs::read_to_string(bundle.path("README.md")).unwrap();
        let file = pft_gguf::Gguf::open(&bundle.path("model.gguf")).unwrap();
        for (name, value) in ["license", "license.name"].into_iter().zip(expected) {
            let line = format!("{}: \"{value}\"\n", name.replace('.', "_"));
            assert_eq!(card.contains(&line), !value.is_empty(), "{card}");
            let found = file.str(&format!("general.{name}")).unwrap_or_default();
            assert_eq!(found, value);
        }
    }
}

/// Flags of added tokens and settings of the model that GGUF has no word for.
#[test]
fn what_gguf_has_no_word_for_is_refused_by_name() {
    let config = Config { gguf: Some(GgufType::F32), ..Config::default() };
    let change = |change: &dyn Fn(&mut Value)| {
        let mut json = tokenizer(byte_level(false, true));
        change(&mut json);
        Bundle::export(model(false), &json, json!({}), config.clone()).unwrap_err()
    };
    for flag in ["lstrip", "rstrip", "single_word"] {
        let error = change(&|json| json["added_tokens"][0][flag] = json!(true));
        assert!(error.message().contains(flag), "{error}");
    }
    let error = change(&|json| json["model"]["end_of_word_suffix"] = json!("</w>"));
    assert!(error.message().contains("end_of_word_suffix"), "{error}");
    // Bytes without a token are one thing to the tokenizer, and nothing to llama.cpp.
    let error = change(&|json| {
        let vocab = json["model"]["vocab"].as_object_mut().unwrap();
        let id = vocab.remove("Ã").unwrap();
        vocab.insert("<unk>".into(), id);
        json["model"]["unk_token"] = json!("<unk>");
        let merges = json["model"]["merges"].as_array_mut().unwrap();
        merges.retain(|merge| !merge.as_str().unwrap().contains('Ã'));
    });
    assert!(error.message().contains("other ids"), "{error}");
}
