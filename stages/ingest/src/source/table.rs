//! Rows with columns, whatever the file format: finding the columns, and turning rows into
//! documents.

use std::ffi::OsStr;
use std::path::Path;

use pft_artifact::Split;
use pft_stage::StageError;

use super::columns::Columns;
use super::discover::TableFile;
use super::label::{Labels, NoLabel};
use super::{Documents, RawDocument, csv, jsonl, mail, parquet};
use crate::config::{Config, Granularity, SourceKind, SplitBy, TextFormat, Unit};

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

/// A block of rows in columns, as whoever reads the format holds it. The value of a row is `None`
/// where it is missing or null.
pub(super) trait Cells {
    /// How many rows there are.
    fn height(&self) -> usize;

    /// A column of texts.
    fn texts(&self, name: &str) -> Result<Vec<Option<String>>, StageError>;

    /// A column of lists of text. A list with a null in it counts as missing.
    fn lists(&self, name: &str) -> Result<Vec<Option<Vec<String>>>, StageError>;

    /// A column of ids, units or splits.
    fn labels(&self, name: &str) -> Result<Labels, StageError>;
}

/// The rows of a block; `origin` says where row `i` stands.
pub(super) fn rows_of(
    block: &impl Cells,
    columns: &Columns,
    origin: impl Fn(usize) -> String,
) -> Result<Vec<Row>, StageError> {
    let missing = |name: &str, row: usize| {
        StageError::input(format!("{}: field `{name}` is missing or null", origin(row)))
            .with_help("give the row a value, or remove the row")
    };
    let no_label = |name: &str, row: usize, no_label: NoLabel| {
        StageError::input(format!("{}: field `{name}` {}", origin(row), no_label.reason()))
            .with_help(format!(
                "write the column as text or as whole numbers when you make the file, or set {} to \
                 another",
                columns.key_of(name)
            ))
    };
    let labels = |name: &Option<String>| -> Result<Vec<Option<String>>, StageError> {
        let Some(name) = name else {
            return Ok(vec![None; block.height()]);
        };
        let values = block.labels(name)?.into_iter().enumerate();
        values
            .map(|(row, value)| match value {
                Ok(Some(label)) => Ok(Some(label)),
                Ok(None) => Err(missing(name, row)),
                Err(reason) => Err(no_label(name, row, reason)),
            })
            .collect()
    };
    fn all<T>(
        values: Vec<Option<T>>,
        text: impl Fn(T) -> Text,
        missing: impl Fn(usize) -> StageError,
    ) -> Result<Vec<Text>, StageError> {
        let values = values.into_iter().enumerate();
        values.map(|(row, value)| value.map(&text).ok_or_else(|| missing(row))).collect()
    }
    let missing_text = |row| missing(&columns.text, row);
    let texts = if columns.paragraphs {
        all(block.lists(&columns.text)?, Text::Paragraphs, missing_text)?
    } else {
        all(block.texts(&columns.text)?, Text::One, missing_text)?
    };
    let (ids, units, splits) =
        (labels(&columns.id)?, labels(&columns.unit)?, labels(&columns.split)?);
    let mut rows = Vec::with_capacity(block.height());
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
    check_kinds(&files, &opened)?;
    let granularity = config.granularity;
    let mail = match config.text_format {
        TextFormat::Plain => None,
        TextFormat::Mail => Some(mail::Reader::new(&config, source)?),
    };
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
            .flat_map(|row| match &mail {
                Some(reader) => vec![message_of(row, reader)],
                None => documents_of(row, rule, granularity).into_iter().map(Ok).collect(),
            })
            .collect::<Vec<_>>(),
        Err(error) => vec![Err(error)],
    });
    Ok(Box::new(documents))
}

/// Refuses a column of ids, units or splits that is a date in one file and a time in the next: one value
/// would have two texts.
fn check_kinds(files: &[TableFile], opened: &[Columns]) -> Result<(), StageError> {
    let kind = |columns: &Columns, name: &str| {
        columns.kinds.iter().find(|(known, _)| known == name).map(|(_, kind)| kind.clone())
    };
    let (Some(first_file), Some(first)) = (files.first(), opened.first()) else {
        return Ok(());
    };
    for (file, columns) in files.iter().zip(opened) {
        for name in columns.names().into_iter().filter(|name| *name != columns.text) {
            let (here, there) = (kind(columns, name), kind(first, name));
            if here != there {
                let called = |kind: Option<String>| kind.unwrap_or("text or number".to_string());
                return Err(StageError::input(format!(
                    "{}: column `{name}` is a {} here and a {} in {}",
                    file.path.display(),
                    called(here),
                    called(there),
                    first_file.path.display()
                ))
                .with_help(
                    "write the column in one type in all files: one value must have one text",
                ));
            }
        }
    }
    Ok(())
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

/// The document of a row whose text is a mail.
fn message_of(row: Row, reader: &mail::Reader) -> Result<RawDocument, StageError> {
    let Row { text, id, unit, split, origin } = row;
    let Text::One(text) = text else {
        return Err(StageError::bug(format!("{origin}: a list of paragraphs is no mail")));
    };
    let document = reader.document(text.as_bytes(), id, || unit, origin)?;
    Ok(RawDocument { split, ..document })
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
