//! Filling in what a config leaves out, and writing equal numbers alike.

use serde_json::Value;

use super::{Checker, list, selects};

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
