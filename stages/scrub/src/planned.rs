//! One document's scrubbing.

use pft_artifact::{DocumentRow, Quoted, SpanRow, TaggedRow, Turn, text_hash};
use pft_stage::{Stage as _, StageError};

use crate::pairs::Pair;
use crate::tally::Tally;
use crate::turns::offset;
use crate::{Replacement, Replacer, Scrub, turns, verify};

/// A document whose replacements are chosen.
pub(crate) struct Planned<'a> {
    document: DocumentRow<'a>,
    spans: Vec<SpanRow<'a>>,
    replacements: Vec<Replacement<'a>>,
}

/// A document without the tagged text.
pub(crate) struct Scrubbed<'a> {
    document: DocumentRow<'a>,
    text: String,
    text_hash: String,
    /// Where the replacements and the spans that stay lie in the new text.
    spans: Vec<SpanRow<'a>>,
    /// The turns of a conversation in the new text.
    turns: Vec<Turn>,
    /// How many spans had which label, and how many of them were replaced.
    pub(crate) tally: Tally<'a>,
}

impl<'a> Planned<'a> {
    /// Chooses replacements. Documents must come in the order of the corpus.
    pub(crate) fn new<'c: 'a>(
        pair: &'a Pair,
        replacer: &mut Replacer<'c>,
    ) -> Result<Self, StageError> {
        let document = pair.document.row();
        let spans = pair.spans()?;
        let replacements = replacer.plan(document, &spans);
        Ok(Self { document, spans, replacements })
    }

    /// Builds, checks and re-tags the text.
    pub(crate) fn scrub(self) -> Result<Scrubbed<'a>, StageError> {
        let Self { document, spans, replacements } = self;
        let old = document.text;
        let mut text = String::with_capacity(old.len());
        let mut tagged = Vec::with_capacity(spans.len());
        let mut at = 0;
        let mut tally = Tally::default();
        for (span, replacement) in spans.iter().zip(&replacements) {
            let (start, end) = (span.start as usize, span.end as usize);
            let between = old.get(at..start).filter(|_| start < end).ok_or_else(|| {
                StageError::input(format!(
                    "document {}: its tags overlap, are empty or not in order",
                    Quoted(document.doc_id)
                ))
                .with_help("make the tags again; `tag-pii` writes none such")
            })?;
            text.push_str(between);
            let new_start = text.len();
            text.push_str(replacement.as_deref().unwrap_or(&old[start..end]));
            tally.add(span.label, 1, u64::from(replacement.is_some()));
            if span.other_labels.is_some() {
                span.labels().for_each(|label| tally.add(label, 0, 0));
            }
            if text.len() > new_start {
                tagged.push(SpanRow {
                    start: offset(document, new_start)?,
                    end: offset(document, text.len())?,
                    source: if replacement.is_some() { Scrub::NAME } else { span.source },
                    ..*span
                });
            }
            at = end;
        }
        text.push_str(&old[at..]);
        verify::check(document, &spans, &replacements, &text)?;
        let turns = turns::moved(document, &spans, &replacements)?;
        Ok(Scrubbed { document, text_hash: text_hash(&text), text, spans: tagged, turns, tally })
    }
}

impl Scrubbed<'_> {
    /// The document with its new text.
    pub(crate) fn document(&self) -> DocumentRow<'_> {
        DocumentRow { text: &self.text, turns: &self.turns, ..self.document }
    }

    /// The tags of the new text, for the document's id.
    pub(crate) fn tags<'s>(&'s self, doc_id: &'s str) -> TaggedRow<'s> {
        TaggedRow { doc_id, text_hash: &self.text_hash, spans: &self.spans }
    }
}
