//! Checking a config against a stage's JSON Schema, with messages for people.
//!
//! This reads the part of JSON Schema that `schemars` writes for Rust structs and enums: `type`,
//! `properties`, `required`, `additionalProperties`, `items`, `enum`, `const`, `oneOf`, `anyOf`,
//! `allOf`, `$ref`, `minimum`, `maximum`, `exclusiveMinimum`, `exclusiveMaximum`, `maxLength` (of a
//! single character), `default` and the format `path`.

mod absent;
mod defaults;
mod infinity;
mod paths;

use serde_json::{Value, json};

use crate::yaml::{Data, Node};

pub(crate) use absent::{absent_list, missing_tags};
pub use defaults::fill_defaults;
pub(crate) use infinity::infinities;
pub use paths::{resolve_paths, visit_paths, visit_read_paths};

/// The keyword beside the format `path` that lists, as patterns such as `*.safetensors` or
/// `vocab/*`, which files of a folder the stage reads. Only they are part of its cache key. A list in
/// the list stands for the first of its patterns that matches a file.
pub const READS: &str = "x-reads";

/// Something wrong in a config, and the line it stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line in the file, from 1; 0 where it is unknown.
    pub line: u64,
    /// Dotted path of the key.
    pub key: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

/// Checks a config and returns every problem found.
pub fn check(node: &Node, schema: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    Checker { root: schema }.check(node, schema, "", &mut problems);
    problems
}

struct Checker<'a> {
    root: &'a Value,
}

impl<'a> Checker<'a> {
    fn resolve(&self, schema: &'a Value) -> &'a Value {
        let mut schema = schema;
        while let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let Some(pointer) = reference.strip_prefix('#') else {
                break;
            };
            let Some(target) = self.root.pointer(pointer) else {
                break;
            };
            schema = target;
        }
        schema
    }

    fn check(&self, node: &Node, schema: &'a Value, key: &str, problems: &mut Vec<Problem>) {
        let schema = self.resolve(schema);
        let problem = |message: String| Problem { line: node.line, key: key.to_string(), message };

        for part in list(schema, "allOf") {
            self.check(node, part, key, problems);
        }
        for alternatives in [list(schema, "oneOf"), list(schema, "anyOf")] {
            if !alternatives.is_empty() {
                self.check_alternatives(node, alternatives, key, problems);
            }
        }
        if let Some(expected) = schema.get("const")
            && node.to_json() != *expected
        {
            problems.push(problem(format!("is {}, but must be {expected}", show(node))));
            return;
        }
        let allowed = list(schema, "enum");
        if !allowed.is_empty() && !allowed.contains(&node.to_json()) {
            let names: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
            problems.push(problem(one_of(node, &names)));
            return;
        }
        if !has_type(node, schema) {
            let expected = type_names(schema).join(" or ");
            problems.push(problem(format!("is {}, but must be {expected}", show(node))));
            return;
        }
        self.check_bounds(node, schema, &problem, problems);
        match &node.data {
            Data::Mapping(_) => self.check_object(node, schema, key, problems),
            Data::Sequence(items) => {
                if let Some(item_schema) = schema.get("items") {
                    for (index, item) in items.iter().enumerate() {
                        self.check(item, item_schema, &format!("{key}[{index}]"), problems);
                    }
                }
            }
            _ => {}
        }
    }

    fn check_bounds(
        &self,
        node: &Node,
        schema: &Value,
        problem: &dyn Fn(String) -> Problem,
        problems: &mut Vec<Problem>,
    ) {
        if let Data::String(text) = &node.data
            && schema.get("maxLength").and_then(Value::as_u64) == Some(1)
            && text.chars().count() != 1
        {
            problems.push(problem(format!("is {text:?}, but must be one character")));
        }
        let Data::Number(number) = &node.data else {
            return;
        };
        let value = number.as_f64().unwrap_or(f64::NAN);
        let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
        if bound("minimum").is_some_and(|minimum| value < minimum) {
            let minimum = bound("minimum").unwrap_or_default();
            problems.push(problem(format!("is {number}, but must be at least {minimum}")));
        }
        if bound("maximum").is_some_and(|maximum| value > maximum) {
            let maximum = bound("maximum").unwrap_or_default();
            problems.push(problem(format!("is {number}, but must be at most {maximum}")));
        }
        if bound("exclusiveMinimum").is_some_and(|minimum| value <= minimum) {
            let minimum = bound("exclusiveMinimum").unwrap_or_default();
            problems.push(problem(format!("is {number}, but must be greater than {minimum}")));
        }
        if bound("exclusiveMaximum").is_some_and(|maximum| value >= maximum) {
            let maximum = bound("exclusiveMaximum").unwrap_or_default();
            problems.push(problem(format!("is {number}, but must be less than {maximum}")));
        }
    }

