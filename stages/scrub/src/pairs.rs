//! Documents with their tags.

use std::iter::Peekable;

use pft_artifact::{
    ArtifactError, DocumentRow, Quoted, SpanRow, StoredDocument, StoredTags, text_hash,
};
use pft_stage::StageError;

use crate::config::Untagged;

/// A document and its tags, which were made for its text.
pub(crate) struct Pair {
    pub(crate) document: StoredDocument,
    pub(crate) tags: StoredTags,
}

impl Pair {
    /// The spans, of which each lies on characters of the text.
    pub(crate) fn spans(&self) -> Result<Vec<SpanRow<'_>>, StageError> {
        let document = self.document.row();
        let spans: Vec<SpanRow<'_>> = self.tags.spans().collect();
        let lies = |span: &&SpanRow<'_>| {
            document.text.get(span.start as usize..span.end as usize).is_some()
        };
        match spans.iter().find(|span| !lies(span)) {
            None => Ok(spans),
            Some(span) => Err(StageError::input(format!(
                "document {}: span {}..{} does not lie on characters of its text",
                Quoted(document.doc_id),
                span.start,
                span.end
            ))
            .with_help("tag this corpus again")),
        }
    }
}

/// Walks a corpus and its tags side by side.
pub(crate) struct Pairs<D, T: Iterator> {
    documents: D,
    tags: Peekable<T>,
    untagged: Untagged,
    dropped: u64,
}

impl<D, T> Pairs<D, T>
where
    D: Iterator<Item = Result<StoredDocument, ArtifactError>>,
    T: Iterator<Item = Result<StoredTags, ArtifactError>>,
{
    pub(crate) fn new(documents: D, tags: T, untagged: Untagged) -> Self {
        Self { documents, tags: tags.peekable(), untagged, dropped: 0 }
    }

    /// Documents of about so many bytes; none at the end.
    pub(crate) fn next_batch(&mut self, most: usize) -> Result<Vec<Pair>, StageError> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while bytes < most {
            let Some(document) = self.documents.next().transpose()? else { break };
            if let Some(tags) = self.tags_of(document.row())? {
                bytes += document.row().text.len() + 256;
                batch.push(Pair { document, tags });
            }
        }
        Ok(batch)
    }

    /// How many documents had no tags and were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The tags of a document; none where it has none and config says to drop such documents.
    fn tags_of(&mut self, document: DocumentRow<'_>) -> Result<Option<StoredTags>, StageError> {
        let tags = match self.tags.next_if(|row| match row {
            Ok(tags) => tags.doc_id() == document.doc_id,
            Err(_) => true,
        }) {
            Some(row) => row?,
            None if self.untagged == Untagged::Drop => {
                self.dropped += 1;
                return Ok(None);
            }
            None => {
                return Err(StageError::input(format!(
                    "document {} has no tags, so it is not known to be clean",
                    Quoted(document.doc_id)
                ))
                .with_help(
                    "tag this corpus, or set `untagged: drop` to leave such documents out",
                ));
            }
        };
        if tags.text_hash() != text_hash(document.text) {
            return Err(StageError::input(format!(
                "document {}: its tags were made for another text (hash mismatch)",
                Quoted(document.doc_id)
            ))
            .with_help("tag this corpus again"));
        }
        Ok(Some(tags))
    }

    pub(crate) fn check_exhausted(&mut self) -> Result<(), StageError> {
        match self.tags.next().transpose()? {
            None => Ok(()),
            Some(extra) => Err(StageError::input(format!(
                "the tags hold document {}, which the corpus lacks or has in another order",
                Quoted(extra.doc_id())
            ))
            .with_help("use the tags that were made from this corpus")),
        }
    }
}
