//! What is remembered of words.

use std::collections::HashMap;
use std::ops::Range;

use super::{Encoded, Sink};

/// Words that are remembered; beyond them the crate is asked each time.
const MAX_WORDS: usize = 1 << 18;
/// The longest word, in bytes, that is remembered.
const MAX_WORD_BYTES: usize = 64;
/// The longest word, in bytes, that is a number with room for its length.
const MAX_SHORT_BYTES: usize = 15;
/// Tokens that a slot has room for.
const SLOT_TOKENS: usize = 3;

/// Words with their tokens. Short words, which most are, have one place in memory each, with the
/// tokens beside the word, because looking at memory is what takes the time.
#[derive(Debug)]
pub(super) struct Memory {
    /// A table in which a word stands in its own slot or, where others are in the way, in the first
    /// free one behind. At least half of the slots are free; their number is a power of two.
    slots: Vec<Slot>,
    taken: usize,
    /// Longer words, and short ones of many tokens.
    others: HashMap<Box<str>, Box<[Token]>, ahash::RandomState>,
    /// Chosen at random, so that no text can be made whose words all have one slot.
    keys: [u64; 2],
}

/// A short word and its tokens: half of a cache line.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(32))]
struct Slot {
    /// The word as a number; 0 in a free slot.
    word: u128,
    ids: [u32; SLOT_TOKENS],
    /// The first byte of each token in the word, and above it the last.
    places: [u8; SLOT_TOKENS],
    count: u8,
}

/// A word of a text.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Word {
    /// Its first byte.
    pub(super) start: usize,
    /// One past its last byte.
    pub(super) end: usize,
    /// A short word as a number; 0 for a longer one.
    number: u128,
    /// What its own slot held.
    seen: Slot,
}

impl Word {
    /// A word of `text`.
    #[inline]
    pub(super) fn new(text: &str, Range { start, end }: Range<usize>) -> Self {
        let number = packed(&text.as_bytes()[start..], end - start).unwrap_or(0);
        Self { start, end, number, seen: Slot::default() }
    }
}

/// A token of a word and its bytes in it.
#[derive(Debug, Clone, Copy)]
struct Token {
    id: u32,
    start: u8,
    end: u8,
}

impl Default for Memory {
    fn default() -> Self {
        let random = ahash::RandomState::new();
        Self {
            slots: vec![Slot::default(); 1 << 12],
            taken: 0,
            others: HashMap::default(),
            keys: [random.hash_one(0), random.hash_one(1)],
        }
    }
}

impl Memory {
    /// Looks for words in their own slots. Nothing is decided by what is seen, so that the processor
    /// need not wait for one look before the next.
    #[inline]
    pub(super) fn glance(&self, words: &mut [Word]) {
        for word in words {
            word.seen = self.slots[self.first_place(word.number)];
        }
    }

    /// Hands the tokens of a word of `text` to `sink`; false if the word is not known.
    #[inline]
    pub(super) fn recall(&self, word: &Word, text: &str, sink: &mut impl Sink) -> bool {
        let &Word { start, end, number, ref seen } = word;
        if number != 0 {
            if seen.word == number {
                seen.tell(start, sink);
                return true;
            }
            let slot = &self.slots[self.place_of(number)];
            if slot.word == number {
                slot.tell(start, sink);
                return true;
            }
        }
        let Some(tokens) = self.others.get(&text[start..end]) else { return false };
        for &Token { id, start: from, end: to } in tokens {
            sink.push(id, start + usize::from(from), start + usize::from(to));
        }
        true
    }

    /// Remembers a word that is not known.
    pub(super) fn remember(&mut self, word: &str, encoded: &Encoded) {
        if word.len() > MAX_WORD_BYTES || self.taken + self.others.len() >= MAX_WORDS {
            return;
        }
        match packed(word.as_bytes(), word.len()).filter(|_| encoded.ids.len() <= SLOT_TOKENS) {
            Some(number) => self.fill(Slot::new(number, encoded)),
            None => {
                let tokens = encoded.ids.iter().zip(&encoded.offsets);
                // Offsets are at most MAX_WORD_BYTES.
                let tokens = tokens.map(|(&id, &(start, end))| Token {
                    id,
                    start: start as u8,
                    end: end as u8,
                });
                self.others.insert(word.into(), tokens.collect());
            }
        }
    }

