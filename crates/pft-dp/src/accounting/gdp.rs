//! Gaussian differential privacy by the central limit theorem (Bu, Dong, Long and Su 2020).
//!
//! The composition of many subsampled steps approaches a Gaussian mechanism with
//! μ² = Σ q² T (e^{1/σ²} − 1). The limit is approached from below as often as from above: this is
//! an approximation, never a bound.

use super::{AccountingError, Phase, active, check, normal};

/// The approximate μ of the phases.
pub fn mu(phases: &[Phase]) -> f64 {
    // In logarithms: with little noise μ² leaves a double's range.
    let logs = active(phases).into_iter().map(|phase| {
        let exponent = phase.noise_multiplier.powi(-2);
        let growth = if exponent > 40.0 { exponent } else { exponent.exp_m1().ln() };
        0.5 * (growth + (phase.steps as f64).ln()) + phase.sample_rate.ln()
    });
    let squares = |log: f64| (2.0 * log.min(MAX_LOG_MU)).exp();
    logs.map(squares).sum::<f64>().sqrt()
}

/// Beyond this μ no ε is told from infinity.
const MAX_LOG_MU: f64 = 170.0;

/// The approximate ε of the phases at `delta`.
///
/// # Errors
/// When a parameter is outside its range.
pub fn epsilon(phases: &[Phase], delta: f64) -> Result<f64, AccountingError> {
    check(phases, delta)?;
    Ok(gaussian_epsilon(mu(phases), delta))
}

/// ln δ(ε) of the Gaussian mechanism with signal-to-noise ratio μ (Balle and Wang 2018).
pub fn gaussian_log_delta(mu: f64, epsilon: f64) -> f64 {
    let (near, far) = (epsilon / mu - mu / 2.0, epsilon / mu + mu / 2.0);
    let first = normal::log_cdf(-near);
    // ε = (far² − near²) / 2, so that e^ε P(Z > far) is e^{−near²/2} times the tail over its
    // density: the large exponents cancel on paper.
    let second = normal::log_tail_over_density(far) - 0.5 * near * near;
    // δ = e^first − e^second, and second < first.
    first + (-(second - first).min(0.0).exp()).ln_1p()
}

/// The exact ε of the Gaussian mechanism with signal-to-noise ratio μ at `delta`; 0 where none is
/// needed.
pub fn gaussian_epsilon(mu: f64, delta: f64) -> f64 {
    if mu <= 0.0 {
        return 0.0;
    }
    let target = delta.ln();
    if gaussian_log_delta(mu, 0.0) <= target {
        return 0.0;
    }
    let (mut low, mut high) = (0.0, mu * mu / 2.0 + mu);
    while gaussian_log_delta(mu, high) > target {
        low = high;
        high *= 2.0;
    }
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            break;
        }
        if gaussian_log_delta(mu, middle) > target {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_for_the_gaussian_mechanism() {
        assert!((gaussian_epsilon(1.0, 1e-5) - 4.377_178_1).abs() < 1e-6);
        assert_eq!(gaussian_epsilon(1e-9, 1e-5), 0.0);
        for mu in [1e-3, 0.1, 1.0, 30.0, 1e4] {
            for delta in [1e-3, 1e-6, 1e-12] {
                let epsilon = gaussian_epsilon(mu, delta);
                assert!(epsilon.is_finite());
                assert!(
                    epsilon == 0.0 || (gaussian_log_delta(mu, epsilon) - delta.ln()).abs() < 1e-5,
                    "mu {mu} delta {delta}"
                );
            }
        }
    }

    #[test]
    fn central_limit_formula() {
        let phase = Phase { sample_rate: 0.01, noise_multiplier: 1.0, steps: 10_000 };
        assert!((mu(&[phase]) - (std::f64::consts::E - 1.0).sqrt()).abs() < 1e-12);
    }
}
