//! The fields of one object as they stand, for what polars does not tell: which occur twice, and of what
//! type a value is.

use std::fmt::Formatter;

use serde::Deserializer;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

/// The keys of an object, repeated ones included; none of what is not an object.
pub(super) fn keys(text: &str) -> Vec<String> {
    let mut keys = Vec::new();
    visit(text, |_| false, |key, _| keys.push(key));
    keys
}

/// The value of an object's field; of one that occurs twice, the last.
pub(super) fn value_of(text: &str, name: &str) -> Option<Value> {
    let mut found = None;
    visit(text, |key| key == name, |_, value| found = value.or(found.take()));
    found
}

/// Calls `take` with each key, and with the value where it is `wanted`.
fn visit(text: &str, wanted: impl Fn(&str) -> bool, take: impl FnMut(String, Option<Value>)) {
    struct Fields<W, T> {
        wanted: W,
        take: T,
    }

    impl<'de, W: Fn(&str) -> bool, T: FnMut(String, Option<Value>)> Visitor<'de> for Fields<W, T> {
        type Value = ();

        fn expecting(&self, formatter: &mut Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
            while let Some(key) = map.next_key::<String>()? {
                let value = if (self.wanted)(&key) {
                    Some(map.next_value()?)
                } else {
                    map.next_value::<IgnoredAny>()?;
                    None
                };
                (self.take)(key, value);
            }
            Ok(())
        }
    }

    // A line that cannot be read is refused elsewhere, with its place.
    let _ = serde_json::Deserializer::from_str(text).deserialize_map(Fields { wanted, take });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_all_those_of_the_outer_object() {
        assert_eq!(keys(r#"{"a": {"b": 1}, "c": "a", "\u0061": []}"#), ["a", "c", "a"]);
        assert_eq!(keys(r#"["a"]"#), [""; 0]);
    }

    #[test]
    fn values_are_those_of_the_outer_object() {
        let text = r#"{"b": {"a": 1}, "a": 7.0, "c": "a"}"#;
        assert_eq!(value_of(text, "a"), Some(Value::from(7.0)));
        assert_eq!(value_of(text, "x"), None);
    }
}
