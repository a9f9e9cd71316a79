//! Separated values, block by block.
//!
//! The reader is our own, since it must be strict and name places: see [`fields`]. Every record's
//! fields are counted, so that a ragged row is named by its line instead of being filled up.

mod dialect;
mod fault;
mod fields;
mod header;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use memchr::memchr_iter;
use pft_stage::StageError;

use self::dialect::Dialect;
use self::fault::fault_error;
use self::fields::{End, Field};
use self::header::Header;
use super::columns::Columns;
use super::lines::{Block, Blocks};
use super::rows::{Cells, Row, Rows, Table, rows_of};
use crate::config::SourceKind;
use crate::counted::counted;
use crate::label::Labels;
use crate::reading::Reading;

/// A file of separated values.
pub(super) struct Csv {
    reading: Arc<Reading>,
    path: PathBuf,
    dialect: Dialect,
}

impl Csv {
    /// The file at a path.
    pub(super) fn new(reading: &Arc<Reading>, path: &Path) -> Self {
        let dialect = Dialect::of(&reading.config, path);
        Self { reading: reading.clone(), path: path.to_path_buf(), dialect }
    }
}

impl Table for Csv {
    fn names(&self) -> Result<Vec<String>, StageError> {
        Ok(Header::read(&self.reading.config, &self.path, self.dialect)?.names)
    }

    fn columns(&self) -> Result<Columns, StageError> {
        let path = &self.path;
        if self.reading.source == SourceKind::Ecthr {
            return Err(StageError::config(format!(
                "{}: source ecthr reads JSON Lines and Parquet, not CSV",
                path.display()
            ))
            .with_help("a field of CSV holds no list of paragraphs: use `source: csv`"));
        }
        let header = Header::read(&self.reading.config, path, self.dialect)?;
        Columns::find(&self.reading, &header.names, |missing| header.missing(path, missing))
    }

    fn rows(&self, columns: Columns) -> Result<Rows, StageError> {
        let (dialect, config) = (self.dialect, &self.reading.config);
        let header = Header::read(config, &self.path, dialect)?;
        let is_wanted = |name: &String| columns.names().contains(&name.as_str());
        let complete_length = Box::new(move |text: &[u8]| dialect.complete_length(text));
        Ok(Box::new(Reader {
            blocks: Blocks::open(&self.path, complete_length, config.invalid_text)?,
            path: self.path.clone(),
            dialect,
            doubts_quotes: dialect.separator == b'\t' && config.quote.is_none(),
            wanted: header.names.iter().map(is_wanted).collect(),
            names: header.names.iter().filter(|name| is_wanted(name)).cloned().collect(),
            columns,
            header_read: false,
            failed: false,
        }))
    }
}

