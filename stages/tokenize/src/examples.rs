//! Cutting one document into examples.

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::OnceLock;

use pft_artifact::{DocumentRow, ExampleRow, Quoted, SpanRow};
use pft_stage::StageError;

use crate::chat::Chat;
use crate::config::{Config, Mode, SpecialTokensInText};
use crate::control::{ControlTokens, Cuts};
use crate::loaded::LoadedTokenizer;
use crate::outcomes::Outcomes;
use crate::words::{Encoded, Sink, WordEncoder, encode_whole};

/// What became of a document.
#[derive(Debug, Clone)]
pub struct DocumentExamples<'a> {
    document: DocumentRow<'a>,
    /// The tokens of its text.
    tokens: Tokens,
    examples: Vec<Cut>,
    /// Whether text was dropped at the end.
    pub truncated: bool,
    /// What else is counted of it.
    pub(crate) outcomes: Outcomes,
}

/// An example's part of the text's tokens, and what stands around it.
#[derive(Debug, Clone)]
pub(crate) struct Cut {
    text: Range<usize>,
    /// How much of that the example before it ends with.
    overlap: usize,
    bos: Option<u32>,
    eos: Option<u32>,
}

impl Cut {
    /// Tokens with nothing around them.
    pub(crate) fn bare(text: Range<usize>) -> Self {
        Self { text, overlap: 0, bos: None, eos: None }
    }
}

impl DocumentExamples<'_> {
    /// How many examples there are.
    pub fn len(&self) -> usize {
        self.examples.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.examples.is_empty()
    }

    /// Whether the document was too short for any example.
    pub(crate) fn is_too_short(&self) -> bool {
        self.is_empty() && self.outcomes.is_kept()
    }

    /// Calls `act` with each example in order, up to its first error.
    ///
    /// # Errors
    /// Those of `act`.
    pub fn each<E>(&self, mut act: impl FnMut(ExampleRow<'_>) -> Result<(), E>) -> Result<(), E> {
        let DocumentRow { doc_id, unit_id, split, .. } = self.document;
        let mut example_id = String::new();
        let mut framed = Tokens::default();
        for (index, Cut { text, overlap, bos, eos }) in self.examples.iter().enumerate() {
            example_id.clear();
            // Writing into a string does not fail.
            let _ = write!(example_id, "{doc_id}#{index}");
            let mut input_ids = &self.tokens.ids[text.clone()];
            let mut pii = &self.tokens.pii[text.clone()];
            let loss_mask = self.tokens.loss_mask.get(text.clone()).unwrap_or_default();
            if bos.is_some() || eos.is_some() {
                framed.clear();
                framed.ids.extend(bos.iter().chain(input_ids).chain(eos));
                framed.pii.resize(bos.iter().len(), false);
                framed.pii.extend_from_slice(pii);
                framed.pii.resize(framed.ids.len(), false);
                (input_ids, pii) = (&framed.ids, &framed.pii);
            }
            // What overlaps is predicted there, from more than BOS.
            let context = if *overlap == 0 { 0 } else { (overlap + bos.iter().len()) as u32 };
            act(ExampleRow {
                example_id: &example_id,
                doc_id,
                unit_id,
                split,
                input_ids,
                pii,
                context,
                loss_mask,
            })?;
        }
        Ok(())
    }
}

/// Token ids, and for each whether it touches personal data.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tokens {
    pub(crate) ids: Vec<u32>,
    pub(crate) pii: Vec<bool>,
    /// Whether each is learned; empty where all are.
    pub(crate) loss_mask: Vec<bool>,
}

impl Tokens {
    fn clear(&mut self) {
        self.ids.clear();
        self.pii.clear();
    }
}

/// Cuts documents by the stage's settings.
#[derive(Debug)]
pub struct Cutter<'a> {
    pub(crate) config: &'a Config,
    pub(crate) tokenizer: &'a LoadedTokenizer,
    /// A faster way to the same tokens, where there is one.
    words: Option<WordEncoder<'a>>,
    bos: Option<u32>,
    eos: Option<u32>,
    control: ControlTokens,
    /// The chat template, once a conversation asks for it.
    pub(crate) chat: OnceLock<Result<Chat, String>>,
}

