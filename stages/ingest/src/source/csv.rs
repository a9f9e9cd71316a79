//! Comma separated values through polars, block by block.
//!
//! Records are found first, by RFC 4180: a line end within quotes belongs to its field. The same
//! pass counts every record's fields, so that a ragged row is named by its line instead of being
//! filled up.

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pft_stage::StageError;
use polars::prelude::{
    CsvReadOptions, DataFrame, DataType, PlSmallStr, PolarsResult, Schema, SerReader,
};

use super::columns::{Columns, missing_column};
use super::lines::{Block, Blocks};
use super::table::{Row, Rows, rows_of};
use crate::config::{Config, SourceKind};

/// A record of a block: its bytes, its line, its number of fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Record {
    start: usize,
    end: usize,
    line: u64,
    fields: usize,
    /// Whether its quotes are closed.
    closed: bool,
}

/// The records of a block that are not blank lines. The last may lack its line end.
fn records(text: &[u8], first_line: u64, separator: u8) -> Vec<Record> {
    let mut records = Vec::new();
    let mut line = first_line;
    let mut record = Record { start: 0, end: 0, line, fields: 1, closed: true };
    for (at, &byte) in text.iter().enumerate() {
        match byte {
            b'"' => record.closed = !record.closed,
            b'\n' => {
                line += 1;
                if record.closed {
                    record.end = at + 1;
                    records.push(record);
                    record = Record { start: at + 1, end: 0, line, fields: 1, closed: true };
                }
            }
            _ if byte == separator && record.closed => record.fields += 1,
            _ => {}
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
fn complete_records(text: &[u8]) -> usize {
    let mut closed = true;
    let mut end = 0;
    for (at, &byte) in text.iter().enumerate() {
        match byte {
            b'"' => closed = !closed,
            b'\n' if closed => end = at + 1,
            _ => {}
        }
    }
    end
}

fn separator(config: &Config, path: &Path) -> u8 {
    let is_tsv = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tsv"));
    let default = if is_tsv { '\t' } else { ',' };
    u8::try_from(config.separator.unwrap_or(default)).unwrap_or(b',')
}

/// Settles the columns from the header line.
pub(super) fn columns(
    config: &Config,
    source: SourceKind,
    path: &Path,
) -> Result<Columns, StageError> {
    let header = header(config, path)?;
    Columns::find(config, source, &header, |missing| missing_column(path, &header, missing))
}

fn header(config: &Config, path: &Path) -> Result<Vec<String>, StageError> {
    let separator = separator(config, path);
    let mut blocks = Blocks::open(path, complete_records, config.invalid_text)?;
    let empty = || {
        StageError::input(format!("{}: is empty", path.display()))
            .with_help("a CSV file begins with a line of column names")
    };
    let block = blocks.next()?.ok_or_else(empty)?;
    let records = records(block.text.as_bytes(), block.first_line, separator);
    let record = records.first().ok_or_else(empty)?;
    let text = &block.text[record.start..record.end];
    let names = split_fields(text.trim_end_matches(['\n', '\r']), char::from(separator));
    for (index, name) in names.iter().enumerate() {
        if names[..index].contains(name) {
            return Err(StageError::input(format!(
                "{}:{}: two columns are called `{name}`",
                path.display(),
                record.line
            )));
        }
    }
    Ok(names)
}

fn split_fields(record: &str, separator: char) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut characters = record.chars().peekable();
    while let Some(character) = characters.next() {
        let last = fields.len() - 1;
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                fields[last].push('"');
            }
            '"' => quoted = !quoted,
            _ if character == separator && !quoted => fields.push(String::new()),
            _ => fields[last].push(character),
        }
    }
    fields
}

/// The rows of a file.
pub(super) fn read(config: &Config, path: &Path, columns: Columns) -> Result<Rows, StageError> {
    let header = header(config, path)?;
    let mut schema = Schema::default();
    for name in &header {
        schema.with_column(name.as_str().into(), DataType::String);
    }
    let names: Vec<PlSmallStr> = columns.names().into_iter().map(PlSmallStr::from).collect();
    Ok(Box::new(Reader {
        blocks: Blocks::open(path, complete_records, config.invalid_text)?,
        path: path.to_path_buf(),
        separator: separator(config, path),
        schema: Arc::new(schema),
        names: names.into(),
        columns,
        header_read: false,
        failed: false,
    }))
}

struct Reader {
    blocks: Blocks,
    path: PathBuf,
    separator: u8,
    schema: Arc<Schema>,
    names: Arc<[PlSmallStr]>,
    columns: Columns,
    header_read: bool,
    failed: bool,
}

impl Iterator for Reader {
    type Item = Result<Vec<Row>, StageError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let block = self.blocks.next().transpose()?;
        let rows = block.and_then(|block| self.rows(&block));
        self.failed = rows.is_err();
        Some(rows)
    }
}

impl Reader {
    fn rows(&mut self, block: &Block) -> Result<Vec<Row>, StageError> {
        let mut records = records(block.text.as_bytes(), block.first_line, self.separator);
        for record in &records {
            self.check(record)?;
        }
        if !std::mem::replace(&mut self.header_read, true) {
            records.remove(0);
        }
        let Some(first) = records.first() else {
            return Ok(Vec::new());
        };
        let frame = self
            .parse(&block.text[first.start..])
            .ok()
            .filter(|frame| frame.height() == records.len())
            .ok_or_else(|| {
                StageError::input(format!(
                    "{}: the rows from line {} on cannot be read as CSV",
                    self.path.display(),
                    first.line
                ))
                .with_help("look for quotes within a field: they must be doubled")
            })?;
        rows_of(&frame, &self.columns, |row| {
            format!("{}:{}", self.path.display(), records[row].line)
        })
    }

    fn check(&self, record: &Record) -> Result<(), StageError> {
        let place = format!("{}:{}", self.path.display(), record.line);
        if !record.closed {
            return Err(StageError::input(format!("{place}: a quote opens here and never closes"))
                .with_help("quotes within a field must be doubled"));
        }
        let expected = self.schema.len();
        if record.fields != expected {
            return Err(StageError::input(format!(
                "{place}: the row has {} fields, but the header has {expected}",
                record.fields
            ))
            .with_help(
                "mend the row: a field with the separator or a line end in it must be quoted",
            ));
        }
        Ok(())
    }

    fn parse(&self, text: &str) -> PolarsResult<DataFrame> {
        CsvReadOptions::default()
            .with_has_header(false)
            .with_schema(Some(self.schema.clone()))
            .with_columns(Some(self.names.clone()))
            .map_parse_options(|options| {
                options.with_separator(self.separator).with_missing_is_null(false)
            })
            .into_reader_with_file_handle(Cursor::new(text.as_bytes()))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_end_outside_quotes() {
        let text = b"a,\"b\nb\",c\n\n\"d,\"\"d\",e,f\r\ng,h";
        let all = records(text, 1, b',');
        let found: Vec<_> = all.iter().map(|r| (r.line, r.fields, r.closed)).collect();
        assert_eq!(found, [(1, 3, true), (4, 3, true), (5, 2, true)]);
        assert_eq!(complete_records(text), text.len() - 3);
        assert_eq!(complete_records(b"a,\"b\n"), 0);
    }

    #[test]
    fn header_names_may_be_quoted() {
        assert_eq!(split_fields("a,\"b,\"\"b\",", ','), ["a", "b,\"b", ""]);
    }
}
