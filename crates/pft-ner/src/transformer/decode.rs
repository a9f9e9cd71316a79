//! From label probabilities of word pieces to entities.
//!
//! The rule is that of transformers' `aggregation_strategy="first"`: a word has the label of its
//! first piece; neighbouring words of one kind join until a `B-` (or `S-`, `U-`) starts a new
//! entity; the score is the mean over the words. Beyond it, `E-`, `L-`, `S-` and `U-` of the
//! BIOES and BILOU schemes end an entity.

use std::sync::Arc;

use pft_pii::Span;

/// One label of the checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tag {
    starts: bool,
    ends: bool,
    /// `None`: outside any entity.
    label: Option<Arc<str>>,
}

impl Tag {
    /// Reads `O`, `B-PER`, `I-PER`, … or a label without a scheme, which continues itself.
    pub(super) fn parse(label: &str) -> Self {
        if label == "O" {
            return Self { starts: false, ends: false, label: None };
        }
        let (starts, ends, label) = match label.split_once(['-', '_']) {
            Some(("B", label)) => (true, false, label),
            Some(("I" | "M", label)) => (false, false, label),
            Some(("E" | "L", label)) => (false, true, label),
            Some(("S" | "U", label)) => (true, true, label),
            _ => (false, false, label),
        };
        Self { starts, ends, label: Some(label.into()) }
    }
}

/// A word: its bytes in the text, and the label and probability of its first piece.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) tag: usize,
    pub(super) score: f32,
}

/// Joins words into entities; white space at their ends is left out.
pub(super) fn entities(text: &str, words: &[Word], tags: &[Tag], source: &Arc<str>) -> Vec<Span> {
    let mut spans = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let Some(label) = &tags[words[at].tag].label else {
            at += 1;
            continue;
        };
        let first = at;
        at += 1;
        while at < words.len() {
            let (last, next) = (&tags[words[at - 1].tag], &tags[words[at].tag]);
            if last.ends || next.starts || next.label.as_ref() != Some(label) {
                break;
            }
            at += 1;
        }
        let score =
            words[first..at].iter().map(|word| word.score).sum::<f32>() / (at - first) as f32;
        let (start, end) = (words[first].start, words[at - 1].end);
        let covered = &text[start..end];
        let start = start + covered.len() - covered.trim_start().len();
        let end = end - (covered.len() - covered.trim_end().len());
        if start < end {
            spans.push(Span::new(start, end, label, score, source));
        }
    }
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(labels: &[&str]) -> Vec<(usize, usize, String)> {
        let text = "aa bb cc dd ee ff";
        let tags: Vec<Tag> = labels.iter().map(|label| Tag::parse(label)).collect();
        let word = |tag: usize| Word { start: tag * 3, end: tag * 3 + 2, tag, score: 0.5 };
        let words: Vec<Word> = (0..labels.len()).map(word).collect();
        let spans = entities(text, &words, &tags, &"test".into());
        spans.iter().map(|span| (span.start, span.end, span.label.to_string())).collect()
    }

    #[test]
    fn schemes_end_and_start_entities() {
        let per = |start, end| (start, end, "PER".to_owned());
        assert_eq!(decode(&["B-PER", "I-PER", "O", "I-PER"]), [per(0, 5), per(9, 11)]);
        assert_eq!(decode(&["B-PER", "B-PER", "I-PER"]), [per(0, 2), per(3, 8)]);
        assert_eq!(
            decode(&["B-PER", "E-PER", "I-PER", "S-PER"]),
            [per(0, 5), per(6, 8), per(9, 11)]
        );
        assert_eq!(decode(&["I-PER", "I-LOC"]), [per(0, 2), (3, 5, "LOC".to_owned())]);
        assert_eq!(decode(&["PER", "PER", "O"]), [per(0, 5)]);
        assert!(decode(&["O", "O"]).is_empty());
    }
}
