//! The rows of artifacts, borrowed, so that nothing is copied on its way into columns.

use crate::table::record::Row;
use crate::table::turn;
use crate::{ArtifactError, Document, Example, Span, Split, Turn};

/// A row of a `corpus`; see [`Document`].
#[derive(Debug, Clone, Copy)]
pub struct DocumentRow<'a> {
    /// Unique in the corpus.
    pub doc_id: &'a str,
    /// The privacy unit.
    pub unit_id: &'a str,
    /// The unit's split.
    pub split: Split,
    /// The text.
    pub text: &'a str,
    /// The turns of a conversation; none of other documents.
    pub turns: &'a [Turn],
}

/// A piece of personal data; see [`Span`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SpanRow<'a> {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
    /// `PERSON`, `EMAIL`, …
    pub label: &'a str,
    /// The tagger's confidence, 0 to 1.
    pub score: f32,
    /// Which tagger found it.
    pub source: &'a str,
    /// What else taggers took a part of it for, as in [`Span::other_labels`].
    pub other_labels: Option<&'a str>,
}

impl<'a> SpanRow<'a> {
    /// Its labels: the one that it goes by, then the others.
    pub fn labels(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let others = self.other_labels.into_iter().flat_map(|labels| labels.split('+'));
        std::iter::once(self.label).chain(others)
    }
}

/// A row of a `tags` artifact; see [`TaggedDocument`](crate::TaggedDocument).
#[derive(Debug, Clone, Copy)]
pub struct TaggedRow<'a> {
    /// The document's id.
    pub doc_id: &'a str,
    /// BLAKE3 of the text that was tagged.
    pub text_hash: &'a str,
    /// Sorted by start, not overlapping.
    pub spans: &'a [SpanRow<'a>],
}

/// A row of a `tokens` artifact; see [`Example`].
#[derive(Debug, Clone, Copy)]
pub struct ExampleRow<'a> {
    /// Unique in the artifact.
    pub example_id: &'a str,
    /// The document that it was cut from.
    pub doc_id: &'a str,
    /// The document's privacy unit.
    pub unit_id: &'a str,
    /// The unit's split.
    pub split: Split,
    /// Token ids.
    pub input_ids: &'a [u32],
    /// For each token, whether it touches personal data.
    pub pii: &'a [bool],
    /// Tokens at the beginning that are context alone.
    pub context: u32,
    /// For each token, whether it is learned; empty where all are.
    pub loss_mask: &'a [bool],
}

impl<'a> From<&'a Document> for DocumentRow<'a> {
    fn from(document: &'a Document) -> Self {
        let Document { doc_id, unit_id, split, text, turns } = document;
        Self { doc_id, unit_id, split: *split, text, turns }
    }
}

impl DocumentRow<'_> {
    /// The document by itself.
    pub fn to_document(&self) -> Document {
        Document {
            doc_id: self.doc_id.to_string(),
            unit_id: self.unit_id.to_string(),
            split: self.split,
            text: self.text.to_string(),
            turns: self.turns.to_vec(),
        }
    }
}

impl<'a> From<&'a Span> for SpanRow<'a> {
    fn from(span: &'a Span) -> Self {
        let &Span { start, end, ref label, score, ref source, ref other_labels } = span;
        Self { start, end, label, score, source, other_labels: other_labels.as_deref() }
    }
}

impl<'a> From<&'a Example> for ExampleRow<'a> {
    fn from(example: &'a Example) -> Self {
        let &Example {
            ref example_id,
            ref doc_id,
            ref unit_id,
            split,
            ref input_ids,
            ref pii,
            context,
            ref loss_mask,
        } = example;
        Self { example_id, doc_id, unit_id, split, input_ids, pii, context, loss_mask }
    }
}

impl Row for DocumentRow<'_> {
    fn check(&self) -> Result<(), ArtifactError> {
        if u32::try_from(self.text.len()).is_err() {
            return Err(ArtifactError::record(
                self.doc_id,
                "its text is longer than 4 GiB, which byte offsets cannot address; cut it first",
            ));
        }
        turn::check(self.doc_id, self.text, self.turns)
    }

    fn bytes(&self) -> usize {
        let turns = std::mem::size_of_val(self.turns);
        self.doc_id.len() + self.unit_id.len() + self.text.len() + turns + 32
    }
}

impl Row for TaggedRow<'_> {
    fn check(&self) -> Result<(), ArtifactError> {
        let mut previous_end = 0;
        for span in self.spans {
            if span.start >= span.end {
                return Err(ArtifactError::record(
                    self.doc_id,
                    format!("span {}..{} is empty or reversed", span.start, span.end),
                ));
            }
            if span.start < previous_end {
                return Err(ArtifactError::record(
                    self.doc_id,
                    format!(
                        "span {}..{} starts before the previous one ends ({previous_end}); spans \
                         must be sorted and must not overlap",
                        span.start, span.end
                    ),
                ));
            }
            previous_end = span.end;
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.doc_id.len()
            + self.text_hash.len()
            + self.spans.iter().map(|s| 64 + s.label.len() + s.source.len()).sum::<usize>()
    }
}

impl Row for ExampleRow<'_> {
    fn check(&self) -> Result<(), ArtifactError> {
        if self.input_ids.len() != self.pii.len() {
            return Err(ArtifactError::record(
                self.example_id,
                format!("{} input_ids but {} pii flags", self.input_ids.len(), self.pii.len()),
            ));
        }
        if !self.loss_mask.is_empty() && self.loss_mask.len() != self.input_ids.len() {
            return Err(ArtifactError::record(
                self.example_id,
                format!(
                    "{} input_ids but {} of them in the loss mask",
                    self.input_ids.len(),
                    self.loss_mask.len()
                ),
            ));
        }
        if self.context as usize > self.input_ids.len() {
            return Err(ArtifactError::record(
                self.example_id,
                format!("{} tokens of context among {}", self.context, self.input_ids.len()),
            ));
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.example_id.len()
            + self.doc_id.len()
            + self.unit_id.len()
            + self.input_ids.len() * 5
            + self.loss_mask.len()
    }
}
