//! Files of rows as documents: which formats there are, and what becomes of a row.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use pft_artifact::{Split, Turn};
use pft_stage::StageError;
use serde_json::Value;

use super::columns::Columns;
use super::csv::Csv;
use super::discover::{self, TableFile};
use super::jsonl::JsonLines;
use super::mail;
use super::parquet::Parquet;
use super::parts::{NoDocument, Parts, Said};
use super::rows::{Row, Rows, Table, Text};
use crate::config::{Broken, Config, Granularity, MissingText, SourceKind, TextFormat, Unit};
use crate::document::{Documents, Omission, RawDocument};
use crate::intake::too_long;
use crate::reading::Reading;
use crate::split::SplitBy;

/// Opens the files of rows that the config's paths stand for.
pub(super) fn open(reading: &Arc<Reading>) -> Result<Documents, StageError> {
    let files = discover::tables(reading)?;
    // Columns of every file are checked before anything is read.
    let mut tables = Vec::with_capacity(files.len());
    let mut columns = Vec::with_capacity(files.len());
    for file in &files {
        let table = table_of(reading, file);
        columns.push(table.columns()?);
        tables.push(table);
    }
    check_kinds(&files, &columns)?;
    let (unit, granularity) = (reading.unit, reading.config.granularity);
    let mail = match reading.config.text_format {
        TextFormat::Plain => None,
        TextFormat::Mail => Some(mail::Reader::new(reading)?),
    };
    let by_file = reading.config.split.by == SplitBy::File;
    let parts: Option<Parts> = columns.first().and_then(|columns| columns.parts.clone());
    let config = reading.config.clone();
    let rows =
        files.into_iter().zip(tables).zip(columns).flat_map(move |((file, table), columns)| {
            let split = by_file.then(|| split_of_file(&file.path)).transpose();
            let rows = split.and_then(|split| Ok((split, table.rows(columns)?)));
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
                None => match (row, &parts) {
                    (Row { text: Text::Parts(values), id, unit, split, origin }, Some(parts)) => {
                        let document = RawDocument {
                            doc_id: id,
                            unit_id: unit,
                            split,
                            origin,
                            ..RawDocument::default()
                        };
                        vec![made_of(document, parts, &values, &config)]
                    }
                    (row, _) => documents_of(row, unit, granularity).into_iter().map(Ok).collect(),
                },
            })
            .collect::<Vec<_>>(),
        Err(error) => vec![Err(error)],
    });
    Ok(Box::new(documents))
}

pub(super) fn table_of(reading: &Arc<Reading>, file: &TableFile) -> Box<dyn Table> {
    match file.format {
        SourceKind::Csv => Box::new(Csv::new(reading, &file.path)),
        SourceKind::Parquet => Box::new(Parquet::new(reading, &file.path)),
        _ => Box::new(JsonLines::new(reading, &file.path)),
    }
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
        for name in columns
            .names()
            .into_iter()
            .filter(|name| *name != columns.text && !columns.is_part(name))
        {
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

/// The document that several values of a row make.
fn made_of(
    document: RawDocument,
    parts: &Parts,
    values: &[Option<Value>],
    config: &Config,
) -> Result<RawDocument, StageError> {
    let broken = config.conversation.as_ref().map(|conversation| conversation.broken);
    let origin = document.origin.clone();
    let left_out = |omission| Ok(RawDocument { left_out: Some(omission), ..document.clone() });
    match parts.read(values, config) {
        Ok(Said::Text(text)) => Ok(RawDocument { text, ..document }),
        Ok(Said::Turns(turns)) => {
            let (text, turns) = Turn::join(turns).map_err(|_| too_long(&origin))?;
            Ok(RawDocument { text, turns, ..document })
        }
        Err(NoDocument::Missing(_)) if config.missing_text == MissingText::LeaveOut => {
            left_out(Omission::NoText)
        }
        Err(NoDocument::Missing(name)) => {
            Err(StageError::input(format!("{origin}: field `{name}` is missing or null"))
                .with_help("give the row a value, or set `missing_text: leave_out`"))
        }
        Err(NoDocument::WrongType(name)) => Err(StageError::input(format!(
            "{origin}: field `{name}` has the wrong type: it is neither text nor a list of messages"
        ))
        .with_help("name other columns, or convert this one when you make the file")),
        Err(NoDocument::Broken(_)) if broken == Some(Broken::LeaveOut) => {
            left_out(Omission::Broken)
        }
        Err(NoDocument::Broken(reason)) => Err(StageError::input(format!(
            "{origin}: is no conversation to learn from: {reason}"
        ))
        .with_help(
            "mend the row, name its roles in `conversation.roles`, or set `conversation.broken: \
             leave_out` to leave such rows out",
        )),
    }
}

/// The document of a row whose text is a mail.
fn message_of(row: Row, reader: &mail::Reader) -> Result<RawDocument, StageError> {
    let Row { text, id, unit, split, origin } = row;
    if text == Text::Missing {
        let left_out = Some(Omission::NoText);
        return Ok(RawDocument { doc_id: id, origin, left_out, ..RawDocument::default() });
    }
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
        origin: row.origin.clone(),
        ..RawDocument::default()
    };
    match row.text {
        Text::One(text) => vec![document(row.id, row.unit, text)],
        Text::Missing | Text::Parts(_) => {
            let missing = document(row.id, row.unit, String::new());
            vec![RawDocument { left_out: Some(Omission::NoText), ..missing }]
        }
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
