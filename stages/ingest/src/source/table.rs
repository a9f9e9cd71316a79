//! Rows with columns, whatever the file format: finding the columns, and turning rows into
//! documents.

use std::ffi::OsStr;
use std::path::Path;

use pft_artifact::{Quoted, Split};
use pft_stage::StageError;
use pft_stage::schema::suggestion;
use polars::prelude::{Column, DataFrame, DataType, Schema};

use super::discover::TableFile;
use super::{Documents, RawDocument, csv, jsonl, parquet};
use crate::config::{Config, Granularity, SourceKind, SplitBy, Unit};

/// The columns to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Columns {
    pub(super) text: String,
    pub(super) id: Option<String>,
    pub(super) unit: Option<String>,
    pub(super) split: Option<String>,
    /// Whether the text column holds a list of paragraphs.
    pub(super) paragraphs: bool,
}

impl Columns {
    /// Settles the columns of one file, whose columns are `available`.
    pub(super) fn find(
        config: &Config,
        source: SourceKind,
        path: &Path,
        available: &[String],
    ) -> Result<Self, StageError> {
        let known: Vec<&str> = available.iter().map(String::as_str).collect();
        let check = |key: &str, name: &str| {
            if known.contains(&name) {
                return Ok(name.to_string());
            }
            // A first line that is no header has texts where names should be.
            let names = known.iter().copied().filter(|name| Quoted(name).is_short());
            let names: Vec<&str> = names.collect();
            Err(StageError::input(format!(
                "{}: there is no column `{name}`{}",
                path.display(),
                suggestion(name, &names)
            ))
            .with_help(format!("set {key} to the column's name")))
        };
        let optional = |key: &str, name: &Option<String>| {
            name.as_deref().map(|name| check(key, name)).transpose()
        };
        let is_case = source == SourceKind::Ecthr;
        let text = match config.text_column.as_str() {
            "text" if is_case => "facts",
            name => name,
        };
        let mut id = optional("id_column", &config.id_column)?;
        if is_case && id.is_none() && known.contains(&"case_id") {
            id = Some("case_id".to_string());
        }
        let split = (config.split.by == SplitBy::Column)
            .then(|| check("split.column", &config.split.column))
            .transpose()?;
        Ok(Self {
            text: check("text_column", text)?,
            id,
            unit: optional("unit_column", &config.unit_column)?,
            split,
            paragraphs: is_case,
        })
    }

    /// The names to read, each once.
    pub(super) fn names(&self) -> Vec<&str> {
        let mut names = vec![self.text.as_str()];
        for name in [&self.id, &self.unit, &self.split].into_iter().flatten() {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        names
    }

    /// The types to read the columns as.
    pub(super) fn schema(&self) -> Schema {
        let mut schema = Schema::default();
        for name in self.names() {
            let data_type = if self.paragraphs && name == self.text {
                DataType::List(Box::new(DataType::String))
            } else {
                DataType::String
            };
            schema.with_column(name.into(), data_type);
        }
        schema
    }
}

/// The text of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Text {
    /// A text.
    One(String),
    /// The paragraphs of a case.
    Paragraphs(Vec<String>),
}

/// A row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) text: Text,
    pub(super) id: Option<String>,
    pub(super) unit: Option<String>,
    pub(super) split: Option<Split>,
    pub(super) origin: String,
}

/// Rows, a block at a time.
pub(super) type Rows = Box<dyn Iterator<Item = Result<Vec<Row>, StageError>> + Send>;

/// The rows of a data frame; `origin` says where row `i` stands.
pub(super) fn rows_of(
    frame: &DataFrame,
    columns: &Columns,
    origin: impl Fn(usize) -> String,
) -> Result<Vec<Row>, StageError> {
    let missing = |name: &str, row: usize| {
        StageError::input(format!("{}: field `{name}` is missing or null", origin(row)))
            .with_help("give the row a value, or remove the row")
    };
    let strings = |name: &Option<String>| -> Result<Vec<Option<String>>, StageError> {
        let Some(name) = name else {
            return Ok(vec![None; frame.height()]);
        };
        column(frame, name)?
            .str()
            .map_err(|error| unexpected(&error))?
            .iter()
            .enumerate()
            .map(|(row, value)| match value {
                Some(value) => Ok(Some(value.to_string())),
                None => Err(missing(name, row)),
            })
            .collect()
    };
    let texts: Vec<Text> = if columns.paragraphs {
        let mut texts = Vec::with_capacity(frame.height());
        let list = column(frame, &columns.text)?;
        let list = list.list().map_err(|error| unexpected(&error))?;
        for (row, value) in list.series_iter().enumerate() {
            let value = value.ok_or_else(|| missing(&columns.text, row))?;
            let paragraphs = value.str().map_err(|error| unexpected(&error))?;
            let paragraphs: Option<Vec<String>> =
                paragraphs.iter().map(|paragraph| paragraph.map(str::to_string)).collect();
            texts.push(Text::Paragraphs(paragraphs.ok_or_else(|| missing(&columns.text, row))?));
        }
        texts
    } else {
        strings(&Some(columns.text.clone()))?
            .into_iter()
            .map(|text| Text::One(text.unwrap_or_default()))
            .collect()
    };
    let (ids, units, splits) =
        (strings(&columns.id)?, strings(&columns.unit)?, strings(&columns.split)?);
    let mut rows = Vec::with_capacity(frame.height());
    let fields = texts.into_iter().zip(ids).zip(units).zip(splits);
    for (row, (((text, id), unit), split)) in fields.enumerate() {
        let split = split
            .map(|name| name.parse())
            .transpose()
            .map_err(|error| StageError::input(format!("{}: {error}", origin(row))))?;
        rows.push(Row { text, id, unit, split, origin: origin(row) });
    }
    Ok(rows)
}

