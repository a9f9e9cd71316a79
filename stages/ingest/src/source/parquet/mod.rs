//! Parquet, a batch of rows at a time and of the needed columns alone: what else is in the file,
//! of whatever type, is never decoded.

mod batch;
mod types;
mod values;

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::basic::LogicalType;
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use pft_stage::StageError;

use self::batch::Batch;
use super::columns::{Columns, Missing, missing_column};
use super::contents::packing_of;
use super::failure::{not_read, unreadable};
use super::jsonl::list_help;
use super::rows::{Row, Rows, Table, rows_of};
use crate::reading::Reading;

/// About how much is decoded at once.
const BATCH_BYTES: i64 = 8 << 20;

/// The most rows of a batch: sizes in the file are those of its encodings, in which a text that
/// occurs again is small.
const BATCH_ROWS: i64 = 1024;

/// Opens a file and reads what it says of itself.
fn open(path: &Path) -> Result<(File, ArrowReaderMetadata), StageError> {
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    let metadata =
        guarded(path, || ArrowReaderMetadata::load(&file, ArrowReaderOptions::default())).map_err(
            |error| match packing_of(path) {
                Ok(Some(packing)) => not_read(path, packing),
                _ => error,
            },
        )?;
    Ok((file, metadata))
}

/// The names of the columns that the file says are UUIDs.
fn uuids(metadata: &ArrowReaderMetadata) -> Vec<String> {
    let schema = metadata.metadata().file_metadata().schema_descr();
    let columns = schema.root_schema().get_fields().iter().map(|field| field.get_basic_info());
    columns
        .filter(|column| column.logical_type_ref() == Some(&LogicalType::Uuid))
        .map(|column| column.name().to_string())
        .collect()
}

/// A Parquet file.
pub(super) struct Parquet {
    reading: Arc<Reading>,
    path: PathBuf,
}

impl Parquet {
    /// The file at a path.
    pub(super) fn new(reading: &Arc<Reading>, path: &Path) -> Self {
        Self { reading: reading.clone(), path: path.to_path_buf() }
    }
}

impl Table for Parquet {
    fn names(&self) -> Result<Vec<String>, StageError> {
        let (_, metadata) = open(&self.path)?;
        Ok(metadata.schema().fields().iter().map(|field| field.name().clone()).collect())
    }

    fn columns(&self) -> Result<Columns, StageError> {
        let (_, metadata) = open(&self.path)?;
        let uuids = uuids(&metadata);
        let fields = metadata.schema().fields();
        let names: Vec<String> = fields.iter().map(|field| field.name().clone()).collect();
        let mut columns = Columns::find(&self.reading, &names, |missing| {
            missing_column(&self.path, &names, missing)
        })?;
        let mut kinds = Vec::new();
        for name in columns.names() {
            let Some(field) = types::at(fields, name) else {
                let missing = Missing { key: columns.key_of(name), name };
                return Err(missing_column(&self.path, &names, missing));
            };
            if !columns.is_part(name) {
                let is_uuid = name != columns.text && uuids.iter().any(|uuid| uuid == name);
                if !is_uuid {
                    check(&self.path, &columns, name, field.data_type())?;
                }
                kinds.extend(types::kind(field.data_type()).map(|kind| (name.to_string(), kind)));
            }
        }
        columns.kinds = kinds;
        Ok(columns)
    }

    fn rows(&self, columns: Columns) -> Result<Rows, StageError> {
        let (file, metadata) = open(&self.path)?;
        let uuids = uuids(&metadata);
        let fields = metadata.schema().fields();
        let needed: Vec<usize> =
            columns.names().iter().filter_map(|name| types::root(fields, name)).collect();
        let wanted: Vec<FieldRef> =
            fields
                .iter()
                .enumerate()
                .map(|(index, field)| {
                    if needed.contains(&index) {
                        Arc::new(types::wide(field))
                    } else {
                        field.clone()
                    }
                })
                .collect();
        let schema = Schema::new_with_metadata(wanted, metadata.schema().metadata().clone());
        let options = ArrowReaderOptions::default().with_schema(Arc::new(schema));
        let parts = metadata.metadata().clone();
        let rows = parts.file_metadata().num_rows();
        let projection = ProjectionMask::roots(parts.file_metadata().schema_descr(), needed);
        let batch = rows_of_a_batch(parts.row_groups(), &projection);
        let reader = guarded(&self.path, || {
            let metadata = ArrowReaderMetadata::try_new(parts, options)?;
            ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata)
                .with_projection(projection)
                .with_batch_size(batch)
                .build()
        })?;
        Ok(Box::new(Reader {
            path: self.path.clone(),
            columns,
            uuids,
            reader: Some(reader),
            read: 0,
            rows: usize::try_from(rows).unwrap_or(0),
        }))
    }
}

