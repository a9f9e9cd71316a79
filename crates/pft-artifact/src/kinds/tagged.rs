//! A corpus beside its tags, which must have been made for its texts.
//!
//! There is one join and one set of refusals for all who read both: tags of another text, tags in
//! another order, tags left over. What becomes of a document without tags, its reader decides.

use std::iter::Peekable;

use super::corpus::StoredDocument;
use super::tags::StoredTags;
use crate::table::reader::{CorpusReader, TagsReader};
use crate::{ArtifactError, DocumentRow, SpanRow, text_hash};

type Rows<T> = Box<dyn Iterator<Item = Result<T, ArtifactError>> + Send>;

/// A document with its tags, if it has any.
pub struct Tagged {
    /// The document.
    pub document: StoredDocument,
    /// Its tags.
    pub tags: Option<StoredTags>,
}

/// Walks a corpus and its tags side by side.
pub struct TaggedCorpus {
    documents: Rows<StoredDocument>,
    tags: Peekable<Rows<StoredTags>>,
}

impl TaggedCorpus {
    /// All documents of a corpus in order, each with its tags.
    pub fn new(corpus: &CorpusReader, tags: &TagsReader) -> Self {
        let tags: Rows<StoredTags> = Box::new(tags.stored());
        Self { documents: Box::new(corpus.stored()), tags: tags.peekable() }
    }

    fn advance(&mut self) -> Result<Option<Tagged>, ArtifactError> {
        let Some(document) = self.documents.next().transpose()? else {
            return match self.tags.next().transpose()? {
                None => Ok(None),
                Some(extra) => Err(ArtifactError::record(
                    extra.doc_id(),
                    "is in the tags, but the corpus lacks it or has it in another order; use the tags \
                     that were made from this corpus",
                )),
            };
        };
        let row = document.row();
        let is_its = |tags: &Result<StoredTags, ArtifactError>| match tags {
            Ok(tags) => tags.doc_id() == row.doc_id,
            Err(_) => true,
        };
        let tags = self.tags.next_if(is_its).transpose()?;
        if tags.as_ref().is_some_and(|tags| tags.text_hash() != text_hash(row.text)) {
            return Err(ArtifactError::record(
                row.doc_id,
                "its tags were made for another text (hash mismatch); tag this corpus again",
            ));
        }
        Ok(Some(Tagged { document, tags }))
    }
}

impl Iterator for TaggedCorpus {
    type Item = Result<Tagged, ArtifactError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance().transpose()
    }
}

/// The spans of a document.
///
/// # Errors
/// When one does not lie on characters of the text.
pub fn spans_of<'a>(
    document: DocumentRow<'_>,
    tags: &'a StoredTags,
) -> Result<Vec<SpanRow<'a>>, ArtifactError> {
    let spans: Vec<SpanRow<'a>> = tags.spans().collect();
    let lies =
        |span: &&SpanRow<'_>| document.text.get(span.start as usize..span.end as usize).is_some();
    match spans.iter().find(|span| !lies(span)) {
        None => Ok(spans),
        Some(span) => Err(ArtifactError::record(
            document.doc_id,
            format!(
                "span {}..{} does not lie on characters of its text; tag this corpus again",
                span.start, span.end
            ),
        )),
    }
}