fn column<'f>(frame: &'f DataFrame, name: &str) -> Result<&'f Column, StageError> {
    frame.column(name).map_err(|error| unexpected(&error))
}

/// What polars says about types, never about data.
fn unexpected(error: &polars::error::PolarsError) -> StageError {
    StageError::bug(format!("unexpected column: {error}"))
}

/// Opens files of rows as documents.
pub(super) fn open(
    config: &Config,
    source: SourceKind,
    files: Vec<TableFile>,
) -> Result<Documents, StageError> {
    let rule = config.unit_rule(source);
    let config = config.clone();
    // Columns of every file are checked before anything is read.
    let mut opened = Vec::with_capacity(files.len());
    for file in &files {
        opened.push(columns_of(&config, source, file)?);
    }
    let granularity = config.granularity;
    let by_file = config.split.by == SplitBy::File;
    let rows = files.into_iter().zip(opened).flat_map(move |(file, columns)| {
        let split = by_file.then(|| split_of_file(&file.path)).transpose();
        let rows = split.and_then(|split| Ok((split, read(&config, &file, columns)?)));
        match rows {
            Ok((split, rows)) => Box::new(rows.map(move |rows| {
                rows.map(|mut rows| {
                    if split.is_some() {
                        rows.iter_mut().for_each(|row| row.split = split);
                    }
                    rows
                })
            })) as Rows,
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    });
    let documents = rows.flat_map(move |rows| match rows {
        Ok(rows) => rows
            .into_iter()
            .flat_map(|row| documents_of(row, rule, granularity))
            .map(Ok)
            .collect::<Vec<_>>(),
        Err(error) => vec![Err(error)],
    });
    Ok(Box::new(documents))
}

fn columns_of(
    config: &Config,
    source: SourceKind,
    file: &TableFile,
) -> Result<Columns, StageError> {
    match file.format {
        SourceKind::Csv => csv::columns(config, source, &file.path),
        SourceKind::Parquet => parquet::columns(config, source, &file.path),
        _ => jsonl::columns(config, source, &file.path),
    }
}

fn read(config: &Config, file: &TableFile, columns: Columns) -> Result<Rows, StageError> {
    match file.format {
        SourceKind::Csv => csv::read(config, &file.path, columns),
        SourceKind::Parquet => parquet::read(&file.path, columns),
        _ => jsonl::read(config, &file.path, columns),
    }
}

/// One document for a text, one a paragraph or one a case for paragraphs.
fn documents_of(row: Row, rule: Option<Unit>, granularity: Granularity) -> Vec<RawDocument> {
    let document = |doc_id: Option<String>, unit_id: Option<String>, text: String| RawDocument {
        doc_id,
        unit_id,
        split: row.split,
        text,
        spans: None,
        origin: row.origin.clone(),
    };
    match row.text {
        Text::One(text) => vec![document(row.id, row.unit, text)],
        Text::Paragraphs(paragraphs) if granularity == Granularity::Case => {
            vec![document(row.id, row.unit, paragraphs.join("\n"))]
        }
        Text::Paragraphs(paragraphs) => {
            // A case without an id is called by its contents, so that its name does not depend on
            // the cases before it.
            let case = row.id.unwrap_or_else(|| {
                let mut hasher = blake3::Hasher::new();
                for paragraph in &paragraphs {
                    hasher.update(&(paragraph.len() as u64).to_le_bytes());
                    hasher.update(paragraph.as_bytes());
                }
                hasher.finalize().to_hex()[..16].to_string()
            });
            let unit = match rule {
                Some(Unit::Document) => None,
                Some(_) => Some(case),
                None => row.unit,
            };
            paragraphs.into_iter().map(|text| document(None, unit.clone(), text)).collect()
        }
    }
}

/// The split that a file's name says, such as `test-00000-of-00001.parquet`, else its folder's.
fn split_of_file(path: &Path) -> Result<Split, StageError> {
    let folder = path.parent().and_then(Path::file_name);
    let said = |name: &OsStr| {
        let name = name.to_string_lossy().to_ascii_lowercase();
        let mut found =
            name.split(|c: char| !c.is_ascii_alphanumeric()).filter_map(|word| word.parse().ok());
        found.next().filter(|_| found.next().is_none())
    };
    path.file_stem().and_then(said).or_else(|| folder.and_then(said)).ok_or_else(|| {
        StageError::input(format!("{}: the file's name does not tell its split", path.display()))
            .with_help("put train, validation or test into the name, or use `split.by: unit`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_tell_splits() {
        let split = |name: &str| split_of_file(Path::new(name)).ok();
        assert_eq!(split("test-00000-of-00001.parquet"), Some(Split::Test));
        assert_eq!(split("/train/dev.jsonl"), Some(Split::Validation));
        assert_eq!(split("echr_Train.csv"), Some(Split::Train));
        assert_eq!(split("train_test.csv"), None);
        assert_eq!(split("contest.csv"), None);
        assert_eq!(split("x/validation/0000.parquet"), Some(Split::Validation));
    }

    #[test]
    fn a_case_is_called_by_its_contents_not_its_place() {
        let row = |facts: &[&str]| Row {
            text: Text::Paragraphs(facts.iter().map(|f| (*f).to_string()).collect()),
            id: None,
            unit: None,
            split: None,
            origin: String::new(),
        };
        let unit = |facts: &[&str]| {
            let documents = documents_of(row(facts), Some(Unit::Case), Granularity::Paragraph);
            assert_eq!(documents.len(), facts.len());
            documents[0].unit_id.clone().unwrap()
        };
        assert_eq!(unit(&["a", "b"]), unit(&["a", "b"]));
        assert_ne!(unit(&["a", "b"]), unit(&["ab", ""]));
    }
}
