//! The spaCy backend against spaCy (tests/reference/ner_spacy.py), with the small and the
//! medium English pipeline that data/fetch-models.sh fetches, and what it says about broken folders.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use pft_ner::spacy::SpacyTagger;
use pft_pii::combine::{Policy, SpanList, combine};
use pft_pii::labels::default_pii;
use pft_pii::rules::{RulesConfig, RulesTagger};
use pft_pii::{Span, Tagger};
use serde_json::{Value, json};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The folder of a pipeline that `make test` fetches.
fn model(name: &str) -> Option<PathBuf> {
    let folder = root().join("data/models").join(name);
    let there = folder.join("ner/model").is_file();
    if !there {
        let fetch =
            format!("data/models/{name} is not there; run `sh data/fetch-models.sh {name}`");
        assert!(std::env::var_os("PFT_PYTHON").is_none(), "{fetch}");
        eprintln!("not checked: {fetch}");
    }
    there.then_some(folder)
}

const MODELS: [&str; 2] = ["en_core_web_sm", "en_core_web_md"];

/// Tokens and entities of a text, as tests/reference/ner_spacy.py describes them.
fn description(tagger: &SpacyTagger, text: &str, spans: &[Span]) -> Value {
    let tokens: Vec<Value> =
        tagger.tokens(text).iter().map(|range| json!([range.start, range.end])).collect();
    let entities: Vec<Value> =
        spans.iter().map(|span| json!([span.start, span.end, &*span.label])).collect();
    json!({ "tokens": tokens, "entities": entities })
}

#[test]
fn tokens_and_entities_are_spacys() {
    for name in MODELS {
        let path = root().join("tests/fixtures/ner/spacy").join(name).with_extension("json");
        let cases: Vec<Value> = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        assert!(cases.len() > 30);
        let Some(folder) = model(name) else { return };
        let tagger = SpacyTagger::load(&folder).unwrap();
        let texts: Vec<&str> = cases.iter().map(|case| case["text"].as_str().unwrap()).collect();
        let tagged = tagger.tag_batch(&texts);
        assert_eq!(tagged.len(), texts.len());
        for ((case, text), spans) in cases.iter().zip(&texts).zip(tagged) {
            let alone = tagger.tag_batch(&[text]).remove(0).unwrap();
            let spans = spans.unwrap();
            assert_eq!(alone, spans, "alone and in a batch: {text}");
            let found = description(&tagger, text, &spans);
            assert_eq!(found["tokens"], case["tokens"], "{name}: tokens of {text}");
            assert_eq!(found["entities"], case["entities"], "{name}: entities of {text}");
        }
    }
}

/// spaCy's small model takes Mrs, Ms and Lady into a name and leaves Mr before it; with a full stop it leaves
/// all. What a mask shows around itself must not say which sex a person has.
#[test]
fn masks_do_not_show_forms_of_address() {
    let rules = RulesTagger::new(&RulesConfig::default()).unwrap();
    let spacy = model("en_core_web_sm").map(|folder| SpacyTagger::load(&folder).unwrap());
    let policy = Policy::new(default_pii());
    let titles =
        ["Mr", "Mrs", "Ms", "Miss", "Mx", "Madam", "Sir", "Lady", "Lord", "Mr.", "Mrs.", "Ms."];
    let templates = [
        "We met {} Smith yesterday.",
        "The letter was signed by {} Ingrid Berg in Oslo.",
        "{} Jane Miller lives in Paris.",
        "Dear {} Berg, your appeal was dismissed.",
        "A letter from {} I. Berg came.",
    ];
    for template in templates {
        let masked = |title: &str| {
            let text = template.replace("{}", title);
            let mut found = vec![rules.tag(&text)];
            if let Some(spacy) = &spacy {
                found.push(spacy.tag_batch(&[&text]).remove(0).unwrap());
            }
            let ranked: Vec<(i32, &dyn SpanList)> =
                (0..).zip(&found).map(|(n, spans)| (-n, spans as &dyn SpanList)).collect();
            let mut masked = text.clone();
            for span in combine(&text, &ranked, &policy).iter().rev() {
                masked.replace_range(span.start..span.end, &format!("[{}]", span.label));
            }
            masked
        };
        let expected = masked("Mr");
        assert!(expected.contains("[PERSON]"), "{expected}");
        for title in titles {
            assert_eq!(masked(title), expected, "{title}");
        }
    }
}

/// Sentences of UNER and paragraphs of judgments, where `PFT_REAL_DATA` has them and `PFT_PYTHON` has spaCy.
#[test]
fn real_texts_are_tagged_as_by_spacy() {
    let (Some(data), Some(python)) =
        (std::env::var_os("PFT_REAL_DATA"), std::env::var_os("PFT_PYTHON"))
    else {
        return;
    };
    let data = Path::new(&data);
    let sentences: Vec<String> = fs::read_to_string(data.join("uner/en_ewt-ud-dev.iob2"))
        .unwrap()
        .lines()
        .filter_map(|line| line.strip_prefix("# text = ").map(str::to_owned))
        .collect();
    let judgments = fs::read_to_string(data.join("echr/judgments.jsonl")).unwrap();
    let paragraphs: Vec<String> = judgments
        .lines()
        .take(8)
        .flat_map(|line| {
            let judgment: Value = serde_json::from_str(line).unwrap();
            let text = judgment["text"].as_str().unwrap();
            text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    assert!(sentences.len() > 1900 && paragraphs.len() > 800, "{}", paragraphs.len());
    let folder = tempfile::tempdir().unwrap();
    for name in MODELS {
        let Some(model) = model(name) else { return };
        let tagger = SpacyTagger::load(&model).unwrap();
        for (texts, share) in [(&sentences, 0.999), (&paragraphs, 0.995)] {
            let file = folder.path().join("texts.json");
            fs::write(&file, json!(texts).to_string()).unwrap();
            let output = Command::new(&python)
                .arg(root().join("tests/reference/ner_spacy.py"))
                .args([Path::new("describe"), &model, &file])
                .output()
                .unwrap();
            let expected: Vec<Value> = serde_json::from_slice(&output.stdout)
                .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
            let views: Vec<&str> = texts.iter().map(String::as_str).collect();
            let found = tagger.tag_batch(&views).into_iter().map(Result::unwrap);
            let agree = found
                .zip(&views)
                .zip(&expected)
                .filter(|((spans, text), expected)| description(&tagger, text, spans) == **expected)
                .count();
            assert!(
                agree as f64 >= share * texts.len() as f64,
                "{name}: {agree} of {} texts agree",
                texts.len()
            );
        }
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
    let Some(folder) = model(MODELS[0]) else { return };
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
