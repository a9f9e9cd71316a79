//! One rule for the numbers of a promise: they may be understated, never overstated, so they are
//! rounded up wherever they are shown: in statements, on cards, and by the runner, which knows neither
//! models nor accountants.

/// An ε with four digits after the point, rounded up: a promise may be understated, never overstated.
pub fn rounded_up(epsilon: f64) -> String {
    up(epsilon, 0.5e-4, |value| format!("{value:.4}"))
}

/// The lower bound of an ε with four digits after the point, rounded down.
pub fn rounded_down(epsilon: f64) -> String {
    format!("{:.4}", (epsilon * 1e4).floor() / 1e4)
}

/// A δ with four digits, rounded up.
pub fn delta_rounded_up(delta: f64) -> String {
    up(delta, 0.5 * 10_f64.powf(delta.log10().floor() - 3.0), |value| format!("{value:.3e}"))
}

/// `show` rounds to the nearest; `half` of its last digit more, where that is less than the value.
fn up(value: f64, half: f64, show: impl Fn(f64) -> String) -> String {
    let nearest = show(value);
    match nearest.parse::<f64>() {
        Ok(shown) if shown < value => show(value + half),
        _ => nearest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promises_are_rounded_up() {
        for (epsilon, shown) in [(7.9975322, "7.9976"), (8.0, "8.0000"), (0.00001, "0.0001")] {
            assert_eq!(rounded_up(epsilon), shown);
        }
        for (epsilon, shown) in [(7.9975999, "7.9975"), (8.0, "8.0000"), (0.00009, "0.0000")] {
            assert_eq!(rounded_down(epsilon), shown);
        }
        for (delta, shown) in [
            (1e-5, "1.000e-5"),
            (4.66512e-1, "4.666e-1"),
            (9.9999e-6, "1.000e-5"),
            (1.0 / 183.0, "5.465e-3"),
        ] {
            assert_eq!(delta_rounded_up(delta), shown);
        }
    }
}
