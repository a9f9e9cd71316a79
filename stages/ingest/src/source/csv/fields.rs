//! Where the fields of a CSV file begin and end, as a strict reader of RFC 4180 has it. A quote opens
//! a field only at its start, and after the quote that closes it comes a separator, a line end or the
//! end of the file. A quote elsewhere in a field is a quote.
//!
//! What RFC 4180 does not allow is a [`Fault`], not a guess: a reader that forgives text after a
//! closing quote takes the rows up to the next quote for one field, whosever they are.

use std::borrow::Cow;

use memchr::{memchr, memchr2, memchr3};

use super::dialect::Dialect;

/// The bytes of a field, without the quotes around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Whether quotes stand around it.
    pub(super) quoted: bool,
    /// Whether there are doubled quotes or escapes in it, which are to be undone.
    marked: bool,
}

/// What comes after a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Another field of the record, from here on.
    Field(usize),
    /// Another record, from here on.
    Record(usize),
    /// Nothing; at the end of a block that may be more of the record.
    Text,
}

/// What a strict reader does not read, and at which byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) kind: FaultKind,
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FaultKind {
    /// Text stands after the quote that closes a field.
    AfterQuote,
    /// The same, and a backslash before that quote.
    AfterEscapedQuote,
    /// A quote opens a field and none closes it.
    Unclosed,
    /// The file ends with an escape, or within a line that an escaped line end has carried on.
    Escape,
    /// CR stands outside quotes without LF after it.
    LoneReturn,
}

impl Dialect {
    /// The field that begins at `at`.
    pub(super) fn field(&self, text: &[u8], at: usize) -> Result<(Field, End), Fault> {
        match self.quote {
            Some(quote) if text.get(at) == Some(&quote) => self.quoted(text, at, quote),
            _ => self.unquoted(text, at),
        }
    }

    fn quoted(&self, text: &[u8], at: usize, quote: u8) -> Result<(Field, End), Fault> {
        let mut field = Field { start: at + 1, end: at + 1, quoted: true, marked: false };
        let mut from = at + 1;
        loop {
            let rest = &text[from..];
            let found = match self.escape {
                Some(escape) => memchr2(quote, escape, rest),
                None => memchr(quote, rest),
            };
            let Some(found) = found.map(|found| from + found) else {
                return Err(Fault { at, kind: FaultKind::Unclosed });
            };
            let is_escape = text[found] != quote;
            if is_escape && found + 1 == text.len() {
                return Err(Fault { at, kind: FaultKind::Unclosed });
            }
            if is_escape || text.get(found + 1) == Some(&quote) {
                field.marked = true;
                from = found + 2;
                continue;
            }
            field.end = found;
            let end = self.end(text, found + 1)?.ok_or_else(|| {
                let is_escaped = self.escape.is_none() && text[..found].ends_with(b"\\");
                let kind =
                    if is_escaped { FaultKind::AfterEscapedQuote } else { FaultKind::AfterQuote };
                Fault { at: found + 1, kind }
            })?;
            return Ok((field, end));
        }
    }

    fn unquoted(&self, text: &[u8], at: usize) -> Result<(Field, End), Fault> {
        let mut field = Field { start: at, end: text.len(), quoted: false, marked: false };
        let (mut from, mut escaped_line_end) = (at, None);
        loop {
            let rest = &text[from..];
            let found = match self.escape {
                None => memchr3(self.separator, b'\n', b'\r', rest),
                Some(escape) => rest
                    .iter()
                    .position(|byte| [self.separator, b'\n', b'\r', escape].contains(byte)),
            };
            let Some(found) = found.map(|found| from + found) else {
                return match escaped_line_end {
                    Some(at) => Err(Fault { at, kind: FaultKind::Escape }),
                    None => Ok((field, End::Text)),
                };
            };
            if Some(text[found]) == self.escape {
                if found + 1 == text.len() {
                    return Err(Fault { at: found, kind: FaultKind::Escape });
                }
                if matches!(text[found + 1], b'\n' | b'\r') {
                    escaped_line_end = Some(found);
                }
                field.marked = true;
                from = found + 2;
                continue;
            }
            field.end = found;
            // What was found ends a field.
            let end = self.end(text, found)?.unwrap_or(End::Text);
            return Ok((field, end));
        }
    }

    /// What the sign at `at` ends; nothing if it ends nothing.
    fn end(&self, text: &[u8], at: usize) -> Result<Option<End>, Fault> {
        Ok(Some(match (text.get(at), text.get(at + 1)) {
            (Some(b'\n'), _) => End::Record(at + 1),
            (Some(b'\r'), Some(b'\n')) => End::Record(at + 2),
            (Some(b'\r'), None) | (None, _) => End::Text,
            (Some(b'\r'), Some(_)) => return Err(Fault { at, kind: FaultKind::LoneReturn }),
            (Some(byte), _) if *byte == self.separator => End::Field(at + 1),
            _ => return Ok(None),
        }))
    }

    /// The length of all records that are complete in a text that starts with a record.
    pub(super) fn complete_length(&self, text: &[u8]) -> usize {
        let (mut record, mut at) = (0, 0);
        loop {
            match self.field(text, at) {
                Ok((_, End::Field(next))) => at = next,
                Ok((_, End::Record(next))) => (record, at) = (next, next),
                Ok((_, End::Text)) => return record,
                Err(Fault { kind: FaultKind::Unclosed | FaultKind::Escape, .. }) => return record,
                // Up to where it can be seen as what it is.
                Err(fault) => {
                    let rest = memchr(b'\n', &text[fault.at..]);
                    return rest.map_or(record, |length| fault.at + length + 1);
                }
            }
        }
    }

