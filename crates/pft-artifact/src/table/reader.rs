//! Streaming readers over one artifact folder.

use std::fs::File;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use crate::table::record::FromBatch;
use crate::{
    ArtifactError, Document, Example, Manifest, Record, StoredDocument, StoredTags, TaggedDocument,
};

/// Rows are decoded in batches of about this many bytes, so that memory does not grow with the
/// length of the rows.
const BATCH_BYTES: i64 = 1 << 20;
const BATCH_ROWS: i64 = 1024;

/// Reads a `corpus`; see [`RecordReader`].
pub type CorpusReader = RecordReader<Document>;
/// Reads `tags`; see [`RecordReader`].
pub type TagsReader = RecordReader<TaggedDocument>;
/// Reads `tokens`; see [`RecordReader`].
pub type TokensReader = RecordReader<Example>;

/// Reads an artifact's records in order, holding one batch in memory.
#[derive(Debug, Clone)]
pub struct RecordReader<R: Record> {
    shards: Vec<PathBuf>,
    rows: u64,
    manifest: Manifest,
    record: PhantomData<R>,
}

impl<R: Record> RecordReader<R> {
    /// Opens an artifact folder and checks its kind and schema version against its manifest.
    ///
    /// # Errors
    /// When there is no manifest, it is another kind's, or a file of it is missing.
    pub fn open(folder: &Path) -> Result<Self, ArtifactError> {
        let manifest = Manifest::open(folder)?;
        manifest.expect_kind(folder, R::KIND)?;
        let shards: Vec<PathBuf> = manifest
            .files
            .iter()
            .filter(|file| file.path.ends_with(".parquet"))
            .map(|file| folder.join(&file.path))
            .collect();
        Ok(Self { shards, rows: manifest.rows, manifest, record: PhantomData })
    }

    /// Number of records in all shards.
    pub fn num_rows(&self) -> u64 {
        self.rows
    }

    /// The artifact's manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// All records in order. After an error the iterator ends.
    pub fn iter(&self) -> impl Iterator<Item = Result<R, ArtifactError>> + Send + use<R> {
        self.read_as()
    }

    fn read_as<T>(&self) -> Records<T> {
        Records {
            shards: self.shards.clone().into_iter(),
            open: None,
            batch: Vec::new().into_iter(),
            failed: false,
        }
    }
}

impl CorpusReader {
    /// All documents in order, as [`Self::iter`], without a copy of each.
    pub fn stored(
        &self,
    ) -> impl Iterator<Item = Result<StoredDocument, ArtifactError>> + Send + use<> {
        self.read_as()
    }
}

impl TagsReader {
    /// All tagged documents in order, as [`Self::iter`], without a copy of each.
    pub fn stored(&self) -> impl Iterator<Item = Result<StoredTags, ArtifactError>> + Send + use<> {
        self.read_as()
    }
}

/// The rows of shards, as records or where they are stored.
struct Records<R> {
    shards: std::vec::IntoIter<PathBuf>,
    open: Option<Shard>,
    batch: std::vec::IntoIter<R>,
    failed: bool,
}

/// A shard that is being read.
struct Shard {
    path: PathBuf,
    reader: ParquetRecordBatchReader,
    /// Rows that it has still to give.
    rows: usize,
}

impl<R: FromBatch> Records<R> {
    fn advance(&mut self) -> Result<Option<R>, ArtifactError> {
        loop {
            if let Some(record) = self.batch.next() {
                return Ok(Some(record));
            }
            let Some(shard) = &mut self.open else {
                let Some(path) = self.shards.next() else {
                    return Ok(None);
                };
                self.open = Some(open_shard(path)?);
                continue;
            };
            let Some(batch) = shard.reader.next() else {
                self.open = None;
                continue;
            };
            let path = &shard.path;
            let batch = batch.map_err(|error| unreadable(path, &error))?;
            let records = R::from_batch(&batch)
                .map_err(|message| ArtifactError::invalid(&**path, message))?;
            self.batch = records.into_iter();
            shard.rows = shard.rows.saturating_sub(batch.num_rows());
            if shard.rows == 0 {
                // The reader keeps its last page, which for a long text is another copy of it.
                self.open = None;
            }
        }
    }
}

impl<R: FromBatch> Iterator for Records<R> {
    type Item = Result<R, ArtifactError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.advance().transpose();
        self.failed = matches!(next, Some(Err(_)));
        next
    }
}

fn open_shard(path: PathBuf) -> Result<Shard, ArtifactError> {
    let file = File::open(&path).map_err(ArtifactError::io(&path, "open"))?;
    let opened = ParquetRecordBatchReaderBuilder::try_new(file).and_then(|builder| {
        let groups = builder.metadata().row_groups();
        let rows: i64 = groups.iter().map(|group| group.num_rows()).sum();
        let bytes: i64 = groups.iter().map(|group| group.total_byte_size()).sum();
        let fit = BATCH_BYTES.saturating_mul(rows) / bytes.max(1);
        let batch = usize::try_from(fit.clamp(1, BATCH_ROWS)).unwrap_or(1);
        Ok((builder.with_batch_size(batch).build()?, rows))
    });
    let (reader, rows) = opened.map_err(|error| unreadable(&path, &error))?;
    Ok(Shard { path, reader, rows: usize::try_from(rows).unwrap_or(0) })
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> ArtifactError {
    ArtifactError::invalid(
        path,
        format!("not a readable Parquet file ({error}); make the artifact again"),
    )
}
