//! MT19937, seeded and shuffled exactly as CPython's `random.Random(seed).shuffle`.
//!
//! Matsumoto and Nishimura, "Mersenne Twister: a 623-dimensionally equidistributed uniform
//! pseudo-random number generator" (1998), with `init_by_array`; and CPython's
//! `Random._randbelow_with_getrandbits` and `Random.shuffle`.

const N: usize = 624;
const M: usize = 397;

/// The generator's state.
#[derive(Debug, Clone)]
pub struct MersenneTwister {
    state: [u32; N],
    index: usize,
}

impl MersenneTwister {
    /// The state of `random.Random(seed)`.
    pub fn new(seed: u32) -> Self {
        let mut generator = Self { state: [0; N], index: N };
        generator.init(19_650_218);
        generator.mix_in(seed);
        generator
    }

    fn init(&mut self, seed: u32) {
        self.state[0] = seed;
        for i in 1..N {
            let previous = self.state[i - 1];
            self.state[i] =
                1_812_433_253u32.wrapping_mul(previous ^ (previous >> 30)).wrapping_add(i as u32);
        }
    }

    /// `init_by_array` for a key of one word.
    fn mix_in(&mut self, key: u32) {
        let state = &mut self.state;
        let mut i = 1;
        for _ in 0..N {
            let previous = state[i - 1] ^ (state[i - 1] >> 30);
            state[i] = (state[i] ^ previous.wrapping_mul(1_664_525)).wrapping_add(key);
            i += 1;
            if i == N {
                state[0] = state[N - 1];
                i = 1;
            }
        }
        for _ in 0..N - 1 {
            let previous = state[i - 1] ^ (state[i - 1] >> 30);
            state[i] = (state[i] ^ previous.wrapping_mul(1_566_083_941)).wrapping_sub(i as u32);
            i += 1;
            if i == N {
                state[0] = state[N - 1];
                i = 1;
            }
        }
        state[0] = 0x8000_0000;
    }

    fn next_u32(&mut self) -> u32 {
        if self.index == N {
            self.twist();
        }
        let mut y = self.state[self.index];
        self.index += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    fn twist(&mut self) {
        for i in 0..N {
            let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7fff_ffff);
            let odd = if y & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + M) % N] ^ (y >> 1) ^ odd;
        }
        self.index = 0;
    }

    /// A number below `bound`, which is at least 1.
    fn below(&mut self, bound: u32) -> u32 {
        let bits = u32::BITS - bound.leading_zeros();
        loop {
            let value = self.next_u32() >> (32 - bits);
            if value < bound {
                return value;
            }
        }
    }

    /// `random.shuffle`.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.below(i as u32 + 1);
            items.swap(i, j as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_numbers_are_cpythons() {
        // [random.Random(42).getrandbits(32) for _ in range(3)], of one generator.
        let mut generator = MersenneTwister::new(42);
        let numbers: Vec<u32> = (0..3).map(|_| generator.next_u32()).collect();
        assert_eq!(numbers, [2_746_317_213, 478_163_327, 107_420_369]);
    }
}
