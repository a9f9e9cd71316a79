//! Where the records of a CSV file begin and end, by RFC 4180: a line end within quotes belongs to
//! its field.

use std::borrow::Cow;

use memchr::{memchr2_iter, memchr3_iter};

/// A record of a block: its bytes, its line, its number of fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) line: u64,
    pub(super) fields: usize,
    /// Whether its quotes are closed.
    pub(super) closed: bool,
}

/// The records of a block that are not blank lines. The last may lack its line end.
pub(super) fn records(text: &[u8], first_line: u64, separator: u8) -> Vec<Record> {
    let mut records = Vec::new();
    let mut line = first_line;
    let mut record = Record { start: 0, end: 0, line, fields: 1, closed: true };
    for at in memchr3_iter(b'"', b'\n', separator, text) {
        match text[at] {
            b'"' => record.closed = !record.closed,
            b'\n' => {
                line += 1;
                if record.closed {
                    record.end = at + 1;
                    records.push(record);
                    record = Record { start: at + 1, end: 0, line, fields: 1, closed: true };
                }
            }
            _ => record.fields += usize::from(record.closed),
        }
    }
    if record.start < text.len() {
        record.end = text.len();
        records.push(record);
    }
    records.retain(|record| !matches!(&text[record.start..record.end], b"\n" | b"\r\n" | b"\r"));
    records
}

/// The length of all complete records; quotes do not depend on the separator.
pub(super) fn complete_records(text: &[u8]) -> usize {
    let mut closed = true;
    let mut end = 0;
    for at in memchr2_iter(b'"', b'\n', text) {
        match text[at] {
            b'"' => closed = !closed,
            _ if closed => end = at + 1,
            _ => {}
        }
    }
    end
}

/// The text of records, without the blank lines between them. A reader that takes a blank line for
/// a row of nulls would otherwise count more rows than there are records.
pub(super) fn text_of<'t>(text: &'t str, records: &[Record]) -> Cow<'t, str> {
    let (Some(first), Some(last)) = (records.first(), records.last()) else {
        return Cow::Borrowed("");
    };
    if records.windows(2).all(|pair| pair[0].end == pair[1].start) {
        return Cow::Borrowed(&text[first.start..last.end]);
    }
    records.iter().map(|record| &text[record.start..record.end]).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_end_outside_quotes() {
        let text = "a,\"b\nb\",c\n\n\"d,\"\"d\",e,f\r\n\r\ng,h";
        let all = records(text.as_bytes(), 1, b',');
        let found: Vec<_> = all.iter().map(|r| (r.line, r.fields, r.closed)).collect();
        assert_eq!(found, [(1, 3, true), (4, 3, true), (6, 2, true)]);
        assert_eq!(complete_records(text.as_bytes()), text.len() - 3);
        assert_eq!(complete_records(b"a,\"b\n"), 0);
        assert_eq!(text_of(text, &all), "a,\"b\nb\",c\n\"d,\"\"d\",e,f\r\ng,h");
        assert!(matches!(text_of(text, &all[1..2]), Cow::Borrowed(_)));
        assert_eq!(text_of(text, &[]), "");
    }
}
