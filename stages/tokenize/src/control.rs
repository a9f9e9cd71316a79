//! Control tokens, such as `<|im_end|>`, that stand in what people wrote.
//!
//! Whoever can write one into a text speaks with the template's voice: ends a turn, begins another's.
//! Such a text is cut behind the first character of the token, and the parts are encoded by themselves,
//! so that no part holds it.

use std::ops::Range;

use aho_corasick::{AhoCorasick, Input, MatchKind};
use tokenizers::Tokenizer;

use crate::words::{Encoded, Moved, Sink, WordEncoder, encode_whole};

/// What the tokenizer takes for more than its characters.
#[derive(Debug)]
pub(crate) struct ControlTokens {
    tokens: Option<AhoCorasick>,
    /// A token to put before a part that does not begin its text: a tokenizer that puts a blank before
    /// texts then does not.
    opening: Option<String>,
}

/// Where a text is to be cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cuts {
    /// Behind these bytes; none where it holds no control token.
    At(Vec<usize>),
    /// Nowhere helps: a control token is a single character.
    Inseparable,
}

impl ControlTokens {
    /// Those of a tokenizer.
    pub(crate) fn new(tokenizer: &Tokenizer) -> Self {
        let added: Vec<_> = tokenizer.get_added_tokens_decoder().into_values().collect();
        let special = added.iter().filter(|token| token.special && !token.content.is_empty());
        let tokens = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(special.clone().map(|token| &token.content))
            .ok();
        let is_plain =
            |token: &&tokenizers::AddedToken| !(token.lstrip || token.rstrip || token.single_word);
        let opening = special.clone().find(is_plain).map(|token| token.content.clone());
        Self { tokens, opening }
    }

    /// The cuts that leave no control token in or across any of the `written` parts of a text, which
    /// come in their order.
    pub(crate) fn cuts(&self, text: &str, written: &[Range<usize>]) -> Cuts {
        let Some(tokens) = &self.tokens else { return Cuts::At(Vec::new()) };
        let mut cuts = Vec::new();
        let mut at = 0;
        let mut first = 0;
        while let Some(found) = tokens.find(Input::new(text).range(at..)) {
            while written.get(first).is_some_and(|part| part.end <= found.start()) {
                first += 1;
            }
            if written.get(first).is_none_or(|part| part.start >= found.end()) {
                at = found.end();
                continue;
            }
            let character = text[found.range()].chars().next().map_or(1, char::len_utf8);
            at = found.start() + character;
            if at == found.end() {
                return Cuts::Inseparable;
            }
            cuts.push(at);
        }
        Cuts::At(cuts)
    }

    /// Encodes the parts of a text between cuts, each by itself.
    ///
    /// # Errors
    /// When the tokenizer fails.
    pub(crate) fn encode(
        &self,
        tokenizer: &Tokenizer,
        words: Option<&WordEncoder<'_>>,
        text: &str,
        cuts: &[usize],
        sink: &mut impl Sink,
    ) -> tokenizers::Result<()> {
        let whole = |text: &str, sink: &mut Encoded| match words {
            Some(words) => words.encode(text, sink),
            None => encode_whole(tokenizer, text, sink),
        };
        let mut start = 0;
        for &end in cuts.iter().chain([&text.len()]) {
            let mut encoded = Encoded::default();
            let opening = match (&self.opening, words) {
                (Some(opening), None) if start > 0 => opening.as_str(),
                _ => "",
            };
            match opening {
                "" => whole(&text[start..end], &mut encoded)?,
                opening => whole(&format!("{opening}{}", &text[start..end]), &mut encoded)?,
            }
            let mut moved = Moved { sink, by: start };
            for (&id, &(from, to)) in encoded.ids.iter().zip(&encoded.offsets) {
                if to > opening.len() {
                    let from = from.max(opening.len());
                    moved.push(id, from - opening.len(), to - opening.len());
                }
            }
            start = end;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(texts: &[&str]) -> ControlTokens {
        let tokens = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(texts);
        ControlTokens { tokens: Some(tokens.unwrap()), opening: None }
    }

    fn cuts(control: &ControlTokens, text: &str, written: Range<usize>) -> Cuts {
        control.cuts(text, std::slice::from_ref(&written))
    }

    #[test]
    fn tokens_are_cut_where_people_wrote_them() {
        let control = tokens(&["<end>", "<s>"]);
        let text = "<s>a <end> b<end><s><<end>";
        let all = cuts(&control, text, 0..text.len());
        assert_eq!(all, Cuts::At(vec![1, 6, 13, 18, 22]));
        assert_eq!(cuts(&control, text, 3..12), Cuts::At(vec![6]));
        assert_eq!(control.cuts(text, &[]), Cuts::At(vec![]));
        // A token of which the template gives a part.
        assert_eq!(cuts(&control, "x<end>", 0..3), Cuts::At(vec![2]));
        assert_eq!(cuts(&control, "x<end>", 3..6), Cuts::At(vec![2]));
    }

    #[test]
    fn a_token_within_a_token_is_cut_too() {
        let control = tokens(&["<<s>>", "<s>"]);
        assert_eq!(cuts(&control, "<<s>>", 0..5), Cuts::At(vec![1, 2]));
        assert_eq!(cuts(&tokens(&["§"]), "a§", 0..3), Cuts::Inseparable);
    }
}
