//! Small tables of numbers, such as the metrics of a training run, as one Parquet file.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Float64Type, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

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
    let file = std::fs::File::create(path).map_err(ArtifactError::write(path, "create"))?;
    let write = || -> Result<(), parquet::errors::ParquetError> {
        let mut writer = ArrowWriter::try_new(file, schema.clone(), None)?;
        writer.write(&RecordBatch::try_new(schema.clone(), arrays)?)?;
        writer.close().map(|_| ())
    };
    write().map_err(|error| ArtifactError::not_written(path, error))
}

/// A column's name and its values; `None` where nothing was measured.
pub type NumberColumn = (String, Vec<Option<f64>>);

/// Reads a table that [`write_table`] wrote: names and values of its columns, in order.
///
/// # Errors
/// When the file cannot be read, or a column holds no numbers.
pub fn read_table(path: &Path) -> Result<Vec<NumberColumn>, ArtifactError> {
    let file = std::fs::File::open(path).map_err(ArtifactError::io(path, "open"))?;
    let read = || -> Result<Vec<RecordBatch>, Box<dyn std::error::Error>> {
        let reader = ParquetRecordBatchReaderBuilder::try_new(file)?.build()?;
        Ok(reader.collect::<Result<_, _>>()?)
    };
    let invalid = |what: &dyn std::fmt::Display| {
        ArtifactError::invalid(path, format!("cannot read the table: {what}"))
    };
    let batches = read().map_err(|error| invalid(&error))?;
    let mut columns: Vec<NumberColumn> = Vec::new();
    for batch in &batches {
        for (index, field) in batch.schema().fields().iter().enumerate() {
            let values = batch.column(index).as_primitive_opt::<Float64Type>();
            let values =
                values.ok_or_else(|| invalid(&format!("`{}` is no number", field.name())))?;
            if columns.len() == index {
                columns.push((field.name().clone(), Vec::new()));
            }
            columns[index].1.extend(values.iter());
        }
    }
    Ok(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.parquet");
        let columns = [("step", vec![Some(1.0), Some(2.0)]), ("loss", vec![None, Some(0.1)])];
        write_table(&path, &columns).unwrap();
        let read = read_table(&path).unwrap();
        assert_eq!(read[0], ("step".to_string(), vec![Some(1.0), Some(2.0)]));
        assert_eq!(read[1], ("loss".to_string(), vec![None, Some(0.1)]));
    }
}
