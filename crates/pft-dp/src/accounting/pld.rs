//! The tight accountant: privacy loss distributions, bounded from both sides.
//!
//! The width of the grid follows from the error it may cause. A dot h wide adds at most h²/4 of
//! variance to a step's loss, hence about (θ + 1)·T·h²/8 to ε, where θ is the tilt at which the
//! Chernoff bound on δ is tight (one less than the best Rényi order). Bounds from above and below
//! that are still further apart than asked for are computed again on a finer grid. With so little
//! noise that no grid holds the losses, the bound by inclusion answers.

use super::compose::{self, Repeated};
use super::discretize::{self, Resolution};
use super::loss::{Direction, LossPair};
use super::{AccountingError, Epsilon, Neighbours, Phase, active, check, inclusion};

/// Relative error of ε that the first grid is made for.
const TOLERANCE: f64 = 2e-5;
/// Bounds further apart than this, relative to ε, ask for a finer grid.
const MAX_GAP: f64 = 3e-4;
/// Share of δ that the tails cut off may have.
const TAIL: f64 = 1e-7;
/// Grids and tilts tried, of which each may take a second.
const ATTEMPTS: u32 = 12;
/// Above this a probability under one neighbour is no double that the other's can be compared with:
/// bounds from below lag behind.
const LARGE_LOSS: f64 = 600.0;
/// The largest group: nobody's data are spread over more units.
const MAX_MEMBERS: u32 = 1000;

/// ε of the phases at `delta`, the worse of adding and removing a unit, with bounds.
///
/// # Errors
/// When a parameter is outside its range.
pub fn epsilon(phases: &[Phase], delta: f64) -> Result<Epsilon, AccountingError> {
    between(phases, delta, Neighbours::ONE)
}

/// ε of a group of `members` units that are sampled independently of each other, all added or
/// removed at once: what a person is promised whose data are spread over `members` units.
///
/// # Errors
/// As [`epsilon`]; also when there are no members, or more than a thousand.
pub fn group_epsilon(
    phases: &[Phase],
    delta: f64,
    members: u32,
) -> Result<Epsilon, AccountingError> {
    between(phases, delta, Neighbours::AddOrRemove { members })
}

/// ε where neighbouring data sets differ in that one unit is replaced by another: for those who ask
/// for this relation. Less than adding one and removing another would spend.
///
/// # Errors
/// As [`epsilon`].
pub fn replace_one_epsilon(phases: &[Phase], delta: f64) -> Result<Epsilon, AccountingError> {
    between(phases, delta, Neighbours::ReplaceOne)
}

fn between(
    phases: &[Phase],
    delta: f64,
    neighbours: Neighbours,
) -> Result<Epsilon, AccountingError> {
    let mut tolerance = TOLERANCE;
    let mut last_gap = f64::INFINITY;
    for refinement in 0.. {
        let (upper, lower) = rayon::join(
            || above(phases, delta, neighbours, tolerance),
            || bound(phases, delta, neighbours, tolerance, Side::Below),
        );
        let upper = upper?;
        let lower = match lower {
            Ok(lower) => lower.min(upper),
            // No grid holds the losses: the bound that needs none has no counterpart from below.
            Err(AccountingError::Numerical(_)) => {
                return Ok(Epsilon { epsilon: upper, upper: Some(upper), lower: None });
            }
            Err(error) => return Err(error),
        };
        let gap = upper - lower;
        // Where losses are so large that probabilities leave a double's range, a finer grid does not
        // bring the bounds together.
        let is_large = upper > LARGE_LOSS;
        if gap <= MAX_GAP * upper + 1e-9 || gap > 0.5 * last_gap || refinement == 3 || is_large {
            let tells = !is_large || lower > 0.95 * upper;
            return Ok(Epsilon {
                epsilon: upper,
                upper: Some(upper),
                lower: tells.then_some(lower),
            });
        }
        last_gap = gap;
        tolerance /= 8.0;
    }
    unreachable!("the loop returns at its last refinement")
}

