//! The `scrub` stage: takes the personal data out of a corpus.
//!
//! `corpus` and its `tags` go in; a `corpus` without the tagged text and the `tags` of the new
//! text come out. Every document is checked after scrubbing, not a sample of them ([`verify`]).
//! Tags that do not belong to the text are refused, and so is a document without tags: it is not
//! known to be clean. Depends on the artifact and contract crates only.

mod config;
mod replace;
mod surrogate;
pub mod verify;

use std::iter::Peekable;
use std::sync::Arc;

use pft_artifact::{
    ArtifactError, CorpusReader, CorpusWriter, Document, TaggedDocument, TagsReader, TagsWriter,
    text_hash,
};
use pft_stage::{Context, Kind, Port, Stage, StageError};
use rayon::prelude::*;

pub use config::{Config, Mode, Untagged};
pub use replace::{Replacement, Replacer};

/// Documents are scrubbed in batches of about this many bytes, in parallel within a batch.
const BATCH_BYTES: usize = 4 << 20;

/// The stage.
#[derive(Debug)]
pub struct Scrub;

impl Stage for Scrub {
    const NAME: &'static str = "scrub";
    const REVISION: u32 = 1;
    const ABOUT: &'static str = "Replaces tagged personal data in a corpus";
    type Config = Config;

    fn inputs() -> Vec<Port> {
        vec![Port::required("corpus", Kind::Corpus), Port::required("tags", Kind::Tags)]
    }

    fn outputs() -> Vec<Port> {
        vec![Port::required("corpus", Kind::Corpus), Port::required("tags", Kind::Tags)]
    }

    fn validate(config: &Config) -> Result<(), StageError> {
        config.validate()
    }

    fn run(config: Config, context: &Context) -> Result<(), StageError> {
        let corpus = CorpusReader::open(context.input("corpus")?)?;
        let tags = TagsReader::open(context.input("tags")?)?;
        let mut corpus_writer = CorpusWriter::create(context.output("corpus"))?;
        let mut tags_writer = TagsWriter::create(context.output("tags"))?;
        let bar = context.progress().start("scrubbing", Some(corpus.num_rows()), "documents");

        let mut pairs =
            Pairs { tags: tags.iter().peekable(), untagged: config.untagged, dropped: 0 };
        let mut documents = corpus.iter();
        let mut replacer = Replacer::new(&config);
        let mut counts = Counts::default();
        loop {
            context.check_interrupted()?;
            let batch = next_batch(&mut documents, &mut pairs)?;
            if batch.is_empty() {
                break;
            }
            let read = batch.len() as u64;
            // Placeholders are numbered by first appearance in a unit, so this part is in order.
            let planned: Vec<Planned> = batch
                .into_iter()
                .map(|(document, tagged)| {
                    let replacements = replacer.plan(&document, &tagged);
                    (document, tagged, replacements)
                })
                .collect();
            let scrubbed: Vec<_> = planned.into_par_iter().map(scrub_one).collect();
            for result in scrubbed {
                let (document, tagged, replaced) = result?;
                counts.spans += replaced;
                counts.documents += 1;
                corpus_writer.push_owned(document)?;
                tags_writer.push_owned(tagged)?;
            }
            bar.advance(read);
        }
        pairs.check_exhausted()?;
        corpus_writer.finish()?;
        tags_writer.finish()?;
        bar.finish();
        context.metric("documents", counts.documents);
        context.metric("spans_replaced", counts.spans);
        context.metric("documents_dropped_untagged", pairs.dropped);
        if pairs.dropped > 0 {
            context
                .progress()
                .note(format!("{} documents without tags were dropped", pairs.dropped));
        }
        Ok(())
    }
}

#[derive(Default)]
struct Counts {
    documents: u64,
    spans: u64,
}

type Planned<'a> = (Document, TaggedDocument, Vec<Replacement<'a>>);

