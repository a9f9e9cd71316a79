//! Finds the words of GPT-2's expression.

use std::sync::OnceLock;

use regex_syntax::hir::{Class as Characters, HirKind};

/// What GPT-2's expression tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// `\p{L}`
    Letter,
    /// `\p{N}`
    Number,
    /// `\s`
    Space,
    /// Everything else.
    Other,
}

/// Cuts words off texts by the expression
/// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+` (Radford et al.
/// 2019).
#[derive(Debug, Clone, Copy)]
pub(super) struct Scanner {
    /// The class of every character, by its number.
    classes: &'static [Class],
    /// Whether a number's characters are cut out before the expression sees what is between them.
    single_digits: bool,
}

impl Scanner {
    pub(super) fn new(single_digits: bool) -> Self {
        Self { classes: classes(), single_digits }
    }

    /// The bytes of the word that begins at `start`, before the end of the text.
    #[inline]
    pub(super) fn word_length(&self, text: &str, start: usize) -> usize {
        let rest = &text.as_bytes()[start..];
        ascii_letters(rest)
            .or_else(|| self.ascii_word(rest))
            .unwrap_or_else(|| self.any_word(&text[start..]))
    }

    /// As [`Self::word_length`], of a run of one class behind a space or none; `None` where it is
    /// white space, may be the ending of a contraction, or touches what is not ASCII.
    #[inline]
    fn ascii_word(&self, text: &[u8]) -> Option<usize> {
        let class = |at: usize| {
            let byte = text.get(at).filter(|byte| byte.is_ascii())?;
            Some(self.classes[usize::from(*byte)])
        };
        let from = usize::from(text[0] == b' ');
        let kind = class(from)?;
        if kind == Class::Number && self.single_digits {
            // The digit, or the space that stands before it.
            return Some(1);
        }
        if kind == Class::Space || text[0] == b'\'' {
            return None;
        }
        let mut end = from + 1;
        while class(end)? == kind {
            end += 1;
        }
        Some(end)
    }

    fn any_word(&self, text: &str) -> usize {
        let class = |character: char| self.classes[character as usize];
        let Some(first) = text.chars().next() else { return 0 };
        if self.single_digits && class(first) == Class::Number {
            return first.len_utf8();
        }
        if first == '\'' {
            let endings = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];
            if let Some(ending) = endings.iter().find(|ending| text.starts_with(**ending)) {
                return ending.len();
            }
        }
        let after_space = text.strip_prefix(' ').unwrap_or(text);
        if let Some(head) = after_space.chars().next() {
            let kind = class(head);
            let cut_off = self.single_digits && kind == Class::Number;
            if kind != Class::Space && !cut_off {
                let run = after_space.find(|character| class(character) != kind);
                return text.len() - after_space.len() + run.unwrap_or(after_space.len());
            }
        }
        let run = text.find(|character| class(character) != Class::Space).unwrap_or(text.len());
        let last = text[..run].chars().next_back().map_or(0, char::len_utf8);
        let next = text[run..].chars().next();
        // A digit that is cut out ends the text before it.
        let at_the_end =
            next.is_none_or(|character| self.single_digits && class(character) == Class::Number);
        if at_the_end || run == last { run } else { run - last }
    }
}

/// The bytes of a run of letters behind a space or none, where it ends before another ASCII
/// character in the first 16 bytes; all of them are looked at together.
#[inline]
fn ascii_letters(text: &[u8]) -> Option<usize> {
    const EACH: u128 = u128::from_le_bytes([1; 16]);
    let bytes = u128::from_le_bytes(*text.first_chunk()?);
    // Upper case letters become lower case ones, and nothing else becomes a letter. No sum below
    // leaves its byte.
    let lower = (bytes | 0x20 * EACH) & 0x7f * EACH;
    let from_a = lower + (0x80 - u128::from(b'a')) * EACH;
    let beyond_z = lower + (0x7f - u128::from(b'z')) * EACH;
    let letters = from_a & !beyond_z & !bytes & 0x80 * EACH;
    let from = usize::from(text[0] == b' ');
    let run = (!letters & 0x80 * EACH) >> (8 * from);
    let length = from + run.trailing_zeros() as usize / 8;
    let next = text.get(length).filter(|_| length < 16)?;
    (length > from && next.is_ascii()).then_some(length)
}

fn classes() -> &'static [Class] {
    static CLASSES: OnceLock<Vec<Class>> = OnceLock::new();
    CLASSES.get_or_init(|| {
        let mut classes = vec![Class::Other; char::MAX as usize + 1];
        for (expression, class) in
            [(r"\p{L}", Class::Letter), (r"\p{N}", Class::Number), (r"\s", Class::Space)]
        {
            // The expressions are constants, and Unicode's classes are built in.
            let Ok(parsed) = regex_syntax::parse(expression) else { continue };
            let HirKind::Class(Characters::Unicode(characters)) = parsed.kind() else { continue };
            for range in characters.iter() {
                classes[range.start() as usize..=range.end() as usize].fill(class);
            }
        }
        classes
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// The ways for ASCII text are ways to the same words.
        #[test]
        fn the_faster_ways_agree_with_the_slow_one(
            text in r"(?s)[ ']{0,2}([a-zA-Z]{0,20}|[0-9]{0,3}|[@`\[{~!.\x00\x7f]{0,3}|\PC)[ \nZz'7.é]{0,3}.{0,16}"
        ) {
            prop_assume!(!text.is_empty());
            for single_digits in [false, true] {
                let scanner = Scanner::new(single_digits);
                let expected = scanner.any_word(&text);
                if let Some(found) = scanner.ascii_word(text.as_bytes()) {
                    prop_assert_eq!(found, expected, "a run in {:?}", &text);
                }
                if let Some(found) = ascii_letters(text.as_bytes()) {
                    prop_assert_eq!(found, expected, "letters in {:?}", &text);
                }
            }
        }
    }

    #[test]
    fn ordinary_words_go_the_fastest_way() {
        for (text, length) in
            [("the house was", 3), (" House, which is so", 6), ("I am the one, am I", 1)]
        {
            assert_eq!(ascii_letters(text.as_bytes()), Some(length));
        }
        for text in [
            "the end",
            " 1990 was a good year",
            "caféothek in the street",
            " internationalisation of it",
        ] {
            assert_eq!(ascii_letters(text.as_bytes()), None, "{text}");
        }
    }
}
