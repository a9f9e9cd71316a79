//! A corpus in batches: the documents that are in memory together.

use std::collections::HashSet;

use pft_artifact::{ArtifactError, CorpusReader, Document};
use pft_stage::StageError;
use rayon::prelude::*;

use crate::cache::TextHash;
use crate::shard::Shard;

/// Which documents of a corpus are read, and how much of them at once.
pub(crate) struct Part<'c> {
    pub(crate) corpus: &'c CorpusReader,
    pub(crate) shard: Shard,
    pub(crate) batch_bytes: usize,
}

impl Part<'_> {
    /// How many documents there are, where that is known.
    pub(crate) fn total(&self) -> Option<u64> {
        self.shard.is_whole().then_some(self.corpus.num_rows())
    }
}

/// Documents that are in memory together, with their texts' hashes.
pub(crate) struct Batch {
    pub(crate) documents: Vec<Document>,
    pub(crate) hashes: Vec<TextHash>,
    /// What the documents take in memory, about.
    pub(crate) bytes: usize,
}

impl Batch {
    pub(crate) fn next(
        documents: &mut impl Iterator<Item = Result<Document, ArtifactError>>,
        part: &Part<'_>,
    ) -> Result<Self, StageError> {
        let mut batch = Vec::new();
        let mut size = 0;
        while size < part.batch_bytes {
            let Some(document) = documents.next().transpose()? else { break };
            if part.shard.holds(&document.unit_id) {
                size += document.text.len() + 64;
                batch.push(document);
            }
        }
        let hashes = batch
            .par_iter()
            .map(|document| *blake3::hash(document.text.as_bytes()).as_bytes())
            .collect();
        Ok(Self { documents: batch, hashes, bytes: size })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.documents.is_empty()
    }

    pub(crate) fn without(self, failed: &HashSet<TextHash>, dropped: &mut u64) -> Self {
        let (documents, hashes): (Vec<_>, Vec<_>) = self
            .documents
            .into_iter()
            .zip(self.hashes)
            .filter(|(_, hash)| {
                let failed = failed.contains(hash);
                *dropped += u64::from(failed);
                !failed
            })
            .unzip();
        Self { documents, hashes, bytes: self.bytes }
    }
}
