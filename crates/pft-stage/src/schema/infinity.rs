//! Infinity by other names: YAML writes it `.inf`, and people write `inf`.

use serde_json::{Value, json};

use super::absent::parts;
use super::{Checker, list};

/// What a config has for infinity where a schema allows it, as [`crate::yaml`] reads it.
const INFINITY: &str = ".inf";

/// Texts that mean infinity where the schema allows that, with the path of each, and what they are in
/// the one form that is part of a cache key.
pub(crate) fn infinities(value: &Value, root: &Value) -> Vec<(Vec<String>, Value)> {
    let mut found = Vec::new();
    visit(value, root, root, &mut Vec::new(), &mut found);
    found
}

fn visit(
    value: &Value,
    schema: &Value,
    root: &Value,
    path: &mut Vec<String>,
    found: &mut Vec<(Vec<String>, Value)>,
) {
    let schema = Checker { root }.resolve(schema);
    let mut inside = |name: String, inner: &Value, schema: &Value| {
        path.push(name);
        if is_infinity(inner) && allows(schema, root) {
            found.push((path.clone(), json!(INFINITY)));
        }
        visit(inner, schema, root, path, found);
        path.pop();
    };
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                schema.get("items").into_iter().for_each(|s| inside(index.to_string(), item, s));
            }
        }
        Value::Object(object) => {
            for (name, inner) in object {
                let property = schema.get("properties").and_then(|known| known.get(name));
                property.into_iter().for_each(|schema| inside(name.clone(), inner, schema));
            }
        }
        _ => return,
    }
    for part in parts(value, schema, root) {
        visit(value, part, root, path, found);
    }
}

fn is_infinity(value: &Value) -> bool {
    value.as_str().is_some_and(|text| matches!(text, "inf" | "+inf" | "Inf" | "INF"))
}

fn allows(schema: &Value, root: &Value) -> bool {
    let schema = Checker { root }.resolve(schema);
    schema.get("const").is_some_and(|value| value == INFINITY)
        || list(schema, "enum").iter().any(|value| value == INFINITY)
        || ["anyOf", "oneOf", "allOf"]
            .iter()
            .any(|name| list(schema, name).iter().any(|part| allows(part, root)))
}
