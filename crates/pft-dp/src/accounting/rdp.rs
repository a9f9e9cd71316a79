//! Rényi differential privacy of the subsampled Gaussian (Mironov, Talwar and Zhang 2019).
//!
//! At integer orders the moment is their finite binomial sum; between integers it is the same
//! integral, taken by the trapezoid rule, which converges exponentially for an analytic integrand
//! and, unlike their alternating series, at every q and σ. Rényi divergence becomes (ε, δ) by the
//! conversion of Canonne, Kamath and Steinke (2020) and Asoodeh et al. (2020).

use super::{AccountingError, Phase, active, check};

/// Orders at which the divergence is evaluated: those of dp_accounting.
pub fn orders() -> Vec<f64> {
    let fractional = (1..100).map(|tenth| 1.0 + f64::from(tenth) / 10.0);
    let whole = (11..64).map(f64::from);
    fractional.chain(whole).chain([128.0, 256.0, 512.0, 1024.0]).collect()
}

/// The Rényi divergence of order `order` of one step.
pub fn divergence(sample_rate: f64, noise_multiplier: f64, order: f64) -> f64 {
    let variance = noise_multiplier * noise_multiplier;
    if sample_rate >= 1.0 {
        return order / (2.0 * variance);
    }
    let log_moment = if order.fract() == 0.0 {
        log_moment_integer(sample_rate, variance, order as u32)
    } else {
        log_moment_integral(sample_rate, noise_multiplier, order)
    };
    // A moment of one may come out a rounding below it.
    (log_moment / (order - 1.0)).max(0.0)
}

/// ln Σₖ C(α, k) (1 − q)^{α−k} q^k e^{k(k−1)/(2σ²)}.
fn log_moment_integer(sample_rate: f64, variance: f64, order: u32) -> f64 {
    let (log_in, log_out) = (sample_rate.ln(), (-sample_rate).ln_1p());
    let alpha = f64::from(order);
    // The terms k = 0 and 1 carry no growth: Σ of the binomial weights is one, so that what is
    // summed is only the excess e^{…} − 1 of the others; otherwise a tiny q drowns in rounding.
    let excess = log_sum_exp((2..=order).map(|k| {
        let k = f64::from(k);
        let growth = k * (k - 1.0) / (2.0 * variance);
        let log_growth_less_one = if growth > 40.0 { growth } else { growth.exp_m1().ln() };
        libm::lgamma(alpha + 1.0) - libm::lgamma(k + 1.0) - libm::lgamma(alpha - k + 1.0)
            + k * log_in
            + (alpha - k) * log_out
            + log_growth_less_one
    }));
    log_one_plus_exp(excess)
}

/// ln E[(1 − q + q e^{(2x−1)/(2σ²)})^α] over x ~ N(0, σ²).
fn log_moment_integral(sample_rate: f64, sigma: f64, order: f64) -> f64 {
    let variance = sigma * sigma;
    let (low, high) = (-14.0 * sigma, order + 14.0 * sigma);
    let points = ((high - low) / (sigma / 24.0)).ceil() as u64;
    let step = (high - low) / points as f64;
    let log_normaliser = (step / (sigma * (2.0 * std::f64::consts::PI).sqrt())).ln();
    // As for integers, only the excess over one is summed: E[r^α − 1 − α(r − 1)], whose last term
    // has expectation zero. It is never negative, since r^α is convex.
    let excess = log_sum_exp((0..=points).map(|index| {
        let x = low + index as f64 * step;
        let exponent = (2.0 * x - 1.0) / (2.0 * variance);
        let log_density = log_normaliser - x * x / (2.0 * variance);
        let less_one = sample_rate * exponent.min(700.0).exp_m1();
        let log_ratio =
            if exponent > 700.0 { exponent + sample_rate.ln() } else { less_one.ln_1p() };
        log_density + log_bregman(less_one, log_ratio, order)
    }));
    log_one_plus_exp(excess)
}

/// ln(r^α − 1 − α(r − 1)) for r = 1 + `less_one`, with ln r given.
fn log_bregman(less_one: f64, log_ratio: f64, order: f64) -> f64 {
    let growth = order * log_ratio;
    if growth > 40.0 {
        return growth + (-(order * less_one) * (-growth).exp()).max(-0.999_999).ln_1p();
    }
    if less_one.abs() * order < 1e-3 {
        // Taylor series; the direct formula would cancel.
        let second = order * (order - 1.0) / 2.0;
        let third = (order - 2.0) / 3.0 * less_one;
        let fourth = third * (order - 3.0) / 4.0 * less_one;
        return (second * less_one * less_one * (1.0 + third + fourth)).ln();
    }
    (growth.exp_m1() - order * less_one).max(f64::MIN_POSITIVE).ln()
}

/// ε of the phases at `delta`.
///
/// # Errors
/// When a parameter is outside its range.
pub fn epsilon(phases: &[Phase], delta: f64) -> Result<f64, AccountingError> {
    epsilon_and_order(phases, delta).map(|(epsilon, _)| epsilon)
}

/// ε of the phases at `delta`, and the order that gives it.
///
/// # Errors
/// When a parameter is outside its range.
pub fn epsilon_and_order(phases: &[Phase], delta: f64) -> Result<(f64, f64), AccountingError> {
    check(phases, delta)?;
    let phases = active(phases);
    if phases.is_empty() {
        return Ok((0.0, f64::INFINITY));
    }
    let mut best = (f64::INFINITY, f64::NAN);
    for order in orders() {
        let divergence: f64 = phases
            .iter()
            .map(|phase| {
                phase.steps as f64 * divergence(phase.sample_rate, phase.noise_multiplier, order)
            })
            .sum();
        let epsilon = convert(divergence, order, delta);
        if epsilon < best.0 {
            best = (epsilon, order);
        }
    }
    Ok(best)
}

/// The smallest ε that Rényi divergence `divergence` of order `order` is known to imply.
fn convert(divergence: f64, order: f64, delta: f64) -> f64 {
    // Total variation is at most √(1 − e^{−KL}), and KL is at most the divergence: where that is
    // below δ no ε is needed.
    if delta * delta + (-divergence).exp_m1() > 0.0 {
        return 0.0;
    }
    let epsilon = divergence + (-1.0 / order).ln_1p() - (delta.ln() + order.ln()) / (order - 1.0);
    epsilon.max(0.0)
}

fn log_sum_exp(terms: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = terms.clone().fold(f64::NEG_INFINITY, f64::max);
    if largest == f64::NEG_INFINITY {
        return largest;
    }
    largest + terms.map(|term| (term - largest).exp()).sum::<f64>().ln()
}

fn log_one_plus_exp(x: f64) -> f64 {
    if x > 40.0 { x } else { x.exp().ln_1p() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integral_and_binomial_sum_agree() {
        for (q, sigma) in [(0.01, 1.0), (0.3, 0.5), (1e-5, 0.4), (0.9, 20.0), (1e-4, 50.0)] {
            for order in [2_u32, 3, 7, 32] {
                let sum = log_moment_integer(q, sigma * sigma, order);
                let integral = log_moment_integral(q, sigma, f64::from(order));
                assert!(
                    (sum - integral).abs() <= 1e-8 * sum.abs().max(1e-300),
                    "q {q} sigma {sigma} order {order}: {sum} {integral}"
                );
            }
        }
    }

    #[test]
    fn full_batch_is_the_gaussian_mechanism() {
        assert!((divergence(1.0, 2.0, 5.0) - 0.625).abs() < 1e-15);
        assert!((divergence(1.0 - 1e-12, 2.0, 4.5) - 0.5625).abs() < 1e-9);
    }
}