/// The upper bound alone, in half the time.
///
/// # Errors
/// As [`epsilon`].
pub fn epsilon_upper(phases: &[Phase], delta: f64) -> Result<f64, AccountingError> {
    above(phases, delta, Neighbours::ONE, TOLERANCE)
}

/// The upper bound: by the grid of losses or, where there is so little noise that this is less or no
/// grid holds them, by counting how often a unit takes part.
fn above(
    phases: &[Phase],
    delta: f64,
    neighbours: Neighbours,
    tolerance: f64,
) -> Result<f64, AccountingError> {
    let by_grid = match bound(phases, delta, neighbours, tolerance, Side::Above) {
        Ok(epsilon) => epsilon,
        Err(AccountingError::Numerical(_)) => f64::INFINITY,
        Err(error) => return Err(error),
    };
    if by_grid == 0.0 {
        return Ok(0.0);
    }
    Ok(by_grid.min(inclusion::epsilon(&active(phases), delta, neighbours)))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Above,
    Below,
}

fn bound(
    phases: &[Phase],
    delta: f64,
    neighbours: Neighbours,
    tolerance: f64,
    side: Side,
) -> Result<f64, AccountingError> {
    check(phases, delta)?;
    let members = match neighbours {
        Neighbours::AddOrRemove { members } => members,
        Neighbours::ReplaceOne => 1,
    };
    if !(1..=MAX_MEMBERS).contains(&members) {
        return Err(AccountingError::Range {
            name: "group size",
            value: f64::from(members),
            range: "between 1 and 1000",
        });
    }
    let phases = active(phases);
    if phases.is_empty() {
        return Ok(0.0);
    }
    let one = |direction| directed(&phases, delta, members, tolerance, side, direction);
    match neighbours {
        Neighbours::AddOrRemove { .. } => {
            let (remove, add) = rayon::join(|| one(Direction::Remove), || one(Direction::Add));
            Ok(remove?.max(add?))
        }
        Neighbours::ReplaceOne => one(Direction::Replace),
    }
}

fn directed(
    phases: &[Phase],
    delta: f64,
    members: u32,
    tolerance: f64,
    side: Side,
    direction: Direction,
) -> Result<f64, AccountingError> {
    let steps: f64 = phases.iter().map(|phase| phase.steps as f64).sum();
    let z = (2.0 * (steps * f64::from(members) / (TAIL * delta)).ln()).sqrt();
    let pairs: Vec<(LossPair, u64)> = phases
        .iter()
        .map(|phase| {
            let pair = LossPair::new(phase.sample_rate, phase.noise_multiplier, members, direction);
            (pair, phase.steps)
        })
        .collect();
    let Saddle { mut tilt, epsilon } = Saddle::find(&pairs, delta, z);
    if epsilon <= 0.0 {
        return Ok(0.0);
    }
    let mut width = (8.0 * tolerance * epsilon / ((tilt + 1.0) * steps)).sqrt();
    // Rounding in the transform, and mass outside its window, are far below this.
    let delta = match side {
        Side::Above => delta * (1.0 - 1e-6),
        Side::Below => delta * (1.0 + 1e-6),
    };
    let relative = (tolerance / TOLERANCE).sqrt() / 256.0;
    for _ in 0..ATTEMPTS {
        let resolution = Resolution { width, relative, z };
        let parts: Vec<Repeated> = pairs
            .iter()
            .map(|(pair, steps)| {
                let losses = match side {
                    Side::Above => discretize::pessimistic(pair, resolution),
                    Side::Below => discretize::optimistic(pair, resolution),
                };
                Repeated { losses, steps: *steps }
            })
            .collect();
        if parts.iter().any(|part| part.losses.points.is_empty()) {
            // Nothing is left of the losses: no bound from above, and none from below.
            return match side {
                Side::Above => Err(AccountingError::Numerical("no loss can be told".into())),
                Side::Below => Ok(0.0),
            };
        }
        match compose::epsilon(&parts, width, tilt, delta) {
            Ok(Some(epsilon)) => return Ok(epsilon),
            // The answer is far below the Chernoff bound: look lower down.
            Ok(None) => tilt *= 0.5,
            Err(AccountingError::Numerical(_)) if width < 1e3 => width *= 2.0,
            Err(error) => return Err(error),
        }
    }
    Err(AccountingError::Numerical("no grid holds the summed loss".into()))
}

