//! YAML with positions: every value and key knows its line, so that a message about a config can
//! point at it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_saphyr::Spanned;

/// A YAML value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The value.
    pub data: Data,
    /// Line, from 1; 0 where it is unknown.
    pub line: u64,
    /// Column, from 1; 0 where it is unknown.
    pub column: u64,
}

/// The shapes a YAML value can have.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(serde_json::Number),
    /// A string.
    String(String),
    /// A sequence.
    Sequence(Vec<Node>),
    /// A mapping, in the order of the file.
    Mapping(Vec<(Key, Node)>),
}

/// A key of a mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The key.
    pub name: String,
    /// Line, from 1.
    pub line: u64,
}

/// Parses one YAML document. One of comments alone is null.
///
/// # Errors
/// What is wrong, with line, column and a snippet.
pub fn parse(text: &str) -> Result<Node, String> {
    if is_empty(text) {
        return Ok(Node { data: Data::Null, line: 1, column: 1 });
    }
    let options = serde_saphyr::options! {
        // Without this `y`, `no` and `on` would be booleans, as in YAML 1.1.
        strict_booleans: true,
        // JSON has no such numbers: they stay `.inf` and `.nan`, which a schema can allow or refuse.
        non_finite_float_policy: serde_saphyr::NonFiniteFloatPolicy::AsString,
    };
    serde_saphyr::from_str_with_options::<Node>(text, options)
        .map_err(|error| for_people(&error.to_string()))
}

/// Whether there is nothing but comments and the marks around a document.
fn is_empty(text: &str) -> bool {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    text.lines().all(|line| {
        let rest = ["---", "..."].iter().find_map(|mark| line.strip_prefix(mark)).unwrap_or(line);
        let is_marked = rest.len() < line.len();
        let comment = rest.trim_start();
        // `---#x` is a text.
        comment.is_empty() || comment.starts_with('#') && (!is_marked || comment.len() < rest.len())
    })
}

/// The parser's message without what it tells programmers: `line 3, column 1: what is wrong`, then the
/// lines around with a mark below the place.
fn for_people(error: &str) -> String {
    let (first, snippet) = error.split_once('\n').unwrap_or((error, ""));
    let first = first.trim_start_matches("error: ");
    let (place, reason) = match first.split_once(": ") {
        Some((place, reason)) if place.starts_with("line ") => (place, reason),
        _ => ("", first),
    };
    let advice = [", set DuplicateKeyPolicy", "; use from_str_multiple"];
    let cut = advice.iter().filter_map(|advice| reason.find(advice)).min().unwrap_or(reason.len());
    let reason_for_people =
        reason[..cut].replace("rejected by the configured policy", "is not allowed");
    let mut text = String::new();
    if !place.is_empty() {
        text += &place.replace(" column", ", column");
        text += ": ";
    }
    text += &reason_for_people;
    for line in snippet.lines().filter(|line| !line.starts_with(" --> ")) {
        text.push('\n');
        text += line.replace(reason, "").trim_end();
    }
    text
}

impl Node {
    /// The value of a key of a mapping.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.data {
            Data::Mapping(entries) => entries.iter().find(|(k, _)| k.name == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// The string, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        match &self.data {
            Data::String(text) => Some(text),
            _ => None,
        }
    }

    /// The same value without positions.
    pub fn to_json(&self) -> Value {
        match &self.data {
            Data::Null => Value::Null,
            Data::Bool(value) => Value::Bool(*value),
            Data::Number(number) => Value::Number(number.clone()),
            Data::String(text) => Value::String(text.clone()),
            Data::Sequence(items) => Value::Array(items.iter().map(Node::to_json).collect()),
            Data::Mapping(entries) => {
                Value::Object(entries.iter().map(|(k, v)| (k.name.clone(), v.to_json())).collect())
            }
        }
    }
}