    /// The field's text, with doubled quotes and escapes undone.
    pub(super) fn text_of<'t>(&self, text: &'t str, field: Field) -> Cow<'t, str> {
        let raw = &text[field.start..field.end];
        if !field.marked {
            return Cow::Borrowed(raw);
        }
        let mut undone = String::with_capacity(raw.len());
        let mut characters = raw.chars();
        while let Some(character) = characters.next() {
            let is = |sign: Option<u8>| sign.map(char::from) == Some(character);
            // Within quotes a quote stands only before another one.
            let stands_for_the_next = is(self.escape) || (field.quoted && is(self.quote));
            let kept = if stands_for_the_next { characters.next() } else { Some(character) };
            undone.extend(kept);
        }
        Cow::Owned(undone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RFC_4180: Dialect = Dialect { separator: b',', quote: Some(b'"'), escape: None };

    /// All records but blank lines, or the first fault.
    fn records(dialect: Dialect, text: &str) -> Result<Vec<Vec<String>>, Fault> {
        let mut records = Vec::new();
        let (mut record, mut start, mut at) = (Vec::new(), 0, 0);
        loop {
            let (field, end) = dialect.field(text.as_bytes(), at)?;
            record.push(dialect.text_of(text, field).into_owned());
            if let End::Field(next) = end {
                at = next;
                continue;
            }
            let next = if let End::Record(next) = end { next } else { text.len() };
            if !matches!(&text[start..next], "" | "\n" | "\r\n") {
                records.push(std::mem::take(&mut record));
            }
            record.clear();
            (start, at) = (next, next);
            if next == text.len() {
                return Ok(records);
            }
        }
    }

    /// Random texts as Python's csv module reads them with `strict=True` (tests/reference/csv_strict.py).
    #[test]
    fn texts_are_read_and_refused_as_by_pythons_strict_reader() {
        let path = "/../../tests/fixtures/ingest/csv-strict.json";
        let json = std::fs::read(format!("{}{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let fixture: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let sign = |value: &serde_json::Value| value.as_str().map(|text| text.as_bytes()[0]);
        let dialects: Vec<Dialect> = fixture["dialects"]
            .as_array()
            .unwrap()
            .iter()
            .map(|dialect| {
                let separator = sign(&dialect["separator"]).unwrap();
                Dialect {
                    separator,
                    quote: sign(&dialect["quote"]),
                    escape: sign(&dialect["escape"]),
                }
            })
            .collect();
        let cases = fixture["cases"].as_array().unwrap();
        assert!(cases.len() > 1000);
        for case in cases {
            let dialect = dialects[case["dialect"].as_u64().unwrap() as usize];
            let text = case["text"].as_str().unwrap();
            let found = records(dialect, text).ok().map(|records| serde_json::json!(records));
            assert_eq!(found.unwrap_or_default(), case["records"], "{dialect:?} {text:?}");
        }
    }

    #[test]
    fn quotes_open_fields_only_at_their_start() {
        for (text, expected) in [
            ("a,b", vec![vec!["a", "b"]]),
            ("\"a,\n\"\"b\"\"\",\r\n", vec![vec!["a,\n\"b\"", ""]]),
            ("the lobby\"s view,5\" nail\n", vec![vec!["the lobby\"s view", "5\" nail"]]),
            (" \"a\",b", vec![vec![" \"a\"", "b"]]),
            ("\"\"\r\n,\n\"\"\"\"", vec![vec![""], vec!["", ""], vec!["\""]]),
        ] {
            assert_eq!(records(RFC_4180, text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_a_strict_reader_refuses_is_a_fault_where_it_stands() {
        for (text, at, kind) in [
            ("\"a\" and \"b\"", 3, FaultKind::AfterQuote),
            ("x,\"say \\\"hi\\\"\"", 9, FaultKind::AfterEscapedQuote),
            ("\"a\"b,c", 3, FaultKind::AfterQuote),
            ("x,\"a\nb", 2, FaultKind::Unclosed),
            ("a\rb\n", 1, FaultKind::LoneReturn),
            ("\"a\"\rb\n", 3, FaultKind::LoneReturn),
        ] {
            assert_eq!(records(RFC_4180, text).unwrap_err(), Fault { at, kind }, "{text}");
        }
    }

    #[test]
    fn escapes_take_meaning_away() {
        let escaped = Dialect { escape: Some(b'\\'), ..RFC_4180 };
        let text = "\"say \\\"hi\\\\\",a\\,b\\\"\n\"\"\"\\é\"";
        let expected = vec![vec!["say \"hi\\", "a,b\""], vec!["\"é"]];
        assert_eq!(records(escaped, text).unwrap(), expected);
        let fault = records(escaped, "a\\").unwrap_err();
        assert_eq!(fault, Fault { at: 1, kind: FaultKind::Escape });
        let bare = Dialect { quote: None, separator: b'\t', escape: None };
        assert_eq!(records(bare, "\"a\tb\"").unwrap(), [["\"a", "b\""]]);
    }

    #[test]
    fn complete_records_end_before_what_may_go_on() {
        for (text, complete) in [
            ("a,\"b\nb\",c\n\nd", 11),
            ("a\n\"b\n", 2),
            ("a\n\"b\"", 2),
            ("a\r", 0),
            ("a\n\"b\" c\nd\n", 8),
            ("a\n\"b\" c", 2),
        ] {
            assert_eq!(RFC_4180.complete_length(text.as_bytes()), complete, "{text}");
        }
    }
}
