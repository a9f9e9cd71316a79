//! A bound that needs no grid: how often a unit takes part, and what that many Gaussian steps spend.
//!
//! Which steps take the differing unit is decided by coins that do not depend on it. Given the
//! coins, T steps are one Gaussian mechanism whose sensitivity is the root of the number K of steps
//! that took the unit, so that by joint convexity of the hockey-stick divergence
//!
//! δ(ε) ≤ E_K\[δ_G(ε; √K / σ)\], K ~ Bin(T, q),
//!
//! whose right side grows with K and is bounded by rounding K up: to some levels for steps of one
//! kind, and for several kinds to one level each, δ(ε) ≤ Σ P(Kᵢ > kᵢ) + δ_G(ε; √(Σ kᵢ / σᵢ²)).
//!
//! It forgoes what sampling hides beyond K, a factor of about ln(1/q) for each time that the unit
//! takes part. With little noise that is next to nothing beside 1/(2σ²), and there a grid of losses
//! reaches its limits; elsewhere [`pld`](super::pld) is tighter.

use super::gdp::{gaussian_epsilon, gaussian_log_delta};
use super::{Neighbours, Phase};

/// More than logarithms of factorials of up to 10¹² trials lose to rounding.
const ROUNDING: f64 = 1e-2;

/// An upper bound on ε of `phases`, of which each spends something, at `delta`.
pub(crate) fn epsilon(phases: &[Phase], delta: f64, neighbours: Neighbours) -> f64 {
    let delta = delta * (1.0 - 1e-6);
    let one_level = [0.5, 0.1, 0.9, 0.01]
        .into_iter()
        .map(|share| with_tail(phases, delta, share, neighbours))
        .fold(f64::INFINITY, f64::min);
    match phases {
        [phase] => by_levels(*phase, delta, neighbours, one_level),
        _ => one_level,
    }
}

/// Levels that a count is rounded up to.
const LEVELS: u64 = 64;

/// The bound of identical steps, where it is below `known`.
fn by_levels(phase: Phase, delta: f64, neighbours: Neighbours, known: f64) -> f64 {
    let (members, factor) = trials_and_factor(neighbours);
    let trials = phase.steps.saturating_mul(members);
    let low = ((trials as f64 * phase.sample_rate).floor() as u64).min(trials);
    let (high, _) = quantile(trials, phase.sample_rate, 0.01 * delta);
    let count = (high - low).min(LEVELS);
    let level =
        |index: u64| low + ((high - low) as u128 * index as u128 / count.max(1) as u128) as u64;
    let levels: Vec<(f64, f64)> = (0..=count)
        .map(|index| {
            let more_than = |count| tail(trials, phase.sample_rate, count);
            // The chance of what is rounded up to this level.
            let chance = if index == 0 { 1.0 } else { more_than(level(index - 1)) };
            (chance, (factor * level(index) as f64).sqrt() / phase.noise_multiplier)
        })
        .collect();
    let beyond = tail(trials, phase.sample_rate, high);
    let is_enough = |epsilon: f64| {
        let within = levels.iter().filter(|(_, mu)| *mu > 0.0);
        let sum: f64 =
            within.map(|&(chance, mu)| chance * gaussian_log_delta(mu, epsilon).exp()).sum();
        beyond + sum <= delta
    };
    if !is_enough(known) {
        return known;
    }
    let (mut short, mut enough) = (0.0, known);
    if is_enough(short) {
        return short;
    }
    while enough - short > 1e-9 * enough {
        let middle = 0.5 * (short + enough);
        if is_enough(middle) {
            enough = middle;
        } else {
            short = middle;
        }
    }
    enough
}

/// How often a differing unit may take part in a step, and what the square of a sum of so many
/// gradients is at most. Replacing a unit moves a sum by up to twice the norm. Members of a group who
/// take part together add up: Σ jₜ² ≤ members · Σ jₜ.
fn trials_and_factor(neighbours: Neighbours) -> (u64, f64) {
    match neighbours {
        Neighbours::AddOrRemove { members } => (u64::from(members), f64::from(members)),
        Neighbours::ReplaceOne => (1, 4.0),
    }
}