/// Refuses a column whose type cannot be what a setting takes it for.
fn check(
    path: &Path,
    columns: &Columns,
    name: &str,
    data_type: &DataType,
) -> Result<(), StageError> {
    let is_text = name == columns.text;
    let values = types::list_values(data_type);
    let (fits, expected) = match (is_text, columns.paragraphs) {
        (true, true) => (values.is_some_and(types::is_text), "lists of text"),
        (true, false) => (types::is_text(data_type), "text"),
        (false, _) => (types::is_label(data_type), "text or numbers"),
    };
    if fits {
        return Ok(());
    }
    let is_paragraphs = is_text && values.is_some_and(types::is_text);
    let help = if is_paragraphs {
        list_help(name)
    } else {
        format!(
            "set {} to a column of {expected}, or convert the column when you make the file",
            columns.key_of(name)
        )
    };
    Err(StageError::input(format!(
        "{}: column `{name}` is of type {}, not {expected}",
        path.display(),
        types::name(data_type)
    ))
    .with_help(help))
}

/// How many rows of the row group with the longest rows are [`BATCH_BYTES`].
fn rows_of_a_batch(groups: &[RowGroupMetaData], projection: &ProjectionMask) -> usize {
    let fit = groups.iter().map(|group| {
        let columns = group.columns().iter().enumerate();
        let bytes: i64 = columns
            .filter(|(leaf, _)| projection.leaf_included(*leaf))
            .map(|(_, column)| column.uncompressed_size().max(0))
            .fold(0, i64::saturating_add);
        BATCH_BYTES.saturating_mul(group.num_rows()) / bytes.max(1)
    });
    let fit = fit.min().unwrap_or(1).clamp(1, BATCH_ROWS);
    usize::try_from(fit).unwrap_or(1)
}

struct Reader {
    path: PathBuf,
    columns: Columns,
    /// The columns that hold UUIDs.
    uuids: Vec<String>,
    /// Gone after the last batch or an error.
    reader: Option<ParquetRecordBatchReader>,
    /// Rows read so far.
    read: usize,
    /// Rows that the file says it has.
    rows: usize,
}

impl Reader {
    fn batch(&mut self) -> Result<Option<Vec<Row>>, StageError> {
        let Some(reader) = &mut self.reader else {
            return Ok(None);
        };
        let Some(batch) = guarded(&self.path, || Ok(reader.next().transpose()?))? else {
            self.reader = None;
            if self.read == self.rows {
                return Ok(None);
            }
            return Err(StageError::input(format!(
                "{}: not a readable Parquet file (it says {} rows where there are {})",
                self.path.display(),
                self.rows,
                self.read
            ))
            .with_help(DAMAGED));
        };
        let (path, columns, uuids) = (&self.path, &self.columns, &self.uuids);
        let batch = Batch { path, columns, uuids, batch };
        let first = self.read + 1;
        let rows = rows_of(&batch, &self.columns, |row| {
            format!("{}: row {}", self.path.display(), first + row)
        })?;
        self.read += rows.len();
        Ok(Some(rows))
    }
}

impl Iterator for Reader {
    type Item = Result<Vec<Row>, StageError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rows = self.batch();
        if rows.is_err() {
            self.reader = None;
        }
        rows.transpose()
    }
}

/// Decodes, and takes a panic for the sign of damage that it is: the decoder asserts what is not so in
/// a damaged file.
fn guarded<T>(
    path: &Path,
    decode: impl FnOnce() -> Result<T, ParquetError>,
) -> Result<T, StageError> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let decoded = catch_unwind(AssertUnwindSafe(decode));
    std::panic::set_hook(hook);
    decoded
        .unwrap_or_else(|_| Err(ParquetError::General("what it holds makes no sense".to_string())))
        .map_err(|error| broken(path, &error))
}

const DAMAGED: &str = "the file may be cut off or damaged: fetch or make it again";

/// A file that cannot be read, by whose fault.
fn broken(path: &Path, error: &ParquetError) -> StageError {
    if let ParquetError::External(inner) = error
        && let Some(error) = inner.downcast_ref::<std::io::Error>()
    {
        return unreadable(path, error);
    }
    let reason = error.to_string();
    let reason = reason.lines().next().unwrap_or_default();
    let reason = reason.trim_start_matches("Parquet error: ");
    if matches!(error, ParquetError::NYI(_)) {
        return StageError::input(format!(
            "{}: uses a part of Parquet that is not supported ({reason})",
            path.display()
        ))
        .with_help("write the file anew with usual settings, for example with pyarrow");
    }
    StageError::input(format!("{}: not a readable Parquet file ({reason})", path.display()))
        .with_help(DAMAGED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_that_panics_is_a_damaged_file() {
        let path = Path::new("a.parquet");
        let panicked = guarded::<()>(path, || panic!("an offset is negative")).unwrap_err();
        assert_eq!(panicked.exit_code(), 3);
        assert!(panicked.to_string().contains("not a readable Parquet file"), "{panicked}");
        assert_eq!(guarded(path, || Ok(7)).unwrap(), 7);
    }

    #[test]
    fn damage_and_refusals_of_the_system_are_told_apart() {
        let path = Path::new("a.parquet");
        let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        let denied = broken(path, &ParquetError::from(denied)).to_string();
        assert!(denied.contains("cannot read") && !denied.contains("damaged"), "{denied}");
        let unknown = broken(path, &ParquetError::NYI("a codec".into())).to_string();
        assert!(unknown.contains("not supported") && !unknown.contains("damaged"), "{unknown}");
        let cut = broken(path, &ParquetError::EOF("too short".into())).to_string();
        assert!(cut.contains("not a readable Parquet file") && cut.contains("damaged"), "{cut}");
    }
}
