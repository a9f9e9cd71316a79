//! AES-256 in counter mode (NIST SP 800-38A, section 6.5): the counter block is a stream and a
//! number in it, 64 bits each. Processors have instructions for AES, which give these bits at about
//! half of what ChaCha20 costs in vectors; where they lack, the `aes` crate's constant-time code
//! gives the same ones.

use aes::Aes256Enc;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};

/// Blocks of a call: many, since the instructions work on several at once.
pub(super) const BLOCKS: usize = 64;
/// 64-bit words of a call.
pub(super) const WORDS: usize = 2 * BLOCKS;

/// A key's streams.
#[derive(Debug, Clone)]
pub(super) struct Keystream {
    cipher: Aes256Enc,
}

impl Keystream {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        Self { cipher: Aes256Enc::new(&Array(*key)) }
    }

    /// The blocks of `stream` from number `first` on, each as two words.
    pub(super) fn blocks(&self, stream: u64, first: u64, out: &mut [u64; WORDS]) {
        let counter = |block: usize| {
            let counter = u128::from(stream) << 64 | u128::from(first + block as u64);
            Array(counter.to_be_bytes())
        };
        let mut blocks: [_; BLOCKS] = std::array::from_fn(counter);
        self.cipher.encrypt_blocks(&mut blocks);
        for (out, block) in out.as_chunks_mut::<2>().0.iter_mut().zip(&blocks) {
            let bits = u128::from_le_bytes(block.0);
            *out = [bits as u64, (bits >> 64) as u64];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(hex: &str) -> [u8; 32] {
        std::array::from_fn(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
    }

    /// NIST SP 800-38A, section F.5.5: the output blocks of CTR-AES256.Encrypt.
    #[test]
    fn the_bits_are_those_of_the_standard() {
        let key = key("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
        let mut out = [0; WORDS];
        Keystream::new(&key).blocks(0xf0f1_f2f3_f4f5_f6f7, 0xf8f9_fafb_fcfd_feff, &mut out);
        let expected: [u128; 4] = [
            0x0bdf_7df1_5917_1633_5e9a_8b15_c860_c502,
            0x5a6e_699d_5361_1906_5433_863c_8f65_7b94,
            0x1bc1_2c9c_0161_0d5d_0d8b_d6a3_378e_ca62,
            0x2956_e1c8_6935_36b1_bee9_9c73_a315_76b6,
        ];
        for (words, expected) in out.as_chunks::<2>().0.iter().zip(expected) {
            let found = u128::from(words[1]) << 64 | u128::from(words[0]);
            assert_eq!(found.swap_bytes(), expected);
        }
    }

    #[test]
    fn a_stream_is_one_sequence() {
        let keystream = Keystream::new(&[7; 32]);
        let (mut whole, mut later, mut other) = ([0; WORDS], [0; WORDS], [0; WORDS]);
        keystream.blocks(3, 0, &mut whole);
        keystream.blocks(3, 5, &mut later);
        keystream.blocks(4, 0, &mut other);
        assert_eq!(whole[10..], later[..WORDS - 10]);
        assert!(whole.iter().zip(&other).all(|(one, another)| one != another));
    }
}
