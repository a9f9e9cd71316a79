//! Finds the words of GPT-2's expression.

use std::ops::Range;

use super::block::{BLOCK, beginnings};
use super::class::{CONTRACTIONS, Class, Classes};

/// Cuts words off texts by the expression
/// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+` (Radford et al.
/// 2019).
#[derive(Debug, Clone, Copy)]
pub(super) struct Scanner {
    classes: Classes,
    /// Whether a number's characters are cut out before the expression sees what is between them.
    single_digits: bool,
}

impl Scanner {
    pub(super) fn new(single_digits: bool) -> Self {
        Self { classes: Classes::new(), single_digits }
    }

    /// The words of a text, in order, without gaps.
    pub(super) fn words<'t>(&self, text: &'t str) -> Words<'t> {
        Words { scanner: *self, text, start: 0, block: 0, beginnings: 0, slow_to: 0 }
    }

    /// The bytes of the first word of a text that is not empty.
    fn word_length(&self, text: &str) -> usize {
        self.ascii_word(text.as_bytes()).unwrap_or_else(|| self.any_word(text))
    }

    /// As [`Self::word_length`], of a run of one class behind a space or none; `None` where it is
    /// white space, may be the ending of a contraction, or touches what is not ASCII.
    #[inline]
    fn ascii_word(&self, text: &[u8]) -> Option<usize> {
        let class = |at: usize| {
            let byte = text.get(at).filter(|byte| byte.is_ascii())?;
            Some(self.classes.of(char::from(*byte)))
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
        let class = |character: char| self.classes.of(character);
        let Some(first) = text.chars().next() else { return 0 };
        if self.single_digits && class(first) == Class::Number {
            return first.len_utf8();
        }
        if let Some(ending) = CONTRACTIONS.iter().find(|ending| text.starts_with(**ending)) {
            return ending.len();
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

/// The words of a text.
#[derive(Debug)]
pub(super) struct Words<'t> {
    scanner: Scanner,
    text: &'t str,
    /// Where the next word begins.
    start: usize,
    /// Where the next block begins.
    block: usize,
    /// Beginnings of words behind `start`, in the block before that one, a bit a byte.
    beginnings: u64,
    /// Words that begin before this byte are found one by one.
    slow_to: usize,
}

impl Iterator for Words<'_> {
    type Item = Range<usize>;

    #[inline]
    fn next(&mut self) -> Option<Range<usize>> {
        let start = self.start;
        while start >= self.slow_to {
            if self.beginnings != 0 {
                self.start = self.block - BLOCK + self.beginnings.trailing_zeros() as usize;
                self.beginnings &= self.beginnings - 1;
                return Some(start..self.start);
            }
            self.look_at_block();
        }
        let rest = &self.text[start..];
        if rest.is_empty() {
            return None;
        }
        self.start += self.scanner.word_length(rest);
        Some(start..self.start)
    }
}

impl Words<'_> {
    /// Looks for words that begin in the next block and behind `start`.
    fn look_at_block(&mut self) {
        // Words that were found one by one may have gone on beyond the block.
        self.block = self.block.max(self.start / BLOCK * BLOCK);
        let base = self.block;
        self.block += BLOCK;
        let Scanner { classes, single_digits } = self.scanner;
        match beginnings(classes, single_digits, self.text, base) {
            Some(found) => {
                let known = (self.start + 1).saturating_sub(base);
                self.beginnings = found & u64::MAX.checked_shl(known as u32).unwrap_or(0);
            }
            None if base + BLOCK >= self.text.len() => self.slow_to = usize::MAX,
            None => self.slow_to = self.block,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str) {
        for single_digits in [false, true] {
            let scanner = Scanner::new(single_digits);
            let mut start = 0;
            for word in scanner.words(text) {
                let expected = start..start + scanner.any_word(&text[start..]);
                assert_eq!(word, expected, "{text:?}, single digits: {single_digits}");
                start = word.end;
            }
            assert_eq!(start, text.len(), "{text:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// The ways for ASCII text are ways to the same words.
        #[test]
        fn the_faster_ways_agree_with_the_slow_one(
            text in prop::collection::vec(
                prop_oneof![
                    8 => "[ \\n]{0,3}[a-zA-Z]{0,20}",
                    4 => prop::sample::select(CONTRACTIONS.to_vec()).prop_map(String::from),
                    2 => "[ ']{0,2}[0-9]{0,3}[ \\t\\r\\n]{0,3}",
                    2 => "[@`\\[{~!./:;<=>?\\x00\\x08\\x0e\\x1f\\x7f]{1,3}",
                    1 => any::<char>().prop_map(String::from),
                    1 => prop::sample::select(vec!["é", "\u{a0}", "\u{2003}", "Ⅷ", "“", "’"]).prop_map(String::from),
                ],
                0..60,
            ).prop_map(|parts| parts.concat())
        ) {
            check(&text);
        }
    }

    /// Every byte beside every other, at every place in a block.
    #[test]
    fn all_neighbours_in_all_places() {
        for first in 0..128u8 {
            let pairs: String =
                (0..128u8).flat_map(|second| [first, second]).map(char::from).collect();
            for before in 0..2 {
                check(&("x".repeat(before) + &pairs));
            }
        }
        for place in 0..140 {
            for part in ["'ll", "'s", " 'd", "''t", "  a", " \n 7", "é", "\u{a0} b"] {
                let text = format!("{}{part}{}", "a".repeat(place), "b".repeat(140));
                check(&text);
                check(&format!("{}{part}{}", ". ".repeat(place), " c".repeat(140)));
            }
        }
    }
}
