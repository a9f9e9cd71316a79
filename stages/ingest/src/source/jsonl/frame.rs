//! Blocks of rows that polars has read, and a second look at values whose type it does not tell: asked
//! for text, it makes text of numbers, in which `7.5` and `"7.5"` are the same and digits are lost.

use std::path::Path;

use pft_stage::StageError;
use polars::prelude::{Column, DataFrame};
use serde_json::Value;

use super::fields::value_of;
use crate::label::{Labels, NoLabel, of_float};
use crate::source::rows::Cells;

/// The longest text that is made of a number: the largest one has 309 digits, the smallest 324.
const LONGEST_NUMBER: usize = 400;

/// The most digits of a whole number that no reader rounds.
const SAFE_DIGITS: usize = 15;

/// The rows of a block.
pub(super) struct Frame<'b> {
    pub(super) path: &'b Path,
    pub(super) frame: DataFrame,
    /// The line of each row, by number and as it stands in the file.
    pub(super) lines: Vec<(u64, &'b str)>,
}

impl Cells for Frame<'_> {
    fn height(&self) -> usize {
        self.frame.height()
    }

    fn texts(&self, name: &str) -> Result<Vec<Option<String>>, StageError> {
        let texts = self.strings(name)?;
        for (row, text) in texts.iter().enumerate() {
            if text.as_deref().is_some_and(may_be_no_text)
                && !self.value(row, name).is_some_and(|value| value.is_string())
            {
                return Err(self.no_text(row, name));
            }
        }
        Ok(texts)
    }

    fn lists(&self, name: &str) -> Result<Vec<Option<Vec<String>>>, StageError> {
        let lists = column(&self.frame, name)?.list().map_err(|error| unexpected(&error))?;
        let lists = lists.series_iter().enumerate().map(|(row, list)| {
            let Some(list) = list else {
                return Ok(None);
            };
            let strings = list.str().map_err(|error| unexpected(&error))?;
            if strings.iter().flatten().any(may_be_no_text) {
                let is_text = |value: &Value| value.is_string() || value.is_null();
                let value = self.value(row, name);
                let values = value.as_ref().and_then(Value::as_array);
                if !values.is_some_and(|values| values.iter().all(is_text)) {
                    return Err(self.no_text(row, name));
                }
            }
            Ok(strings.iter().map(|value| value.map(str::to_string)).collect())
        });
        lists.collect()
    }

    fn labels(&self, name: &str) -> Result<Labels, StageError> {
        let labels = self.strings(name)?.into_iter().enumerate();
        let labels = labels.map(|(row, label)| match label {
            Some(label) if may_be_rounded(&label) => {
                self.value(row, name).map_or(Err(NoLabel::NoValue), label_of)
            }
            label => Ok(label),
        });
        Ok(labels.collect())
    }
}

impl Frame<'_> {
    fn strings(&self, name: &str) -> Result<Vec<Option<String>>, StageError> {
        let strings = column(&self.frame, name)?.str().map_err(|error| unexpected(&error))?;
        Ok(strings.iter().map(|value| value.map(str::to_string)).collect())
    }

    /// A value as JSON has it.
    fn value(&self, row: usize, name: &str) -> Option<Value> {
        value_of(self.lines[row].1, name)
    }

    fn no_text(&self, row: usize, name: &str) -> StageError {
        StageError::input(format!(
            "{}:{}: field `{name}` has the wrong type: it is not text",
            self.path.display(),
            self.lines[row].0
        ))
        .with_help("every row must have the types of the first")
    }
}

pub(super) fn label_of(value: Value) -> Result<Option<String>, NoLabel> {
    match value {
        Value::String(text) => Ok(Some(text)),
        Value::Number(number) if number.is_f64() => {
            of_float(number.as_f64().unwrap_or(f64::NAN), f64::MANTISSA_DIGITS)
        }
        Value::Number(number) => Ok(Some(number.to_string())),
        Value::Bool(value) => Ok(Some(value.to_string())),
        Value::Null => Ok(None),
        Value::Array(_) | Value::Object(_) => Err(NoLabel::NoValue),
    }
}

/// Whether polars may have made a text of a number, a truth value, a list or an object.
fn may_be_no_text(text: &str) -> bool {
    matches!(text, "true" | "false")
        || text.starts_with(['[', '{'])
        || (text.len() <= LONGEST_NUMBER
            && text.starts_with(|c: char| c == '-' || c.is_ascii_digit())
            && text.parse::<f64>().is_ok())
}

/// Whether a label may be a number that is not whole or has lost digits.
fn may_be_rounded(label: &str) -> bool {
    let is_safe = label.len() <= SAFE_DIGITS && label.bytes().all(|byte| byte.is_ascii_digit());
    !is_safe && may_be_no_text(label)
}

fn column<'f>(frame: &'f DataFrame, name: &str) -> Result<&'f Column, StageError> {
    frame.column(name).map_err(|error| unexpected(&error))
}

/// What polars says about types, never about data.
fn unexpected(error: &polars::error::PolarsError) -> StageError {
    StageError::bug(format!("unexpected column: {error}"))
}
