//! ChaCha20 (RFC 8439's rounds, with a 64-bit counter and a 64-bit stream as in Bernstein's
//! original) by sixteen blocks at once, so that the processor's vectors are full. The bits are
//! those of the `chacha20` crate, which is this module's oracle; only their order differs.

/// Blocks of a call.
pub(super) const BLOCKS: usize = 16;
/// 64-bit words of a call.
pub(super) const WORDS: usize = 8 * BLOCKS;

/// "expand 32-byte k".
const CONSTANTS: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];

/// Key and stream of a keystream.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keystream {
    key: [u32; 8],
    stream: u64,
}

impl Keystream {
    pub(super) fn new(key: &[u8; 32], stream: u64) -> Self {
        let mut words = [0; 8];
        for (word, bytes) in words.iter_mut().zip(key.as_chunks::<4>().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        Self { key: words, stream }
    }

    /// Sixteen blocks from number `first` on: `out[8 w + p]` is word w of block first + 2p, and in
    /// its upper half that of the next block.
    pub(super) fn blocks(&self, first: u64, out: &mut [u64; WORDS]) {
        #[cfg(target_arch = "x86_64")]
        {
            // Wider vectors than these make the compiler gather.
            #[target_feature(enable = "avx2")]
            fn avx2(keystream: &Keystream, first: u64, out: &mut [u64; WORDS]) {
                keystream.blocks_by_lanes(first, out);
            }
            if std::arch::is_x86_feature_detected!("avx2") {
                // SAFETY: the feature was just found on this processor.
                return unsafe { avx2(self, first, out) };
            }
        }
        self.blocks_by_lanes(first, out);
    }

    #[inline(always)]
    fn blocks_by_lanes(&self, first: u64, out: &mut [u64; WORDS]) {
        let mut initial = [[0_u32; BLOCKS]; 16];
        for (row, word) in initial.iter_mut().zip(CONSTANTS.iter().chain(&self.key)) {
            *row = [*word; BLOCKS];
        }
        let counters: [u64; BLOCKS] = std::array::from_fn(|block| first + block as u64);
        initial[12] = counters.map(|counter| counter as u32);
        initial[13] = counters.map(|counter| (counter >> 32) as u32);
        initial[14] = [self.stream as u32; BLOCKS];
        initial[15] = [(self.stream >> 32) as u32; BLOCKS];
        let mut state = initial;
        for _ in 0..10 {
            for column in 0..4 {
                quarter_round(&mut state, [column, 4 + column, 8 + column, 12 + column]);
            }
            for column in 0..4 {
                let diagonal = |row: usize| 4 * row + (column + row) % 4;
                quarter_round(&mut state, [0, 1, 2, 3].map(diagonal));
            }
        }
        for ((out, state), initial) in out.as_chunks_mut().0.iter_mut().zip(&state).zip(&initial) {
            *out = paired(lanes(*state, *initial, u32::wrapping_add));
        }
    }
}

/// One word of each of the blocks.
type Row = [u32; BLOCKS];

/// Neighbours as the halves of one word, the first one lower.
#[inline(always)]
fn paired(row: Row) -> [u64; BLOCKS / 2] {
    // SAFETY: both are 64 bytes of whole numbers, for which all bits are values.
    let words = unsafe { std::mem::transmute::<Row, [u64; BLOCKS / 2]>(row) };
    if cfg!(target_endian = "big") { words.map(|word| word.rotate_left(32)) } else { words }
}

#[inline(always)]
fn lanes(a: Row, b: Row, operation: impl Fn(u32, u32) -> u32) -> Row {
    let mut result = [0; BLOCKS];
    for lane in 0..BLOCKS {
        result[lane] = operation(a[lane], b[lane]);
    }
    result
}

#[inline(always)]
fn quarter_round(state: &mut [Row; 16], places: [usize; 4]) {
    let [mut a, mut b, mut c, mut d] = places.map(|place| state[place]);
    a = lanes(a, b, u32::wrapping_add);
    d = lanes(d, a, |x, y| (x ^ y).rotate_left(16));
    c = lanes(c, d, u32::wrapping_add);
    b = lanes(b, c, |x, y| (x ^ y).rotate_left(12));
    a = lanes(a, b, u32::wrapping_add);
    d = lanes(d, a, |x, y| (x ^ y).rotate_left(8));
    c = lanes(c, d, u32::wrapping_add);
    b = lanes(b, c, |x, y| (x ^ y).rotate_left(7));
    for (place, row) in places.into_iter().zip([a, b, c, d]) {
        state[place] = row;
    }
}

#[cfg(test)]
mod tests {
    use chacha20::ChaCha20Rng;
    use chacha20::rand_core::{Rng, SeedableRng};

    use super::*;

    #[test]
    fn the_bits_are_those_of_the_chacha20_crate() {
        for (seed, stream, first) in
            [(0_u8, 0_u64, 0_u64), (7, 1 << 40, 3), (255, u64::MAX, u64::from(u32::MAX) - 5)]
        {
            let key: [u8; 32] =
                std::array::from_fn(|i| seed.wrapping_mul(31).wrapping_add(i as u8));
            let (mut out, mut narrow) = ([0; WORDS], [0; WORDS]);
            Keystream::new(&key, stream).blocks(first, &mut out);
            Keystream::new(&key, stream).blocks_by_lanes(first, &mut narrow);
            assert_eq!(out, narrow);
            let mut oracle = ChaCha20Rng::from_seed(key);
            oracle.set_stream(stream);
            oracle.set_block_pos(first);
            for block in 0..BLOCKS {
                for word in 0..16 {
                    let found = (out[8 * word + block / 2] >> (32 * (block % 2))) as u32;
                    assert_eq!(found, oracle.next_u32(), "{block} {word}");
                }
            }
        }
    }
}
