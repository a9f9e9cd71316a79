//! ε where one unit is replaced by another: dp-accounting's figures, and the pair of gradients that
//! they are made from against others.

mod fixtures;

use fixtures::{number, phase, rows};
use pft_dp::accounting::{Phase, pld};

#[test]
fn agrees_with_dp_accounting() {
    let rows = rows("replace_one.csv");
    assert!(rows.len() >= 10);
    for row in &rows {
        let (phase, delta, expected) = (phase(row), number(row, "delta"), number(row, "pld"));
        let found = pld::replace_one_epsilon(&[phase], delta).expect("accountable");
        let what = format!("{phase:?} {delta:e}: {found:?}, dp-accounting {expected}");
        assert!((found.epsilon / expected - 1.0).abs() < 1e-3, "{what}");
        let (lower, upper) = (found.lower.expect("a bound"), found.upper.expect("a bound"));
        assert!(upper - lower <= 1e-3 * upper, "{what}");
        assert!(lower <= expected * (1.0 + 1e-9), "{what}");
    }
}

#[test]
fn costs_more_than_removing_one_unit_and_less_than_two() {
    for row in rows("replace_one.csv") {
        let (phases, delta) = ([phase(&row)], number(&row, "delta"));
        let removed = pld::epsilon(&phases, delta).expect("accountable").epsilon;
        let replaced = pld::replace_one_epsilon(&phases, delta).expect("accountable").epsilon;
        let two = pld::group_epsilon(&phases, delta, 2).expect("accountable").epsilon;
        assert!(removed <= replaced && replaced <= two * 1.001, "{removed} {replaced} {two}");
    }
}

/// δ(ε) of one step whose differing unit has gradient `one` in the one data set and `other` in the
/// other, by adding up the plane that holds both.
fn delta(q: f64, sigma: f64, epsilon: f64, one: [f64; 2], other: [f64; 2]) -> f64 {
    let density = |x: [f64; 2], center: [f64; 2]| {
        let square = (x[0] - center[0]).powi(2) + (x[1] - center[1]).powi(2);
        (-square / (2.0 * sigma * sigma)).exp() / (2.0 * std::f64::consts::PI * sigma * sigma)
    };
    let (reach, points) = (1.0 + 7.0 * sigma, 240);
    let step = 2.0 * reach / f64::from(points);
    let at = |index: u32| -reach + (f64::from(index) + 0.5) * step;
    let mut sum = 0.0;
    for row in 0..points {
        for column in 0..points {
            let x = [at(row), at(column)];
            let absent = (1.0 - q) * density(x, [0.0, 0.0]);
            let (upper, lower) = (absent + q * density(x, one), absent + q * density(x, other));
            sum += (upper - epsilon.exp() * lower).max(0.0);
        }
    }
    sum * step * step
}

#[test]
fn opposite_gradients_tell_the_most() {
    for (q, sigma, epsilon) in [(0.1, 1.0, 0.1), (0.5, 0.6, 1.0), (0.02, 0.4, 2.0), (1.0, 2.0, 0.5)]
    {
        let worst = delta(q, sigma, epsilon, [1.0, 0.0], [-1.0, 0.0]);
        for angle in 0..12 {
            for length in [0.0, 0.3, 0.7, 1.0] {
                let turn = f64::from(angle) * std::f64::consts::PI / 12.0;
                let other = [length * turn.cos(), length * turn.sin()];
                for (one, other) in [([1.0, 0.0], other), (other, [1.0, 0.0])] {
                    let found = delta(q, sigma, epsilon, one, other);
                    assert!(found <= worst * (1.0 + 1e-6), "{one:?} {other:?}: {found} {worst}");
                }
            }
        }
        // And the accountant's answer for one step is this pair's.
        let phase = Phase { sample_rate: q, noise_multiplier: sigma, steps: 1 };
        let found = pld::replace_one_epsilon(&[phase], worst).expect("accountable").epsilon;
        assert!((found - epsilon).abs() < 2e-3 * epsilon.max(1.0), "{found} {epsilon}");
    }
}
