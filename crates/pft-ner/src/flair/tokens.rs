//! Sentences of tokens, as Flair makes them, with their places in the original text.

use std::ops::Range;

use super::sentences::{LineBreaks, split};
use super::words::words;

/// A token: its text as the model reads it, and its bytes in the original.
pub(super) struct Token {
    pub(super) text: String,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// The sentences of a text that have tokens.
pub(super) fn sentences(text: &str) -> Vec<Vec<Token>> {
    split(text, LineBreaks::Double)
        .into_iter()
        .map(|range| tokens(&text[range.clone()], range.start))
        .filter(|tokens| !tokens.is_empty())
        .collect()
}

/// The tokens of a sentence that starts at `offset`.
fn tokens(sentence: &str, offset: usize) -> Vec<Token> {
    let clean = Clean::new(sentence);
    let mut tokens = Vec::new();
    for line in split(&clean.text, LineBreaks::Single) {
        for word in words(&clean.text[line.clone()]) {
            let word = line.start + word.start..line.start + word.end;
            let origin = clean.origin(&word);
            tokens.push(Token {
                text: clean.text[word].to_string(),
                start: offset + origin.start,
                end: offset + origin.end,
            });
        }
    }
    tokens
}

/// A sentence as Flair reads it: without characters of no width, and with what was meant where
/// text in Windows-1252 was read as Latin-1.
struct Clean {
    text: String,
    /// For each byte, the bytes of the original character; empty where nothing was changed.
    origins: Vec<(u32, u32)>,
}

impl Clean {
    fn new(sentence: &str) -> Self {
        if !sentence.contains(is_changed) {
            return Self { text: sentence.to_string(), origins: Vec::new() };
        }
        let (mut text, mut origins) = (String::new(), Vec::new());
        for (at, c) in sentence.char_indices() {
            let Some(kept) = replacement(c) else { continue };
            text.push(kept);
            origins.resize(text.len(), (at as u32, (at + c.len_utf8()) as u32));
        }
        Self { text, origins }
    }

    fn origin(&self, range: &Range<usize>) -> Range<usize> {
        if self.origins.is_empty() {
            return range.clone();
        }
        self.origins[range.start].0 as usize..self.origins[range.end - 1].1 as usize
    }
}

fn is_changed(c: char) -> bool {
    replacement(c) != Some(c)
}

/// What stands for a character; nothing for one that is left out.
fn replacement(c: char) -> Option<char> {
    const WINDOWS_1252: [char; 26] = [
        '€', '\0', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\0', 'Ž', '\0', '\0',
        '‘', '’', '“', '”', '•', '–', '—', '˜', '™',
    ];
    match c {
        '\u{200b}' | '\u{200c}' | '\u{fe0f}' | '\u{feff}' | '\u{2028}' | '\u{2029}' => None,
        '\u{80}'..='\u{99}' => Some(WINDOWS_1252[c as usize - 0x80]).filter(|&meant| meant != '\0'),
        _ => Some(c),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn tokens_follow_each_other_and_leave_out_white_space_only(
            text in "([A-Za-z]{1,4}|[ .,;:'\"()\\[\\]\n-]|[éß漢²₂’\u{200b}\u{92}\u{301}0-9]|\\. |n't){0,60}",
        ) {
            let mut at = 0;
            for token in sentences(&text).iter().flatten() {
                prop_assert!(token.start >= at && token.end > token.start);
                let between = &text[at..token.start];
                prop_assert!(between.chars().all(|c| c.is_whitespace() || replacement(c).is_none()));
                prop_assert!(!text[token.start..token.end].contains(char::is_whitespace));
                at = token.end;
            }
            prop_assert!(text[at..].chars().all(|c| c.is_whitespace() || replacement(c).is_none()));
        }
    }

    #[test]
    fn tokens_know_their_bytes_whatever_was_cleaned() {
        let text = "A\u{200b}nna\u{92}s d\u{e9}j\u{e0}\u{feff} vu.\n\nNext \u{81}one";
        let found: Vec<Vec<(String, &str)>> = sentences(text)
            .into_iter()
            .map(|sentence| sentence.into_iter().map(|t| (t.text, &text[t.start..t.end])).collect())
            .collect();
        let pair = |clean: &str, original| (clean.to_string(), original);
        assert_eq!(
            found,
            [
                vec![
                    pair("Anna", "A\u{200b}nna"),
                    pair("’s", "\u{92}s"),
                    pair("déjà", "déjà"),
                    pair("vu", "vu"),
                    pair(".", "."),
                ],
                vec![pair("Next", "Next"), pair("one", "one")],
            ]
        );
    }
}
