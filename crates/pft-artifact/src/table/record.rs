//! The rows of `corpus`, `tags` and `tokens` artifacts.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{ArtifactError, Kind, Quoted, Turn};

/// Which part of the data a document belongs to. Splits are made by unit, never by document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Trained on.
    Train,
    /// Held out, looked at during training.
    Validation,
    /// Held out.
    Test,
}

impl Split {
    /// The name in the `split` column.
    pub fn as_str(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Validation => "validation",
            Split::Test => "test",
        }
    }
}

impl std::str::FromStr for Split {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "train" => Ok(Split::Train),
            "validation" | "valid" | "val" | "dev" => Ok(Split::Validation),
            "test" => Ok(Split::Test),
            other => {
                Err(format!("split is {}; it must be train, validation or test", Quoted(other)))
            }
        }
    }
}

/// A row of a `corpus`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// Unique in the corpus.
    pub doc_id: String,
    /// The privacy unit: a case, an author, or the document itself.
    pub unit_id: String,
    /// The unit's split.
    pub split: Split,
    /// The text.
    pub text: String,
    /// The turns of a conversation, which make up the text; none of other documents.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub turns: Vec<Turn>,
}

/// A piece of personal data: byte offsets into the UTF-8 text, half open, on char boundaries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
    /// `PERSON`, `EMAIL`, … Shared, because a corpus has millions of spans and a handful of labels.
    #[serde(with = "shared")]
    pub label: Arc<str>,
    /// The tagger's confidence, 0 to 1.
    pub score: f32,
    /// Which tagger found it.
    #[serde(with = "shared")]
    pub source: Arc<str>,
    /// What else taggers took a part of it for: labels with `+` between them, in their order, none
    /// of them `label`. Nearly all spans have one label only.
    #[serde(default, with = "shared_option", skip_serializing_if = "Option::is_none")]
    pub other_labels: Option<Arc<str>>,
}

/// Serde's form of a shared string.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(text: &Arc<str>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(text)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Arc<str>, D::Error> {
        String::deserialize(from).map(Arc::from)
    }
}

/// Serde's form of a shared string that may be absent.
mod shared_option {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        text: &Option<Arc<str>>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        text.as_deref().serialize(to)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(
        from: D,
    ) -> Result<Option<Arc<str>>, D::Error> {
        Ok(Option::<String>::deserialize(from)?.map(Arc::from))
    }
}

/// A row of a `tags` artifact: a document's spans, sorted and not overlapping.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaggedDocument {
    /// The document's id.
    pub doc_id: String,
    /// BLAKE3 of the text that was tagged, 64 hexadecimal digits (see [`crate::text_hash`]).
    pub text_hash: String,
    /// Sorted by start, not overlapping.
    pub spans: Vec<Span>,
}

/// A row of a `tokens` artifact. An example never mixes two units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// Unique in the artifact.
    pub example_id: String,
    /// The document that it was cut from.
    pub doc_id: String,
    /// The document's privacy unit.
    pub unit_id: String,
    /// The unit's split.
    pub split: Split,
    /// Token ids.
    pub input_ids: Vec<u32>,
    /// For each token, whether it touches personal data.
    pub pii: Vec<bool>,
    /// Tokens at the beginning that are context alone: where blocks overlap, the document's example
    /// before this one ends with them. Whoever scores a model counts them there.
    pub context: u32,
    /// For each token, whether it is learned: counts in the loss where it is predicted. Empty where all
    /// are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loss_mask: Vec<bool>,
}

/// A record kind that lives in Parquet shards.
pub trait Record: FromBatch + Clone + Send {
    /// The artifact kind that holds these records.
    const KIND: Kind;

    /// The record, borrowed from wherever its parts lie.
    type Row<'a>: Row;
    /// Columns that grow by rows.
    #[doc(hidden)]
    type Columns: Columns;

    /// Calls `act` with the record's row.
    fn with_row<T>(&self, act: impl FnOnce(Self::Row<'_>) -> T) -> T;
    #[doc(hidden)]
    fn append(columns: &mut Self::Columns, row: Self::Row<'_>) -> Result<(), ArtifactError>;
}

/// A borrowed row of an artifact.
pub trait Row {
    /// Checks the rules that a column type cannot express.
    ///
    /// # Errors
    /// Names the document and the broken rule.
    fn check(&self) -> Result<(), ArtifactError>;
    /// An estimate of the row's size in memory, in bytes.
    fn bytes(&self) -> usize;
}

/// The waiting rows of a writer.
pub trait Columns: Default + Send {
    #[doc(hidden)]
    fn schema(&self) -> arrow::datatypes::SchemaRef;
    /// Hands out the rows, and begins again without any, with the same schema.
    #[doc(hidden)]
    fn take(&mut self) -> Result<arrow::array::RecordBatch, arrow::error::ArrowError>;
}

/// What the rows of a batch are read as.
pub trait FromBatch: Sized + 'static {
    #[doc(hidden)]
    fn from_batch(batch: &arrow::array::RecordBatch) -> Result<Vec<Self>, String>;
}
