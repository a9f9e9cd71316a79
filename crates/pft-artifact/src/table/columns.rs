//! Rows to and from Arrow columns.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, RecordBatch, StringArray, StringBuilder};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field};
use arrow::error::ArrowError;

use crate::table::record::Split;

pub(crate) fn utf8(name: &str) -> Field {
    Field::new(name, DataType::Utf8, false)
}

pub(crate) fn item(data_type: DataType) -> Arc<Field> {
    Arc::new(Field::new("item", data_type, false))
}

pub(crate) fn take_strings(builder: &mut StringBuilder) -> ArrayRef {
    Arc::new(builder.finish())
}

/// Where the lists of a column end.
#[derive(Debug, Default)]
pub(crate) struct Ends(Vec<usize>);

impl Ends {
    pub(crate) fn push(&mut self, end: usize) {
        self.0.push(end);
    }

    /// The offsets of a column of lists.
    pub(crate) fn take(&mut self) -> Result<OffsetBuffer<i32>, ArrowError> {
        let ends = std::iter::once(0).chain(self.0.drain(..));
        let offsets = ends.map(i32::try_from).collect::<Result<Vec<i32>, _>>();
        let offsets = offsets.map_err(|_| ArrowError::OffsetOverflowError(i32::MAX as usize))?;
        Ok(OffsetBuffer::new(ScalarBuffer::from(offsets)))
    }
}

pub(crate) fn string_column(batch: &RecordBatch, name: &str) -> Result<StringArray, String> {
    let strings = column(batch, name)?.as_string_opt::<i32>();
    strings.cloned().ok_or_else(|| wrong_type(batch, name, "utf8"))
}

pub(crate) fn split_column(batch: &RecordBatch) -> Result<Vec<Split>, String> {
    string_column(batch, "split")?.iter().flatten().map(str::parse).collect()
}

pub(crate) fn list_column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ListArray, String> {
    column(batch, name)?.as_list_opt::<i32>().ok_or_else(|| wrong_type(batch, name, "a list"))
}

pub(crate) fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, String> {
    let column = batch.column_by_name(name).ok_or_else(|| format!("column `{name}` is missing"))?;
    if column.null_count() > 0 {
        return Err(format!("column `{name}` holds nulls"));
    }
    Ok(column)
}

pub(crate) fn wrong_type(batch: &RecordBatch, name: &str, expected: &str) -> String {
    let found = batch.column_by_name(name).map(|c| c.data_type().to_string()).unwrap_or_default();
    format!("column `{name}` has type {found}; it must be {expected}")
}
