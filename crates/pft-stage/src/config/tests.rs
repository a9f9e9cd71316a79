//! What a config's mistakes are called, and what the defaults and overrides make of it.

use super::*;
use crate::OutsidePath;

#[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Settings {
    learning_rate: f64,
    steps: u32,
    separator: Option<char>,
    path: Option<OutsidePath>,
    optimizer: Optimizer,
    rule: Rule,
    privacy: Option<Privacy>,
    second: Option<Rule>,
    backends: Vec<Backend>,
}

#[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
enum Rule {
    Adamw {
        #[serde(default = "one")]
        beta: f64,
        #[serde(default)]
        weight_decay: f64,
    },
    Sgd {
        #[serde(default)]
        momentum: f64,
    },
}

#[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Optimizer {
    /// One that says what it is has a schema of its own.
    Adamw,
    /// Another.
    Sgd,
}

#[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Privacy {
    target_epsilon: f64,
    #[serde(default = "one")]
    max_grad_norm: f64,
}

fn one() -> f64 {
    1.0
}

#[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
enum Backend {
    Rules,
    Spacy { model: OutsidePath },
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            learning_rate: 1e-5,
            steps: 10,
            separator: None,
            path: None,
            optimizer: Optimizer::Adamw,
            rule: Rule::Adamw { beta: 1.0, weight_decay: 0.5 },
            privacy: None,
            second: None,
            backends: vec![Backend::Rules],
        }
    }
}

fn schema() -> Value {
    schemars::schema_for!(Settings).to_value()
}

fn source(text: &str) -> ConfigSource {
    let mut node = yaml::parse(text).unwrap();
    if node.data == Data::Null {
        node.data = Data::Mapping(Vec::new());
    }
    ConfigSource { path: "/configs/train.yml".into(), node }
}

fn load(text: &str, sets: &[&str]) -> Result<Value, String> {
    let overrides: Vec<Override> = sets.iter().map(|set| Override::parse(set).unwrap()).collect();
    load_config(Some(&source(text)), &overrides, &schema())
}

#[test]
fn defaults_are_filled_in_at_every_level() {
    let value = load("steps: 3\nprivacy:\n  target_epsilon: 8\n", &[]).unwrap();
    assert_eq!(value["learning_rate"], 1e-5);
    assert_eq!(value["steps"], 3);
    assert_eq!(value["privacy"], serde_json::json!({"target_epsilon": 8.0, "max_grad_norm": 1.0}));
}

#[test]
fn a_corpus_given_by_mistake_is_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let read = |name: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, "{\"text\": \"Anna Nowak\"}\n{\"text\": \"Jan Kos\"}\n").unwrap();
        ConfigSource::read(&path).unwrap_err()
    };
    let message = read("cases.jsonl");
    assert!(message.contains("cases.jsonl: line 2"), "{message}");
    assert!(!message.contains("Nowak") && !message.contains("Kos"), "{message}");
    assert!(read("train.yml").contains("Nowak"), "a config's mistake is shown in its place");
}

#[test]
fn an_unknown_key_gets_its_line_and_the_nearest_name() {
    let message = load("steps: 3\nlearning_rat: 1e-4\n", &[]).unwrap_err();
    assert_eq!(
        message,
        "/configs/train.yml:2: learning_rat: unknown key; did you mean `learning_rate`?"
    );
    let message = load("privacy:\n  target_epsilon: 8\n  max_gradnorm: 1\n", &[]).unwrap_err();
    assert!(
        message.contains(":3: privacy.max_gradnorm: unknown key; did you mean `max_grad_norm`"),
        "{message}"
    );
}

#[test]
fn wrong_types_and_names_say_what_would_be_right() {
    let message = load("steps: many\n", &[]).unwrap_err();
    assert!(
        message.contains("train.yml:1: steps: is the string \"many\", but must be a whole number"),
        "{message}"
    );
    let message = load("optimizer: adam\n", &[]).unwrap_err();
    assert!(message.contains("did you mean `adamw`?"), "{message}");
    let message = load("optimizer: { kind: adamw }\n", &[]).unwrap_err();
    let expected = "optimizer: is a mapping, but must be one of adamw, sgd";
    assert!(message.contains(expected), "{message}");
    let message = load("backends:\n  - kind: rulez\n", &[]).unwrap_err();
    assert!(message.contains(":2: backends[0].kind"), "{message}");
    assert!(message.contains("did you mean `rules`?"), "{message}");
    let message = load("privacy: {}\n", &[]).unwrap_err();
    assert!(message.contains("privacy.target_epsilon: is missing"), "{message}");
    let message = load("steps: -1\n", &[]).unwrap_err();
    assert!(message.contains("at least 0"), "{message}");
    let message = load("separator: ab\n", &[]).unwrap_err();
    assert!(message.contains(":1: separator: is \"ab\", but must be one character"), "{message}");
    assert_eq!(load("separator: \"\\t\"\n", &[]).unwrap()["separator"], "\t");
}

