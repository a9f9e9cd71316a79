//! Gaussian noise for whole models: cryptographic, parallel, and the same on any thread count.
//!
//! Every (step, tensor) has an AES-256 key ([`keystream`]), every chunk of 4,096 elements a stream
//! of it. Normals are made in double precision ([`normal`]); sums are rounded to single precision
//! once. With several draws an element's noise is their scaled sum, which hides the low bits by
//! which floating-point noise can be told from its neighbours (Mironov 2012; Holohan and Braghin
//! 2021).

mod keystream;
mod normal;

use std::fmt;

use rayon::prelude::*;

use crate::secret::RunSecret;
use keystream::{BLOCKS, Keystream, WORDS};
use normal::{NORMALS, Scratch, add_normals};

/// Elements whose noise comes from one stream.
pub const NOISE_CHUNK: usize = 4096;

/// Normal noise of a run, made by [`Mechanism::noise`](crate::Mechanism::noise).
#[derive(Clone)]
pub struct GaussianNoise {
    key: [u8; 32],
    draws: u32,
}

impl fmt::Debug for GaussianNoise {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("GaussianNoise(…)")
    }
}

/// The noise of one tensor in one step.
pub(crate) struct TensorNoise {
    keystream: Keystream,
    draws: u32,
    /// Of each draw.
    deviation: f64,
    scale: f64,
}

impl GaussianNoise {
    pub(crate) fn new(secret: &RunSecret, draws: u32) -> Self {
        Self { key: secret.key("pft-dp 3 noise"), draws }
    }

    /// Noise that replaces every value v by (v + N(0, `deviation`²))·`scale`. `tensor` is the
    /// tensor's index, and no (step, tensor) may be used for two different tensors.
    pub(crate) fn of_tensor(
        &self,
        step: u64,
        tensor: u64,
        deviation: f64,
        scale: f64,
    ) -> TensorNoise {
        let mut place = [0; 16];
        place[..8].copy_from_slice(&step.to_le_bytes());
        place[8..].copy_from_slice(&tensor.to_le_bytes());
        let key = *blake3::keyed_hash(&self.key, &place).as_bytes();
        TensorNoise {
            keystream: Keystream::new(&key),
            draws: self.draws,
            deviation: deviation / f64::from(self.draws).sqrt(),
            scale,
        }
    }
}

impl TensorNoise {
    /// Adds the noise of the elements from number `first` on, always the same.
    ///
    /// # Panics
    /// When `first` is not a multiple of [`NOISE_CHUNK`].
    pub(crate) fn add(&self, first: usize, values: &mut [f32]) {
        assert!(first.is_multiple_of(NOISE_CHUNK), "noise begins with a chunk");
        for (chunk, values) in values.chunks_mut(NOISE_CHUNK).enumerate() {
            let stream = (&self.keystream, (first / NOISE_CHUNK + chunk) as u64);
            add_to_chunk_vectorised(stream, self.draws, self.deviation, self.scale, values);
        }
    }

    /// Adds the noise of the whole tensor, on all threads.
    pub(crate) fn add_all(&self, values: &mut [f32]) {
        let chunks = values.par_chunks_mut(NOISE_CHUNK).enumerate();
        chunks.for_each(|(chunk, values)| self.add(chunk * NOISE_CHUNK, values));
    }
}

/// A keystream and the number of a stream of it.
type Stream<'a> = (&'a Keystream, u64);

/// Every value v becomes (v + `deviation` · the sum of `draws` normals) · `scale`.
#[inline(always)]
fn add_to_chunk(
    (keystream, number): Stream<'_>,
    draws: u32,
    deviation: f64,
    scale: f64,
    values: &mut [f32],
) {
    let (mut words, mut scratch) = ([0; WORDS], Scratch::new());
    let mut block = 0;
    for values in values.chunks_mut(NORMALS) {
        let mut sums = [0.0; NORMALS];
        for _ in 0..draws {
            keystream.blocks(number, block, &mut words);
            block += BLOCKS as u64;
            add_normals(&words, &mut sums, &mut scratch);
        }
        for (value, sum) in values.iter_mut().zip(&sums) {
            *value = ((f64::from(*value) + deviation * sum) * scale) as f32;
        }
    }
}

