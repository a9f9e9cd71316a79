//! What a config leaves out around a value that it sets: `optimizer.weight_decay` alone means the default
//! optimizer, and `backends.0.model` a backend of the default list.

use serde_json::Value;

use super::{Checker, list, selects};

/// Tags that tagged values lack, with the dotted path of each: they are those of their keys' defaults.
pub(crate) fn missing_tags(value: &Value, root: &Value) -> Vec<(Vec<String>, Value)> {
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
    for part in parts(value, schema, root) {
        visit(value, part, root, path, found);
    }
    if let (Value::Array(items), Some(item_schema)) = (value, schema.get("items")) {
        for (index, item) in items.iter().enumerate() {
            path.push(index.to_string());
            visit(item, item_schema, root, path, found);
            path.pop();
        }
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, property) in properties.into_iter().flatten() {
        let Some(inner) = value.get(name).filter(|inner| inner.is_object() || inner.is_array())
        else {
            continue;
        };
        let mut inner = inner.clone();
        path.push(name.clone());
        if let Some((tag, default)) = missing_tag(&inner, property, root) {
            found.push(([&path[..], std::slice::from_ref(&tag)].concat(), default.clone()));
            inner[tag] = default;
        }
        visit(&inner, property, root, path, found);
        path.pop();
    }
}

/// Parts of a schema that an object or list has to fit besides the schema itself.
pub(super) fn parts<'a>(value: &Value, schema: &'a Value, root: &'a Value) -> Vec<&'a Value> {
    let mut parts: Vec<&Value> = list(schema, "allOf").iter().collect();
    for alternatives in [list(schema, "oneOf"), list(schema, "anyOf")] {
        parts.extend(alternatives.iter().find(|alternative| match value {
            Value::Object(_) => selects(value, alternative, root),
            _ => Checker { root }.resolve(alternative).get("items").is_some(),
        }));
    }
    parts
}

/// The tag that an object lacks and that its key's default has.
fn missing_tag(object: &Value, property: &Value, root: &Value) -> Option<(String, Value)> {
    let default = property.get("default")?.as_object()?;
    let object = object.as_object()?;
    let tag = tag_names(property, root)
        .into_iter()
        .find(|tag| default.contains_key(*tag) && !object.contains_key(*tag))?;
    Some((tag.clone(), default[tag].clone()))
}

/// Keys that tell the alternatives of a schema apart.
fn tag_names<'a>(schema: &'a Value, root: &'a Value) -> Vec<&'a String> {
    let schema = Checker { root }.resolve(schema);
    let mut names = Vec::new();
    for alternative in [list(schema, "oneOf"), list(schema, "anyOf")].into_iter().flatten() {
        names.extend(tag_names(alternative, root));
        let properties = Checker { root }.resolve(alternative).get("properties");
        let properties = properties.and_then(Value::as_object).into_iter().flatten();
        names.extend(
            properties
                .filter(|(_, property)| property.get("const").is_some())
                .map(|(name, _)| name),
        );
    }
    names
}

/// Where a dotted path goes into a list that the config leaves out: the path's length up to the list, and
/// the list that is the default there.
pub(crate) fn absent_list(value: &Value, root: &Value, path: &[&str]) -> Option<(usize, Value)> {
    let (mut value, mut schema) = (value, root);
    for (depth, pair) in path.windows(2).enumerate() {
        let (name, next) = (pair[0], pair[1]);
        schema = property(schema, value, name, root)?;
        let inner = match value {
            Value::Array(items) => name.parse::<usize>().ok().and_then(|index| items.get(index)),
            value => value.get(name),
        };
        match inner {
            Some(inner) if !inner.is_null() => value = inner,
            _ => {
                let default = schema.get("default").filter(|default| default.is_array())?;
                return next.parse::<usize>().ok().map(|_| (depth + 1, default.clone()));
            }
        }
    }
    None
}

/// The schema of a key of an object, or of an item of a list.
fn property<'a>(
    schema: &'a Value,
    value: &Value,
    name: &str,
    root: &'a Value,
) -> Option<&'a Value> {
    let schema = Checker { root }.resolve(schema);
    let own = match value {
        Value::Array(_) => schema.get("items"),
        _ => schema.get("properties").and_then(|properties| properties.get(name)),
    };
    own.or_else(|| {
        parts(value, schema, root).into_iter().find_map(|part| property(part, value, name, root))
    })
}