struct Reader {
    blocks: Blocks,
    path: PathBuf,
    dialect: Dialect,
    /// Whether a quoted field that holds what looks like rows is refused.
    doubts_quotes: bool,
    /// Of every column, whether it is read.
    wanted: Vec<bool>,
    /// The columns that are read, in the file's order.
    names: Vec<String>,
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
        let mut records = Records {
            text: &block.text,
            dialect: self.dialect,
            names: &self.names,
            fields: Vec::new(),
            lines: Vec::new(),
        };
        let (mut at, mut line) = (0, block.first_line);
        while at < block.text.len() {
            let first_field = records.fields.len();
            let (next, lines, count) = self.record(block, at, line, &mut records.fields)?;
            let is_blank = matches!(&block.text[at..next], "\n" | "\r\n" | "\r");
            if is_blank || !self.header_read {
                records.fields.truncate(first_field);
                self.header_read |= !is_blank;
            } else {
                self.check_count(line, count)?;
                records.lines.push(line);
            }
            (at, line) = (next, line + lines);
        }
        rows_of(&records, &self.columns, |row| {
            format!("{}:{}", self.path.display(), records.lines[row])
        })
    }

    /// Adds the wanted fields of the record at `at`. Gives its end, its lines and its number of fields.
    fn record(
        &self,
        block: &Block,
        mut at: usize,
        line: u64,
        fields: &mut Vec<Field>,
    ) -> Result<(usize, u64, usize), StageError> {
        let text = block.text.as_bytes();
        let (mut lines, mut count) = (0, 0);
        loop {
            let (field, end) = self
                .dialect
                .field(text, at)
                .map_err(|fault| fault_error(&self.path, block, self.dialect, fault))?;
            if self.wanted.get(count) == Some(&true) {
                fields.push(field);
            }
            count += 1;
            let inner = &text[field.start..field.end];
            let inner_lines = if field.quoted || self.dialect.escape.is_some() {
                memchr_iter(b'\n', inner).count()
            } else {
                0
            };
            if self.doubts_quotes && field.quoted && inner_lines > 1 {
                self.check_inner_rows(inner, line + lines)?;
            }
            lines += inner_lines as u64;
            match end {
                End::Field(next) => at = next,
                End::Record(next) => return Ok((next, lines + 1, count)),
                End::Text => return Ok((text.len(), lines, count)),
            }
        }
    }

    fn check_count(&self, line: u64, count: usize) -> Result<(), StageError> {
        let expected = self.wanted.len();
        if count == expected {
            return Ok(());
        }
        Err(StageError::input(format!(
            "{}:{line}: the row has {}, but the header has {expected}",
            self.path.display(),
            counted(count as u64, "field")
        ))
        .with_help("mend the row: a field with the separator or a line end in it must be quoted"))
    }

    /// Refuses a field whose inner lines all have as many tabs as a row: programs that write tabs
    /// between fields mostly write no quotes around them, and a quote that opens a text would make one
    /// document of the rows of several units.
    fn check_inner_rows(&self, inner: &[u8], line: u64) -> Result<(), StageError> {
        let lines: Vec<&[u8]> = inner.split(|&byte| byte == b'\n').collect();
        let is_row = |line: &&[u8]| {
            let tabs = memchr_iter(self.dialect.separator, line).count();
            tabs > 0 && tabs + 1 == self.wanted.len()
        };
        if !lines[1..lines.len() - 1].iter().all(is_row) {
            return Ok(());
        }
        Err(StageError::input(format!(
            "{}:{line}: a quote opens here, and the lines up to the one that closes it look like rows \
             of their own",
            self.path.display()
        ))
        .with_help(
            "set `quote: none` if fields are not quoted in this file, or `quote: '\"'` to read the \
             lines as one text",
        ))
    }
}

/// The wanted fields of a block's records.
struct Records<'b> {
    text: &'b str,
    dialect: Dialect,
    names: &'b [String],
    /// As many for each record as there are names.
    fields: Vec<Field>,
    /// The line of each record.
    lines: Vec<u64>,
}

impl Records<'_> {
    fn column(&self, name: &str) -> Result<Vec<String>, StageError> {
        let place = self.names.iter().position(|known| known == name);
        let place =
            place.ok_or_else(|| StageError::bug(format!("column {name:?} was not read")))?;
        let fields = self.fields.iter().skip(place).step_by(self.names.len());
        Ok(fields.map(|field| self.dialect.text_of(self.text, *field).into_owned()).collect())
    }
}

impl Cells for Records<'_> {
    fn height(&self) -> usize {
        self.lines.len()
    }

    fn texts(&self, name: &str) -> Result<Vec<Option<String>>, StageError> {
        Ok(self.column(name)?.into_iter().map(Some).collect())
    }

    fn lists(&self, name: &str) -> Result<Vec<Option<Vec<String>>>, StageError> {
        Err(StageError::bug(format!("column {name:?} of a CSV file holds no lists")))
    }

    fn labels(&self, name: &str) -> Result<Labels, StageError> {
        Ok(self.column(name)?.into_iter().map(|label| Ok(Some(label))).collect())
    }
}