/// Builds, checks and re-tags one document; the count is of replaced spans.
fn scrub_one(
    (document, mut tagged, replacements): Planned<'_>,
) -> Result<(Document, TaggedDocument, u64), StageError> {
    let mut text = String::with_capacity(document.text.len());
    let mut places = Vec::with_capacity(tagged.spans.len());
    let mut at = 0;
    for (span, replacement) in tagged.spans.iter().zip(&replacements) {
        let (start, end) = (span.start as usize, span.end as usize);
        text.push_str(&document.text[at..start]);
        let new_start = text.len();
        text.push_str(replacement.as_deref().unwrap_or(&document.text[start..end]));
        places.push((offset(&document, new_start)?, offset(&document, text.len())?));
        at = end;
    }
    text.push_str(&document.text[at..]);
    verify::check(&document, &tagged.spans, &replacements, &text)?;

    let source: Arc<str> = Scrub::NAME.into();
    let mut replaced = 0;
    for ((span, place), replacement) in tagged.spans.iter_mut().zip(places).zip(&replacements) {
        (span.start, span.end) = place;
        if replacement.is_some() {
            replaced += 1;
            span.source = Arc::clone(&source);
        }
    }
    tagged.spans.retain(|span| span.end > span.start);
    tagged.text_hash = text_hash(&text);
    Ok((Document { text, ..document }, tagged, replaced))
}

fn offset(document: &Document, at: usize) -> Result<u32, StageError> {
    u32::try_from(at).map_err(|_| {
        StageError::input(format!(
            "document {:?}: longer than 4 GiB once scrubbed",
            document.doc_id
        ))
    })
}

/// Walks a corpus's tags beside it.
struct Pairs<I: Iterator<Item = Result<TaggedDocument, ArtifactError>>> {
    tags: Peekable<I>,
    untagged: Untagged,
    dropped: u64,
}

impl<I: Iterator<Item = Result<TaggedDocument, ArtifactError>>> Pairs<I> {
    /// The tags of a document; none where it has none and config says to drop such documents.
    fn of(&mut self, document: &Document) -> Result<Option<TaggedDocument>, StageError> {
        let tagged = match self.tags.next_if(|row| match row {
            Ok(tagged) => tagged.doc_id == document.doc_id,
            Err(_) => true,
        }) {
            Some(row) => row?,
            None if self.untagged == Untagged::Drop => {
                self.dropped += 1;
                return Ok(None);
            }
            None => {
                return Err(StageError::input(format!(
                    "document {:?} has no tags, so it is not known to be clean",
                    document.doc_id
                ))
                .with_help(
                    "tag this corpus, or set `untagged: drop` to leave such documents out",
                ));
            }
        };
        if tagged.text_hash != text_hash(&document.text) {
            return Err(StageError::input(format!(
                "document {:?}: its tags were made for another text (hash mismatch)",
                document.doc_id
            ))
            .with_help("tag this corpus again"));
        }
        for span in &tagged.spans {
            if document.text.get(span.start as usize..span.end as usize).is_none() {
                return Err(StageError::input(format!(
                    "document {:?}: span {}..{} does not lie on characters of its text",
                    document.doc_id, span.start, span.end
                ))
                .with_help("tag this corpus again"));
            }
        }
        Ok(Some(tagged))
    }

    fn check_exhausted(&mut self) -> Result<(), StageError> {
        match self.tags.next().transpose()? {
            None => Ok(()),
            Some(extra) => Err(StageError::input(format!(
                "the tags hold document {:?}, which the corpus lacks or has in another order",
                extra.doc_id
            ))
            .with_help("use the tags that were made from this corpus")),
        }
    }
}

type Pair = (Document, TaggedDocument);

fn next_batch<D, T>(documents: &mut D, pairs: &mut Pairs<T>) -> Result<Vec<Pair>, StageError>
where
    D: Iterator<Item = Result<Document, ArtifactError>>,
    T: Iterator<Item = Result<TaggedDocument, ArtifactError>>,
{
    let mut batch = Vec::new();
    let mut bytes = 0;
    while bytes < BATCH_BYTES {
        let Some(document) = documents.next().transpose()? else { break };
        if let Some(tagged) = pairs.of(&document)? {
            bytes += document.text.len() + 256;
            batch.push((document, tagged));
        }
    }
    Ok(batch)
}
