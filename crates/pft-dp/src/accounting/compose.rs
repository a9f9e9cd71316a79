//! Many steps' losses added up, by the fast Fourier transform of a tilted distribution.
//!
//! δ lives far in the tail of the summed loss, where a plain transform leaves only rounding. So
//! each step's distribution is first tilted by e^{θ·loss}, with θ such that the sum's bulk moves
//! to where ε is expected; the tilt commutes with convolution and is undone at the end. The
//! result keeps its relative accuracy at any δ, and only a window of a few standard deviations of
//! the tilted sum has to be transformed.

use std::sync::{LazyLock, Mutex, PoisonError};

use realfft::RealFftPlanner;
use realfft::num_complex::Complex64;

use super::AccountingError;
use super::discretize::Losses;

static PLANNER: LazyLock<Mutex<RealFftPlanner<f64>>> =
    LazyLock::new(|| Mutex::new(RealFftPlanner::new()));

/// Largest transform: 64 MiB of doubles.
const MAX_LENGTH: usize = 1 << 23;

/// Natural logarithm of the tilted mass that may fall outside the window.
const LOG_OUTSIDE: f64 = -32.0;

/// A step's losses and how often the step is taken.
#[derive(Debug, Clone)]
pub(crate) struct Repeated {
    pub(crate) losses: Losses,
    pub(crate) steps: u64,
}

/// ln E[e^{θ·loss}] over the finite losses.
pub(crate) fn log_moment(losses: &Losses, width: f64, tilt: f64) -> f64 {
    let exponents = losses
        .points
        .iter()
        .map(|&(k, weight)| weight.ln() + tilt * (width * k as f64 + losses.offset));
    let largest = exponents.clone().fold(f64::NEG_INFINITY, f64::max);
    largest + exponents.map(|exponent| (exponent - largest).exp()).sum::<f64>().ln()
}

/// The ε at which the composition of `parts` has the given δ, or `None` if it lies below the
/// window of this tilt.
pub(crate) fn epsilon(
    parts: &[Repeated],
    width: f64,
    tilt: f64,
    delta: f64,
) -> Result<Option<f64>, AccountingError> {
    let mut finite = 0.0;
    for part in parts {
        finite += part.steps as f64 * (-part.losses.infinite.min(1.0 - 1e-16)).ln_1p();
    }
    let remaining = delta + finite.exp_m1();
    if remaining <= 0.0 {
        return Err(AccountingError::Numerical("the tail left out exceeds δ".into()));
    }

    let tilted: Vec<Tilted> =
        parts.iter().map(|part| Tilted::new(&part.losses, part.steps, width, tilt)).collect();
    let mean: f64 = tilted.iter().map(|part| part.steps * part.mean).sum();
    let log_scale: f64 =
        tilted.iter().map(|part| part.steps * (part.log_moment - tilt * part.mean)).sum();
    let (below, above) = window(parts, &tilted, width, tilt);
    let offset: f64 = parts.iter().map(|part| part.steps as f64 * part.losses.offset).sum();
    let first = ((mean - offset - below) / width).floor() as i64;
    let length = transform_length(((below + above) / width).ceil() as usize + 2)?;
    let masses = convolve(&tilted, length)?;

    // From the top down: `all` is Σ w e^{−θ(l − mean)}, `discounted` the same times e^{ε − l}, so
    // that δ(ε) = e^{log_scale}·(all − discounted).
    let target = (remaining.ln() - log_scale).exp();
    let (mut all, mut discounted) = (0.0, 0.0);
    let shrink = (-width).exp();
    for k in (first..first + length as i64).rev() {
        let loss = k as f64 * width + offset;
        if loss < 0.0 {
            return Ok(Some(0.0));
        }
        let mass = masses[k.rem_euclid(length as i64) as usize].max(0.0);
        let weight = mass * (-tilt * (loss - mean)).exp();
        all += weight;
        discounted = shrink * (discounted + weight);
        if all - discounted >= target {
            let epsilon = loss - width + ((all - target) / discounted).ln().clamp(0.0, width);
            return Ok(Some(epsilon.max(0.0)));
        }
    }
    Ok(None)
}

