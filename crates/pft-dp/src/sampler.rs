//! Which units take part in a step: each independently with probability q.
//!
//! A unit's coins depend on the run's secret, its own name and the step, and on nothing else:
//! adding or deleting another unit changes no coin, and any step can be drawn without the steps
//! before it. One ChaCha20 call gives a unit's coins for 32 steps.

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;
use thiserror::Error;

use crate::secret::RunSecret;

/// Steps whose coins come from one call of the generator.
const WINDOW: u64 = 32;
/// Blocks of 16 words that those coins take.
const WINDOW_BLOCKS: u64 = 4;

/// Units that cannot be sampled.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SamplerError {
    /// Two units have one name.
    #[error("unit `{0}` occurs twice; the rows of a unit must be grouped before sampling")]
    DuplicateUnit(String),
}

/// Poisson sampling of units, made by [`Mechanism::sampler`](crate::Mechanism::sampler).
#[derive(Debug, Clone)]
pub struct PoissonSampler {
    unit_key: [u8; 32],
    example_key: [u8; 32],
    /// A unit takes part when its coin, 64 bits, is below this; above 2⁶⁴ − 1, always.
    threshold: u128,
    max_examples_per_unit: usize,
    /// The generator's stream of each unit.
    streams: Vec<u64>,
    cache: Option<(u64, Vec<u32>)>,
}

impl PoissonSampler {
    pub(crate) fn new<S: AsRef<str>>(
        secret: &RunSecret,
        sample_rate: f64,
        max_examples_per_unit: usize,
        units: &[S],
    ) -> Result<Self, SamplerError> {
        let name_key = secret.key("pft-dp 1 unit names");
        let streams: Vec<u64> = units
            .iter()
            .map(|unit| {
                let hash = blake3::keyed_hash(&name_key, unit.as_ref().as_bytes());
                let mut first = [0; 8];
                first.copy_from_slice(&hash.as_bytes()[..8]);
                u64::from_le_bytes(first)
            })
            .collect();
        let mut order: Vec<usize> = (0..streams.len()).collect();
        order.sort_unstable_by_key(|&index| (streams[index], index));
        if let Some(pair) = order.windows(2).find(|pair| streams[pair[0]] == streams[pair[1]]) {
            return Err(SamplerError::DuplicateUnit(units[pair[1]].as_ref().to_owned()));
        }
        Ok(Self {
            unit_key: secret.key("pft-dp 1 sampling of units"),
            example_key: secret.key("pft-dp 1 sampling of examples"),
            // 2⁶⁴ q; at q = 1 no coin reaches it.
            threshold: (sample_rate * 18_446_744_073_709_551_616.0) as u128,
            max_examples_per_unit,
            streams,
            cache: None,
        })
    }

    /// The indices, ascending, of the units that take part in `step`. There may be none: such a
    /// step adds its noise and counts like any other.
    pub fn sample(&mut self, step: u64) -> Vec<usize> {
        let window = step / WINDOW;
        if self.cache.as_ref().is_none_or(|(cached, _)| *cached != window) {
            self.cache = Some((window, self.coins(window)));
        }
        let bit = 1_u32 << (step % WINDOW);
        let masks = self.cache.as_ref().map_or(&[][..], |(_, masks)| masks);
        masks.iter().enumerate().filter(|(_, mask)| *mask & bit != 0).map(|(i, _)| i).collect()
    }

    fn coins(&self, window: u64) -> Vec<u32> {
        self.streams
            .par_iter()
            .with_min_len(256)
            .map(|&stream| {
                let mut generator = ChaCha20Rng::from_seed(self.unit_key);
                generator.set_stream(stream);
                generator.set_block_pos(window * WINDOW_BLOCKS);
                (0..WINDOW).fold(0, |mask, step| {
                    let takes_part = u128::from(generator.next_u64()) < self.threshold;
                    mask | u32::from(takes_part) << step
                })
            })
            .collect()
    }

    /// Which of a unit's `available` examples take part in `step`: all, or a uniformly drawn set
    /// of `max_examples_per_unit`, ascending.
    ///
    /// # Panics
    /// When `unit` is not an index of the units sampled from.
    pub fn examples(&self, step: u64, unit: usize, available: usize) -> Vec<usize> {
        let mut chosen: Vec<usize> = (0..available).collect();
        if available > self.max_examples_per_unit {
            let mut generator = ChaCha20Rng::from_seed(
                *blake3::keyed_hash(&self.example_key, &step.to_le_bytes()).as_bytes(),
            );
            generator.set_stream(self.streams[unit]);
            for place in 0..self.max_examples_per_unit {
                let other = place + below(&mut generator, (available - place) as u64) as usize;
                chosen.swap(place, other);
            }
            chosen.truncate(self.max_examples_per_unit);
            chosen.sort_unstable();
        }
        chosen
    }

