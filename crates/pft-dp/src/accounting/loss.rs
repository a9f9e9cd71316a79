//! The privacy loss of one step, as a function of what the step outputs.
//!
//! In the direction of the differing unit's gradient a step outputs N(0, σ²) without the unit and
//! the mixture Σⱼ wⱼ N(j, σ²) with it, where j counts how many of the unit's members take part.
//! For one member that is (1 − q) N(0, σ²) + q N(1, σ²).
//!
//! Where a unit is replaced by another, gradients g and g′ of norm at most one stand in the same
//! place, and a step tells the most of it where they point in opposite directions: the mixture
//! (1 − q) N(0, σ²) + q N(1, σ²) stands against (1 − q) N(0, σ²) + q N(−1, σ²) (Schuchardt,
//! Stoian, Kosmala and Günnemann 2024; `tests/accounting.rs` tries other pairs).

use super::normal;

/// Which data set holds the differing unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// The first: loss of the mixture against the plain normal.
    Remove,
    /// The second: loss of the plain normal against the mixture.
    Add,
    /// Both, each a unit of its own: loss of the mixture against its mirror image. Swapping the two
    /// mirrors the outputs, and is the same pair.
    Replace,
}

/// Two output distributions of a step, and their log ratio.
///
/// Outputs are measured along an axis on which the loss increases.
#[derive(Debug, Clone)]
pub(crate) struct LossPair {
    direction: Direction,
    sigma: f64,
    /// Probability that no member takes part.
    absent: f64,
    /// (members taking part, probability), without the zero.
    present: Vec<(f64, f64)>,
}

impl LossPair {
    /// A unit of `members` members, each taking part with probability `sample_rate`.
    pub(crate) fn new(sample_rate: f64, sigma: f64, members: u32, direction: Direction) -> Self {
        let count = f64::from(members);
        let absent = if sample_rate >= 1.0 { 0.0 } else { (count * (-sample_rate).ln_1p()).exp() };
        let present = (1..=members)
            .map(|index| {
                let j = f64::from(index);
                let log_choose = libm::lgamma(count + 1.0)
                    - libm::lgamma(j + 1.0)
                    - libm::lgamma(count - j + 1.0);
                let log_out =
                    if index == members { 0.0 } else { (count - j) * (-sample_rate).ln_1p() };
                (j, (log_choose + j * sample_rate.ln() + log_out).exp())
            })
            .filter(|&(_, weight)| weight > 0.0)
            .collect();
        Self { direction, sigma, absent, present }
    }

    /// The outputs between which all but a tail of `z` standard deviations lies under the first
    /// distribution.
    pub(crate) fn range(&self, z: f64) -> (f64, f64) {
        let reach = z * self.sigma;
        match self.direction {
            Direction::Remove | Direction::Replace => {
                (-reach, self.present.last().map_or(0.0, |&(shift, _)| shift) + reach)
            }
            Direction::Add => (-reach, reach),
        }
    }

    pub(crate) fn direction(&self) -> Direction {
        self.direction
    }

    /// The same mechanism with the differing unit where `direction` says.
    pub(crate) fn toward(&self, direction: Direction) -> Self {
        Self { direction, ..self.clone() }
    }

    pub(crate) fn sigma(&self) -> f64 {
        self.sigma
    }

    /// The largest lower bound of the loss, −∞ if there is none.
    pub(crate) fn infimum(&self) -> f64 {
        match self.direction {
            Direction::Remove => self.absent.ln(),
            Direction::Add | Direction::Replace => f64::NEG_INFINITY,
        }
    }

    /// The loss at output `y`.
    pub(crate) fn loss(&self, y: f64) -> f64 {
        match self.direction {
            Direction::Remove => self.log_ratio(y),
            Direction::Add => -self.log_ratio(-y),
            Direction::Replace => self.log_ratio(y) - self.log_ratio(-y),
        }
    }

    /// The output at which the loss is `loss`; infinite where it never is.
    pub(crate) fn inverse(&self, loss: f64) -> f64 {
        match self.direction {
            Direction::Remove => self.log_ratio_inverse(loss),
            Direction::Add => -self.log_ratio_inverse(-loss),
            Direction::Replace => self.mirrored_ratio_inverse(loss),
        }
    }

    /// Probability of an output in (low, high] under the first distribution.
    pub(crate) fn upper_mass(&self, low: f64, high: f64) -> f64 {
        match self.direction {
            Direction::Remove | Direction::Replace => self.mixture_mass(low, high),
            Direction::Add => self.plain_mass(low, high),
        }
    }

    /// Probability of an output in (low, high] under the second distribution.
    pub(crate) fn lower_mass(&self, low: f64, high: f64) -> f64 {
        match self.direction {
            Direction::Remove => self.plain_mass(low, high),
            Direction::Add | Direction::Replace => self.mixture_mass(-high, -low),
        }
    }

    /// Density of output `y` under the first distribution.
    pub(crate) fn upper_density(&self, y: f64) -> f64 {
        match self.direction {
            Direction::Remove | Direction::Replace => {
                let present = self
                    .present
                    .iter()
                    .map(|&(shift, weight)| weight * normal::density((y - shift) / self.sigma));
                (self.absent * normal::density(y / self.sigma) + present.sum::<f64>()) / self.sigma
            }
            Direction::Add => normal::density(y / self.sigma) / self.sigma,
        }
    }

