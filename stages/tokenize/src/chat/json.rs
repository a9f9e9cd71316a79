//! The filter `tojson` as transformers has it: Python's `json.dumps`, and nothing escaped for HTML.

use std::fmt::Write as _;

use minijinja::value::{Kwargs, ValueKind};
use minijinja::{Error, ErrorKind, Value};

/// How to write.
struct Layout {
    ensure_ascii: bool,
    /// What each level is indented by; one line without it.
    indent: Option<String>,
    item_separator: String,
    key_separator: String,
    sort_keys: bool,
}

/// `tojson(x, ensure_ascii=false, indent=none, separators=none, sort_keys=false)`.
///
/// # Errors
/// When the value is none that JSON has, or an argument is not what it should be.
pub(super) fn tojson(
    value: &Value,
    ensure_ascii: Option<Value>,
    indent: Option<Value>,
    kwargs: Kwargs,
) -> Result<Value, Error> {
    let given = |first: Option<Value>, name: &str| -> Result<Option<Value>, Error> {
        let value = if first.is_some() { first } else { kwargs.get::<Option<Value>>(name)? };
        Ok(value.filter(|value| !value.is_none() && !value.is_undefined()))
    };
    let ensure_ascii = given(ensure_ascii, "ensure_ascii")?;
    let indent = match given(indent, "indent")? {
        None => None,
        Some(indent) => Some(match (indent.as_usize(), indent.as_str()) {
            (Some(width), _) => " ".repeat(width.min(64)),
            (None, Some(text)) => text.to_string(),
            (None, None) => return Err(wrong("tojson: indent is neither a number nor text")),
        }),
    };
    let item_separator = if indent.is_some() { "," } else { ", " };
    let (item_separator, key_separator) = match given(None, "separators")? {
        None => (item_separator.to_string(), ": ".to_string()),
        Some(pair) => {
            let parts: Vec<Value> = pair.try_iter()?.collect();
            match parts.iter().map(Value::as_str).collect::<Vec<_>>()[..] {
                [Some(item), Some(key)] => (item.to_string(), key.to_string()),
                _ => return Err(wrong("tojson: separators are not two texts")),
            }
        }
    };
    let layout = Layout {
        ensure_ascii: ensure_ascii.is_some_and(|value| value.is_true()),
        indent,
        item_separator,
        key_separator,
        sort_keys: given(None, "sort_keys")?.is_some_and(|value| value.is_true()),
    };
    kwargs.assert_all_used()?;
    let mut out = String::new();
    layout.write(value, 0, &mut out)?;
    Ok(Value::from(out))
}

fn wrong(message: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

impl Layout {
    fn write(&self, value: &Value, depth: usize, out: &mut String) -> Result<(), Error> {
        match value.kind() {
            ValueKind::None => out.push_str("null"),
            ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => out.push_str(&number(value)?),
            ValueKind::String => self.text(value.as_str().unwrap_or_default(), out),
            ValueKind::Seq | ValueKind::Iterable => {
                let items: Vec<Value> = value.try_iter()?.collect();
                self.all('[', ']', items.len(), depth, out, |index, out| {
                    self.write(&items[index], depth + 1, out)
                })?;
            }
            ValueKind::Map => {
                let mut keys: Vec<Value> = value.try_iter()?.collect();
                if self.sort_keys {
                    keys.sort();
                }
                self.all('{', '}', keys.len(), depth, out, |index, out| {
                    self.key(&keys[index], out)?;
                    out.push_str(&self.key_separator);
                    self.write(&value.get_item(&keys[index])?, depth + 1, out)
                })?;
            }
            _ => return Err(wrong("tojson: the value is none that JSON has")),
        }
        Ok(())
    }

    fn all(
        &self,
        open: char,
        close: char,
        count: usize,
        depth: usize,
        out: &mut String,
        mut item: impl FnMut(usize, &mut String) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let line = |depth: usize, out: &mut String| {
            if let Some(indent) = &self.indent {
                out.push('\n');
                out.push_str(&indent.repeat(depth));
            }
        };
        out.push(open);
        for index in 0..count {
            if index > 0 {
                out.push_str(&self.item_separator);
            }
            line(depth + 1, out);
            item(index, out)?;
        }
        if count > 0 {
            line(depth, out);
        }
        out.push(close);
        Ok(())
    }

    fn key(&self, key: &Value, out: &mut String) -> Result<(), Error> {
        match key.kind() {
            ValueKind::String => self.text(key.as_str().unwrap_or_default(), out),
            ValueKind::None => out.push_str("\"null\""),
            ValueKind::Bool => out.push_str(if key.is_true() { "\"true\"" } else { "\"false\"" }),
            ValueKind::Number => {
                let _ = write!(out, "\"{}\"", number(key)?);
            }
            _ => return Err(wrong("tojson: a key is neither text nor a number")),
        }
        Ok(())
    }

    fn text(&self, text: &str, out: &mut String) {
        out.push('"');
        for character in text.chars() {
            match character {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                // Writing into a string does not fail.
                low if low < ' ' => drop(write!(out, "\\u{:04x}", u32::from(low))),
                high if self.ensure_ascii && high > '~' => {
                    for unit in high.encode_utf16(&mut [0; 2]) {
                        let _ = write!(out, "\\u{unit:04x}");
                    }
                }
                other => out.push(other),
            }
        }
        out.push('"');
    }
}

/// A number as Python writes it.
fn number(value: &Value) -> Result<String, Error> {
    if value.is_integer() {
        return Ok(value.to_string());
    }
    let number = f64::try_from(value.clone())?;
    Ok(python_float(number))
}

/// A floating point number as Python's `repr` writes it.
pub(super) fn python_float(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_string();
    }
    if number.is_infinite() {
        return if number > 0.0 { "Infinity" } else { "-Infinity" }.to_string();
    }
    let size = number.abs();
    if size != 0.0 && !(1e-4..1e16).contains(&size) {
        // 1e-07 where Rust writes 1e-7.
        let text = format!("{number:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, digits) = match exponent.strip_prefix('-') {
            Some(digits) => ('-', digits),
            None => ('+', exponent),
        };
        return format!("{mantissa}e{sign}{digits:0>2}");
    }
    let text = number.to_string();
    if text.contains('.') { text } else { format!("{text}.0") }
}
