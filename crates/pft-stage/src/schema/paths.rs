//! Values of format `path`: the files outside the store that a config names.

use std::path::Path;

use serde_json::Value;

use super::{Checker, READS, list, selects};
use crate::OutsidePath;

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
