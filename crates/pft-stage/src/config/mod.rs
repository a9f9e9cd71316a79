//! Loading a config: file, then overrides, checked against the stage's schema, defaults filled in.

#[cfg(test)]
mod tests;

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
    for (path, meant) in
        [schema::missing_tags(&value, schema), schema::infinities(&value, schema)].concat()
    {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        set_node(&mut node, &path, (&meant).into())?;
        set_value(&mut value, &path, meant);
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