    fn plain_mass(&self, low: f64, high: f64) -> f64 {
        normal::interval(low / self.sigma, high / self.sigma)
    }

    fn mixture_mass(&self, low: f64, high: f64) -> f64 {
        let shifted =
            |shift: f64| normal::interval((low - shift) / self.sigma, (high - shift) / self.sigma);
        let present: f64 =
            self.present.iter().map(|&(shift, weight)| weight * shifted(shift)).sum();
        if self.absent > 0.0 { present + self.absent * shifted(0.0) } else { present }
    }

    /// ln of mixture over plain density.
    fn log_ratio(&self, x: f64) -> f64 {
        let variance = self.sigma * self.sigma;
        let exponent = |shift: f64| shift * (2.0 * x - shift) / (2.0 * variance);
        let largest = self
            .present
            .iter()
            .map(|&(shift, _)| exponent(shift))
            .fold(f64::NEG_INFINITY, f64::max);
        if largest < 30.0 && self.absent > 0.0 {
            let excess: f64 =
                self.present.iter().map(|&(shift, weight)| weight * exponent(shift).exp_m1()).sum();
            if excess > -0.5 {
                return excess.ln_1p();
            }
        }
        let base = largest.max(0.0);
        let sum: f64 = self
            .present
            .iter()
            .map(|&(shift, weight)| weight * (exponent(shift) - base).exp())
            .sum();
        if self.absent == 0.0 && self.present.len() == 1 {
            return largest + self.present[0].1.ln();
        }
        base + (sum + self.absent * (-base).exp()).ln()
    }

    /// The output at which mixture over mirrored mixture has log ratio `value`. With a = 1 − q and
    /// c = q e^{−1/(2σ²)} and u = e^{y/σ²} that is c u² − a (e^value − 1) u − c e^value = 0.
    fn mirrored_ratio_inverse(&self, value: f64) -> f64 {
        let variance = self.sigma * self.sigma;
        let half = 0.5 * value.abs();
        let weight: f64 = self.present.iter().map(|&(_, weight)| weight).sum();
        let log_sinh = if half > 20.0 { half - std::f64::consts::LN_2 } else { half.sinh().ln() };
        let log_ratio = self.absent.ln() - weight.ln() + 0.5 / variance + log_sinh;
        let bend = if log_ratio > 20.0 {
            log_ratio + std::f64::consts::LN_2
        } else {
            log_ratio.exp().asinh()
        };
        (variance * (half + bend)).copysign(value)
    }

    /// The output at which the log ratio is `value`: −∞ below its infimum.
    fn log_ratio_inverse(&self, value: f64) -> f64 {
        let variance = self.sigma * self.sigma;
        if let [(shift, weight)] = self.present[..]
            && shift == 1.0
        {
            let log_excess = if self.absent == 0.0 || value > 700.0 {
                value
            } else if value > -1.0 {
                (value.exp_m1() + weight).ln()
            } else {
                (value.exp() - self.absent).ln()
            };
            return if log_excess.is_nan() {
                f64::NEG_INFINITY
            } else {
                variance * (log_excess - weight.ln()) + 0.5
            };
        }
        if value <= self.absent.ln() {
            return f64::NEG_INFINITY;
        }
        let mut width = self.sigma;
        let (mut low, mut high) = (-width, width);
        while self.log_ratio(low) > value {
            width *= 2.0;
            low -= width;
            if width > 1e12 {
                return f64::NEG_INFINITY;
            }
        }
        width = self.sigma;
        while self.log_ratio(high) < value {
            width *= 2.0;
            high += width;
        }
        for _ in 0..80 {
            let middle = 0.5 * (low + high);
            if middle <= low || middle >= high {
                break;
            }
            if self.log_ratio(middle) < value {
                low = middle;
            } else {
                high = middle;
            }
        }
        0.5 * (low + high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inverse_undoes_loss() {
        for direction in [Direction::Remove, Direction::Add, Direction::Replace] {
            for (q, sigma, members) in
                [(0.01, 1.0, 1), (1e-5, 0.3, 1), (1.0, 2.0, 1), (0.1, 1.5, 4), (0.3, 0.05, 1)]
            {
                if direction == Direction::Replace && members > 1 {
                    continue;
                }
                let pair = LossPair::new(q, sigma, members, direction);
                let (low, high) = pair.range(4.0);
                for index in 0..=20 {
                    let y = low + (high - low) * f64::from(index) / 20.0;
                    let loss = pair.loss(y);
                    let again = pair.loss(pair.inverse(loss));
                    assert!(
                        again.is_infinite() || (loss - again).abs() < 1e-9 * loss.abs().max(1e-3),
                        "{direction:?} q {q} sigma {sigma}: {loss} {again}"
                    );
                }
            }
        }
    }

    #[test]
    fn masses_are_probabilities() {
        let pair = LossPair::new(0.2, 0.7, 5, Direction::Remove);
        let everything = (f64::NEG_INFINITY, f64::INFINITY);
        assert!((pair.upper_mass(everything.0, everything.1) - 1.0).abs() < 1e-12);
        assert!((pair.lower_mass(everything.0, everything.1) - 1.0).abs() < 1e-12);
    }
}
