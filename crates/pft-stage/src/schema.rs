//! Checking a config against a stage's JSON Schema, with messages for people.
//!
//! This reads the part of JSON Schema that `schemars` writes for Rust structs and enums: `type`,
//! `properties`, `required`, `additionalProperties`, `items`, `enum`, `const`, `oneOf`, `anyOf`,
//! `allOf`, `$ref`, `minimum`, `maximum`, `exclusiveMinimum`, `exclusiveMaximum`, `maxLength` (of a
//! single character), `default` and the format `path`.

use std::path::Path;

use serde_json::{Value, json};

use crate::OutsidePath;
use crate::yaml::{Data, Node};

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
    let hint = node.as_str().map(|text| suggestion(text, names)).unwrap_or_default();
    if hint.contains("did you mean") {
        return format!("is {}{hint}", show(node));
    }
    format!("is {}, but must be one of {}", show(node), names.join(", "))
}

/// "; did you mean `x`?" for the nearest name, or the list of names.
pub fn suggestion(name: &str, known: &[&str]) -> String {
    let nearest = known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), *candidate))
        .min();
    match nearest {
        Some((distance, candidate)) if distance <= 2.max(name.len() / 3) => {
            format!("; did you mean `{candidate}`?")
        }
        _ if known.is_empty() => String::new(),
        _ => {
            let mut known = known.to_vec();
            known.sort_unstable();
            format!("; known here: {}", known.join(", "))
        }
    }
}

/// Fills the schema's defaults into a config, recursively.
pub fn fill_defaults(value: &mut Value, schema: &Value) {
    fill(value, schema, schema);
}

fn fill<'a>(value: &mut Value, schema: &'a Value, root: &'a Value) {
    let schema = Checker { root }.resolve(schema);
    for part in list(schema, "allOf") {
        fill(value, part, root);
    }
    if let Value::Array(items) = value
        && let Some(item_schema) = schema.get("items")
    {
        items.iter_mut().for_each(|item| fill(item, item_schema, root));
    }
    if let Value::Number(number) = value {
        *value = one_form(number, schema, root);
    }
    if !value.is_object() {
        return;
    }
    for alternatives in [list(schema, "oneOf"), list(schema, "anyOf")] {
        if let Some(alternative) = alternatives.iter().find(|a| selects(value, a, root)) {
            fill(value, alternative, root);
        }
    }
    let none = serde_json::Map::new();
    let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
    let Some(object) = value.as_object_mut() else {
        return;
    };
    if let Some(additional @ Value::Object(_)) = schema.get("additionalProperties") {
        let others = object.iter_mut().filter(|(name, _)| !properties.contains_key(*name));
        others.for_each(|(_, inner)| fill(inner, additional, root));
    }
    for (name, property) in properties {
        if !object.contains_key(name)
            && let Some(default) = property.get("default")
        {
            object.insert(name.clone(), default.clone());
        }
        if let Some(inner) = object.get_mut(name) {
            fill(inner, property, root);
        }
    }
}

/// Equal numbers in one form, so that 8, 8.0 and 8e0 are one setting, and 0 and -0.0: a float where
/// fractions are allowed, a whole number where they are not.
fn one_form(number: &serde_json::Number, schema: &Value, root: &Value) -> Value {
    let float = number.as_f64().unwrap_or_default();
    // What the schema says nothing of is read as whole where it is, up to where floats are exact.
    let whole = float.fract() == 0.0 && float.abs() < 9e15;
    match number_type(schema, root) {
        Some("number") => Value::from(float + 0.0),
        // `1e3` is a whole number to people; the check has seen that nothing is behind its point.
        Some(_) if number.is_f64() => Value::from(float as i64),
        None if number.is_f64() && whole => Value::from(float as i64),
        _ => Value::Number(number.clone()),
    }
}

/// `number` or `integer`, whichever is allowed here; a fraction may stand wherever one of several
/// forms allows it.
fn number_type(schema: &Value, root: &Value) -> Option<&'static str> {
    let schema = Checker { root }.resolve(schema);
    let named = |name: &str| match schema.get("type") {
        Some(Value::String(one)) => one == name,
        Some(Value::Array(names)) => names.iter().any(|one| one == name),
        _ => false,
    };
    if named("number") {
        return Some("number");
    }
    let forms = ["anyOf", "oneOf", "allOf"].into_iter().flat_map(|form| list(schema, form));
    let types: Vec<&str> = forms.filter_map(|form| number_type(form, root)).collect();
    if types.contains(&"number") {
        return Some("number");
    }
    (named("integer") || types.contains(&"integer")).then_some("integer")
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

/// Makes every value of format `path` absolute against `base`.
pub fn resolve_paths(value: &mut Value, schema: &Value, base: &Path) {
    visit_paths(value, schema, &mut |path| *path = OutsidePath::resolve(path, base));
}

/// Calls `visit` with every value of format `path`.
pub fn visit_paths(value: &mut Value, schema: &Value, visit: &mut dyn FnMut(&mut String)) {
    visit_inner(value, schema, schema, &mut |path, _| visit(path));
}

/// Calls `visit` with every value of format `path`, and with the patterns of the files that the
/// stage reads where it is a folder: what the schema says under [`READS`]. Without patterns the stage
/// may read any.
pub fn visit_read_paths(
    value: &mut Value,
    schema: &Value,
    visit: &mut dyn FnMut(&mut String, Option<&[Value]>),
) {
    visit_inner(value, schema, schema, visit);
}

fn visit_inner(
    value: &mut Value,
    schema: &Value,
    root: &Value,
    visit: &mut dyn FnMut(&mut String, Option<&[Value]>),
) {
    let schema = Checker { root }.resolve(schema);
    if let Value::String(text) = value {
        if has_path_format(schema, root) {
            visit(text, patterns(schema, root));
        }
        return;
    }
    for name in ["allOf", "oneOf", "anyOf"] {
        for part in list(schema, name) {
            let part = Checker { root }.resolve(part);
            let fits = match &*value {
                Value::Object(_) => name == "allOf" || selects(value, part, root),
                Value::Array(_) => part.get("items").is_some(),
                _ => false,
            };
            if fits {
                visit_inner(value, part, root, visit);
                if name != "allOf" {
                    break;
                }
            }
        }
    }
    match value {
        Value::Array(items) => {
            if let Some(item_schema) = schema.get("items") {
                items.iter_mut().for_each(|item| visit_inner(item, item_schema, root, visit));
            }
        }
        Value::Object(object) => {
            if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
                for (name, property) in properties {
                    if let Some(inner) = object.get_mut(name) {
                        visit_inner(inner, property, root, visit);
                    }
                }
            }
        }
        _ => {}
    }
}

/// The patterns beside a format `path`, or with the one of several forms that is a path.
fn patterns<'v>(schema: &'v Value, root: &'v Value) -> Option<&'v [Value]> {
    let schema = Checker { root }.resolve(schema);
    if let Some(patterns) = schema.get(READS).and_then(Value::as_array) {
        return Some(patterns);
    }
    let forms = ["anyOf", "oneOf", "allOf"].into_iter().flat_map(|form| list(schema, form));
    forms.filter(|form| has_path_format(form, root)).find_map(|form| patterns(form, root))
}

fn has_path_format(schema: &Value, root: &Value) -> bool {
    let schema = Checker { root }.resolve(schema);
    schema.get("format").and_then(Value::as_str) == Some("path")
        || ["anyOf", "oneOf", "allOf"]
            .iter()
            .any(|name| list(schema, name).iter().any(|part| has_path_format(part, root)))
}
