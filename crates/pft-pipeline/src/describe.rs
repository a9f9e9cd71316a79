//! `describe STAGE` and `list`, for people.

use std::fmt::Write;
use std::path::Path;

use pft_stage::{Description, Port};
use serde_json::Value;

use crate::RunError;
use crate::file::Pipeline;

/// A stage's ports and config keys as text.
pub(crate) fn stage_text(description: &Description) -> String {
    let mut text = format!(
        "{} (revision {}): {}\n",
        description.name, description.revision, description.about
    );
    for (title, ports) in [("inputs", &description.inputs), ("outputs", &description.outputs)] {
        let _ = writeln!(text, "{title}:");
        for Port { name, kind, required } in ports {
            let optional = if *required { "" } else { " (optional)" };
            let _ = writeln!(text, "  {name}: {kind}{optional}");
        }
    }
    let _ = writeln!(text, "config:");
    keys(&description.config, &description.config, 1, &mut text);
    text
}

fn keys(schema: &Value, root: &Value, depth: usize, text: &mut String) {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return;
    };
    for (name, property) in
        properties.iter().filter(|(_, property)| property.get("const").is_none())
    {
        let indent = "  ".repeat(depth);
        let default = property.get("default").map(|d| format!(" = {d}")).unwrap_or_default();
        let _ = writeln!(text, "{indent}{name}{default}");
        if let Some(about) = property.get("description").and_then(Value::as_str) {
            for line in about.lines() {
                let _ = writeln!(text, "{indent}    {line}");
            }
        }
        choices(property, root, depth + 1, text);
        if let Some(inner) = object_of(property, root)
            && depth < 4
        {
            keys(inner, root, depth + 1, text);
        }
    }
}

/// The values of an enum with what they mean, and the forms of a tagged one with their keys.
fn choices(schema: &Value, root: &Value, depth: usize, text: &mut String) {
    let schema = resolve(schema, root);
    let indent = "  ".repeat(depth);
    let line = |text: &mut String, name: &Value, about: Option<&str>| {
        let name = plain(name);
        let about =
            about.map(|about| format!(": {}", about.replace('\n', " "))).unwrap_or_default();
        let _ = writeln!(text, "{indent}- {name}{about}");
    };
    for value in schema.get("enum").and_then(Value::as_array).into_iter().flatten() {
        line(text, value, None);
    }
    for name in ["oneOf", "anyOf"] {
        for part in schema.get(name).and_then(Value::as_array).into_iter().flatten() {
            let part = resolve(part, root);
            let about = part.get("description").and_then(Value::as_str);
            let properties = part.get("properties").and_then(Value::as_object);
            let tag = properties.and_then(|all| {
                all.iter().find_map(|(key, value)| Some((key, value.get("const")?)))
            });
            if let Some(value) = part.get("const") {
                line(text, value, about);
            } else if let Some((key, value)) = tag {
                line(text, &Value::String(format!("{key}: {}", plain(value))), about);
                keys(part, root, depth + 2, text);
            } else if properties.is_none() {
                // An optional value: its choices are behind the reference.
                choices(part, root, depth, text);
            }
        }
    }
    if let Some(items) = schema.get("items") {
        choices(items, root, depth, text);
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}

fn resolve<'a>(schema: &'a Value, root: &'a Value) -> &'a Value {
    let target = schema
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|reference| root.pointer(reference.strip_prefix('#')?));
    target.map_or(schema, |target| resolve(target, root))
}

/// The object schema behind a reference or an optional value.
fn object_of<'a>(schema: &'a Value, root: &'a Value) -> Option<&'a Value> {
    let schema = resolve(schema, root);
    if schema.get("properties").is_some() {
        return Some(schema);
    }
    schema.get("anyOf")?.as_array()?.iter().find_map(|part| object_of(part, root))
}

/// The pipelines of a folder, a line each.
///
/// # Errors
/// When the folder cannot be read.
pub(crate) fn list(folder: &Path) -> Result<String, RunError> {
    let entries = std::fs::read_dir(folder).map_err(|error| {
        RunError::config(format!("{}: {error}; name the folder of pipelines", folder.display()))
    })?;
    let mut paths: Vec<_> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "yml" || e == "yaml"))
        .collect();
    paths.sort();
    let mut text = String::new();
    for path in paths {
        let line = match Pipeline::read(&path) {
            Ok(pipeline) => {
                let stages: Vec<&str> = pipeline.stages.iter().map(|s| s.name.as_str()).collect();
                format!("{}: {}", path.display(), stages.join(" → "))
            }
            Err(error) => format!("{}: broken: {error}", path.display()),
        };
        let _ = writeln!(text, "{line}");
    }
    Ok(text)
}
