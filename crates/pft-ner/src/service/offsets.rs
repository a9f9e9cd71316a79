//! From offsets in characters, which services count in, to offsets in bytes.

use std::ops::Range;

/// Byte offsets of a text's characters (Unicode code points).
pub(super) struct CharOffsets {
    bytes: usize,
    /// Byte offset of every character; empty where each has one byte.
    starts: Vec<u32>,
}

impl CharOffsets {
    /// Counts the characters of a text of less than 4 GiB.
    pub(super) fn new(text: &str) -> Self {
        let starts = if text.is_ascii() {
            Vec::new()
        } else {
            text.char_indices().map(|(at, _)| at as u32).collect()
        };
        Self { bytes: text.len(), starts }
    }

    /// The bytes of the characters `start..end`; nothing for an empty range or one that leaves the text.
    pub(super) fn bytes(&self, start: u64, end: u64) -> Option<Range<usize>> {
        let (start, end) = (usize::try_from(start).ok()?, usize::try_from(end).ok()?);
        let length = if self.starts.is_empty() { self.bytes } else { self.starts.len() };
        if start >= end || end > length {
            return None;
        }
        if self.starts.is_empty() {
            return Some(start..end);
        }
        let end = self.starts.get(end).map_or(self.bytes, |&at| at as usize);
        Some(self.starts[start] as usize..end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn characters_are_those_of_the_text(text in "\\PC{0,24}", start in 0usize..26, length in 0usize..26) {
            let found = CharOffsets::new(&text).bytes(start as u64, (start + length) as u64);
            let inside = length > 0 && start + length <= text.chars().count();
            let expected: String = text.chars().skip(start).take(length).collect();
            prop_assert_eq!(found.map(|range| text[range].to_string()), inside.then_some(expected));
        }
    }

    #[test]
    fn absurd_offsets_are_refused() {
        for text in ["", "abc", "é漢🙂"] {
            assert_eq!(CharOffsets::new(text).bytes(u64::MAX - 1, u64::MAX), None);
            assert_eq!(CharOffsets::new(text).bytes(2, 1), None);
        }
    }
}
