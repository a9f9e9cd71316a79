//! Loading a config: file, then overrides, checked against the stage's schema, defaults filled in.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::schema::{self, Problem};
use crate::yaml::{self, Data, Key, Node};

/// A config file that has been read.
#[derive(Debug, Clone)]
pub struct ConfigSource {
    /// The file, for messages; relative paths in it are taken from its folder.
    pub path: PathBuf,
    /// Its parsed contents.
    pub node: Node,
}

impl ConfigSource {
    /// Reads and parses a file.
    ///
    /// # Errors
    /// A message that names the file, and the line where one is known.
    pub fn read(path: &Path) -> Result<Self, String> {
        let bytes = std::fs::read(path)
            .map_err(|error| format!("{}: cannot read the config: {error}", path.display()))?;
        let text = String::from_utf8(bytes)
            .map_err(|_| format!("{}: the config is not valid UTF-8", path.display()))?;
        let mut node = yaml::parse(&text).map_err(|error| {
            // A corpus given by mistake: the lines around the place are text of documents.
            let is_config =
                path.extension().is_some_and(|e| e == "yml" || e == "yaml" || e == "json");
            let shown =
                if is_config { &error[..] } else { error.lines().next().unwrap_or_default() };
            format!("{}: {shown}", path.display())
        })?;
        if node.data == Data::Null {
            node.data = Data::Mapping(Vec::new());
        }
        if !matches!(node.data, Data::Mapping(_)) {
            return Err(format!("{}: a config is a mapping of keys to values", path.display()));
        }
        Ok(Self { path: path.to_path_buf(), node })
    }

    fn base(&self) -> PathBuf {
        let path = std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone());
        path.parent().map(Path::to_path_buf).unwrap_or_default()
    }
}

/// One `KEY=VALUE`, from a command line or from a pipeline's `set`.
#[derive(Debug, Clone)]
pub struct Override {
    /// Dotted key, such as `privacy.target_epsilon`; list items by number.
    pub key: String,
    /// The value.
    pub value: Node,
    /// Where it was said, for messages: `--set`, or `pipelines/echr.yml:12`.
    pub origin: String,
    /// The folder that relative paths in it are taken from.
    pub base: PathBuf,
}

impl Override {
    /// Parses `KEY=VALUE` of a command line; the value is YAML.
    ///
    /// # Errors
    /// When there is no `=`, or the value is not YAML.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (key, value) =
            text.split_once('=').ok_or_else(|| format!("--set {text}: it must be KEY=VALUE"))?;
        let value = if value.is_empty() {
            Node { data: Data::String(String::new()), line: 0, column: 0 }
        } else {
            yaml::parse(value).map_err(|error| format!("--set {text}: {error}"))?
        };
        Ok(Self {
            key: key.trim().to_string(),
            value,
            origin: "--set".to_string(),
            base: std::env::current_dir().unwrap_or_default(),
        })
    }
}

/// Merges file and overrides (later ones win), checks the result against the schema, makes paths
/// absolute and fills in defaults.
///
/// # Errors
/// Every problem found, one a line, each with file and line or the override that caused it.
pub fn load_config(
    source: Option<&ConfigSource>,
    overrides: &[Override],
    schema: &Value,
) -> Result<Value, String> {
    let empty = Node { data: Data::Mapping(Vec::new()), line: 0, column: 0 };
    let mut node = source.map_or(empty, |source| source.node.clone());
    let mut value = node.to_json();
    if let Some(source) = source {
        schema::resolve_paths(&mut value, schema, &source.base());
    }
    for change in overrides {
        let segments: Vec<&str> = change.key.split('.').collect();
        let complain = |message: String| format!("{}: {}: {message}", change.origin, change.key);
        if let Some((depth, list)) = schema::absent_list(&value, schema, &segments) {
            set_node(&mut node, &segments[..depth], (&list).into()).map_err(complain)?;
            set_value(&mut value, &segments[..depth], list);
        }
        // A line of zero marks what an override said.
        set_node(&mut node, &segments, without_lines(&change.value)).map_err(complain)?;
        set_value(&mut value, &segments, change.value.to_json());
        schema::resolve_paths(&mut value, schema, &change.base);
    }
    for (path, tag) in schema::missing_tags(&value, schema) {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        set_node(&mut node, &path, (&tag).into())?;
        set_value(&mut value, &path, tag);
    }
    let problems = schema::check(&node, schema);
    if !problems.is_empty() {
        let lines: Vec<String> =
            problems.iter().map(|problem| describe(problem, source, overrides)).collect();
        return Err(lines.join("\n"));
    }
    schema::fill_defaults(&mut value, schema);
    Ok(value)
}

