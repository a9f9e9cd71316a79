//! JSON Lines through polars, block by block.

mod fields;
mod frame;
mod objects;
mod surrogates;

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memchr::memmem;
use pft_stage::StageError;
use polars::prelude::{DataFrame, JsonFormat, JsonReader, PolarsResult, Schema, SerReader};
use serde_json::Value;

use self::fields::keys;
use self::frame::Frame;
use self::objects::Objects;
use super::columns::{Columns, missing_column};
use super::lines::{Block, Blocks, complete_lines};
use super::rows::{Row, Rows, Table, rows_of};
use crate::config::InvalidText;
use crate::reading::Reading;

/// How many lines are looked at to know the columns: a field may be absent from some.
const PROBED_LINES: usize = 1000;

/// A file of JSON Lines.
pub(super) struct JsonLines {
    reading: Arc<Reading>,
    path: PathBuf,
}

impl JsonLines {
    /// The file at a path.
    pub(super) fn new(reading: &Arc<Reading>, path: &Path) -> Self {
        Self { reading: reading.clone(), path: path.to_path_buf() }
    }

    fn blocks(&self) -> Result<Blocks, StageError> {
        Blocks::open(&self.path, Box::new(complete_lines), self.reading.config.invalid_text)
    }

    /// The objects of a file that is one list of them; none of JSON Lines.
    fn list(&self) -> Result<Option<Vec<(u64, Value)>>, StageError> {
        let path = self.path.as_path();
        let begins_a_list = |block: &Block| block.text.trim_start().starts_with('[');
        if !self.blocks()?.next()?.is_some_and(|block| begins_a_list(&block)) {
            return Ok(None);
        }
        let invalid = self.reading.config.invalid_text;
        let whole = Blocks::open(path, Box::new(|_| 0), invalid)?.next()?;
        let Some(whole) = whole else { return Ok(None) };
        let text = repaired(whole, invalid).text;
        let broken = |what: String| {
            StageError::input(format!("{}: {what}", path.display()))
                .with_help("the file must be one list of objects, or have an object a line")
        };
        let values: Vec<Value> = serde_json::from_str(&text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            broken(format!("is no list that JSON has (line {line}, column {column})"))
        })?;
        if let Some(index) = values.iter().position(|value| !value.is_object()) {
            return Err(broken(format!("entry {} is not a JSON object", index + 1)));
        }
        Ok(Some((1..).zip(values).collect()))
    }

    /// The names of fields, and the first row. A field may be absent from some lines, so that the first
    /// ones are looked at.
    fn probe(&self) -> Result<(Vec<String>, Value), StageError> {
        let (path, invalid) = (self.path.as_path(), self.reading.config.invalid_text);
        let mut names: Vec<String> = Vec::new();
        let mut first_row = Value::Null;
        let list = self.list()?;
        for (_, object) in list.iter().flatten().take(PROBED_LINES) {
            let keys = object.as_object().into_iter().flat_map(|fields| fields.keys());
            for name in keys {
                if !names.contains(name) {
                    names.push(name.clone());
                }
            }
            if first_row.is_null() {
                first_row = object.clone();
            }
        }
        if list.is_none()
            && let Some(block) = self.blocks()?.next()?
        {
            let block = repaired(block, invalid);
            for (line, text) in numbered_lines(&block).take(PROBED_LINES) {
                let object = parse_line(path, line, text)?;
                if let Value::Object(fields) = &object {
                    for name in fields.keys() {
                        if !names.contains(name) {
                            names.push(name.clone());
                        }
                    }
                }
                if first_row.is_null() {
                    first_row = object;
                }
            }
        }
        if names.is_empty() {
            return Err(StageError::input(format!("{}: is empty", path.display()))
                .with_help("name a file with at least one row"));
        }
        Ok((names, first_row))
    }
}

impl Table for JsonLines {
    fn names(&self) -> Result<Vec<String>, StageError> {
        Ok(self.probe()?.0)
    }