impl From<&Value> for Node {
    /// A value that stands nowhere.
    fn from(value: &Value) -> Self {
        let data = match value {
            Value::Null => Data::Null,
            Value::Bool(value) => Data::Bool(*value),
            Value::Number(number) => Data::Number(number.clone()),
            Value::String(text) => Data::String(text.clone()),
            Value::Array(items) => Data::Sequence(items.iter().map(Node::from).collect()),
            Value::Object(map) => Data::Mapping(
                map.iter().map(|(k, v)| (Key { name: k.clone(), line: 0 }, v.into())).collect(),
            ),
        };
        Node { data, line: 0, column: 0 }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Data>::deserialize(deserializer)?;
        let (line, column) = (spanned.referenced.line(), spanned.referenced.column());
        Ok(Node { data: spanned.value, line, column })
    }
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DataVisitor)
    }
}

struct DataVisitor;

impl<'de> Visitor<'de> for DataVisitor {
    type Value = Data;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Data, E> {
        Ok(Data::Null)
    }

    fn visit_none<E>(self) -> Result<Data, E> {
        Ok(Data::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Data, D::Error> {
        Data::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Data, E> {
        Ok(Data::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Data, E> {
        Ok(Data::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Data, E> {
        Ok(Data::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Data, E> {
        serde_json::Number::from_f64(value)
            .map(Data::Number)
            .ok_or_else(|| E::custom("infinite and not-a-number values are not allowed"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Data, E> {
        Ok(Data::String(value.to_string()))
    }

    fn visit_string<E>(self, value: String) -> Result<Data, E> {
        Ok(Data::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Data, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element()? {
            items.push(item);
        }
        Ok(Data::Sequence(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Data, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let key = Key { line: key.referenced.line(), name: key.value };
            entries.push((key, map.next_value()?));
        }
        Ok(Data::Mapping(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_keys_know_their_lines() {
        let node = parse("a: 1\nb:\n  - x\n  - c: 2.5\n    d: null\n").unwrap();
        let items = match &node.get("b").unwrap().data {
            Data::Sequence(items) => items,
            other => panic!("{other:?}"),
        };
        assert_eq!(items[0].as_str(), Some("x"));
        assert_eq!(items[0].line, 3);
        assert_eq!(items[1].get("d").unwrap().line, 5);
        assert_eq!(
            node.to_json(),
            serde_json::json!({ "a": 1, "b": ["x", { "c": 2.5, "d": null }] })
        );
    }

    #[test]
    fn syntax_errors_and_duplicate_keys_name_the_line() {
        for text in ["a: [1, 2\nb: 3\n", "a: 1\na: 2\n"] {
            let message = parse(text).unwrap_err();
            assert!(message.contains('2'), "{message}");
        }
        let expected = "line 2, column 1: duplicate mapping key: a\n  |\n1 | a: 1\n2 | a: 2\n  | ^";
        assert_eq!(parse("a: 1\na: 2\n").unwrap_err(), expected);
        let message = parse("a: 1\n---\nb: 1\n").unwrap_err();
        assert!(message.contains("multiple YAML documents") && !message.contains("from_str"));
    }

    #[test]
    fn what_json_has_no_number_for_is_text() {
        let expected = serde_json::json!({ "a": ".nan", "b": ".inf", "c": "-.inf" });
        assert_eq!(parse("a: .NaN\nb: +.INF\nc: -.inf\n").unwrap().to_json(), expected);
    }

    #[test]
    fn a_document_of_comments_alone_is_null() {
        for text in ["", " \n", "# a\n# b", "---", "--- # a\n", "---\n# a\n...\n", "null", "~\n"] {
            assert_eq!(parse(text).unwrap().data, Data::Null, "{text:?}");
        }
        for text in ["---#x", "-- -", "a"] {
            assert_ne!(parse(text).map(|node| node.data), Ok(Data::Null), "{text:?}");
        }
    }

    #[test]
    fn learning_rates_in_exponent_form_are_numbers() {
        assert_eq!(parse("lr: 1e-5").unwrap().to_json(), serde_json::json!({ "lr": 1e-5 }));
    }
}