    fn fill(&mut self, slot: Slot) {
        if (self.taken + 1) * 2 > self.slots.len() {
            let larger = vec![Slot::default(); 2 * self.slots.len()];
            for old in std::mem::replace(&mut self.slots, larger) {
                if old.word != 0 {
                    let place = self.place_of(old.word);
                    self.slots[place] = old;
                }
            }
        }
        let place = self.place_of(slot.word);
        self.slots[place] = slot;
        self.taken += 1;
    }

    /// The slot of a word, or the free one where it would stand.
    fn place_of(&self, word: u128) -> usize {
        let mut place = self.first_place(word);
        while self.slots[place].word != word && self.slots[place].word != 0 {
            place = (place + 1) & (self.slots.len() - 1);
        }
        place
    }

    /// A word's own slot.
    #[inline]
    fn first_place(&self, word: u128) -> usize {
        let (low, high) = (word as u64 ^ self.keys[0], (word >> 64) as u64 ^ self.keys[1]);
        let product = u128::from(low) * u128::from(high);
        (product as u64 ^ (product >> 64) as u64) as usize & (self.slots.len() - 1)
    }
}

impl Slot {
    /// A short word of few tokens.
    fn new(word: u128, encoded: &Encoded) -> Self {
        let mut slot = Self { word, count: encoded.ids.len() as u8, ..Self::default() };
        for (index, (&id, &(start, end))) in encoded.ids.iter().zip(&encoded.offsets).enumerate() {
            slot.ids[index] = id;
            // Offsets are at most MAX_SHORT_BYTES, which four bits hold.
            slot.places[index] = start as u8 | (end as u8) << 4;
        }
        slot
    }

    #[inline]
    fn tell(&self, start: usize, sink: &mut impl Sink) {
        let tokens = self.ids.iter().zip(&self.places).take(usize::from(self.count));
        for (&id, &place) in tokens {
            sink.push(id, start + usize::from(place & 15), start + usize::from(place >> 4));
        }
    }
}

/// The first `length` bytes of a text, with their number, as a number other than zero; `None` where
/// they are too many.
#[inline]
fn packed(text: &[u8], length: usize) -> Option<u128> {
    if length > MAX_SHORT_BYTES {
        return None;
    }
    // One read where the text goes on, because a copy of so few bytes is slow to be read again.
    let bytes = match text.first_chunk() {
        Some(bytes) => u128::from_le_bytes(*bytes) & ((1 << (8 * length)) - 1),
        None => text[..length].iter().rev().fold(0, |bytes, &byte| bytes << 8 | u128::from(byte)),
    };
    Some(bytes | (length as u128) << 120)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is remembered of so many words that the table grows again and again, and words that no
    /// slot has room for, comes back as it was.
    #[test]
    fn words_come_back_as_they_were() {
        let mut memory = Memory::default();
        let words: Vec<(String, Encoded)> = (0..30_000usize)
            .map(|number| {
                let word = format!("{number:.>width$}", width = 1 + number * 7 % 63);
                let ends = (0..=number % 6).map(|token| (token * 3 % word.len(), word.len()));
                let (ids, offsets) = ends.map(|ends| (number as u32, ends)).unzip();
                (word, Encoded { ids, offsets })
            })
            .collect();
        let recall = |memory: &Memory, text: &str, range, sink: &mut Encoded| {
            let mut words = [Word::new(text, range)];
            memory.glance(&mut words);
            memory.recall(&words[0], text, sink)
        };
        let before = "-".repeat(100);
        let unique: HashMap<&str, &Encoded> =
            words.iter().map(|(word, encoded)| (word.as_str(), encoded)).collect();
        for (word, encoded) in &unique {
            assert!(!recall(&memory, word, 0..word.len(), &mut Encoded::default()));
            memory.remember(word, encoded);
        }
        for (word, encoded) in &unique {
            let text = format!("{before}{word}, and what follows");
            let mut found = Encoded::default();
            assert!(recall(&memory, &text, 100..100 + word.len(), &mut found));
            assert_eq!(found.ids, encoded.ids);
            let moved: Vec<_> =
                encoded.offsets.iter().map(|(from, to)| (from + 100, to + 100)).collect();
            assert_eq!(found.offsets, moved, "{word}");
        }
    }
}
