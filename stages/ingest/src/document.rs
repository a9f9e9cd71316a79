//! A document on its way from a source to the corpus.

use pft_artifact::{Span, Split, Turn};
use pft_stage::StageError;

/// A document as its source found it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RawDocument {
    /// The id that the data gives it. Without one the stage makes an id that does not depend on
    /// other units: a number within the unit, or a hash of the text.
    pub doc_id: Option<String>,
    /// The privacy unit; the document itself where this is `None`.
    pub unit_id: Option<String>,
    /// The split that the data says, for `split.by: column` and `split.by: file`.
    pub split: Option<Split>,
    /// The text, valid UTF-8. The stage refuses NUL characters, not the source.
    pub text: String,
    /// Gold spans of personal data, sorted and not overlapping: for sources that know them, which
    /// is the synthetic one. They become the `tags` output.
    pub spans: Option<Vec<Span>>,
    /// The turns of a conversation, which make up the text; none of other documents.
    pub turns: Vec<Turn>,
    /// Why it is left out, where its source says so; it is counted then.
    pub left_out: Option<Omission>,
    /// Where it stands, for messages: `cases.jsonl:12`, a file name, `synthetic case 17`.
    pub origin: String,
}

/// Why a source leaves a document out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Omission {
    /// It has no text.
    NoText,
    /// It is no conversation to learn from.
    Broken,
}

/// Documents in order. After an error the iterator ends.
pub type Documents = Box<dyn Iterator<Item = Result<RawDocument, StageError>> + Send>;

/// A source that is ready to be read.
pub struct Opened {
    /// The documents.
    pub documents: Documents,
    /// How many there are, where that is known without reading.
    pub total: Option<u64>,
    /// Whether every document carries gold spans, so that `tags` is written.
    pub has_spans: bool,
}
