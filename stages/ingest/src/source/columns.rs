//! Which columns of a file are read, and what may be said of the others.
//!
//! The first line of a CSV file without a header is a person's data, and so may be a key of a JSON
//! object. A message shows columns only where all of them look like names.

use std::path::Path;

use pft_stage::StageError;
use pft_stage::schema::suggestion;
use polars::prelude::{DataType, Schema};

use super::parts::{self, Parts};
use crate::config::{MissingText, SourceKind};
use crate::reading::Reading;
use crate::split::SplitBy;

/// A name that is longer is more likely data.
const LONGEST_NAME: usize = 40;

/// A name of more words is more likely a sentence.
const MOST_WORDS: usize = 4;

/// A list of more names helps nobody.
const MOST_LISTED: usize = 30;

/// The columns to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Columns {
    pub(super) text: String,
    pub(super) id: Option<String>,
    pub(super) unit: Option<String>,
    pub(super) split: Option<String>,
    /// Whether the text column holds a list of paragraphs.
    pub(super) paragraphs: bool,
    /// What a document is made of, where that is not the text column.
    pub(super) parts: Option<Parts>,
    /// Whether rows without text are left out.
    pub(super) may_lack_text: bool,
    /// The columns whose values are dates, times or truth values, and what these are called.
    pub(super) kinds: Vec<(String, String)>,
}

/// A column that a setting names and a file lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Missing<'a> {
    /// The setting.
    pub(super) key: &'a str,
    /// The column's name.
    pub(super) name: &'a str,
}

impl Columns {
    /// Settles the columns of one file, whose columns are `available`; `missing` words the error
    /// for one that is not there.
    pub(super) fn find(
        reading: &Reading,
        available: &[String],
        missing: impl Fn(Missing<'_>) -> StageError,
    ) -> Result<Self, StageError> {
        let Reading { config, source, .. } = reading;
        let is_known = |name: &str| parts::is_known(available, name);
        let check = |key: &str, name: &str| {
            if is_known(name) { Ok(name.to_string()) } else { Err(missing(Missing { key, name })) }
        };
        let optional = |key: &str, name: &Option<String>| {
            name.as_deref().map(|name| check(key, name)).transpose()
        };
        let is_case = *source == SourceKind::Ecthr;
        let text = match config.text_column.as_str() {
            "text" if is_case => "facts",
            name => name,
        };
        let mut id = optional("id_column", &config.id_column)?;
        if is_case && id.is_none() && is_known("case_id") {
            id = Some("case_id".to_string());
        }
        let parts = Parts::find(config, available, |key, name| missing(Missing { key, name }))?;
        let text = match &parts {
            Some(parts) => parts.names[0].clone(),
            None => check("text_column", text)?,
        };
        let split = (config.split.by == SplitBy::Column)
            .then(|| check("split.column", &config.split.column))
            .transpose()?;
        Ok(Self {
            text,
            id,
            unit: optional("unit_column", &config.unit_column)?,
            split,
            paragraphs: is_case,
            parts,
            may_lack_text: config.missing_text == MissingText::LeaveOut,
            kinds: Vec::new(),
        })
    }

    /// The names to read, each once.
    pub(super) fn names(&self) -> Vec<&str> {
        let mut names = vec![self.text.as_str()];
        let parts = self.parts.iter().flat_map(|parts| &parts.names);
        for name in parts.chain([&self.id, &self.unit, &self.split].into_iter().flatten()) {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        names
    }

    /// Whether a column is one of several that make a document.
    pub(super) fn is_part(&self, name: &str) -> bool {
        self.parts.as_ref().is_some_and(|parts| parts.key_of(name).is_some())
    }

    /// The setting that names a column, for messages.
    pub(super) fn key_of(&self, name: &str) -> &'static str {
        if let Some(key) = self.parts.as_ref().and_then(|parts| parts.key_of(name)) {
            return key;
        }
        let is = |column: &Option<String>| column.as_deref() == Some(name);
        match name {
            _ if name == self.text => "text_column",
            _ if is(&self.id) => "id_column",
            _ if is(&self.unit) => "unit_column",
            _ => "split.column",
        }
    }

    /// The types that polars reads the columns as.
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

/// The error for a missing column in a file whose columns have names by its format.
pub(super) fn missing_column(
    path: &Path,
    available: &[String],
    missing: Missing<'_>,
) -> StageError {
    StageError::input(format!(
        "{}: there is no column `{}`{}",
        path.display(),
        missing.name,
        known_columns(missing.name, available)
    ))
    .with_help(format!("set {} to the column's name", missing.key))
}

/// What may be said of the columns that there are: the nearest name, all of them, or their number.
/// One without a name, such as that of a row number, is not worth a word.
fn known_columns(wanted: &str, available: &[String]) -> String {
    let known: Vec<&str> =
        available.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
    if !known.iter().all(|name| looks_like_a_name(name)) {
        let count = match known.len() {
            1 => "only column is".to_string(),
            count => format!("{count} columns are"),
        };
        return format!("; its {count} not shown, because not all of them look like names");
    }
    let said = suggestion(wanted, &known);
    if known.len() > MOST_LISTED && !said.contains("did you mean") {
        return format!("; there are {} others", known.len());
    }
    said
}

/// Whether a text may be shown as a column's name: a few words of letters, digits and the marks that
/// names have, and not digits alone.
pub(super) fn looks_like_a_name(text: &str) -> bool {
    // What pandas calls a column without a name.
    if text.strip_prefix("Unnamed: ").is_some_and(|number| number.parse::<u32>().is_ok()) {
        return true;
    }
    let is_mark = |c: char| matches!(c, '_' | '-' | '.' | ':' | '/' | '#' | '(' | ')' | ' ');
    // A comma or a full stop before a blank ends part of a sentence, an `@` is in an address.
    let is_sentence = text.ends_with(['.', ':']) || text.contains(". ") || text.contains(": ");
    let (mut letters, mut digits) = (0, 0);
    for character in text.chars() {
        if character.is_alphabetic() {
            letters += 1;
        } else if character.is_numeric() {
            digits += 1;
        } else if !is_mark(character) {
            return false;
        }
    }
    letters > 0
        && digits <= letters
        && !is_sentence
        && text.trim() == text
        && text.chars().count() <= LONGEST_NAME
        && text.split_whitespace().count() <= MOST_WORDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_data_are_told_apart() {
        for name in ["text", "Unnamed: 0", "case_id", "split.column", "Größe (cm)", "x-1", "名前"]
        {
            assert!(looks_like_a_name(name), "{name}");
        }
        let data = [
            "",
            "7",
            "2001-01-01",
            "001-12345",
            "a@b.org",
            "Mr Smith was born in 1950.",
            "Mr Smith, a baker",
            "the applicant and her two sons",
            "SECRETTEXT. of",
            "id;text;date",
            "{\"id\": 1}",
            " x",
            "what?",
            "verylongwordsverylongwordsverylongwordsverylongwords",
        ];
        for text in data {
            assert!(!looks_like_a_name(text), "{text}");
        }
    }

    #[test]
    fn columns_that_look_like_data_are_counted_and_not_shown() {
        let names = |names: &[&str]| names.iter().map(|n| (*n).to_string()).collect::<Vec<_>>();
        assert_eq!(known_columns("tex", &names(&["text", "id"])), "; did you mean `text`?");
        assert_eq!(known_columns("body", &names(&["text", "id"])), "; known here: id, text");
        let message = known_columns("SECRETTEX", &names(&["SECRETTEXT", "Mr Smith, a baker"]));
        assert!(!message.contains("SECRET") && message.contains("its 2 columns"), "{message}");
    }
}
