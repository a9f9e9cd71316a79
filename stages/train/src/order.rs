//! What the seed decides: the order of examples without privacy, shuffled anew for each epoch, and
//! the masks of dropout.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// An endless row of shuffled epochs.
#[derive(Debug)]
pub(crate) struct Order {
    seed: u64,
    count: usize,
    epoch: Option<u64>,
    shuffled: Vec<usize>,
}

impl Order {
    /// An order of `count` examples, of which there is at least one.
    pub(crate) fn new(count: usize, seed: u64) -> Self {
        Self { seed, count, epoch: None, shuffled: Vec::new() }
    }

    /// The example at a place of the row.
    pub(crate) fn at(&mut self, place: u64) -> usize {
        let epoch = place / self.count as u64;
        if self.epoch != Some(epoch) {
            self.shuffled = (0..self.count).collect();
            let mut generator = ChaCha8Rng::seed_from_u64(self.seed);
            generator.set_stream(epoch);
            self.shuffled.shuffle(&mut generator);
            self.epoch = Some(epoch);
        }
        self.shuffled[(place % self.count as u64) as usize]
    }
}

/// Dropout masks differ from micro-batch to micro-batch and are the same after a resume.
pub(crate) fn dropout_seed(seed: u64, step: u64, first_unit: u64) -> u64 {
    let mut bytes = [0; 24];
    for (chunk, value) in bytes.chunks_exact_mut(8).zip([seed, step, first_unit]) {
        chunk.copy_from_slice(&value.to_le_bytes());
    }
    let hash = blake3::hash(&bytes);
    let mut first = [0; 8];
    first.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_epoch_has_every_example_once_in_its_own_order() {
        let mut order = Order::new(50, 3);
        let epochs: Vec<Vec<usize>> =
            (0..3).map(|epoch| (0..50).map(|i| order.at(epoch * 50 + i)).collect()).collect();
        for epoch in &epochs {
            let mut sorted = epoch.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..50).collect::<Vec<_>>());
        }
        assert_ne!(epochs[0], epochs[1]);
        // Going on from the middle gives the same row.
        assert_eq!(Order::new(50, 3).at(120), epochs[2][20]);
    }
}
