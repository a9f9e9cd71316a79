//! A decoded batch of a Parquet file, and its columns as text.

use std::path::Path;

use arrow::array::{Array, ArrayRef, AsArray, LargeStringArray, RecordBatch, make_array};
use arrow::buffer::NullBuffer;
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{DataType, Float64Type};
use pft_stage::StageError;
use serde_json::Value;

use super::types;
use super::values::json_values;
use crate::label::{Labels, of_decimal, of_float, of_uuid};
use crate::source::columns::Columns;
use crate::source::rows::Cells;

/// A batch of the needed columns.
pub(super) struct Batch<'r> {
    pub(super) path: &'r Path,
    pub(super) columns: &'r Columns,
    /// The columns that hold UUIDs.
    pub(super) uuids: &'r [String],
    pub(super) batch: RecordBatch,
}

impl Cells for Batch<'_> {
    fn height(&self) -> usize {
        self.batch.num_rows()
    }

    fn texts(&self, name: &str) -> Result<Vec<Option<String>>, StageError> {
        let array = self.column(name)?;
        let strings = as_strings(&array).ok_or_else(|| self.unfit(name, array.data_type()))?;
        Ok(strings.iter().map(|value| value.map(str::to_string)).collect())
    }

    fn lists(&self, name: &str) -> Result<Vec<Option<Vec<String>>>, StageError> {
        let array = self.column(name)?;
        let unfit = || self.unfit(name, array.data_type());
        let values = types::list_values(array.data_type()).ok_or_else(unfit)?;
        let field = arrow::datatypes::Field::new("item", values.clone(), true);
        let lists = cast(&array, &DataType::LargeList(field.into())).map_err(|_| unfit())?;
        let lists = lists.as_any().downcast_ref::<arrow::array::LargeListArray>();
        let lists = lists.ok_or_else(unfit)?;
        lists
            .iter()
            .map(|list| {
                let Some(list) = list else {
                    return Ok(None);
                };
                let strings = as_strings(&list).ok_or_else(unfit)?;
                Ok(strings.iter().map(|value| value.map(str::to_string)).collect())
            })
            .collect()
    }

    fn values(&self, name: &str) -> Result<Vec<Option<Value>>, StageError> {
        let array = self.column(name)?;
        let values =
            json_values(&array).ok_or_else(|| self.unfit(name, array.data_type()))?.into_iter();
        Ok(values.map(|value| Some(value).filter(|value| !value.is_null())).collect())
    }

    fn labels(&self, name: &str) -> Result<Labels, StageError> {
        let array = self.column(name)?;
        let is_uuid = self.uuids.iter().any(|uuid| uuid == name);
        as_labels(&array, is_uuid).ok_or_else(|| self.unfit(name, array.data_type()))
    }
}

impl Batch<'_> {
    /// A column, which may lie in structs: a value of a struct that is null is null.
    fn column(&self, name: &str) -> Result<ArrayRef, StageError> {
        if let Some(array) = self.batch.column_by_name(name) {
            return Ok(array.clone());
        }
        let unread = || StageError::bug(format!("column {name:?} was not read"));
        let mut names = name.split('.');
        let root = names.next().and_then(|root| self.batch.column_by_name(root));
        let mut array = root.ok_or_else(unread)?.clone();
        for name in names {
            let structs = array.as_struct_opt().ok_or_else(unread)?;
            let inner = structs.column_by_name(name).ok_or_else(unread)?;
            let nulls = NullBuffer::union(structs.nulls(), inner.nulls());
            let data = inner.to_data().into_builder().nulls(nulls).build();
            array = make_array(data.map_err(|_| unread())?);
        }
        Ok(array)
    }

    /// The schema was fine, so that a value must be out of range, such as a year.
    fn unfit(&self, name: &str, data_type: &DataType) -> StageError {
        StageError::input(format!(
            "{}: column `{name}` has a {} that cannot be written as text",
            self.path.display(),
            types::name(data_type)
        ))
        .with_help(format!(
            "convert the column to text when you make the file, or set {} to another",
            self.columns.key_of(name)
        ))
    }
}

/// Values as text; times with a zone in UTC, whatever the zone is called.
fn as_strings(array: &ArrayRef) -> Option<LargeStringArray> {
    let strict = CastOptions { safe: false, ..Default::default() };
    let utc = match array.data_type() {
        DataType::Timestamp(unit, Some(_)) => {
            Some(cast(array, &DataType::Timestamp(*unit, Some("+00:00".into()))).ok()?)
        }
        _ => None,
    };
    let array = utc.as_ref().unwrap_or(array);
    let text = cast_with_options(array, &DataType::LargeUtf8, &strict).ok()?;
    text.as_any().downcast_ref::<LargeStringArray>().cloned()
}

/// Values as labels, by the rules of [`label`](crate::label).
fn as_labels(array: &ArrayRef, is_uuid: bool) -> Option<Labels> {
    let float = |significant_bits: u32| -> Option<Labels> {
        let wide = cast(array, &DataType::Float64).ok()?;
        let values = wide.as_primitive_opt::<Float64Type>()?.iter();
        Some(
            values
                .map(|value| value.map_or(Ok(None), |value| of_float(value, significant_bits)))
                .collect(),
        )
    };
    match array.data_type() {
        DataType::Dictionary(_, values) => as_labels(&cast(array, values).ok()?, is_uuid),
        DataType::Float16 => float(11),
        DataType::Float32 => float(24),
        DataType::Float64 => float(53),
        DataType::FixedSizeBinary(_) if is_uuid => {
            let values = array.as_fixed_size_binary_opt()?.iter();
            Some(values.map(|value| Ok(value.map(of_uuid))).collect())
        }
        data_type => {
            let is_decimal = types::is_decimal(data_type);
            let strings = as_strings(array)?;
            let label = |text: &str| if is_decimal { of_decimal(text) } else { text.to_string() };
            Some(strings.iter().map(|value| Ok(value.map(label))).collect())
        }
    }
}
