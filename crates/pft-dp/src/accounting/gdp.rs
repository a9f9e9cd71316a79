//! Gaussian differential privacy by the central limit theorem (Bu, Dong, Long and Su 2020).
//!
//! The composition of many subsampled steps approaches a Gaussian mechanism with
//! μ² = Σ q² T (e^{1/σ²} − 1). The limit is approached from below as often as from above: this is
//! an approximation, never a bound.

use super::{AccountingError, Phase, active, check, normal};

/// The approximate μ of the phases.
pub fn mu(phases: &[Phase]) -> f64 {
    active(phases)
        .iter()
        .map(|phase| {
            let exponent = phase.noise_multiplier.powi(-2).min(700.0);
            phase.sample_rate.powi(2) * phase.steps as f64 * exponent.exp_m1()
        })
        .sum::<f64>()
        .sqrt()
}

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
    let first = normal::log_cdf(mu / 2.0 - epsilon / mu);
    let second = epsilon + normal::log_cdf(-mu / 2.0 - epsilon / mu);
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