/// One step's tilted and normalised distribution.
struct Tilted {
    points: Vec<(i64, f64)>,
    steps: f64,
    repeats: u64,
    log_moment: f64,
    mean: f64,
    variance: f64,
}

impl Tilted {
    fn new(losses: &Losses, steps: u64, width: f64, tilt: f64) -> Self {
        let log_moment = log_moment(losses, width, tilt);
        let points: Vec<(i64, f64)> = losses
            .points
            .iter()
            .map(|&(k, weight)| {
                let loss = width * k as f64 + losses.offset;
                (k, (weight.ln() + tilt * loss - log_moment).exp())
            })
            .collect();
        let moment = |center: f64, power: i32| -> f64 {
            points
                .iter()
                .map(|&(k, weight)| {
                    weight * (width * k as f64 + losses.offset - center).powi(power)
                })
                .sum()
        };
        let mean = moment(0.0, 1);
        let variance = moment(mean, 2);
        Self { points, steps: steps as f64, repeats: steps, log_moment, mean, variance }
    }
}

/// How far below and above its mean the tilted sum reaches, by Chernoff's bound.
fn window(parts: &[Repeated], tilted: &[Tilted], width: f64, tilt: f64) -> (f64, f64) {
    let deviation =
        tilted.iter().map(|part| part.steps * part.variance).sum::<f64>().sqrt().max(width);
    let reach = |sign: f64| {
        [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 14.0]
            .into_iter()
            .map(|factor| {
                let shift = factor / deviation;
                let cumulant: f64 = parts
                    .iter()
                    .zip(tilted)
                    .map(|(part, tilted)| {
                        let moved = log_moment(&part.losses, width, tilt + sign * shift);
                        part.steps as f64 * (moved - tilted.log_moment - sign * shift * tilted.mean)
                    })
                    .sum();
                (cumulant - LOG_OUTSIDE) / shift
            })
            .filter(|reach| *reach > 0.0)
            .fold(f64::INFINITY, f64::min)
    };
    (reach(-1.0) + width, reach(1.0) + width)
}

/// The smallest even length of small factors that is at least `points`.
fn transform_length(points: usize) -> Result<usize, AccountingError> {
    if points > MAX_LENGTH {
        return Err(AccountingError::Numerical(format!(
            "a grid of {points} points is needed, more than {MAX_LENGTH}"
        )));
    }
    let power = points.next_power_of_two().max(16);
    Ok([power / 8 * 5, power / 4 * 3, power]
        .into_iter()
        .find(|&length| length >= points)
        .unwrap_or(power))
}

/// The distribution of the sum, modulo `length`.
fn convolve(parts: &[Tilted], length: usize) -> Result<Vec<f64>, AccountingError> {
    let (forward, inverse) = {
        let mut planner = PLANNER.lock().unwrap_or_else(PoisonError::into_inner);
        (planner.plan_fft_forward(length), planner.plan_fft_inverse(length))
    };
    let fail = |error: realfft::FftError| AccountingError::Numerical(error.to_string());
    let mut spectrum = vec![Complex64::new(1.0, 0.0); length / 2 + 1];
    let mut dense = vec![0.0; length];
    let mut transformed = forward.make_output_vec();
    for part in parts {
        dense.fill(0.0);
        for &(k, weight) in &part.points {
            dense[k.rem_euclid(length as i64) as usize] += weight;
        }
        forward.process(&mut dense, &mut transformed).map_err(fail)?;
        for (product, &factor) in spectrum.iter_mut().zip(&transformed) {
            *product *= power(factor, part.repeats);
        }
    }
    // A real signal's first and middle coefficients are real; rounding may say otherwise.
    spectrum[0].im = 0.0;
    if let Some(middle) = spectrum.last_mut() {
        middle.im = 0.0;
    }
    inverse.process(&mut spectrum, &mut dense).map_err(fail)?;
    let scale = 1.0 / length as f64;
    dense.iter_mut().for_each(|mass| *mass *= scale);
    Ok(dense)
}

fn power(mut base: Complex64, mut exponent: u64) -> Complex64 {
    let mut result = Complex64::new(1.0, 0.0);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result *= base;
        }
        base *= base;
        exponent >>= 1;
    }
    result
}
