//! A bound that needs no grid: how often a unit takes part, and what that many Gaussian steps spend.
//!
//! Which steps take the differing unit is decided by coins that do not depend on it. Given the
//! coins, T steps are one Gaussian mechanism whose sensitivity is the root of the number K of steps
//! that took the unit, so that by joint convexity of the hockey-stick divergence
//!
//! δ(ε) ≤ E_K\[δ_G(ε; √K / σ)\] ≤ P(K > k) + δ_G(ε; √k / σ), K ~ Bin(T, q), for every k.
//!
//! It forgoes what sampling hides beyond K, a factor of about ln(1/q) for each time that the unit
//! takes part. With little noise that is next to nothing beside 1/(2σ²), and there a grid of losses
//! reaches its limits; elsewhere [`pld`](super::pld) is tighter.

use super::gdp::gaussian_epsilon;
use super::{Neighbours, Phase};

/// More than logarithms of factorials of up to 10¹² trials lose to rounding.
const ROUNDING: f64 = 1e-2;

/// An upper bound on ε of `phases`, of which each spends something, at `delta`.
pub(crate) fn epsilon(phases: &[Phase], delta: f64, neighbours: Neighbours) -> f64 {
    let delta = delta * (1.0 - 1e-6);
    [0.5, 0.1, 0.9, 0.01]
        .into_iter()
        .map(|share| with_tail(phases, delta, share, neighbours))
        .fold(f64::INFINITY, f64::min)
}

/// The bound where at most `share` of δ is left to units that take part more often than planned.
fn with_tail(phases: &[Phase], delta: f64, share: f64, neighbours: Neighbours) -> f64 {
    // Replacing a unit moves a sum by up to twice the norm. Members of a group who take part
    // together add up: Σ jₜ² ≤ members · Σ jₜ.
    let (members, factor) = match neighbours {
        Neighbours::AddOrRemove { members } => (u64::from(members), f64::from(members)),
        Neighbours::ReplaceOne => (1, 4.0),
    };
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
