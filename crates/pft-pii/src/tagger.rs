//! The one trait that every backend implements, and what it returns.

use std::sync::Arc;

use crate::OtherLabels;

/// An entity in a text: a half-open range of byte offsets, both on character boundaries.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// First byte of the entity.
    pub start: usize,
    /// One past the last byte of the entity.
    pub end: usize,
    /// The entity's kind, in the backend's own label set (mapped later, see [`crate::labels`]).
    pub label: Arc<str>,
    /// The backend's confidence in 0..=1; 1 where the backend knows none.
    pub score: f32,
    /// The backend that found it: [`Tagger::name`].
    pub source: Arc<str>,
    /// What else a part of it was taken for, where it unites spans of several labels.
    pub other_labels: OtherLabels,
}

impl Span {
    /// An entity over `start..end`.
    pub fn new(start: usize, end: usize, label: &Arc<str>, score: f32, source: &Arc<str>) -> Self {
        Self {
            start,
            end,
            label: Arc::clone(label),
            score,
            source: Arc::clone(source),
            other_labels: OtherLabels::default(),
        }
    }

    /// Takes in what another span stands for, its labels and its score where that is higher; the
    /// range and the label stay.
    pub fn absorb(&mut self, other: &Span) {
        self.score = self.score.max(other.score);
        other.labels().for_each(|label| self.add_label(label));
    }

    /// The labels: the one that the span goes by, then the others.
    pub fn labels(&self) -> impl Iterator<Item = &Arc<str>> {
        std::iter::once(&self.label).chain(self.other_labels.iter())
    }

    /// Says that the span stands for a label too.
    pub fn add_label(&mut self, label: &Arc<str>) {
        if *label != self.label {
            self.other_labels.insert(label);
        }
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether the range is empty (no backend returns such a span).
    pub fn is_empty(&self) -> bool {
        self.end <= self.start
    }

    /// Whether the two ranges share a byte.
    pub fn overlaps(&self, other: &Span) -> bool {
        self.start < other.end && other.start < self.end
    }
}

/// Why one text could not be tagged. A text with an error is untagged: it must never pass as a
/// text without entities.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TagError {
    /// The text itself cannot be processed by this backend.
    #[error("{0}")]
    Text(String),
    /// The model failed or answered nonsense.
    #[error("{0}")]
    Model(String),
    /// An outside service could not be reached or answered nonsense.
    #[error("{0}")]
    Service(String),
}

/// Why a backend could not be made: a wrong setting, a missing or damaged model file.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LoadError {
    /// A setting is wrong.
    #[error("{0}")]
    Config(String),
    /// A model file is missing, damaged, or of a kind that the backend does not read.
    #[error("{0}")]
    Model(String),
}

/// A backend that finds entities in texts.
///
/// Callers hand over texts of at most [`crate::window::MAX_WINDOW_BYTES`] (the ensemble cuts longer
/// ones at safe borders) and call [`Tagger::tag_batch`] from several threads at once, so a
/// backend should not start threads of its own. Every text stands alone: what a backend finds in one must
/// not depend on the others of the batch, because they may belong to different privacy units.
pub trait Tagger: Send + Sync {
    /// Short name of the backend; the `source` of its spans.
    fn name(&self) -> &str;

    /// Identifies what determines this backend's answers: kind, revision of its code, hashes of its
    /// model files, settings. Equal fingerprints promise equal spans for equal texts.
    fn fingerprint(&self) -> String;

    /// Tags every text on its own. The result has one entry per text, in their order; spans are
    /// sorted by start and lie on character boundaries of their text (they may overlap).
    fn tag_batch(&self, texts: &[&str]) -> Vec<Result<Vec<Span>, TagError>>;

    /// How many bytes of text one call should hold at most for good throughput.
    fn batch_bytes(&self) -> usize {
        256 * 1024
    }
}