#[test]
fn whole_numbers_may_be_written_with_an_exponent() {
    let value = load("steps: 1e3\nlearning_rate: 2.0\n", &[]).unwrap();
    assert_eq!(value["steps"].as_u64(), Some(1000));
    // What may have a fraction keeps its spelling, which cache keys are made of.
    assert_eq!(value["learning_rate"].to_string(), "2.0");
    let message = load("steps: 1.5\n", &[]).unwrap_err();
    assert!(message.contains("must be a whole number"), "{message}");
}

#[test]
fn overrides_win_and_are_blamed_for_their_mistakes() {
    let value = load("steps: 3\n", &["steps=5", "privacy.target_epsilon=4"]).unwrap();
    assert_eq!(value["steps"], 5);
    assert_eq!(value["privacy"]["target_epsilon"], 4.0);
    // Equal settings are equal, however they are written.
    let zero = |text: &str| load(&format!("learning_rate: {text}\n"), &[]).unwrap().to_string();
    assert!(["0", "0.0", "0e3", "-0.0"].iter().all(|text| zero(text) == zero("0")));
    let message = load("steps: 3\n", &["stepps=5"]).unwrap_err();
    assert!(message.starts_with("--set: stepps: unknown key"), "{message}");
    let value = load("backends: [{kind: spacy, model: m}]\n", &["backends.0.model=/n"]).unwrap();
    assert_eq!(value["backends"][0]["model"], "/n");
}

#[test]
fn a_key_of_what_is_left_out_is_one_of_its_default() {
    let rule = |text: &str, sets: &[&str]| load(text, sets).map(|value| value["rule"].clone());
    let adamw = |weight_decay: f64| {
        Ok(serde_json::json!({"kind": "adamw", "beta": 1.0, "weight_decay": weight_decay}))
    };
    assert_eq!(rule("", &[]), adamw(0.5));
    assert_eq!(rule("", &["rule.weight_decay=0.1"]), adamw(0.1));
    assert_eq!(rule("rule: { weight_decay: 0.1 }", &[]), adamw(0.1));
    assert_eq!(rule("rule: null", &["rule.weight_decay=0.1"]), adamw(0.1));
    // Another kind is another form, in whatever order it is said.
    for sets in [["rule.kind=sgd", "rule.momentum=0.1"], ["rule.momentum=0.1", "rule.kind=sgd"]] {
        let sgd = serde_json::json!({"kind": "sgd", "momentum": 0.1});
        assert_eq!(rule("", &sets), Ok(sgd));
    }
    let message = load("", &["rule.momentum=0.1"]).unwrap_err();
    assert!(message.starts_with("--set: rule.momentum: unknown key"), "{message}");
    // Where the default is none, the kind has to be said.
    let message = load("", &["second.momentum=0.1"]).unwrap_err();
    assert!(message.contains("second.kind: is missing; it is one of adamw, sgd"), "{message}");
    let value = load("", &["backends.0={kind: spacy, model: /m}"]).unwrap();
    assert_eq!(value["backends"], serde_json::json!([{"kind": "spacy", "model": "/m"}]));
    let message = load("", &["backends.1.kind=rules"]).unwrap_err();
    assert!(message.contains("`1` is not an item of a list of 1"), "{message}");
}

#[test]
fn a_config_of_comments_alone_is_an_empty_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.yml");
    for text in ["", "# nothing\n", "---\n", "null\n", "--- null\n"] {
        std::fs::write(&path, text).unwrap();
        let source = ConfigSource::read(&path).unwrap();
        assert_eq!(load_config(Some(&source), &[], &schema()).unwrap()["steps"], 10, "{text:?}");
    }
    std::fs::write(&path, "- a\n").unwrap();
    assert!(ConfigSource::read(&path).unwrap_err().contains("a mapping of keys"));
}

#[test]
fn infinity_has_one_form_where_it_is_allowed() {
    let schema = serde_json::json!({
        "type": "object",
        "properties": {
            "name": { "type": "string" },
            "privacy": { "anyOf": [{ "$ref": "#/$defs/Privacy" }, { "type": "null" }] },
        },
        "$defs": {
            "Privacy": { "type": "object", "properties": { "budgets": { "items": { "anyOf": [
                { "type": "number" }, { "type": "string", "const": ".inf" }
            ] } } } },
        },
    });
    let load = |text: &str| load_config(Some(&source(text)), &[], &schema);
    let expected = serde_json::json!({ "name": "inf", "privacy": { "budgets": [8.0, ".inf"] } });
    for written in ["inf", ".inf", "+.INF", "+inf", "INF"] {
        let text = format!("name: inf\nprivacy: {{ budgets: [8, {written}] }}\n");
        assert_eq!(load(&text).unwrap(), expected, "{written}");
    }
    assert!(load("privacy: { budgets: [-inf] }").is_err());
}

#[test]
fn paths_are_relative_to_what_names_them() {
    let value = load("path: ../data/x\nbackends: [{kind: spacy, model: m}]\n", &[]).unwrap();
    assert_eq!(value["path"], "/data/x");
    assert_eq!(value["backends"][0]["model"], "/configs/m");
    let value = load("path: ../data/x\n", &["path=y"]).unwrap();
    let expected = std::env::current_dir().unwrap().join("y");
    assert_eq!(value["path"], expected.to_str().unwrap());
}
