//! Small tables of numbers, such as the metrics of a training run, as one Parquet file.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;

use crate::ArtifactError;

/// Writes columns of equal length; a value that was not measured is null.
///
/// # Errors
/// When the columns differ in length, or the disk refuses.
pub fn write_table(path: &Path, columns: &[(&str, Vec<Option<f64>>)]) -> Result<(), ArtifactError> {
    let fields: Vec<Field> =
        columns.iter().map(|(name, _)| Field::new(*name, DataType::Float64, true)).collect();
    let schema = Arc::new(Schema::new(fields));
    let arrays: Vec<ArrayRef> = columns
        .iter()
        .map(|(_, values)| Arc::new(Float64Array::from(values.clone())) as ArrayRef)
        .collect();
    let file = std::fs::File::create(path).map_err(ArtifactError::io(path, "create"))?;
    let write = || -> Result<(), parquet::errors::ParquetError> {
        let mut writer = ArrowWriter::try_new(file, schema.clone(), None)?;
        writer.write(&RecordBatch::try_new(schema.clone(), arrays)?)?;
        writer.close().map(|_| ())
    };
    write().map_err(|error| ArtifactError::invalid(path, format!("cannot write: {error}")))
}
