//! The one-run audit of Steinke, Nasr and Jagielski (2023): what a training run itself shows
//! about its ε.
//!
//! Of m canaries each takes part by a fair coin. Afterwards the auditor scores them and guesses
//! r⁺ of the highest as having taken part and r⁻ of the lowest as not. If training is (ε, 0)-DP,
//! correct guesses are stochastically at most Binomial(r, e^ε / (1 + e^ε)); δ adds at most
//! 2mδ·max (Theorem 5.2). An ε at which so many correct guesses are unlikely is refuted.
//!
//! The bound depends on the number of guesses and, by the share of δ, of canaries: 508 right of 600 show
//! 1.52 among 1,000 canaries, 1.50 among 20,000 and 1.09 among 200,000 (δ = 10⁻⁵, 95 %). An ε from an audit
//! says nothing without these numbers.

use crate::accounting::AccountingError;

/// What an audit found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AuditResult {
    /// With the confidence asked for, ε is at least this.
    pub epsilon_lower: f64,
    /// Guesses made.
    pub guesses: usize,
    /// Guesses that were right.
    pub correct: usize,
}

/// The probability of at least `correct` right guesses of `guesses` among `canaries`, if the
/// run is (`epsilon`, `delta`)-differentially private: an upper bound.
pub fn p_value(canaries: usize, guesses: usize, correct: usize, epsilon: f64, delta: f64) -> f64 {
    // e^ε / (1 + e^ε), and its complement, without overflow.
    let right = 1.0 / (1.0 + (-epsilon).exp());
    let (log_right, log_wrong) = (right.ln(), -(epsilon + (-epsilon).exp().ln_1p()));
    let mass = |count: usize| {
        let (n, k) = (guesses as f64, count as f64);
        (libm::lgamma(n + 1.0) - libm::lgamma(k + 1.0) - libm::lgamma(n - k + 1.0)
            + k * log_right
            + (n - k) * log_wrong)
            .exp()
    };
    let beta: f64 = (correct..=guesses).map(mass).sum();
    let mut sum = 0.0;
    let mut alpha = 0.0_f64;
    for index in 1..=correct {
        sum += mass(correct - index);
        alpha = alpha.max(sum / index as f64);
    }
    (beta + 2.0 * canaries as f64 * delta * alpha).min(1.0)
}

