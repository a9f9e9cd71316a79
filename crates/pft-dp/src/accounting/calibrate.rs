//! The questions asked before training: how much noise for a budget, how many steps for one.

use super::{Accountant, AccountingError, NOISE_MULTIPLIERS, Phase, check};

/// The smallest noise multiplier (to the tolerance below) with which `steps` steps may follow what
/// `earlier` phases have spent, and all together spend at most `target` at `delta`. What they spend is
/// within 0.1 % (and 0.005) of it, or the noise is the least that can be accounted for.
///
/// # Errors
/// When a parameter is outside its range, no noise is enough, or `earlier` has spent `target` already.
pub fn calibrate_noise_multiplier(
    accountant: Accountant,
    earlier: &[Phase],
    sample_rate: f64,
    steps: u64,
    target: f64,
    delta: f64,
) -> Result<f64, AccountingError> {
    if !(target > 0.0 && target.is_finite()) {
        return Err(AccountingError::Range {
            name: "target_epsilon",
            value: target,
            range: "positive and finite",
        });
    }
    check(earlier, delta)?;
    let before = accountant.spent(earlier, delta)?;
    if before >= target {
        return Err(AccountingError::Spent { spent: before, target, delta });
    }
    let tolerance = (1e-3 * target).min(5e-3);
    let (least, most) = (*NOISE_MULTIPLIERS.start(), *NOISE_MULTIPLIERS.end());
    let spent = |noise_multiplier: f64| {
        let step = Phase { sample_rate, noise_multiplier, steps };
        accountant.spent(&[earlier, &[step]].concat(), delta)
    };

    let (mut low, mut high) = (1.0, 1.0);
    let (mut spent_low, mut spent_high) = {
        let spent = spent(1.0)?;
        (spent, spent)
    };
    while spent_high > target {
        if high >= most {
            return Err(AccountingError::Unreachable { target, delta, limit: most });
        }
        (low, spent_low) = (high, spent_high);
        high = (2.0 * high).min(most);
        spent_high = spent(high)?;
    }
    while spent_low <= target {
        if low <= least {
            return Ok(least);
        }
        (high, spent_high) = (low, spent_low);
        low = (0.5 * low).max(least);
        spent_low = spent(low)?;
    }

    // Regula falsi on ln ε over ln σ, nearly a line; every third step halves, lest it creep.
    for iteration in 0..100 {
        if target - spent_high <= tolerance || high / low - 1.0 < 1e-12 {
            break;
        }
        let (left, right) = (low.ln(), high.ln());
        // Aim at the middle of what is accepted.
        let aim = (target - 0.5 * tolerance).ln();
        let fraction = (spent_low.ln() - aim) / (spent_low.ln() - spent_high.max(1e-300).ln());
        let fraction = if iteration % 3 == 2 || !fraction.is_finite() {
            0.5
        } else {
            fraction.clamp(0.01, 0.99)
        };
        let middle = (left + fraction * (right - left)).exp();
        let spent_middle = spent(middle)?;
        if spent_middle > target {
            (low, spent_low) = (middle, spent_middle);
        } else {
            (high, spent_high) = (middle, spent_middle);
        }
    }
    Ok(high)
}

/// The largest number of steps, up to `limit`, that may follow `earlier` phases without spending
/// more than `target` at `delta`.
///
/// # Errors
/// When a parameter is outside its range.
pub fn steps_within(
    accountant: Accountant,
    earlier: &[Phase],
    step: Phase,
    target: f64,
    delta: f64,
    limit: u64,
) -> Result<u64, AccountingError> {
    let mut phases = earlier.to_vec();
    phases.push(step);
    let last = phases.len() - 1;
    let mut fits = |steps: u64| -> Result<bool, AccountingError> {
        phases[last].steps = steps;
        Ok(accountant.spent(&phases, delta)? <= target)
    };
    if !fits(0)? || !fits(1)? {
        return Ok(0);
    }
    let mut low = 1;
    let mut high = 2;
    while high <= limit && fits(high)? {
        low = high;
        high = high.saturating_mul(2);
    }
    high = high.min(limit.saturating_add(1));
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if fits(middle)? {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(low.min(limit))
}