fn describe(problem: &Problem, source: Option<&ConfigSource>, overrides: &[Override]) -> String {
    // What a `--set` made is wrong where it stands, or lacks something beside it.
    let around = problem.key.rsplit_once('.').map_or(&problem.key[..], |(around, _)| around);
    let culprit = overrides.iter().rev().find(|change| {
        problem.line == 0
            && (problem.key.starts_with(&change.key) || change.key.starts_with(around))
    });
    let place = match (culprit, source) {
        (Some(change), _) => change.origin.clone(),
        (None, Some(source)) if problem.line > 0 => {
            format!("{}:{}", source.path.display(), problem.line)
        }
        (None, Some(source)) => source.path.display().to_string(),
        (None, None) => "config".to_string(),
    };
    format!("{place}: {}: {}", problem.key, problem.message)
}

fn without_lines(node: &Node) -> Node {
    let data = match &node.data {
        Data::Sequence(items) => Data::Sequence(items.iter().map(without_lines).collect()),
        Data::Mapping(entries) => Data::Mapping(
            entries
                .iter()
                .map(|(key, value)| (Key { name: key.name.clone(), line: 0 }, without_lines(value)))
                .collect(),
        ),
        other => other.clone(),
    };
    Node { data, line: 0, column: 0 }
}

fn set_node(node: &mut Node, segments: &[&str], value: Node) -> Result<(), String> {
    let Some((first, rest)) = segments.split_first() else {
        *node = value;
        return Ok(());
    };
    if let Data::Sequence(items) = &mut node.data {
        let length = items.len();
        let item = first.parse::<usize>().ok().and_then(|index| items.get_mut(index));
        return match item {
            Some(item) => set_node(item, rest, value),
            None => Err(format!("`{first}` is not an item of a list of {length}")),
        };
    }
    if !matches!(node.data, Data::Mapping(_)) {
        node.data = Data::Mapping(Vec::new());
    }
    let Data::Mapping(entries) = &mut node.data else {
        return Ok(());
    };
    let index = entries.iter().position(|(key, _)| key.name == *first).unwrap_or_else(|| {
        let null = Node { data: Data::Null, line: 0, column: 0 };
        entries.push((Key { name: (*first).to_string(), line: 0 }, null));
        entries.len() - 1
    });
    set_node(&mut entries[index].1, rest, value)
}

fn set_value(target: &mut Value, segments: &[&str], value: Value) {
    let Some((first, rest)) = segments.split_first() else {
        *target = value;
        return;
    };
    if let Value::Array(items) = target {
        if let Some(item) = first.parse::<usize>().ok().and_then(|index| items.get_mut(index)) {
            set_value(item, rest, value);
        }
        return;
    }
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    if let Some(object) = target.as_object_mut() {
        set_value(object.entry((*first).to_string()).or_insert(Value::Null), rest, value);
    }
}

#[cfg(test)]
mod tests {
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
        let overrides: Vec<Override> =
            sets.iter().map(|set| Override::parse(set).unwrap()).collect();
        load_config(Some(&source(text)), &overrides, &schema())
    }

    #[test]
    fn defaults_are_filled_in_at_every_level() {
        let value = load("steps: 3\nprivacy:\n  target_epsilon: 8\n", &[]).unwrap();
        assert_eq!(value["learning_rate"], 1e-5);
        assert_eq!(value["steps"], 3);
        assert_eq!(
            value["privacy"],
            serde_json::json!({"target_epsilon": 8.0, "max_grad_norm": 1.0})
        );
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
            message
                .contains("train.yml:1: steps: is the string \"many\", but must be a whole number"),
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
        assert!(
            message.contains(":1: separator: is \"ab\", but must be one character"),
            "{message}"
        );
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
        let value =
            load("backends: [{kind: spacy, model: m}]\n", &["backends.0.model=/n"]).unwrap();
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
        for sets in [["rule.kind=sgd", "rule.momentum=0.1"], ["rule.momentum=0.1", "rule.kind=sgd"]]
        {
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
            assert_eq!(
                load_config(Some(&source), &[], &schema()).unwrap()["steps"],
                10,
                "{text:?}"
            );
        }
        std::fs::write(&path, "- a\n").unwrap();
        assert!(ConfigSource::read(&path).unwrap_err().contains("a mapping of keys"));
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
}
