//! Gaussian noise for whole models: cryptographic, parallel, and the same on any thread count.
//!
//! Every (step, tensor) has a ChaCha20 key, every chunk of 4,096 elements a stream of it. Normals
//! come from the ziggurat of Marsaglia and Tsang (2000) with 256 layers and 53 random bits, in
//! double precision; sums are rounded to single precision once. With several draws an element's
//! noise is their scaled sum, which hides the low bits by which floating-point noise can be told
//! from its neighbours (Mironov 2012; Holohan and Braghin 2021).

use std::sync::LazyLock;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};
use rayon::prelude::*;

use crate::secret::RunSecret;

/// Elements whose noise comes from one stream.
const CHUNK: usize = 4096;
const LAYERS: usize = 256;
/// Where the ziggurat's tail begins.
const TAIL: f64 = 3.654_152_885_361_009;
/// Area of each of its layers.
const AREA: f64 = 0.004_928_673_233_992_336;

/// Normal noise of a run, made by [`Mechanism::noise`](crate::Mechanism::noise).
#[derive(Debug, Clone)]
pub struct GaussianNoise {
    key: [u8; 32],
    draws: u32,
}

impl GaussianNoise {
    pub(crate) fn new(secret: &RunSecret, draws: u32) -> Self {
        Self { key: secret.key("pft-dp 1 noise"), draws }
    }

    /// Replaces every value v by (v + N(0, `deviation`²))·`scale`. `tensor` is the tensor's index,
    /// and no (step, tensor) may be used for two different tensors.
    pub(crate) fn add(
        &self,
        step: u64,
        tensor: u64,
        deviation: f64,
        scale: f64,
        values: &mut [f32],
    ) {
        let mut place = [0; 16];
        place[..8].copy_from_slice(&step.to_le_bytes());
        place[8..].copy_from_slice(&tensor.to_le_bytes());
        let key = *blake3::keyed_hash(&self.key, &place).as_bytes();
        let deviation = deviation / f64::from(self.draws).sqrt();
        values.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, values)| {
            let mut generator = ChaCha20Rng::from_seed(key);
            generator.set_stream(chunk as u64);
            for value in values {
                let mut normal = standard_normal(&mut generator);
                for _ in 1..self.draws {
                    normal += standard_normal(&mut generator);
                }
                *value = ((f64::from(*value) + deviation * normal) * scale) as f32;
            }
        });
    }
}

struct Ziggurat {
    edges: [f64; LAYERS + 1],
    heights: [f64; LAYERS + 1],
}

static ZIGGURAT: LazyLock<Ziggurat> = LazyLock::new(|| {
    let density = |x: f64| (-0.5 * x * x).exp();
    let mut edges = [0.0; LAYERS + 1];
    edges[0] = AREA / density(TAIL);
    edges[1] = TAIL;
    for layer in 2..LAYERS {
        let previous = edges[layer - 1];
        edges[layer] = (-2.0 * (AREA / previous + density(previous)).ln()).sqrt();
    }
    Ziggurat { edges, heights: edges.map(density) }
});