    fn check_object(&self, node: &Node, schema: &'a Value, key: &str, problems: &mut Vec<Problem>) {
        let Data::Mapping(entries) = &node.data else {
            return;
        };
        let properties = schema.get("properties").and_then(Value::as_object);
        let closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
        for (name, value) in entries {
            let path = join(key, &name.name);
            match properties.and_then(|p| p.get(&name.name)) {
                Some(property) => self.check(value, property, &path, problems),
                None if closed => {
                    let known =
                        properties.map(|p| p.keys().map(String::as_str).collect::<Vec<_>>());
                    let known = known.unwrap_or_default();
                    problems.push(Problem {
                        line: name.line,
                        key: path,
                        message: format!("unknown key{}", suggestion(&name.name, &known)),
                    });
                }
                None => {
                    if let Some(additional @ Value::Object(_)) = schema.get("additionalProperties")
                    {
                        self.check(value, additional, &path, problems);
                    }
                }
            }
        }
        for required in list(schema, "required").iter().filter_map(Value::as_str) {
            if node.get(required).is_none() {
                problems.push(Problem {
                    line: node.line,
                    key: join(key, required),
                    message: "is missing and has no default".to_string(),
                });
            }
        }
    }

    /// One alternative must fit. If none does, the report is that of the alternative which the
    /// value most likely means: the one whose tag (a `const` property) matches, or the only one
    /// of the value's type.
    fn check_alternatives(
        &self,
        node: &Node,
        alternatives: &'a [Value],
        key: &str,
        problems: &mut Vec<Problem>,
    ) {
        let mut reports = Vec::new();
        for alternative in alternatives {
            let mut report = Vec::new();
            self.check(node, alternative, key, &mut report);
            if report.is_empty() {
                return;
            }
            reports.push((self.resolve(alternative), report));
        }
        let mut names = Vec::new();
        let mut only_names = true;
        for (alternative, _) in &reports {
            let known = names.len();
            names.extend(alternative.get("const").and_then(Value::as_str));
            names.extend(list(alternative, "enum").iter().filter_map(Value::as_str));
            only_names &= names.len() > known || alternative.get("type") == Some(&json!("null"));
        }
        if !names.is_empty() && (only_names || node.as_str().is_some()) {
            let message = one_of(node, &names);
            problems.push(Problem { line: node.line, key: key.to_string(), message });
            return;
        }
        if let Some(report) = self.tagged_report(node, &reports, key) {
            problems.extend(report);
            return;
        }
        let mut typed = reports.iter().filter(|(alternative, _)| has_type(node, alternative));
        if let (Some((_, report)), None) = (typed.next(), typed.next()) {
            problems.extend(report.iter().cloned());
            return;
        }
        let expected: Vec<String> =
            reports.iter().flat_map(|(alternative, _)| type_names(alternative)).collect();
        problems.push(Problem {
            line: node.line,
            key: key.to_string(),
            message: if expected.is_empty() {
                format!("is {}, which fits none of the allowed forms", show(node))
            } else {
                format!("is {}, but must be {}", show(node), expected.join(" or "))
            },
        });
    }

