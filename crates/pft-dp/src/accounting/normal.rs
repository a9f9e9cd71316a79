//! The normal distribution where its tails matter.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// P(Z ≤ x) for a standard normal Z, with relative accuracy in the lower tail.
pub(crate) fn cdf(x: f64) -> f64 {
    0.5 * libm::erfc(-x * FRAC_1_SQRT_2)
}

/// ln P(Z ≤ x), finite however far out x lies.
pub(crate) fn log_cdf(x: f64) -> f64 {
    if x > -30.0 {
        return cdf(x).ln();
    }
    log_tail_over_density(-x) - 0.5 * x * x
}

/// ln(e^{x²/2} P(Z > x)) for x ≥ 0, which does not leave a double's range however large x is: up to
/// a constant the Mills ratio's logarithm.
pub(crate) fn log_tail_over_density(x: f64) -> f64 {
    if x < 30.0 {
        return cdf(-x).ln() + 0.5 * x * x;
    }
    // Asymptotic series; at 30 its first term left out is below 1e-9.
    let inverse_square = 1.0 / (x * x);
    let series = 1.0 - inverse_square * (1.0 - 3.0 * inverse_square * (1.0 - 5.0 * inverse_square));
    series.ln() - x.ln() - 0.5 * (2.0 * PI).ln()
}

/// P(low < Z ≤ high), without cancellation in either tail.
pub(crate) fn interval(low: f64, high: f64) -> f64 {
    if high <= low {
        0.0
    } else if low > 0.0 {
        cdf(-low) - cdf(-high)
    } else {
        cdf(high) - cdf(low)
    }
}

/// The density of a standard normal at `x`.
pub(crate) fn density(x: f64) -> f64 {
    (-0.5 * x * x).exp() / (2.0 * PI).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_agree_with_tables() {
        assert!((cdf(-10.0) / 7.619_853_024_160_527e-24 - 1.0).abs() < 1e-12);
        assert!((log_cdf(-40.0) - -804.608_442_013_754).abs() < 1e-6);
        assert!((log_cdf(-29.999) - log_cdf(-30.001)).abs() < 0.07);
        assert!((interval(8.0, 9.0) / (cdf(-8.0) - cdf(-9.0)) - 1.0).abs() < 1e-14);
    }
}
