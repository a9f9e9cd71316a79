//! The words that begin in 64 bytes of text, all at once: a bit for each byte says what it is, and a few
//! operations on 64 bits what begins where.

use super::class::{CONTRACTIONS, Class, Classes};

/// Bytes of a block.
pub(super) const BLOCK: usize = 64;

/// A byte in each byte of a number.
const EACH: u64 = u64::from_le_bytes([1; 8]);
/// The highest bit of each byte.
const HIGH: u64 = 0x80 * EACH;

/// The kinds of a block's bytes, a bit a byte.
#[derive(Default)]
struct Kinds {
    letters: u64,
    digits: u64,
    spaces: u64,
    other_white: u64,
    apostrophes: u64,
    /// What is not ASCII.
    foreign: u64,
}

/// Where words begin in the block of `text` at `base`, a bit a byte. `None` where that depends on
/// more than the block and a byte around it: where those are not ASCII or the text ends, where
/// numbers or white space are not ASCII, and where the block ends in what may be a contraction.
/// `single_digits`: whether each digit is a word of its own.
pub(super) fn beginnings(
    classes: Classes,
    single_digits: bool,
    text: &str,
    base: usize,
) -> Option<u64> {
    let bytes = text.as_bytes();
    let block: &[u8; BLOCK] = bytes[base..].first_chunk()?;
    let next = *bytes.get(base + BLOCK)?;
    let previous = base.checked_sub(1).map(|before| bytes[before]);
    let (first, last) = (block[0], block[BLOCK - 1]);
    let outer = [first, last, next, previous.unwrap_or(first)];
    if !outer.is_ascii() {
        return None;
    }
    let mut kinds = kinds(block);
    let mut foreign = kinds.foreign;
    while foreign != 0 {
        let at = foreign.trailing_zeros() as usize;
        let character = text[base + at..].chars().next()?;
        // A bit for each byte of the character, which ends before the block does.
        let all = ((1 << character.len_utf8()) - 1) << at;
        foreign &= !all;
        match classes.of(character) {
            Class::Letter => kinds.letters |= all,
            Class::Other => {}
            Class::Number | Class::Space => return None,
        }
    }
    let Kinds { letters, digits, spaces, other_white, apostrophes, .. } = kinds;
    let white = spaces | other_white;
    let others = !(letters | digits | white);
    // What the byte before each byte is.
    let behind =
        |bits: u64, is: fn(&u8) -> bool| bits << 1 | u64::from(previous.as_ref().is_some_and(is));
    let behind_letter = behind(letters, u8::is_ascii_alphabetic);
    let behind_digit = behind(digits, u8::is_ascii_digit);
    let behind_space = behind(spaces, |byte| *byte == b' ');
    let behind_white = behind(white, is_white);
    let behind_other = behind(others, |byte| !byte.is_ascii_alphanumeric() && !is_white(byte));
    // What the byte behind each byte is.
    let before_white = white >> 1 | u64::from(is_white(&next)) << (BLOCK - 1);
    let before_digit = digits >> 1 | u64::from(next.is_ascii_digit()) << (BLOCK - 1);

    let other_words = others & !behind_other & !behind_space;
    let mut words = other_words | letters & !behind_letter & !behind_space;
    // White space is a word but for its last character, which is one or begins one. A digit that is
    // cut out ends the text before it, so that all of it is one word there.
    if single_digits {
        words |= digits | white & (!behind_white | !before_white & !before_digit);
    } else {
        words |= digits & !behind_digit & !behind_space | white & (!behind_white | !before_white);
    }
    let mut apostrophes = apostrophes & other_words;
    while apostrophes != 0 {
        let at = apostrophes.trailing_zeros() as usize;
        apostrophes &= apostrophes - 1;
        if at + 3 >= BLOCK {
            return None;
        }
        if let Some(ending) = CONTRACTIONS.iter().find(|e| block[at..].starts_with(e.as_bytes())) {
            words = words & !(2 << at) | 1 << (at + ending.len());
        }
    }
    Some(words)
}

/// White space of ASCII, as Unicode has it.
fn is_white(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn kinds(block: &[u8; BLOCK]) -> Kinds {
    let mut kinds = Kinds::default();
    let (parts, _) = block.as_chunks::<8>();
    for (index, part) in parts.iter().enumerate() {
        let all = u64::from_le_bytes(*part);
        let shift = 8 * index;
        kinds.foreign |= bits(all & HIGH) << shift;
        // What is not ASCII becomes zeros, which are of no kind.
        let bytes = all & !(((all & HIGH) >> 7) * 0xff);
        // Upper case letters become lower case ones, and nothing else becomes a letter.
        kinds.letters |= bits(within(bytes | (0x20 * EACH), b'a', b'z')) << shift;
        kinds.digits |= bits(within(bytes, b'0', b'9')) << shift;
        kinds.spaces |= bits(within(bytes, b' ', b' ')) << shift;
        kinds.other_white |= bits(within(bytes, b'\t', b'\r')) << shift;
        kinds.apostrophes |= bits(within(bytes, b'\'', b'\'')) << shift;
    }
    kinds
}

/// The highest bit of each byte of eight ASCII characters that lies in a range. No sum leaves its byte.
fn within(bytes: u64, first: u8, last: u8) -> u64 {
    let from_first = bytes + u64::from(0x80 - first) * EACH;
    let beyond_last = bytes + u64::from(0x7f - last) * EACH;
    from_first & !beyond_last & HIGH
}

/// The highest bits of eight bytes, beside each other.
fn bits(high: u64) -> u64 {
    // Bit 8n goes to bit 56 + n; the products of the others do not reach there.
    (high >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
}