/// Where the Chernoff bound on δ is tightest.
struct Saddle {
    tilt: f64,
    /// Its bound on ε: slightly above the truth.
    epsilon: f64,
}

impl Saddle {
    /// Minimises (Σ T·K(θ) + ln(1/δ) + θ ln θ − (θ + 1) ln(θ + 1)) / θ over the tilt θ, with the
    /// moments K by quadrature over the outputs.
    fn find(pairs: &[(LossPair, u64)], delta: f64, z: f64) -> Self {
        let nodes: Vec<(Vec<(f64, f64)>, f64)> =
            pairs.iter().map(|(pair, steps)| (quadrature(pair, z), *steps as f64)).collect();
        let bound = |log_tilt: f64| {
            let tilt = log_tilt.exp();
            let moments: f64 = nodes.iter().map(|(nodes, steps)| steps * moment(nodes, tilt)).sum();
            let conversion = tilt * (log_tilt - tilt.ln_1p()) - tilt.ln_1p();
            (moments - delta.ln() + conversion) / tilt
        };
        let mut best = (f64::INFINITY, 0.0);
        for exponent in -40..60 {
            let log_tilt = f64::from(exponent) * std::f64::consts::LN_2;
            let value = bound(log_tilt);
            if value < best.0 {
                best = (value, log_tilt);
            }
        }
        let (mut low, mut high) =
            (best.1 - std::f64::consts::LN_2, best.1 + std::f64::consts::LN_2);
        for _ in 0..24 {
            let (left, right) = (low + 0.382 * (high - low), low + 0.618 * (high - low));
            if bound(left) < bound(right) {
                high = right;
            } else {
                low = left;
            }
        }
        let log_tilt = 0.5 * (low + high);
        Self { tilt: log_tilt.exp(), epsilon: bound(log_tilt) }
    }
}

/// (loss, ln probability) at evenly spaced outputs.
fn quadrature(pair: &LossPair, z: f64) -> Vec<(f64, f64)> {
    let (low, high) = pair.range(z);
    let points = ((high - low) / (pair.sigma() / 16.0)).ceil();
    let step = (high - low) / points;
    (0..=points as u64)
        .map(|index| {
            let y = low + index as f64 * step;
            (pair.loss(y), (pair.upper_density(y) * step).ln())
        })
        .filter(|(_, log_mass)| log_mass.is_finite())
        .collect()
}

/// ln E[e^{θ·loss}], as ln(1 + E[e^{θ·loss} − 1]) where that matters: many steps multiply it.
fn moment(nodes: &[(f64, f64)], tilt: f64) -> f64 {
    let largest = nodes.iter().map(|&(loss, log_mass)| tilt * loss + log_mass).fold(0.0, f64::max);
    if largest < 1.0 {
        let excess: f64 = nodes
            .iter()
            .map(|&(loss, log_mass)| {
                let growth = tilt * loss;
                if growth > 30.0 {
                    (growth + log_mass).exp()
                } else {
                    log_mass.exp() * growth.exp_m1()
                }
            })
            .sum();
        return excess.max(-0.999_999).ln_1p();
    }
    let sum: f64 =
        nodes.iter().map(|&(loss, log_mass)| (tilt * loss + log_mass - largest).exp()).sum();
    largest + sum.ln()
}