impl<'a> Cutter<'a> {
    /// A cutter for these settings and this tokenizer.
    pub fn new(config: &'a Config, tokenizer: &'a LoadedTokenizer) -> Self {
        let add_bos = config.add_bos.unwrap_or(tokenizer.add_bos);
        Self {
            config,
            tokenizer,
            words: WordEncoder::new(&tokenizer.tokenizer),
            bos: tokenizer.bos.filter(|_| add_bos),
            eos: tokenizer.eos.filter(|_| config.add_eos),
            control: ControlTokens::new(&tokenizer.tokenizer),
            chat: OnceLock::new(),
        }
    }

    /// The examples of one document. `spans` are its personal data, sorted, in bytes.
    ///
    /// # Errors
    /// When the tokenizer fails on the text; names the document.
    pub fn examples<'d, 's>(
        &self,
        document: DocumentRow<'d>,
        spans: impl Iterator<Item = SpanRow<'s>>,
    ) -> Result<DocumentExamples<'d>, StageError> {
        let labels = self.config.pii_labels.as_ref();
        let places: Vec<(usize, usize)> = spans
            .filter(|span| {
                labels.is_none_or(|labels| {
                    span.labels().any(|label| labels.iter().any(|l| l == label))
                })
            })
            .map(|span| (span.start as usize, span.end as usize))
            .collect();
        if !document.turns.is_empty() {
            return self.conversation(document, &places);
        }
        let mut flagged = Flagged::new(&places, document.text.len());
        let everything = 0..document.text.len();
        let held = self.encode(document, document.text, &[everything], &mut flagged)?;
        let tokens = flagged.tokens;
        let count = tokens.ids.len();
        let examples = match self.config.mode {
            Mode::Truncate => vec![self.truncated(count)],
            Mode::Blocks => self.blocks(count),
        };
        let truncated = self.config.mode == Mode::Truncate && examples[0].text.end < count;
        let outcomes = Outcomes { held_control_tokens: held.into(), ..Outcomes::default() };
        Ok(self.made_of(document, tokens, examples, truncated, outcomes))
    }

    /// Those examples that are long enough.
    pub(crate) fn made_of<'d>(
        &self,
        document: DocumentRow<'d>,
        tokens: Tokens,
        mut examples: Vec<Cut>,
        truncated: bool,
        outcomes: Outcomes,
    ) -> DocumentExamples<'d> {
        examples.retain(|cut| self.is_long_enough(cut));
        DocumentExamples { document, tokens, examples, truncated, outcomes }
    }

    /// Encodes a text of a document, of which people wrote some parts; whether those held a control
    /// token.
    ///
    /// # Errors
    /// When the tokenizer fails, or there is a control token where none may be; names the document.
    pub(crate) fn encode(
        &self,
        document: DocumentRow<'_>,
        text: &str,
        written: &[Range<usize>],
        sink: &mut impl Sink,
    ) -> Result<bool, StageError> {
        let refused = |what: String| {
            StageError::input(format!("document {}: {what}", Quoted(document.doc_id)))
        };
        let (tokenizer, words) = (&self.tokenizer.tokenizer, self.words.as_ref());
        let cuts = self.control.cuts(text, written);
        let held = cuts != Cuts::At(Vec::new());
        let cuts = match (self.config.special_tokens_in_text, cuts) {
            (SpecialTokensInText::Refuse, _) if held => {
                return Err(refused("its text holds a control token of the tokenizer".into())
                    .with_help("set `special_tokens_in_text: split` to take it for text"));
            }
            (SpecialTokensInText::Split, Cuts::Inseparable) => {
                return Err(refused(
                    "its text holds a control token of one character, which cannot be taken for text"
                        .into(),
                )
                .with_help("remove it, or set `special_tokens_in_text: keep`"));
            }
            (SpecialTokensInText::Split, Cuts::At(cuts)) => cuts,
            _ => Vec::new(),
        };
        let encoded = match (words, cuts.is_empty()) {
            (Some(words), true) => words.encode(text, sink),
            (None, true) => encode_whole(tokenizer, text, sink),
            (words, false) => self.control.encode(tokenizer, words, text, &cuts, sink),
        };
        encoded.map_err(|error| refused(format!("the tokenizer failed: {error}")))?;
        Ok(held)
    }

    /// How many tokens of text an example of so many tokens has room for.
    fn room(&self, length: u32) -> usize {
        length as usize - usize::from(self.bos.is_some())
    }

    /// The beginning of a text of so many tokens.
    fn truncated(&self, tokens: usize) -> Cut {
        let room = self.room(self.config.max_length);
        let fits = tokens + usize::from(self.eos.is_some()) <= room;
        self.cut(0..tokens.min(room), 0, fits)
    }

    /// A whole text of so many tokens.
    fn blocks(&self, tokens: usize) -> Vec<Cut> {
        let room = self.room(self.config.block_size);
        let step = self.config.stride.map_or(room, |stride| stride as usize).min(room).max(1);
        let mut blocks = Vec::with_capacity(tokens / step + 1);
        let (mut start, mut covered) = (0, 0);
        loop {
            let left = tokens - start;
            // EOS ends the document; where it does not fit beside the last text tokens it goes
            // into a block of its own context, which the stride decides.
            let is_last = left + usize::from(self.eos.is_some()) <= room;
            let end = start + left.min(room);
            blocks.push(self.cut(start..end, covered - start, is_last));
            covered = end;
            if is_last || (self.eos.is_none() && end == tokens) {
                return blocks;
            }
            start = (start + step).min(tokens);
            if start == tokens {
                return blocks;
            }
        }
    }

    fn cut(&self, text: Range<usize>, overlap: usize, ends_document: bool) -> Cut {
        Cut { text, overlap, bos: self.bos, eos: self.eos.filter(|_| ends_document) }
    }

    fn is_long_enough(&self, cut: &Cut) -> bool {
        let length = cut.text.len() + cut.bos.iter().len() + cut.eos.iter().len();
        !cut.text.is_empty() && length >= self.config.min_length.max(2) as usize
    }
}

