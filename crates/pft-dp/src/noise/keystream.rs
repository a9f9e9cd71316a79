//! ChaCha20 (RFC 8439's rounds, with a 64-bit counter and a 64-bit stream as in Bernstein's
//! original) by sixteen blocks at once, so that the processor's vectors are full. The bits are
//! those of the `chacha20` crate, which is this module's oracle; only their order differs.

/// Blocks of a call.
pub(super) const BLOCKS: usize = 16;
/// Words of a call.
pub(super) const WORDS: usize = 16 * BLOCKS;

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

    /// Sixteen blocks from number `first` on: word w of block first + b is `out[16 w + b]`.
    #[inline(always)]
    pub(super) fn blocks(&self, first: u64, out: &mut [u32; WORDS]) {
        let mut initial = [[0_u32; BLOCKS]; 16];
        for (row, word) in initial.iter_mut().zip(CONSTANTS.iter().chain(&self.key)) {
            *row = [*word; BLOCKS];
        }
        for block in 0..BLOCKS {
            let counter = first + block as u64;
            initial[12][block] = counter as u32;
            initial[13][block] = (counter >> 32) as u32;
        }
        initial[14] = [self.stream as u32; BLOCKS];
        initial[15] = [(self.stream >> 32) as u32; BLOCKS];
        let mut state = initial;
        for _ in 0..10 {
            quarter_round(&mut state, [0, 4, 8, 12]);
            quarter_round(&mut state, [1, 5, 9, 13]);
            quarter_round(&mut state, [2, 6, 10, 14]);
            quarter_round(&mut state, [3, 7, 11, 15]);
            quarter_round(&mut state, [0, 5, 10, 15]);
            quarter_round(&mut state, [1, 6, 11, 12]);
            quarter_round(&mut state, [2, 7, 8, 13]);
            quarter_round(&mut state, [3, 4, 9, 14]);
        }
        for ((out, state), initial) in out.as_chunks_mut().0.iter_mut().zip(&state).zip(&initial) {
            *out = lanes(state, initial, u32::wrapping_add);
        }
    }
}

#[inline(always)]
fn lanes(
    a: &[u32; BLOCKS],
    b: &[u32; BLOCKS],
    operation: impl Fn(u32, u32) -> u32,
) -> [u32; BLOCKS] {
    let mut result = [0; BLOCKS];
    for lane in 0..BLOCKS {
        result[lane] = operation(a[lane], b[lane]);
    }
    result
}

#[inline(always)]
fn quarter_round(state: &mut [[u32; BLOCKS]; 16], [a, b, c, d]: [usize; 4]) {
    for (sum, other, turned, by) in [(a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)] {
        state[sum] = lanes(&state[sum], &state[other], u32::wrapping_add);
        state[turned] =
            lanes(&state[turned], &state[sum], |x: u32, y: u32| (x ^ y).rotate_left(by));
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
            let mut out = [0; WORDS];
            Keystream::new(&key, stream).blocks(first, &mut out);
            let mut oracle = ChaCha20Rng::from_seed(key);
            oracle.set_stream(stream);
            oracle.set_block_pos(first);
            for block in 0..BLOCKS {
                for word in 0..16 {
                    assert_eq!(out[16 * word + block], oracle.next_u32(), "{block} {word}");
                }
            }
        }
    }
}
