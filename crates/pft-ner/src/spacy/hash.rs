//! The hashes that spaCy identifies strings and embedding rows by.

use std::collections::HashMap;
use std::sync::LazyLock;

/// Strings that spaCy numbers instead of hashing (`spacy.symbols.IDS` of 3.8).
static SYMBOLS: LazyLock<HashMap<&'static str, u64>> = LazyLock::new(|| {
    include_str!("symbols.txt")
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(id, name)| Some((name, id.parse().ok()?)))
        .collect()
});

/// The id of a string in spaCy's `StringStore`.
pub(super) fn string_id(text: &str) -> u64 {
    if text.is_empty() {
        return 0;
    }
    match SYMBOLS.get(text) {
        Some(&id) => id,
        None => murmur2_64a(text.as_bytes(), 1),
    }
}

/// MurmurHash64A.
fn murmur2_64a(bytes: &[u8], seed: u64) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    let mut hash = seed ^ (bytes.len() as u64).wrapping_mul(M);
    let (blocks, tail) = bytes.as_chunks::<8>();
    for block in blocks {
        let mut k = u64::from_le_bytes(*block).wrapping_mul(M);
        k ^= k >> 47;
        hash = (hash ^ k.wrapping_mul(M)).wrapping_mul(M);
    }
    if !tail.is_empty() {
        for (index, &byte) in tail.iter().enumerate() {
            hash ^= u64::from(byte) << (8 * index);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 47;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 47)
}

/// The four rows of a hash embedding that stand for an id (thinc's variant of MurmurHash3).
pub(super) fn embedding_rows(id: u64, seed: u32, rows: usize) -> [usize; 4] {
    let finish = |mut h: u64| {
        h ^= h >> 33;
        h = h.wrapping_mul(0xff51_afd7_ed55_8ccd);
        h ^= h >> 33;
        h = h.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        h ^ (h >> 33)
    };
    let mut h1 =
        id.wrapping_mul(0x87c3_7b91_1142_53d5).rotate_left(31).wrapping_mul(0x4cf5_ad43_2745_937f);
    h1 ^= u64::from(seed) ^ 8;
    let mut h2 = u64::from(seed) ^ 8;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    (h1, h2) = (finish(h1), finish(h2));
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    [h1 & 0xffff_ffff, h1 >> 32, h2 & 0xffff_ffff, h2 >> 32].map(|key| key as usize % rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_spacys() {
        // nlp.vocab.strings[…] of spaCy 3.8
        assert_eq!(string_id(""), 0);
        assert_eq!(string_id("PERSON"), 380);
        assert_eq!(string_id("coffee"), 3_197_928_453_018_144_401);
    }
}