/// [`add_to_chunk`] with the widest vectors of this processor.
fn add_to_chunk_vectorised(
    stream: Stream<'_>,
    draws: u32,
    deviation: f64,
    scale: f64,
    values: &mut [f32],
) {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx512dq,avx512vl,fma")]
        fn avx512(k: Stream<'_>, draws: u32, deviation: f64, scale: f64, values: &mut [f32]) {
            add_to_chunk(k, draws, deviation, scale, values);
        }
        #[target_feature(enable = "avx2,fma")]
        fn avx2(k: Stream<'_>, draws: u32, deviation: f64, scale: f64, values: &mut [f32]) {
            add_to_chunk(k, draws, deviation, scale, values);
        }
        if std::arch::is_x86_feature_detected!("avx512f")
            && std::arch::is_x86_feature_detected!("avx512dq")
            && std::arch::is_x86_feature_detected!("avx512vl")
            && std::arch::is_x86_feature_detected!("fma")
        {
            // SAFETY: the four features were just found on this processor.
            return unsafe { avx512(stream, draws, deviation, scale, values) };
        }
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma")
        {
            // SAFETY: the two features were just found on this processor.
            return unsafe { avx2(stream, draws, deviation, scale, values) };
        }
    }
    add_to_chunk(stream, draws, deviation, scale, values);
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
        noise(1).of_tensor(0, 0, 1.0, 1.0).add_all(&mut values);
        check_distribution(values);
    }

    #[test]
    fn summed_draws_are_normal() {
        let mut values = vec![0.0; 2_000_000];
        noise(4).of_tensor(5, 1, 1.0, 1.0).add_all(&mut values);
        check_distribution(values);
    }

    #[test]
    fn scaled_and_added() {
        let mut values = vec![3.0; 200_000];
        noise(1).of_tensor(0, 0, 2.0, 0.5).add_all(&mut values);
        let mean = values.iter().map(|&x| f64::from(x)).sum::<f64>() / 2e5;
        let variance = values.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / 2e5;
        assert!((mean - 1.5).abs() < 0.02 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
    }

    #[test]
    fn the_same_bits_without_wide_vectors() {
        let keystream = Keystream::new(&[9; 32]);
        let (mut plain, mut vectorised) = (vec![1.0; 1000], vec![1.0; 1000]);
        add_to_chunk((&keystream, 4), 3, 1.5, 0.5, &mut plain);
        add_to_chunk_vectorised((&keystream, 4), 3, 1.5, 0.5, &mut vectorised);
        assert_eq!(plain, vectorised);
    }

    #[test]
    fn independent_of_threads() {
        let draw = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut values = vec![0.0; 50_001];
            pool.install(|| noise(1).of_tensor(9, 2, 1.0, 1.0).add_all(&mut values));
            values
        };
        assert_eq!(draw(1), draw(3));
    }

    #[test]
    fn steps_tensors_and_chunks_differ() {
        let draw = |step, tensor| {
            let mut values = vec![0.0; 2 * NOISE_CHUNK];
            noise(1).of_tensor(step, tensor, 1.0, 1.0).add_all(&mut values);
            values
        };
        let first = draw(0, 0);
        assert_eq!(first, draw(0, 0));
        for other in [draw(1, 0), draw(0, 1)] {
            let correlation: f64 =
                first.iter().zip(&other).map(|(&a, &b)| f64::from(a * b)).sum::<f64>();
            assert!(correlation.abs() < 5.0 * (2.0 * NOISE_CHUNK as f64).sqrt());
        }
        assert_ne!(first[..NOISE_CHUNK], first[NOISE_CHUNK..]);
    }
}
