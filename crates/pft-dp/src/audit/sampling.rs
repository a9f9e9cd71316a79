//! Whether batches are drawn as the accountant assumes: every unit by its own coin, at every step.

/// What the batches of a sampler look like, as p-values under Poisson sampling.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SamplingAudit {
    /// How probable so large or so small a spread of batch sizes is. Batches of a fixed size have
    /// none.
    pub batch_sizes: f64,
    /// How probable so large or so small a spread of the units' numbers of inclusions is. In
    /// shuffled epochs every unit has the same.
    pub inclusions: f64,
    /// How probable it is that units come back as soon, or as late, as they did.
    pub repeats: f64,
}

impl SamplingAudit {
    /// The least of the p-values.
    pub fn least(&self) -> f64 {
        self.batch_sizes.min(self.inclusions).min(self.repeats)
    }
}

/// Looks at `steps` batches over `units` units that are claimed to be drawn with probability
/// `sample_rate` each; `batch(step)` gives the indices of a step's units.
pub fn audit_sampling(
    units: usize,
    steps: u64,
    sample_rate: f64,
    mut batch: impl FnMut(u64) -> Vec<usize>,
) -> SamplingAudit {
    let q = sample_rate;
    let (size_mean, size_variance) = (units as f64 * q, units as f64 * q * (1.0 - q));
    let mut sizes = 0.0;
    let mut inclusions = vec![0_u64; units];
    let mut before = vec![false; units];
    let mut repeats = 0_u64;
    for step in 0..steps {
        let drawn = batch(step);
        sizes += (drawn.len() as f64 - size_mean).powi(2) / size_variance;
        let mut now = vec![false; units];
        for unit in drawn {
            inclusions[unit] += 1;
            repeats += u64::from(before[unit]);
            now[unit] = true;
        }
        before = now;
    }
    let steps = steps as f64;
    let spread: f64 = inclusions
        .iter()
        .map(|&count| (count as f64 - steps * q).powi(2) / (steps * q * (1.0 - q)))
        .sum();
    // A unit follows itself with probability q². Pairs of steps overlap in one step, which adds
    // a covariance of q³ − q⁴ for each of two neighbours.
    let pairs = units as f64 * (steps - 1.0);
    let variance = pairs * q * q * ((1.0 - q * q) + 2.0 * q * (1.0 - q));
    let z = (repeats as f64 - pairs * q * q) / variance.sqrt();
    SamplingAudit {
        batch_sizes: two_sided(chi_square_z(sizes, steps)),
        inclusions: two_sided(chi_square_z(spread, units as f64)),
        repeats: two_sided(z),
    }
}

/// A χ² statistic as a standard normal one (Wilson and Hilferty 1931).
fn chi_square_z(statistic: f64, degrees: f64) -> f64 {
    let variance = 2.0 / (9.0 * degrees);
    ((statistic / degrees).cbrt() - (1.0 - variance)) / variance.sqrt()
}

fn two_sided(z: f64) -> f64 {
    libm::erfc(z.abs() / std::f64::consts::SQRT_2)
}

#[cfg(test)]
mod tests {
    use chacha20::ChaCha20Rng;
    use chacha20::rand_core::{Rng, SeedableRng};

    use super::*;
    use crate::sampler::PoissonSampler;
    use crate::secret::{Randomness, RunSecret};

    const UNITS: usize = 1000;
    const STEPS: u64 = 1000;

    /// The order of one epoch: every unit once.
    fn shuffled(epoch: u64) -> Vec<usize> {
        let mut order: Vec<usize> = (0..UNITS).collect();
        let mut generator = ChaCha20Rng::from_seed([epoch as u8; 32]);
        for place in (1..UNITS).rev() {
            order.swap(place, (generator.next_u64() % (place as u64 + 1)) as usize);
        }
        order
    }

    #[test]
    fn poisson_sampling_passes_with_uniform_p_values() {
        let names: Vec<String> = (0..UNITS).map(|unit| unit.to_string()).collect();
        let mut below = [0; 3];
        for seed in 0..60 {
            let secret = RunSecret::new(Randomness::FixedSeed(seed)).unwrap();
            let mut sampler = PoissonSampler::new(&secret, 0.05, 1, &names).unwrap();
            let audit = audit_sampling(UNITS, STEPS, 0.05, |step| sampler.sample(step));
            assert!(audit.least() > 1e-6, "{audit:?}");
            for (count, p) in
                below.iter_mut().zip([audit.batch_sizes, audit.inclusions, audit.repeats])
            {
                *count += usize::from(p < 0.5);
            }
        }
        assert!(below.iter().all(|count| (12..=48).contains(count)), "{below:?} of 60");
    }

    #[test]
    fn shuffled_epochs_are_refuted() {
        let audit = audit_sampling(UNITS, STEPS, 0.05, |step| {
            let order = shuffled(step / 20);
            let start = (step % 20) as usize * 50;
            order[start..start + 50].to_vec()
        });
        assert!(audit.batch_sizes < 1e-6 && audit.inclusions < 1e-6, "{audit:?}");
    }

    #[test]
    fn a_fixed_batch_drawn_anew_each_step_is_refuted() {
        let audit = audit_sampling(UNITS, STEPS, 0.05, |step| shuffled(step)[..50].to_vec());
        assert!(audit.batch_sizes < 1e-6, "{audit:?}");
    }

    #[test]
    fn another_rate_and_coins_that_stick_are_refuted() {
        let names: Vec<String> = (0..UNITS).map(|unit| unit.to_string()).collect();
        let secret = RunSecret::new(Randomness::FixedSeed(1)).unwrap();
        let mut sampler = PoissonSampler::new(&secret, 0.06, 1, &names).unwrap();
        let rate = audit_sampling(UNITS, STEPS, 0.05, |step| sampler.sample(step));
        assert!(rate.least() < 1e-6, "{rate:?}");
        let mut sampler = PoissonSampler::new(&secret, 0.05, 1, &names).unwrap();
        let sticky = audit_sampling(UNITS, STEPS, 0.05, |step| sampler.sample(step / 2));
        assert!(sticky.repeats < 1e-6, "{sticky:?}");
    }
}
