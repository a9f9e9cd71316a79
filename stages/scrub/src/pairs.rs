//! Documents with their tags, in batches.

use pft_artifact::kinds::tagged::{Tagged, TaggedCorpus, spans_of};
use pft_artifact::{Quoted, SpanRow, StoredDocument, StoredTags};
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
        Ok(spans_of(self.document.row(), &self.tags)?)
    }
}

/// Takes the documents of a corpus that have tags; config says what becomes of the others.
pub(crate) struct Pairs {
    rows: TaggedCorpus,
    untagged: Untagged,
    dropped: u64,
}

impl Pairs {
    pub(crate) fn new(rows: TaggedCorpus, untagged: Untagged) -> Self {
        Self { rows, untagged, dropped: 0 }
    }

    /// Documents of about so many bytes; none at the end.
    pub(crate) fn next_batch(&mut self, most: usize) -> Result<Vec<Pair>, StageError> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while bytes < most {
            let Some(Tagged { document, tags }) = self.rows.next().transpose()? else { break };
            match tags {
                Some(tags) => {
                    bytes += document.row().text.len() + 256;
                    batch.push(Pair { document, tags });
                }
                None if self.untagged == Untagged::Drop => self.dropped += 1,
                None => {
                    return Err(StageError::input(format!(
                        "document {} has no tags, so it is not known to be clean",
                        Quoted(document.row().doc_id)
                    ))
                    .with_help(
                        "tag this corpus, or set `untagged: drop` to leave such documents out",
                    ));
                }
            }
        }
        Ok(batch)
    }

    /// How many documents had no tags and were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }
}
