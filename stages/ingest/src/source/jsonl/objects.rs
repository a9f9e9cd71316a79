//! Rows as JSON has them, for documents that are made of what polars does not read: lists, objects and
//! what lies in them.

use std::path::Path;

use pft_stage::StageError;
use serde_json::Value;

use super::frame::label_of;
use crate::label::{Labels, NoLabel};
use crate::source::parts::lookup;
use crate::source::rows::Cells;

/// Some rows, each with the line that it begins in.
pub(super) struct Objects<'b> {
    pub(super) path: &'b Path,
    pub(super) rows: Vec<(u64, Value)>,
}

impl Objects<'_> {
    fn column<'s>(&'s self, name: &'s str) -> impl Iterator<Item = (u64, Option<&'s Value>)> {
        let known = |value: &&Value| !value.is_null();
        self.rows.iter().map(move |(line, row)| (*line, lookup(row, name).filter(known)))
    }

    fn no_text(&self, line: u64, name: &str) -> StageError {
        let path = self.path.display();
        StageError::input(format!(
            "{path}:{line}: field `{name}` has the wrong type: it is not text"
        ))
        .with_help("every row must have the types of the first")
    }
}

impl Cells for Objects<'_> {
    fn height(&self) -> usize {
        self.rows.len()
    }

    fn texts(&self, name: &str) -> Result<Vec<Option<String>>, StageError> {
        let texts = self.column(name).map(|(line, value)| match value {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(self.no_text(line, name)),
        });
        texts.collect()
    }

    fn lists(&self, name: &str) -> Result<Vec<Option<Vec<String>>>, StageError> {
        let lists = self.column(name).map(|(line, value)| {
            let Some(value) = value else { return Ok(None) };
            let values = value.as_array().ok_or_else(|| self.no_text(line, name))?;
            if values.iter().any(|value| !value.is_string() && !value.is_null()) {
                return Err(self.no_text(line, name));
            }
            Ok(values.iter().map(|value| value.as_str().map(str::to_string)).collect())
        });
        lists.collect()
    }

    fn labels(&self, name: &str) -> Result<Labels, StageError> {
        let labels = self.column(name).map(|(_, value)| match value {
            None => Ok(None),
            Some(Value::Array(_) | Value::Object(_)) => Err(NoLabel::NoValue),
            Some(value) => label_of(value.clone()),
        });
        Ok(labels.collect())
    }

    fn values(&self, name: &str) -> Result<Vec<Option<Value>>, StageError> {
        Ok(self.column(name).map(|(_, value)| value.cloned()).collect())
    }
}
