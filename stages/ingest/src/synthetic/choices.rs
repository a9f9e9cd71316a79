//! Random choices that are a function of the seed and the unit's number alone.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A stream of choices. Every unit has a stream of its own of the counter-based ChaCha generator,
/// so that a unit never depends on which others are made, nor in which order.
pub(super) struct Choices(ChaCha8Rng);

impl Choices {
    /// The stream of a unit.
    pub(super) fn of_unit(seed: u64, unit: u64) -> Self {
        let mut generator = ChaCha8Rng::seed_from_u64(seed);
        generator.set_stream(unit);
        Self(generator)
    }

    /// A number below `bound`, by multiplication; 0 where `bound` is 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.0.next_u64()) * bound as u128) >> 64) as usize
    }

    /// A number from `low` to `high`, both included.
    pub(super) fn within(&mut self, low: i64, high: i64) -> i64 {
        let width = usize::try_from(high - low + 1).unwrap_or(1);
        low + self.below(width) as i64
    }

    /// True in so many of a hundred cases.
    pub(super) fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    /// One of `items`, which are copied.
    pub(super) fn word(&mut self, items: &[&'static str]) -> &'static str {
        items[self.below(items.len())]
    }

    /// One of `items`.
    ///
    /// # Panics
    /// When `items` is empty; the material is checked for that when it is read.
    pub(super) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// `pattern` with a digit for each `#` and a capital letter for each `@`.
    pub(super) fn fill(&mut self, pattern: &str) -> String {
        pattern
            .chars()
            .map(|c| match c {
                '#' => (b'0' + self.below(10) as u8) as char,
                '@' => (b'A' + self.below(26) as u8) as char,
                other => other,
            })
            .collect()
    }
}
