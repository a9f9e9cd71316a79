//! Cutting one document into examples.

use pft_artifact::{Document, Example, Span};
use pft_stage::StageError;

use crate::config::{Config, Mode};
use crate::load::LoadedTokenizer;
use crate::words::{Encoded, WordEncoder};

/// What became of a document.
#[derive(Debug, Clone, PartialEq)]
pub struct DocumentExamples {
    /// Its examples, in order.
    pub examples: Vec<Example>,
    /// Whether text was dropped at the end.
    pub truncated: bool,
}

/// Cuts documents by the stage's settings.
#[derive(Debug)]
pub struct Cutter<'a> {
    config: &'a Config,
    tokenizer: &'a LoadedTokenizer,
    /// A faster way to the same tokens, where there is one.
    words: Option<WordEncoder<'a>>,
    bos: Option<u32>,
    eos: Option<u32>,
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
        }
    }

    /// The examples of one document. `spans` are its personal data, sorted, in bytes.
    ///
    /// # Errors
    /// When the tokenizer fails on the text; names the document.
    pub fn examples(
        &self,
        document: &Document,
        spans: &[Span],
    ) -> Result<DocumentExamples, StageError> {
        let encoded = self.encode(&document.text).map_err(|error| {
            StageError::input(format!(
                "document {:?}: the tokenizer failed: {error}",
                document.doc_id
            ))
        })?;
        let counted: Vec<&Span> = match &self.config.pii_labels {
            None => spans.iter().collect(),
            Some(labels) => {
                let counts = |span: &&Span| labels.iter().any(|label| **label == *span.label);
                spans.iter().filter(counts).collect()
            }
        };
        let ids = &encoded.ids;
        let flags = pii_flags(&encoded.offsets, &counted);
        let specials = usize::from(self.bos.is_some());
        Ok(match self.config.mode {
            Mode::Truncate => self.truncate(document, ids, &flags, specials),
            Mode::Blocks => self.blocks(document, ids, &flags, specials),
        })
    }

    fn encode(&self, text: &str) -> tokenizers::Result<Encoded> {
        if let Some(words) = &self.words {
            return words.encode(text);
        }
        let encoding = self.tokenizer.tokenizer.encode(text, false)?;
        let (ids, offsets) = (encoding.get_ids().to_vec(), encoding.get_offsets().to_vec());
        Ok(Encoded { ids, offsets })
    }

    fn truncate(
        &self,
        document: &Document,
        ids: &[u32],
        flags: &[bool],
        specials: usize,
    ) -> DocumentExamples {
        let room = self.config.max_length as usize - specials;
        let fits = ids.len() + usize::from(self.eos.is_some()) <= room;
        let end = if fits { ids.len() } else { ids.len().min(room) };
        let example = self.example(document, 0, &ids[..end], &flags[..end], fits);
        DocumentExamples { examples: example.into_iter().collect(), truncated: end < ids.len() }
    }

    fn blocks(
        &self,
        document: &Document,
        ids: &[u32],
        flags: &[bool],
        specials: usize,
    ) -> DocumentExamples {
        let room = self.config.block_size as usize - specials;
        let step = self.config.stride.map_or(room, |stride| stride as usize).min(room).max(1);
        let mut examples = Vec::new();
        let mut start = 0;
        loop {
            let left = ids.len() - start;
            // EOS ends the document; where it does not fit beside the last text tokens it goes
            // into a block of its own context, which the stride decides.
            let is_last = left + usize::from(self.eos.is_some()) <= room;
            let end = start + left.min(room);
            let index = examples.len();
            let block =
                self.example(document, index, &ids[start..end], &flags[start..end], is_last);
            examples.extend(block);
            if is_last || (self.eos.is_none() && end == ids.len()) {
                break;
            }
            start = (start + step).min(ids.len());
            if start == ids.len() {
                break;
            }
        }
        DocumentExamples { examples, truncated: false }
    }

    fn example(
        &self,
        document: &Document,
        index: usize,
        ids: &[u32],
        flags: &[bool],
        ends_document: bool,
    ) -> Option<Example> {
        let mut input_ids = Vec::with_capacity(ids.len() + 2);
        let mut pii = Vec::with_capacity(ids.len() + 2);
        if let Some(bos) = self.bos {
            input_ids.push(bos);
            pii.push(false);
        }
        input_ids.extend_from_slice(ids);
        pii.extend_from_slice(flags);
        if let Some(eos) = self.eos.filter(|_| ends_document) {
            input_ids.push(eos);
            pii.push(false);
        }
        if ids.is_empty() || input_ids.len() < self.config.min_length.max(2) as usize {
            return None;
        }
        Some(Example {
            example_id: format!("{}#{index}", document.doc_id),
            doc_id: document.doc_id.clone(),
            unit_id: document.unit_id.clone(),
            split: document.split,
            input_ids,
            pii,
        })
    }
}

/// For each token whether its bytes touch a span. Tokens come in the order of the text; a token
/// without bytes touches nothing.
fn pii_flags(offsets: &[(usize, usize)], spans: &[&Span]) -> Vec<bool> {
    let mut first = 0;
    offsets
        .iter()
        .map(|&(start, end)| {
            while first < spans.len() && spans[first].end as usize <= start {
                first += 1;
            }
            start < end && spans.get(first).is_some_and(|span| (span.start as usize) < end)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(start: u32, end: u32) -> Span {
        Span { start, end, label: "PERSON".into(), score: 1.0, source: "t".into() }
    }

    #[test]
    fn flags_agree_with_comparing_every_pair() {
        let offsets = [(0, 3), (3, 3), (3, 7), (7, 8), (8, 12), (12, 20)];
        let spans = [span(2, 4), span(8, 9), span(19, 30)];
        let all: Vec<&Span> = spans.iter().collect();
        let brute: Vec<bool> = offsets
            .iter()
            .map(|&(start, end)| {
                spans
                    .iter()
                    .any(|s| start < end && (s.start as usize) < end && (s.end as usize) > start)
            })
            .collect();
        assert_eq!(pii_flags(&offsets, &all), brute);
    }
}
