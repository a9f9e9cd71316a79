//! Privacy losses put on a grid, from above and from below.
//!
//! Both ways keep a step's loss distribution on multiples of one width h ("dots"), so that phases
//! compose by convolution. The dots are h apart near zero, where most steps' losses lie, and
//! further apart in proportion to the loss beyond: large losses are rare, and a few thousand dots
//! are enough for any step.
//!
//! *From above*, "connect the dots" (Doroshenko, Ghazi, Kamath, Kumar and Manurangsi 2022): the
//! mass between two dots is split onto them so that its probability under both neighbours is kept.
//! *From below*, outputs are merged: an interval of outputs becomes one output, whose loss is the
//! log ratio of its two probabilities; the intervals are chosen so that this is a dot. Merging is
//! post-processing, so it can only lose privacy loss. Both errors are of second order in h.

use super::loss::{Direction, LossPair};

/// How finely losses are put on a grid.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resolution {
    /// Distance of dots near zero, h.
    pub(crate) width: f64,
    /// Dots lie this share of their distance from zero apart, where that is more than h.
    pub(crate) relative: f64,
    /// Standard deviations of noise beyond which outputs are not told apart.
    pub(crate) z: f64,
}

/// A discrete privacy loss distribution.
#[derive(Debug, Clone)]
pub(crate) struct Losses {
    /// (multiple of h that is added to `offset`, probability).
    pub(crate) points: Vec<(i64, f64)>,
    /// The loss of point 0.
    pub(crate) offset: f64,
    /// Probability of an infinite loss.
    pub(crate) infinite: f64,
}

/// The dots, less `offset` and in multiples of h, that cover losses from `first` to `last`.
fn dots(first: f64, last: f64, offset: f64, resolution: Resolution) -> Vec<i64> {
    let Resolution { width, relative, .. } = resolution;
    let last = ((last - offset) / width).ceil() as i64;
    let mut dot = ((first - offset) / width).floor() as i64;
    let mut dots = vec![dot];
    while dot < last {
        let loss = dot as f64 * width + offset;
        dot += ((loss.abs() * relative / width) as i64).max(1);
        dots.push(dot);
    }
    dots
}

/// e^`exponent` · `mass`, where the factors may be out of range and the product is not.
fn scaled(exponent: f64, mass: f64) -> f64 {
    if exponent.abs() < 600.0 {
        exponent.exp() * mass
    } else if mass > 0.0 {
        (exponent + mass.ln()).exp()
    } else {
        0.0
    }
}

/// A distribution that is at least as revealing as `pair`'s.
pub(crate) fn pessimistic(pair: &LossPair, resolution: Resolution) -> Losses {
    let width = resolution.width;
    let (bottom, top) = pair.range(resolution.z);
    let dots = dots(pair.loss(bottom), pair.loss(top), 0.0, resolution);
    let mut weights = vec![0.0; dots.len()];
    let mut low = pair.inverse(dots[0] as f64 * width);
    weights[0] = pair.upper_mass(f64::NEG_INFINITY, low);
    for index in 1..dots.len() {
        let high = pair.inverse(dots[index] as f64 * width);
        let upper = pair.upper_mass(low, high);
        if upper > 0.0 {
            let lower = scaled(dots[index - 1] as f64 * width, pair.lower_mass(low, high));
            let gap = (dots[index] - dots[index - 1]) as f64 * width;
            let right = ((upper - lower) / -(-gap).exp_m1()).clamp(0.0, upper);
            let right = if right.is_nan() { upper } else { right };
            weights[index] += right;
            weights[index - 1] += upper - right;
        }
        low = high;
    }
    let infinite = pair.upper_mass(low, f64::INFINITY);
    let mut points: Vec<(i64, f64)> = dots.into_iter().zip(weights).collect();
    points.retain(|&(_, weight)| weight > 0.0);
    Losses { points, offset: 0.0, infinite }
}

/// A distribution that is at most as revealing as `pair`'s.
///
/// The same outputs are merged for adding and for removing: swapping the neighbours turns each loss into
/// its negative. The intervals are found from the end where the loss is bounded, because that is
/// where most of the probability lies when few units are sampled; the merged loss of the first
/// interval is where the grid starts.
pub(crate) fn optimistic(pair: &LossPair, resolution: Resolution) -> Losses {
    let width = resolution.width;
    let remove = match pair.direction() {
        Direction::Remove | Direction::Add => pair.toward(Direction::Remove),
        Direction::Replace => pair.clone(),
    };
    let (bottom, top) = remove.range(resolution.z);
    let merged = |from: f64, to: f64| masses(&remove, from, to);

    let mut from = remove.inverse(remove.infimum().max(remove.loss(bottom)) + 0.5 * width);
    let first = merged(f64::NEG_INFINITY, from);
    let offset = (first.0 / first.1).ln();
    let dots = dots(offset, remove.loss(top), offset, resolution);
    let mut intervals = vec![(dots[0], first)];
    for &dot in &dots[1..] {
        let target = dot as f64 * width + offset;
        let from_loss = remove.loss(from);
        if target <= from_loss + 0.25 * width {
            continue;
        }
        let Some(to) = merge_until(&remove, from, target, from_loss, top) else { break };
        intervals.push((dot, merged(from, to)));
        from = to;
    }
    // What is left has a smaller loss than the next dot. In the one direction it goes down to the
    // dot below, in the other its loss is very negative and it may be left out.
    let rest = merged(from, f64::INFINITY);
    let rest_loss = (rest.0 / rest.1).ln();
    if pair.direction() != Direction::Add && rest_loss.is_finite() {
        let below = dots.partition_point(|&dot| dot as f64 * width + offset <= rest_loss);
        if below > 0 {
            intervals.push((dots[below - 1], rest));
        }
    }
    let mut points: Vec<(i64, f64)> = intervals
        .into_iter()
        .map(|(dot, (upper, lower))| match pair.direction() {
            Direction::Remove | Direction::Replace => (dot, upper),
            Direction::Add => (-dot, lower),
        })
        .collect();
    points.retain(|&(_, weight)| weight > 0.0);
    let offset = match pair.direction() {
        Direction::Remove | Direction::Replace => offset,
        Direction::Add => -offset,
    };
    Losses { points, offset, infinite: 0.0 }
}