/// The largest ε that `correct` of `guesses` right guesses among `canaries` refute at
/// `confidence`.
///
/// # Errors
/// When the counts or probabilities are outside their range.
pub fn epsilon_lower_bound(
    canaries: usize,
    guesses: usize,
    correct: usize,
    delta: f64,
    confidence: f64,
) -> Result<f64, AccountingError> {
    let range = |name, value, range| Err(AccountingError::Range { name, value, range });
    if !(0.0..1.0).contains(&delta) {
        return range("delta", delta, "at least 0 and below 1");
    }
    if !(confidence > 0.0 && confidence < 1.0) {
        return range("confidence", confidence, "between 0 and 1, both excluded");
    }
    if guesses > canaries || correct > guesses {
        return range("correct", correct as f64, "at most the guesses, and they the canaries");
    }
    let refuted =
        |epsilon: f64| p_value(canaries, guesses, correct, epsilon, delta) < 1.0 - confidence;
    if !refuted(0.0) {
        return Ok(0.0);
    }
    let (mut low, mut high) = (0.0, 1.0);
    while refuted(high) && high < 1e3 {
        low = high;
        high *= 2.0;
    }
    for _ in 0..60 {
        let middle = 0.5 * (low + high);
        if refuted(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

/// Audits scores: `scores[i]` is high where canary i seems to have taken part, `included[i]`
/// whether it did. The `guesses / 2` highest are guessed in and as many of the lowest out; the
/// number of guesses must be chosen before looking at `included`.
///
/// # Errors
/// When the counts or probabilities are outside their range.
pub fn audit_one_run(
    scores: &[f64],
    included: &[bool],
    guesses: usize,
    delta: f64,
    confidence: f64,
) -> Result<AuditResult, AccountingError> {
    if scores.len() != included.len() || guesses > scores.len() {
        return Err(AccountingError::Range {
            name: "guesses",
            value: guesses as f64,
            range: "at most the number of scores, one for each canary",
        });
    }
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&left, &right| scores[left].total_cmp(&scores[right]).then(left.cmp(&right)));
    let half = guesses / 2;
    let lowest = order[..half].iter().filter(|&&canary| !included[canary]).count();
    let highest = order[order.len() - half..].iter().filter(|&&canary| included[canary]).count();
    let correct = lowest + highest;
    let epsilon_lower = epsilon_lower_bound(scores.len(), 2 * half, correct, delta, confidence)?;
    Ok(AuditResult { epsilon_lower, guesses: 2 * half, correct })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounting::gdp;

    #[test]
    fn pure_privacy_is_a_binomial_tail() {
        // Ten of ten right: p = (e^ε / (1 + e^ε))^10.
        let expected = (0.05_f64.powf(0.1) / (1.0 - 0.05_f64.powf(0.1))).ln();
        let found = epsilon_lower_bound(10, 10, 10, 0.0, 0.95).unwrap();
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        assert_eq!(epsilon_lower_bound(10, 10, 5, 0.0, 0.95), Ok(0.0));
        assert!(epsilon_lower_bound(10, 11, 5, 0.0, 0.95).is_err());
    }

    /// As other implementations of Theorem 5.2 have it, to the digits that they print.
    #[test]
    fn known_counts_give_known_bounds() {
        for (canaries, guesses, correct, expected) in [
            (1000, 200, 110, 0.0),
            (1000, 200, 120, 0.158),
            (1000, 200, 150, 0.820),
            (1000, 200, 190, 2.394),
            (1000, 200, 200, 4.166),
            (1000, 600, 508, 1.518),
            (20_000, 600, 508, 1.5043),
            (200_000, 600, 508, 1.089),
        ] {
            let found = epsilon_lower_bound(canaries, guesses, correct, 1e-5, 0.95).unwrap();
            let what = format!("{correct} of {guesses} among {canaries}: {found}");
            assert!((found - expected).abs() < 5.1e-4, "{what}");
        }
        let precise = epsilon_lower_bound(20_000, 600, 508, 1e-5, 0.95).unwrap();
        assert!((precise - 1.5043).abs() < 5e-5, "{precise}");
    }

    /// The same rate of right guesses shows less among more canaries, since δ counts for each.
    #[test]
    fn more_canaries_weaken_the_bound() {
        let bounds: Vec<f64> = [1000, 20_000, 100_000, 200_000]
            .into_iter()
            .map(|canaries| epsilon_lower_bound(canaries, 600, 508, 1e-5, 0.95).unwrap())
            .collect();
        assert!(bounds.is_sorted_by(|left, right| left > right), "{bounds:?}");
        let without_delta =
            [1000, 200_000].map(|m| epsilon_lower_bound(m, 600, 508, 0.0, 0.95).unwrap());
        assert_eq!(without_delta[0], without_delta[1]);
    }

    #[test]
    fn delta_weakens_the_bound() {
        let bounds: Vec<f64> = [0.0, 1e-6, 1e-4, 1e-2]
            .into_iter()
            .map(|delta| epsilon_lower_bound(1000, 200, 190, delta, 0.95).unwrap())
            .collect();
        assert!(bounds.is_sorted_by(|left, right| left >= right), "{bounds:?}");
        assert!(bounds[0] > bounds[3]);
    }

    /// Orthogonal canaries of one full-batch step: canary i's coordinate is its coin plus noise.
    fn toy_audit(noise_multiplier: f64, clipped: bool) -> AuditResult {
        use crate::noise::GaussianNoise;
        use crate::secret::{Randomness, RunSecret};
        let canaries = 2000;
        let secret = RunSecret::new(Randomness::FixedSeed(11)).unwrap();
        let coins = crate::PoissonSampler::new(
            &secret,
            0.5,
            1,
            &(0..canaries).map(|index| index.to_string()).collect::<Vec<_>>(),
        )
        .unwrap()
        .sample(0);
        let mut included = vec![false; canaries];
        coins.into_iter().for_each(|canary| included[canary] = true);
        // A canary's gradient has norm 5; clipping brings it to 1.
        let length = if clipped { 1.0 } else { 5.0 };
        let mut sum: Vec<f32> =
            included.iter().map(|&included| if included { length } else { 0.0 }).collect();
        GaussianNoise::new(&secret, 1).of_tensor(0, 0, noise_multiplier, 1.0).add_all(&mut sum);
        let scores: Vec<f64> = sum.into_iter().map(f64::from).collect();
        audit_one_run(&scores, &included, 200, 1e-5, 0.95).unwrap()
    }

    #[test]
    fn an_honest_mechanism_passes_and_planted_bugs_are_caught() {
        let noise_multiplier = 0.8;
        let claimed = gdp::gaussian_epsilon(1.0 / noise_multiplier, 1e-5);
        let honest = toy_audit(noise_multiplier, true);
        assert!(honest.epsilon_lower < claimed, "{honest:?} {claimed}");
        assert!(honest.epsilon_lower > 0.5, "the audit sees something: {honest:?}");

        let half_noise = toy_audit(0.5 * noise_multiplier, true);
        assert!(half_noise.epsilon_lower > 1.3 * honest.epsilon_lower, "{half_noise:?}");
        let unclipped = toy_audit(noise_multiplier, false);
        assert_eq!(unclipped.correct, unclipped.guesses);
        assert!(unclipped.epsilon_lower > 1.3 * honest.epsilon_lower, "{unclipped:?}");
    }

    #[test]
    fn a_large_claim_is_refuted_when_noise_is_missing() {
        // A claim of ε = 3 is refuted both with a tenth of the noise and without clipping.
        let noise_multiplier = 1.4;
        let claimed = gdp::gaussian_epsilon(1.0 / noise_multiplier, 1e-5);
        assert!(toy_audit(noise_multiplier, true).epsilon_lower < claimed);
        assert!(toy_audit(0.1 * noise_multiplier, true).epsilon_lower > claimed);
        assert!(toy_audit(noise_multiplier, false).epsilon_lower > claimed);
    }
}
