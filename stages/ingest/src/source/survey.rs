//! What the columns of files are like: how many values, how many different ones, how long. For whoever has
//! to say which of them holds the text and which the unit; no value leaves this file.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use pft_stage::StageError;
use serde::Serialize;

use super::columns::{Columns, looks_like_a_name};
use super::discover;
use super::rows::{Table, Text};
use super::table::table_of;
use crate::reading::Reading;

/// A column of all files.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Whether it holds texts; ids and units may be numbers, too.
    pub is_text: bool,
    /// How many different values it has.
    pub distinct: u64,
    /// How many rows have the value that most have.
    pub most: u64,
    /// The mean length of its values in characters.
    pub mean_chars: f64,
    /// Why it can be neither text nor unit, if that is so.
    pub problem: Option<String>,
}

/// Values of a column, counted.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Hashes of values: two of them that are equal by chance among millions change no advice.
    seen: HashMap<u64, u64>,
    rows: u64,
    chars: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, value: &str) {
        let mut hasher = DefaultHasher::new();
        value.hash(&mut hasher);
        *self.seen.entry(hasher.finish()).or_default() += 1;
        self.rows += 1;
        self.chars += value.chars().count() as u64;
    }

    pub(crate) fn distinct(&self) -> u64 {
        self.seen.len() as u64
    }

    pub(crate) fn most(&self) -> u64 {
        self.seen.values().copied().max().unwrap_or_default()
    }
}

/// How many rows there are, and each column that all files have.
///
/// # Errors
/// When a file cannot be read, has no rows, or its columns do not look like names.
pub(crate) fn columns(reading: &Arc<Reading>) -> Result<(u64, Vec<Column>), StageError> {
    let files = discover::tables(reading)?;
    let tables: Vec<Box<dyn Table>> = files.iter().map(|file| table_of(reading, file)).collect();
    let mut names: Option<Vec<String>> = None;
    for (file, table) in files.iter().zip(&tables) {
        let here = table.names()?;
        // The first line of a file without a header is a person's data.
        if !here.iter().all(|name| name.is_empty() || looks_like_a_name(name)) {
            let path = file.path.display();
            return Err(StageError::input(format!("{path}: not all its columns look like names"))
                .with_help("put a header with names of columns above the first row"));
        }
        names = Some(match names {
            Some(names) => names.into_iter().filter(|name| here.contains(name)).collect(),
            None => here,
        });
    }
    let names: Vec<String> = names.into_iter().flatten().filter(|name| !name.is_empty()).collect();
    let as_text = |name: &String| count(&tables, &of(name, None)).map_err(|e| e.to_string());
    let texts: Vec<Result<Counts, String>> = names.iter().map(as_text).collect();
    let readable = names.iter().zip(&texts).find(|(_, counts)| counts.is_ok());
    let Some((text, Ok(counts))) = readable else {
        let problem = texts.into_iter().find_map(Result::err).unwrap_or_default();
        return Err(StageError::input(format!("no column holds a text in every row: {problem}"))
            .with_help("give every row a text, as a string"));
    };
    let (rows, text) = (counts.rows, text.clone());
    let columns = names.into_iter().zip(texts).map(|(name, counts)| match counts {
        Ok(counts) => described(name, true, &counts),
        Err(_) => match count(&tables, &of(&text, Some(&name))) {
            Ok(counts) => described(name, false, &counts),
            Err(error) => {
                let problem = Some(error.to_string());
                Column { problem, ..described(name, false, &Counts::default()) }
            }
        },
    });
    let columns = columns.collect();
    if rows == 0 {
        let path = files.first().map(|file| file.path.display().to_string()).unwrap_or_default();
        return Err(StageError::input(format!("{path}: has no rows"))
            .with_help("name a file with at least one row"));
    }
    Ok((rows, columns))
}

fn of(text: &str, unit: Option<&str>) -> Columns {
    Columns {
        text: text.to_string(),
        id: None,
        unit: unit.map(str::to_string),
        split: None,
        paragraphs: false,
        parts: None,
        may_lack_text: false,
        kinds: Vec::new(),
    }
}

/// Counts the units of all rows, or their texts where no unit is asked for.
fn count(tables: &[Box<dyn Table>], columns: &Columns) -> Result<Counts, StageError> {
    let mut counts = Counts::default();
    for table in tables {
        for rows in table.rows(columns.clone())? {
            for row in rows? {
                match (&row.unit, &row.text) {
                    (Some(unit), _) => counts.add(unit),
                    (None, Text::One(text)) => counts.add(text),
                    (None, Text::Paragraphs(paragraphs)) => counts.add(&paragraphs.concat()),
                    // Not asked for: a column is looked at by itself, and a row without it is an error.
                    (None, Text::Parts(_) | Text::Missing) => {}
                }
            }
        }
    }
    Ok(counts)
}

fn described(name: String, is_text: bool, counts: &Counts) -> Column {
    Column {
        name,
        is_text,
        distinct: counts.distinct(),
        most: counts.most(),
        mean_chars: counts.chars as f64 / (counts.rows as f64).max(1.0),
        problem: None,
    }
}
