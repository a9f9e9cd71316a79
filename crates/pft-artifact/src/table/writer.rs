//! Streaming writers: records in, Parquet shards of bounded size out.

use std::fs::File;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::table::record::{Columns, Row};
use crate::{ArtifactError, Document, Example, Record, TaggedDocument};

/// Records are encoded once this many bytes are waiting: few enough to be in the processor's caches
/// still, where encoding finds them.
const CHUNK_BYTES: usize = 1 << 20;
/// A row group is closed once it has taken this many bytes or rows. It bounds the memory of writers
/// and readers alike.
const ROW_GROUP_BYTES: usize = 16 << 20;
const ROW_GROUP_ROWS: usize = 16_384;
/// A shard is closed once it has taken this many bytes of records.
const SHARD_BYTES: usize = 512 << 20;

/// Writes documents; see [`RecordWriter`].
pub type CorpusWriter = RecordWriter<Document>;
/// Writes tagged documents; see [`RecordWriter`].
pub type TagsWriter = RecordWriter<TaggedDocument>;
/// Writes examples; see [`RecordWriter`].
pub type TokensWriter = RecordWriter<Example>;

/// Writes records into shards `KIND-00000.parquet`, … of a folder. The bytes depend only on the
/// records and their order.
pub struct RecordWriter<R: Record> {
    folder: PathBuf,
    pending: R::Columns,
    pending_bytes: usize,
    group_rows: usize,
    group_bytes: usize,
    shard: Option<(PathBuf, ArrowWriter<File>)>,
    shard_bytes: usize,
    shards: usize,
    rows: u64,
    record: PhantomData<R>,
}

impl<R: Record> RecordWriter<R> {
    /// A writer into an existing folder.
    ///
    /// # Errors
    /// When the folder does not exist.
    pub fn create(folder: &Path) -> Result<Self, ArtifactError> {
        if !folder.is_dir() {
            return Err(ArtifactError::invalid(folder, "the output folder does not exist"));
        }
        Ok(Self {
            folder: folder.to_path_buf(),
            pending: R::Columns::default(),
            pending_bytes: 0,
            group_rows: 0,
            group_bytes: 0,
            shard: None,
            shard_bytes: 0,
            shards: 0,
            rows: 0,
            record: PhantomData,
        })
    }

    /// Adds a record.
    ///
    /// # Errors
    /// When the record breaks a rule of its schema, or the disk refuses.
    pub fn push(&mut self, record: &R) -> Result<(), ArtifactError> {
        record.with_row(|row| self.push_row(row))
    }

    /// Adds a record whose parts lie anywhere.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn push_row(&mut self, row: R::Row<'_>) -> Result<(), ArtifactError> {
        row.check()?;
        let bytes = row.bytes();
        R::append(&mut self.pending, row)?;
        self.rows += 1;
        self.group_rows += 1;
        self.group_bytes += bytes;
        self.pending_bytes += bytes;
        if self.group_bytes >= ROW_GROUP_BYTES || self.group_rows >= ROW_GROUP_ROWS {
            self.close_group()?;
        } else if self.pending_bytes >= CHUNK_BYTES {
            self.encode()?;
        }
        Ok(())
    }

    /// Writes what is waiting, closes the last shard, and returns the number of rows. Without any
    /// record an empty shard is written, so that the schema is there to read.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn finish(mut self) -> Result<u64, ArtifactError> {
        if self.group_rows > 0 || self.shards == 0 {
            self.close_group()?;
        }
        self.close_shard()?;
        Ok(self.rows)
    }

    /// Encodes what is waiting.
    fn encode(&mut self) -> Result<(), ArtifactError> {
        if self.shard.is_none() {
            self.open_shard()?;
        }
        if let Some((path, writer)) = &mut self.shard {
            let rows = self.pending.take().map_err(Into::into);
            rows.and_then(|rows| writer.write(&rows))
                .map_err(|error| ArtifactError::not_written(path, error))?;
        }
        self.pending_bytes = 0;
        Ok(())
    }

    fn close_group(&mut self) -> Result<(), ArtifactError> {
        self.encode()?;
        if let Some((path, writer)) = &mut self.shard {
            writer.flush().map_err(|error| ArtifactError::not_written(path, error))?;
        }
        self.shard_bytes += self.group_bytes;
        (self.group_rows, self.group_bytes) = (0, 0);
        if self.shard_bytes >= SHARD_BYTES {
            self.close_shard()?;
        }
        Ok(())
    }

    fn open_shard(&mut self) -> Result<(), ArtifactError> {
        let path = self.folder.join(format!("{}-{:05}.parquet", R::KIND, self.shards));
        let file = File::create(&path).map_err(ArtifactError::write(&path, "create"))?;
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_created_by("pft".to_string())
            .set_statistics_enabled(EnabledStatistics::None)
            .set_dictionary_enabled(false);
        for repeated in ["unit_id", "split", "spans.list.item.label", "turns.list.item.role"] {
            properties = properties.set_column_dictionary_enabled(path_of(repeated), true);
        }
        // Spans and turns follow each other, and half of their bytes are the bytes before.
        for ascending in [
            "spans.list.item.start",
            "spans.list.item.end",
            "turns.list.item.start",
            "turns.list.item.end",
        ] {
            properties =
                properties.set_column_encoding(path_of(ascending), Encoding::DELTA_BINARY_PACKED);
        }
        let writer = ArrowWriter::try_new(file, self.pending.schema(), Some(properties.build()))
            .map_err(|error| ArtifactError::not_written(&path, error))?;
        self.shards += 1;
        self.shard = Some((path, writer));
        Ok(())
    }

    fn close_shard(&mut self) -> Result<(), ArtifactError> {
        self.shard_bytes = 0;
        if let Some((path, writer)) = self.shard.take() {
            writer.close().map_err(|error| ArtifactError::not_written(&path, error))?;
        }
        Ok(())
    }
}

/// A column's path from its names with dots between them.
fn path_of(names: &str) -> ColumnPath {
    ColumnPath::new(names.split('.').map(str::to_string).collect())
}
