//! Rows with columns, whatever the file format, and what a format has to do to be read.

use pft_artifact::Split;
use pft_stage::StageError;
use serde_json::Value;

use super::columns::Columns;
use crate::label::{Labels, NoLabel};

/// A file of rows in some format.
pub(super) trait Table: Send {
    /// The names of all columns that a look at the beginning of the file finds.
    ///
    /// # Errors
    /// When the file cannot be read.
    fn names(&self) -> Result<Vec<String>, StageError>;

    /// Settles the columns, with a look at the beginning of the file.
    ///
    /// # Errors
    /// When the file cannot be read, or lacks a column or has another type in it than is needed.
    fn columns(&self) -> Result<Columns, StageError>;

    /// The rows in order.
    ///
    /// # Errors
    /// When the file cannot be read. What is wrong with a row is said when it is reached.
    fn rows(&self, columns: Columns) -> Result<Rows, StageError>;
}

/// The text of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Text {
    /// A text.
    One(String),
    /// The paragraphs of a case.
    Paragraphs(Vec<String>),
    /// The values of the columns that make a document.
    Parts(Vec<Option<Value>>),
    /// None, and the row is left out.
    Missing,
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

    /// A column of anything, as JSON has it.
    fn values(&self, name: &str) -> Result<Vec<Option<Value>>, StageError> {
        Ok(self.texts(name)?.into_iter().map(|text| text.map(Value::String)).collect())
    }
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
        missing: impl Fn(usize) -> Result<Text, StageError>,
    ) -> Result<Vec<Text>, StageError> {
        let values = values.into_iter().enumerate();
        values.map(|(row, value)| value.map(&text).map_or_else(|| missing(row), Ok)).collect()
    }
    let missing_text = |row| match columns.may_lack_text {
        true => Ok(Text::Missing),
        false => Err(missing(&columns.text, row)),
    };
    let texts = if let Some(parts) = &columns.parts {
        let mut rows: Vec<Vec<Option<Value>>> = vec![Vec::new(); block.height()];
        for name in &parts.names {
            rows.iter_mut().zip(block.values(name)?).for_each(|(row, value)| row.push(value));
        }
        rows.into_iter().map(Text::Parts).collect()
    } else if columns.paragraphs {
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