/// The bound where at most `share` of δ is left to units that take part more often than planned.
fn with_tail(phases: &[Phase], delta: f64, share: f64, neighbours: Neighbours) -> f64 {
    let (members, factor) = trials_and_factor(neighbours);
    let allowed = share * delta / phases.len() as f64;
    let (mut left, mut squares) = (delta, 0.0);
    for phase in phases {
        let trials = phase.steps.saturating_mul(members);
        let (count, tail) = quantile(trials, phase.sample_rate, allowed);
        left -= tail;
        squares += factor * count as f64 / phase.noise_multiplier.powi(2);
    }
    gaussian_epsilon(squares.sqrt(), left)
}

/// The least k with P(K > k) ≤ `allowed` for K ~ Bin(`trials`, `rate`), but for those below the
/// mean, and that probability, rounded up.
fn quantile(trials: u64, rate: f64, allowed: f64) -> (u64, f64) {
    let mean = trials as f64 * rate;
    let mut low = (mean.floor() as u64).min(trials);
    let first = tail(trials, rate, low);
    if rate >= 1.0 || first <= allowed {
        return (low, first);
    }
    // P(K > low) is too large, P(K > high) small enough.
    let mut high = trials;
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if tail(trials, rate, middle) <= allowed {
            high = middle;
        } else {
            low = middle;
        }
    }
    (high, tail(trials, rate, high))
}

/// P(K > `count`) for K ~ Bin(`trials`, `rate`) and a count of at least the mean's whole part,
/// rounded up.
fn tail(trials: u64, rate: f64, count: u64) -> f64 {
    if count >= trials {
        return 0.0;
    }
    if rate >= 1.0 {
        return 1.0;
    }
    let (n, odds) = (trials as f64, rate / (1.0 - rate));
    let mut k = (count + 1) as f64;
    let mut term = (libm::lgamma(n + 1.0) - libm::lgamma(k + 1.0) - libm::lgamma(n - k + 1.0)
        + k * rate.ln()
        + (n - k) * (-rate).ln_1p())
    .exp();
    let mut sum = term;
    while k < n {
        let ratio = (n - k) / (k + 1.0) * odds;
        // What follows falls at least as fast as a geometric series.
        let rest = if ratio < 1.0 { term * ratio / (1.0 - ratio) } else { f64::INFINITY };
        if rest <= 1e-6 * sum {
            sum += rest;
            break;
        }
        term *= ratio;
        sum += term;
        k += 1.0;
    }
    (sum * (1.0 + ROUNDING)).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P(K > count) by adding up all terms.
    fn brute(trials: u64, rate: f64, count: u64) -> f64 {
        let mut row = vec![1.0];
        for _ in 0..trials {
            let mut next = vec![0.0; row.len() + 1];
            for (k, mass) in row.iter().enumerate() {
                next[k] += mass * (1.0 - rate);
                next[k + 1] += mass * rate;
            }
            row = next;
        }
        row[count as usize + 1..].iter().sum()
    }

    #[test]
    fn tails_are_those_of_the_binomial() {
        for (trials, rate) in [(1, 0.3), (10, 0.13), (40, 0.5), (200, 0.01), (60, 0.95)] {
            let mean = (trials as f64 * rate).floor() as u64;
            for count in mean..trials {
                let (truth, found) = (brute(trials, rate, count), tail(trials, rate, count));
                assert!(
                    found >= truth * (1.0 - 1e-12) && found <= truth * 1.02,
                    "{trials} {rate} {count}: {found} {truth}"
                );
            }
            assert_eq!(tail(trials, rate, trials), 0.0);
        }
    }

    #[test]
    fn a_unit_of_every_step_is_one_gaussian() {
        let phase = Phase { sample_rate: 1.0, noise_multiplier: 0.02, steps: 9 };
        let one = Neighbours::AddOrRemove { members: 1 };
        let exact = gaussian_epsilon(3.0 / 0.02, 1e-6);
        let found = epsilon(&[phase], 1e-6, one);
        assert!(found >= exact && found <= exact * (1.0 + 1e-6), "{found} {exact}");
        let pair = epsilon(&[phase], 1e-6, Neighbours::AddOrRemove { members: 2 });
        let replaced = epsilon(&[phase], 1e-6, Neighbours::ReplaceOne);
        assert!((pair / replaced - 1.0).abs() < 1e-9, "{pair} {replaced}");
    }
}