/// Flags each token whose bytes touch a span. Tokens come in the order of the text; a token without
/// bytes touches nothing.
struct Flagged<'a> {
    tokens: Tokens,
    spans: &'a [(usize, usize)],
    /// The spans that tokens to come may touch, without the first of them.
    left: std::slice::Iter<'a, (usize, usize)>,
    first: (usize, usize),
}

impl<'a> Flagged<'a> {
    /// For a text of so many bytes.
    fn new(spans: &'a [(usize, usize)], bytes: usize) -> Self {
        // English has a token in about four bytes.
        let few = bytes / 4;
        let tokens = Tokens {
            ids: Vec::with_capacity(few),
            pii: Vec::with_capacity(few),
            ..Tokens::default()
        };
        let mut flagged = Self { tokens, spans, left: spans.iter(), first: NO_SPAN };
        flagged.next_span();
        flagged
    }

    fn next_span(&mut self) {
        self.first = self.left.next().copied().unwrap_or(NO_SPAN);
    }
}

/// For each token whether its bytes touch any of `places`, which are sorted and do not overlap.
pub(crate) fn flags(encoded: &Encoded, places: &[(usize, usize)]) -> Vec<bool> {
    let mut flagged = Flagged::new(places, 0);
    for (&id, &(start, end)) in encoded.ids.iter().zip(&encoded.offsets) {
        flagged.push(id, start, end);
    }
    flagged.tokens.pii
}

/// A span behind every text.
const NO_SPAN: (usize, usize) = (usize::MAX, usize::MAX);

impl Sink for Flagged<'_> {
    #[inline]
    fn push(&mut self, id: u32, start: usize, end: usize) {
        while self.first.1 <= start {
            self.next_span();
        }
        self.tokens.ids.push(id);
        self.tokens.pii.push(start < end && self.first.0 < end);
    }

    fn clear(&mut self) {
        self.tokens.clear();
        self.left = self.spans.iter();
        self.next_span();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_agree_with_comparing_every_pair() {
        let offsets = [(0, 3), (3, 3), (3, 7), (7, 8), (8, 12), (12, 20), (30, 31)];
        let spans = [(2, 4), (8, 9), (19, 30)];
        let touches = |&(start, end): &(usize, usize)| {
            start < end && spans.iter().any(|&(from, to)| from < end && to > start)
        };
        let brute: Vec<bool> = offsets.iter().map(touches).collect();
        let mut flagged = Flagged::new(&spans, 40);
        for _ in ["at first", "cleared"] {
            flagged.clear();
            offsets.iter().for_each(|&(start, end)| flagged.push(7, start, end));
            assert_eq!(flagged.tokens.pii, brute);
        }
    }
}