    /// Number of units sampled from. A private quantity: it must not be published.
    pub fn units(&self) -> usize {
        self.streams.len()
    }
}

/// A uniform number below `limit`, without modulo bias.
fn below(generator: &mut ChaCha20Rng, limit: u64) -> u64 {
    let accepted = u64::MAX - u64::MAX % limit;
    loop {
        let draw = generator.next_u64();
        if draw < accepted {
            return draw % limit;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Randomness;

    fn sampler(units: &[String], rate: f64) -> PoissonSampler {
        let secret = RunSecret::new(Randomness::FixedSeed(1)).unwrap();
        PoissonSampler::new(&secret, rate, 3, units).unwrap()
    }

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|index| format!("unit-{index}")).collect()
    }

    #[test]
    fn batch_sizes_are_binomial_and_inclusion_is_uniform() {
        let (units, rate, steps) = (2_000, 0.05, 2_000_u64);
        let mut sampler = sampler(&names(units), rate);
        let mut inclusions = vec![0_u32; units];
        let (mut sum, mut squares) = (0.0, 0.0);
        for step in 0..steps {
            let batch = sampler.sample(step);
            batch.iter().for_each(|&unit| inclusions[unit] += 1);
            sum += batch.len() as f64;
            squares += (batch.len() as f64).powi(2);
        }
        let mean = sum / steps as f64;
        let variance = squares / steps as f64 - mean * mean;
        let expected = units as f64 * rate * (1.0 - rate);
        assert!((mean - 100.0).abs() < 5.0 * (expected / steps as f64).sqrt());
        assert!((variance / expected - 1.0).abs() < 0.2, "a fixed batch size is not Poisson");
        let chi_square: f64 = inclusions
            .iter()
            .map(|&count| {
                let expected = steps as f64 * rate;
                (f64::from(count) - expected).powi(2) / (expected * (1.0 - rate))
            })
            .sum();
        assert!((chi_square - 2_000.0).abs() < 6.0 * 4_000_f64.sqrt(), "{chi_square}");
    }

    #[test]
    fn units_and_steps_are_independent() {
        let mut sampler = sampler(&names(2), 0.5);
        let mut joint = [0_u32; 8];
        let mut before = false;
        for step in 0..40_000 {
            let batch = sampler.sample(step);
            let (first, second) = (batch.contains(&0), batch.contains(&1));
            joint[usize::from(first) + 2 * usize::from(second) + 4 * usize::from(before)] += 1;
            before = first;
        }
        assert!(joint.iter().all(|&count| count.abs_diff(5_000) < 400), "{joint:?}");
    }

    #[test]
    fn deleting_a_unit_changes_no_other() {
        let all = names(500);
        let without: Vec<String> = all.iter().filter(|name| *name != "unit-77").cloned().collect();
        let (mut large, mut small) = (sampler(&all, 0.2), sampler(&without, 0.2));
        for step in [0, 5, 31, 32, 1_000_000] {
            let named = |units: &[String], batch: Vec<usize>| -> Vec<String> {
                batch.into_iter().map(|index| units[index].clone()).collect()
            };
            let mut expected = named(&all, large.sample(step));
            expected.retain(|name| name != "unit-77");
            assert_eq!(named(&without, small.sample(step)), expected);
            assert_eq!(large.examples(step, 100, 9), small.examples(step, 99, 9));
        }
    }

    #[test]
    fn any_step_can_be_drawn_first() {
        let mut forward = sampler(&names(300), 0.1);
        let batches: Vec<_> = (0..100).map(|step| forward.sample(step)).collect();
        let mut resumed = sampler(&names(300), 0.1);
        for step in (0..100).rev() {
            assert_eq!(resumed.sample(step), batches[step as usize]);
        }
    }

    #[test]
    fn rates_zero_and_one() {
        assert!(sampler(&names(50), 0.0).sample(3).is_empty());
        assert_eq!(sampler(&names(50), 1.0).sample(3).len(), 50);
    }

    #[test]
    fn examples_are_uniform_and_bounded() {
        let sampler = sampler(&names(1), 1.0);
        let mut counts = [0_u32; 8];
        for step in 0..8_000 {
            let chosen = sampler.examples(step, 0, 8);
            assert_eq!(chosen.len(), 3);
            assert!(chosen.is_sorted_by(|a, b| a < b));
            chosen.iter().for_each(|&example| counts[example] += 1);
        }
        assert!(counts.iter().all(|&count| count.abs_diff(3_000) < 250), "{counts:?}");
        assert_eq!(sampler.examples(0, 0, 2), vec![0, 1]);
    }

    #[test]
    fn duplicate_units_are_refused() {
        let secret = RunSecret::new(Randomness::FixedSeed(1)).unwrap();
        let result = PoissonSampler::new(&secret, 0.1, 1, &["a", "b", "a"]);
        assert_eq!(result.unwrap_err(), SamplerError::DuplicateUnit("a".into()));
    }
}