    fn tagged_report(
        &self,
        node: &Node,
        reports: &[(&'a Value, Vec<Problem>)],
        key: &str,
    ) -> Option<Vec<Problem>> {
        let mut tag_name = None;
        let mut tags = Vec::new();
        for (alternative, report) in reports {
            let properties = alternative.get("properties").and_then(Value::as_object)?;
            for (name, property) in properties {
                let Some(tag) = property.get("const") else {
                    continue;
                };
                tag_name = Some(name.clone());
                tags.extend(tag.as_str());
                if node.get(name).map(Node::to_json).as_ref() == Some(tag) {
                    return Some(report.clone());
                }
            }
        }
        let tag_name = tag_name?;
        let problem = match node.get(&tag_name) {
            Some(value) => Problem {
                line: value.line,
                key: join(key, &tag_name),
                message: one_of(value, &tags),
            },
            None => Problem {
                line: node.line,
                key: join(key, &tag_name),
                message: format!("is missing; it is one of {}", tags.join(", ")),
            },
        };
        Some(vec![problem])
    }
}

fn list<'v>(schema: &'v Value, name: &str) -> &'v [Value] {
    schema.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn join(key: &str, name: &str) -> String {
    if key.is_empty() { name.to_string() } else { format!("{key}.{name}") }
}

fn has_type(node: &Node, schema: &Value) -> bool {
    let fits = |name: &str| match (&node.data, name) {
        (Data::Null, "null")
        | (Data::Bool(_), "boolean")
        | (Data::Number(_), "number")
        | (Data::String(_), "string")
        | (Data::Sequence(_), "array")
        | (Data::Mapping(_), "object") => true,
        (Data::Number(number), "integer") => {
            number.is_i64() || number.is_u64() || number.as_f64().is_some_and(|v| v.fract() == 0.0)
        }
        _ => false,
    };
    match schema.get("type") {
        None => true,
        Some(Value::String(name)) => fits(name),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).any(fits),
        Some(_) => true,
    }
}

fn type_names(schema: &Value) -> Vec<String> {
    let name = |name: &str| match name {
        "integer" => "a whole number",
        "number" => "a number",
        "string" => "a string",
        "boolean" => "true or false",
        "array" => "a list",
        "object" => "a mapping",
        _ => "null",
    };
    match schema.get("type") {
        Some(Value::String(one)) => vec![name(one).to_string()],
        Some(Value::Array(names)) => {
            names.iter().filter_map(Value::as_str).map(|n| name(n).to_string()).collect()
        }
        _ => Vec::new(),
    }
}

fn show(node: &Node) -> String {
    match &node.data {
        Data::Sequence(_) => "a list".to_string(),
        Data::Mapping(_) => "a mapping".to_string(),
        Data::String(text) => format!("the string {text:?}"),
        _ => node.to_json().to_string(),
    }
}

fn one_of(node: &Node, names: &[&str]) -> String {
    if let Some(name) = node.as_str().and_then(|text| nearest(text, names)) {
        return format!("is {}; did you mean `{name}`?", show(node));
    }
    format!("is {}, but must be one of {}", show(node), names.join(", "))
}

/// The known name that another is most likely a misspelling of.
pub fn nearest<'n>(name: &str, known: &[&'n str]) -> Option<&'n str> {
    known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), *candidate))
        .min()
        .filter(|(distance, _)| *distance <= 2.max(name.len() / 3))
        .map(|(_, candidate)| candidate)
}

/// "; did you mean `x`?" for the nearest name, or the list of names.
pub fn suggestion(name: &str, known: &[&str]) -> String {
    match nearest(name, known) {
        Some(candidate) => format!("; did you mean `{candidate}`?"),
        None if known.is_empty() => String::new(),
        None => {
            let mut known = known.to_vec();
            known.sort_unstable();
            format!("; known here: {}", known.join(", "))
        }
    }
}

/// Whether an object value means this alternative: its tags match, and it is an object at all.
fn selects(value: &Value, alternative: &Value, root: &Value) -> bool {
    let alternative = Checker { root }.resolve(alternative);
    let Some(properties) = alternative.get("properties").and_then(Value::as_object) else {
        return false;
    };
    properties.iter().all(|(name, property)| {
        property.get("const").is_none_or(|tag| value.get(name) == Some(tag))
    })
}
