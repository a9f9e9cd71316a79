//! Comma separated values through polars, block by block.
//!
//! Records are found first. The same pass counts every record's fields, so that a ragged row is
//! named by its line instead of being filled up.

mod header;
mod records;

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pft_stage::StageError;
use polars::prelude::{
    CsvReadOptions, DataFrame, DataType, PlSmallStr, PolarsResult, Schema, SerReader,
};

use self::header::Header;
use self::records::{Record, complete_records, records, text_of};
use super::columns::Columns;
use super::lines::{Block, Blocks};
use super::table::{Row, Rows, rows_of};
use crate::config::{Config, SourceKind};
use crate::counted::counted;

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
    let header = Header::read(config, path, separator(config, path))?;
    Columns::find(config, source, &header.names, |missing| header.missing(path, missing))
}

/// The rows of a file.
pub(super) fn read(config: &Config, path: &Path, columns: Columns) -> Result<Rows, StageError> {
    let separator = separator(config, path);
    let header = Header::read(config, path, separator)?;
    let mut schema = Schema::default();
    for name in &header.names {
        schema.with_column(name.as_str().into(), DataType::String);
    }
    let names: Vec<PlSmallStr> = columns.names().into_iter().map(PlSmallStr::from).collect();
    Ok(Box::new(Reader {
        blocks: Blocks::open(path, complete_records, config.invalid_text)?,
        path: path.to_path_buf(),
        separator,
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
        if !self.header_read && !records.is_empty() {
            records.remove(0);
            self.header_read = true;
        }
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let frame = self.parse(&block.text, &records).ok_or_else(|| {
            let record = self.first_unreadable(&block.text, &records);
            StageError::input(format!(
                "{}:{}: the row cannot be read as CSV",
                self.path.display(),
                record.line
            ))
            .with_help("look for quotes within a field: they must be doubled")
        })?;
        rows_of(&frame, &self.columns, |row| {
            format!("{}:{}", self.path.display(), records[row].line)
        })
    }

    /// The record that keeps the others from being read, found by halving.
    fn first_unreadable<'r>(&self, text: &str, records: &'r [Record]) -> &'r Record {
        let mut part = records;
        while part.len() > 1 {
            let (first, second) = part.split_at(part.len() / 2);
            part = if self.parse(text, first).is_none() { first } else { second };
        }
        &part[0]
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
                "{place}: the row has {}, but the header has {expected}",
                counted(record.fields as u64, "field")
            ))
            .with_help(
                "mend the row: a field with the separator or a line end in it must be quoted",
            ));
        }
        Ok(())
    }

    /// One row a record, or nothing.
    fn parse(&self, text: &str, records: &[Record]) -> Option<DataFrame> {
        let frame = self.parse_text(&text_of(text, records)).ok()?;
        (frame.height() == records.len()).then_some(frame)
    }

    fn parse_text(&self, text: &str) -> PolarsResult<DataFrame> {
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