/// A number in [0, 1) with 53 random bits.
fn uniform(generator: &mut ChaCha20Rng) -> f64 {
    (generator.next_u64() >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
}

#[inline]
fn standard_normal(generator: &mut ChaCha20Rng) -> f64 {
    let table = &*ZIGGURAT;
    loop {
        let bits = generator.next_u64();
        let layer = (bits & 0xff) as usize;
        // The other bits, as a number in [−1, 1).
        let signed = (bits as i64 >> 11) as f64 * (1.0 / 4_503_599_627_370_496.0);
        let x = signed * table.edges[layer];
        if x.abs() < table.edges[layer + 1] {
            return x;
        }
        if layer == 0 {
            return tail(generator, signed < 0.0);
        }
        let (low, high) = (table.heights[layer], table.heights[layer + 1]);
        if high + (low - high) * uniform(generator) < (-0.5 * x * x).exp() {
            return x;
        }
    }
}

/// Marsaglia's draw beyond the tail's beginning.
#[cold]
fn tail(generator: &mut ChaCha20Rng, negative: bool) -> f64 {
    loop {
        // 1 − u is in (0, 1], so that its logarithm is finite.
        let x = -(1.0 - uniform(generator)).ln() / TAIL;
        let y = -(1.0 - uniform(generator)).ln();
        if 2.0 * y > x * x {
            return if negative { -TAIL - x } else { TAIL + x };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounting::normal;
    use crate::secret::Randomness;

    fn noise(draws: u32) -> GaussianNoise {
        GaussianNoise::new(&RunSecret::new(Randomness::FixedSeed(3)).unwrap(), draws)
    }

    /// Kolmogorov and Smirnov's statistic times √n, moments and tails.
    fn check_distribution(mut values: Vec<f32>) {
        let count = values.len() as f64;
        for (power, expected, spread) in
            [(1, 0.0, 1.0), (2, 1.0, 2.0), (3, 0.0, 15.0), (4, 3.0, 96.0), (6, 15.0, 10_170.0)]
        {
            let moment = values.iter().map(|&x| f64::from(x).powi(power)).sum::<f64>() / count;
            let error = (moment - expected) / (spread / count).sqrt();
            assert!(error.abs() < 5.0, "moment {power}: {moment}, {error} deviations off");
        }
        for threshold in [1.0, 2.0, 3.0, 3.6541, 4.0, 4.5, 5.0] {
            let expected = count * normal::cdf(-threshold);
            for sign in [-1.0, 1.0] {
                let found =
                    values.iter().filter(|&&x| f64::from(x) * sign > threshold).count() as f64;
                let error = (found - expected) / expected.sqrt();
                assert!(error.abs() < 5.0, "tail {threshold}: {found} of {expected}");
            }
        }
        values.par_sort_unstable_by(f32::total_cmp);
        let statistic = values
            .par_iter()
            .enumerate()
            .map(|(rank, &x)| {
                let expected = normal::cdf(f64::from(x));
                (expected - rank as f64 / count)
                    .abs()
                    .max((expected - (rank + 1) as f64 / count).abs())
            })
            .reduce(|| 0.0, f64::max);
        // P(√n D > 1.95) is 0.001.
        assert!(statistic * count.sqrt() < 1.95, "Kolmogorov-Smirnov {statistic}");
    }

    #[test]
    fn ten_million_draws_are_normal() {
        let mut values = vec![0.0; 10_000_000];
        noise(1).add(0, 0, 1.0, 1.0, &mut values);
        check_distribution(values);
    }

    #[test]
    fn summed_draws_are_normal() {
        let mut values = vec![0.0; 2_000_000];
        noise(4).add(5, 1, 1.0, 1.0, &mut values);
        check_distribution(values);
    }

    #[test]
    fn scaled_and_added() {
        let mut values = vec![3.0; 200_000];
        noise(1).add(0, 0, 2.0, 0.5, &mut values);
        let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / 2e5;
        let variance = values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / 2e5;
        assert!((mean - 1.5).abs() < 0.02 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
    }

    #[test]
    fn independent_of_threads() {
        let draw = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut values = vec![0.0; 50_001];
            pool.install(|| noise(1).add(9, 2, 1.0, 1.0, &mut values));
            values
        };
        assert_eq!(draw(1), draw(3));
    }

    #[test]
    fn steps_tensors_and_chunks_differ() {
        let draw = |step, tensor| {
            let mut values = vec![0.0; 2 * CHUNK];
            noise(1).add(step, tensor, 1.0, 1.0, &mut values);
            values
        };
        let first = draw(0, 0);
        assert_eq!(first, draw(0, 0));
        for other in [draw(1, 0), draw(0, 1)] {
            let correlation: f64 =
                first.iter().zip(&other).map(|(&a, &b)| f64::from(a * b)).sum::<f64>();
            assert!(correlation.abs() < 5.0 * (2.0 * CHUNK as f64).sqrt());
        }
        assert_ne!(first[..CHUNK], first[CHUNK..]);
    }
}