    fn columns(&self) -> Result<Columns, StageError> {
        let path = self.path.as_path();
        let (names, first_row) = self.probe()?;
        let columns =
            Columns::find(&self.reading, &names, |missing| missing_column(path, &names, missing))?;
        if columns.parts.is_some() {
            return Ok(columns);
        }
        let expected = if columns.paragraphs { "a list of strings" } else { "a string" };
        match &first_row[&columns.text] {
            Value::Array(_) if !columns.paragraphs => Err(StageError::input(format!(
                "{}: column `{}` is a list, not a string",
                path.display(),
                columns.text
            ))
            .with_help(list_help(&columns.text))),
            Value::String(_) if !columns.paragraphs => Ok(columns),
            Value::Array(_) | Value::Null => Ok(columns),
            _ => Err(StageError::input(format!(
                "{}: column `{}` is not {expected}",
                path.display(),
                columns.text
            ))
            .with_help("set text_column to the column that holds the text")),
        }
    }

    fn rows(&self, columns: Columns) -> Result<Rows, StageError> {
        if let Some(rows) = self.list()? {
            let objects = Objects { path: &self.path, rows };
            let place = |row| format!("{}: entry {}", self.path.display(), row + 1);
            return Ok(Box::new(std::iter::once(rows_of(&objects, &columns, place))));
        }
        // Of what polars does not read, or not without making text of it.
        let named = columns.names();
        let as_objects = columns.parts.is_some() || named.iter().any(|name| name.contains('.'));
        Ok(Box::new(Reader {
            as_objects,
            blocks: self.blocks()?,
            path: self.path.clone(),
            invalid: self.reading.config.invalid_text,
            schema: Arc::new(columns.schema()),
            columns,
            failed: false,
        }))
    }
}

struct Reader {
    /// Whether rows are read one by one.
    as_objects: bool,
    blocks: Blocks,
    path: PathBuf,
    invalid: InvalidText,
    columns: Columns,
    schema: Arc<Schema>,
    failed: bool,
}

impl Iterator for Reader {
    type Item = Result<Vec<Row>, StageError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let block = self.blocks.next().transpose()?;
        let rows = block.and_then(|block| self.rows(&repaired(block, self.invalid)));
        self.failed = rows.is_err();
        Some(rows)
    }
}

impl Reader {
    fn rows(&self, block: &Block) -> Result<Vec<Row>, StageError> {
        let lines: Vec<(u64, &str)> = numbered_lines(block).collect();
        if lines.is_empty() {
            return Ok(Vec::new());
        }
        if self.as_objects {
            self.check_repeated(block, lines.len())?;
            let rows =
                lines.iter().map(|&(line, text)| Ok((line, parse_line(&self.path, line, text)?)));
            let objects =
                Objects { path: &self.path, rows: rows.collect::<Result<_, StageError>>()? };
            return rows_of(&objects, &self.columns, |row| {
                format!("{}:{}", self.path.display(), objects.rows[row].0)
            });
        }
        // The parser behind polars lets half of a surrogate pair through as another character.
        if surrogates::may_be_in(&block.text) {
            for &(line, text) in &lines {
                if surrogates::may_be_in(text) {
                    parse_line(&self.path, line, text)?;
                }
            }
        }
        self.check_repeated(block, lines.len())?;
        // What polars says of a broken line may quote it, so the line is looked up again.
        let frame = parse(&block.text, self.schema.clone())
            .ok()
            .filter(|frame| frame.height() == lines.len())
            .ok_or_else(|| self.diagnose(block))?;
        let frame = Frame { path: &self.path, frame, lines };
        rows_of(&frame, &self.columns, |row| {
            format!("{}:{}", self.path.display(), frame.lines[row].0)
        })
    }

