//! Artifacts: the sealed boxes that stages hand each other.
//!
//! An artifact is a folder with a `manifest.json` and files that the ecosystem's own tools read
//! (Parquet, safetensors, JSON). This crate knows the kinds and their schemas, streams records in
//! and out of Parquet shards, computes content hashes, seals and opens folders, and keeps them in
//! a [`Store`] by content hash. It may depend on arrow and parquet, and on no other crate of this
//! workspace.
//!
//! ```
//! use pft_artifact::{CorpusReader, CorpusWriter, Document, Kind, Manifest, Split};
//! # fn main() -> Result<(), pft_artifact::ArtifactError> {
//! let folder = tempfile::tempdir().unwrap();
//! let mut writer = CorpusWriter::create(folder.path())?;
//! writer.push(&Document {
//!     doc_id: "case-1/3".into(),
//!     unit_id: "case-1".into(),
//!     split: Split::Train,
//!     text: "The applicant was born in 1961.".into(),
//!     turns: Vec::new(),
//! })?;
//! let rows = writer.finish()?;
//! Manifest::seal(folder.path(), Kind::Corpus, rows, serde_json::json!({}))?;
//!
//! let reader = CorpusReader::open(folder.path())?;
//! assert_eq!(reader.iter().next().unwrap()?.unit_id, "case-1");
//! # Ok(())
//! # }
//! ```

pub mod access;

mod error;
mod kind;
pub mod kinds;
mod quoted;
mod seal;
mod table;

pub use error::{ArtifactError, is_full_disk};
pub use kind::Kind;
pub use kinds::columns_of;
pub use kinds::corpus::StoredDocument;
pub use kinds::tags::StoredTags;
pub use quoted::Quoted;
pub use seal::action::Action;
pub use seal::hash::{canonical_json, hash_bytes, hash_file, text_hash};
pub use seal::lock::KeyLock;
pub use seal::manifest::{FileEntry, MANIFEST, Manifest, count_rows};
pub use seal::provenance::{Lineage, Step, UnitNotes};
pub use seal::store::{Lookup, Store};
pub use table::numbers::{NumberColumn, read_table, write_table};
pub use table::reader::{CorpusReader, RecordReader, TagsReader, TokensReader};
pub use table::record::{Document, Example, Record, Row, Span, Split, TaggedDocument};
pub use table::row::{DocumentRow, ExampleRow, SpanRow, TaggedRow};
pub use table::turn::{Role, TooLong, Turn};
pub use table::writer::{CorpusWriter, RecordWriter, TagsWriter, TokensWriter};