/// The probabilities of an interval of outputs under both neighbours, or a little more where a
/// double cannot hold them. The interval's loss then seems nearer to zero than it is under the
/// neighbour that gives it any weight: what is merged only loses privacy loss.
fn masses(pair: &LossPair, from: f64, to: f64) -> (f64, f64) {
    let held = |mass: f64| mass.max(f64::MIN_POSITIVE);
    (held(pair.upper_mass(from, to)), held(pair.lower_mass(from, to)))
}

/// The end of the interval of outputs from `from` on that, merged into one, has loss `target`;
/// `None` if the outputs up to `top` have less.
fn merge_until(pair: &LossPair, from: f64, target: f64, from_loss: f64, top: f64) -> Option<f64> {
    // Positive when the merged loss is above the target. Below the output of loss `target` it
    // falls, beyond it rises.
    let excess = |to: f64| {
        let (upper, lower) = masses(pair, from, to);
        upper - scaled(target, lower)
    };
    let mut low = pair.inverse(target).max(from);
    let reach = target - from_loss;
    let mut high = top;
    for scale in [1.1, 1.5, 3.0, 10.0] {
        let candidate = pair.inverse(target + scale * reach);
        if candidate >= top {
            break;
        }
        if candidate > low && excess(candidate) >= 0.0 {
            high = candidate;
            break;
        }
        low = low.max(candidate);
    }
    if low >= top || excess(high) < 0.0 {
        return None;
    }
    let mut guess = pair.inverse(target + reach);
    for _ in 0..60 {
        if !(guess > low && guess < high) {
            guess = 0.5 * (low + high);
        }
        let value = excess(guess);
        if value >= 0.0 {
            high = guess;
        } else {
            low = guess;
        }
        let slope = pair.upper_density(guess) * -(target - pair.loss(guess)).exp_m1();
        let step = value / slope;
        // Newton's step, aimed slightly high so that the end stays on the side of `excess ≥ 0`.
        guess -= step - 1e-13 * pair.sigma();
        if high - low <= 1e-12 * pair.sigma() || step.abs() <= 1e-13 * pair.sigma() && value >= 0.0
        {
            break;
        }
    }
    Some(high)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// δ(ε) of one step, exactly.
    fn exact(pair: &LossPair, epsilon: f64) -> f64 {
        let from = pair.inverse(epsilon);
        pair.upper_mass(from, f64::INFINITY) - scaled(epsilon, pair.lower_mass(from, f64::INFINITY))
    }

    fn delta(losses: &Losses, width: f64, epsilon: f64) -> f64 {
        let finite: f64 = losses
            .points
            .iter()
            .map(|&(k, weight)| {
                weight * -(epsilon - k as f64 * width - losses.offset).min(0.0).exp_m1()
            })
            .sum();
        finite + losses.infinite
    }

    #[test]
    fn brackets_one_step_tightly() {
        let width = 1e-3;
        let resolution = Resolution { width, relative: 1.0 / 256.0, z: 8.0 };
        for direction in [Direction::Remove, Direction::Add, Direction::Replace] {
            for (q, sigma, members) in [(0.01, 0.8, 1), (1.0, 1.0, 1), (0.3, 3.0, 1), (0.1, 1.0, 3)]
            {
                if direction == Direction::Replace && members > 1 {
                    continue;
                }
                let pair = LossPair::new(q, sigma, members, direction);
                let above = pessimistic(&pair, resolution);
                let below = optimistic(&pair, resolution);
                for epsilon in [0.0, 0.0123, 0.1, 0.5, 2.0] {
                    let truth = exact(&pair, epsilon);
                    let (upper, lower) =
                        (delta(&above, width, epsilon), delta(&below, width, epsilon));
                    let case = format!("{direction:?} q {q} sigma {sigma} eps {epsilon}");
                    assert!(upper >= truth - 1e-13, "{case}: {upper} < {truth}");
                    assert!(lower <= truth + 1e-13, "{case}: {lower} > {truth}");
                    assert!(
                        upper - lower <= 2e-3 * truth + 1e-5,
                        "{case}: {lower} {truth} {upper}"
                    );
                }
            }
        }
    }
}