    /// Refuses a row that has a field twice, of which polars would take one or the other.
    fn check_repeated(&self, block: &Block, rows: usize) -> Result<(), StageError> {
        for name in self.columns.names() {
            let quoted = Value::from(name).to_string();
            // A row that lacks the field is refused later, so that the sum tells enough.
            if memmem::find_iter(block.text.as_bytes(), quoted.as_bytes()).count() <= rows {
                continue;
            }
            for (line, text) in numbered_lines(block) {
                if keys(text).into_iter().filter(|key| key == name).count() > 1 {
                    return Err(StageError::input(format!(
                        "{}:{line}: field `{name}` occurs twice",
                        self.path.display()
                    ))
                    .with_help("programs differ in which of the two they take: remove one"));
                }
            }
        }
        Ok(())
    }

    /// Finds the line that polars could not read.
    fn diagnose(&self, block: &Block) -> StageError {
        for (line, text) in numbered_lines(block) {
            let object = match parse_line(&self.path, line, text) {
                Ok(object) => object,
                Err(error) => return error,
            };
            if parse(text, self.schema.clone()).is_err() {
                let wrong = self.columns.names().into_iter().find(|name| {
                    let is_list = self.columns.paragraphs && *name == self.columns.text;
                    match &object[*name] {
                        Value::Array(_) => !is_list,
                        Value::Object(_) => true,
                        _ => is_list,
                    }
                });
                let wrong = wrong.unwrap_or(&self.columns.text);
                return StageError::input(format!(
                    "{}:{line}: field `{wrong}` has the wrong type",
                    self.path.display()
                ))
                .with_help("every row must have the types of the first");
            }
        }
        StageError::input(format!(
            "{}:{}: cannot be read as JSON Lines",
            self.path.display(),
            block.first_line
        ))
    }
}

/// What to do where the text column is a list.
pub(super) fn list_help(name: &str) -> String {
    match name {
        "messages" | "conversations" | "conversation" => {
            "for conversations set `conversation: {}` and leave text_column out".to_string()
        }
        _ => "for lists of paragraphs use `source: ecthr`, for conversations set `conversation`"
            .to_string(),
    }
}

fn parse(text: &str, schema: Arc<Schema>) -> PolarsResult<DataFrame> {
    JsonReader::new(Cursor::new(text.as_bytes()))
        .with_json_format(JsonFormat::JsonLines)
        .with_schema(schema)
        .finish()
}

/// The lines that are not blank, with their numbers.
fn numbered_lines(block: &Block) -> impl Iterator<Item = (u64, &str)> {
    (block.first_line..)
        .zip(block.text.split('\n'))
        .filter(|(_, text)| text.bytes().any(|byte| !matches!(byte, b' ' | b'\t' | b'\r')))
}

/// The block with what `invalid_text: repair` asks for in JSON's escapes.
fn repaired(mut block: Block, invalid: InvalidText) -> Block {
    if invalid == InvalidText::Repair && surrogates::may_be_in(&block.text) {
        block.text = surrogates::repair(&block.text).into_owned();
    }
    block
}

fn parse_line(path: &Path, line: u64, text: &str) -> Result<Value, StageError> {
    let broken = |reason: String, help: &str| {
        StageError::input(format!("{}:{line}: {reason}", path.display())).with_help(help)
    };
    let help = "JSON Lines has one complete JSON object a line; mend or remove this one";
    match serde_json::from_str(text) {
        Ok(value @ Value::Object(_)) => Ok(value),
        Ok(_) => Err(broken("is not a JSON object".to_string(), help)),
        Err(_) if serde_json::from_str::<Value>(&surrogates::repair(text)).is_ok() => Err(broken(
            "has half of a surrogate pair (such as `\\ud800`), which is no character".to_string(),
            "mend the line, or set `invalid_text: repair` to put U+FFFD in its place",
        )),
        Err(_) if text.trim_end().contains('\r') => Err(broken(
            "is not valid JSON, and has CR within the line".to_string(),
            "if the file's lines end in CR alone, convert it to LF, for example with \
             `tr '\\r' '\\n' < OLD > NEW`",
        )),
        Err(error) => Err(broken(format!("is not valid JSON (column {})", error.column()), help)),
    }
}
