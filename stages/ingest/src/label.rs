//! The text of a value that is an id, a unit or a split: one text for one value, whatever the type that
//! a file keeps it in. A column that is whole numbers in one file is floating point in the next as soon
//! as a value was missing there, and `7` and `7.0` must not be two people.
//!
//! | value | text |
//! |---|---|
//! | text | as it is |
//! | whole number | its digits |
//! | floating point that is a whole number, and could not be another before rounding | its digits |
//! | floating point otherwise | refused |
//! | NaN | missing, as null is |
//! | decimal | without zeros at the end of its fraction: `7`, `1.5` |
//! | truth value | `true`, `false` |
//! | date, time | as in ISO 8601, with a zone in UTC |
//! | UUID | 32 hexadecimal digits in lower case with hyphens |

use std::fmt::Write;

/// The largest number up to which every whole number is one of floating point, by its significant
/// bits: 11 (half), 24 (single), 53 (double).
fn exact_below(significant_bits: u32) -> f64 {
    2f64.powi(significant_bits.cast_signed())
}

/// Why a value cannot be a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoLabel {
    /// Floating point with a fraction: what it was written from is not known.
    Fraction,
    /// Floating point so large that it stands for several whole numbers, or infinite.
    TooLarge,
    /// A list, an object or the like.
    NoValue,
}

impl NoLabel {
    /// What is said of the value.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Fraction => "is floating point with a fraction, which is no id",
            Self::TooLarge => "is floating point that is too large to be a whole number exactly",
            Self::NoValue => "is a list or an object, not text or a number",
        }
    }
}

/// The labels of a column; `None` where a value is missing.
pub(crate) type Labels = Vec<Result<Option<String>, NoLabel>>;

/// The label of a floating-point number.
pub(crate) fn of_float(value: f64, significant_bits: u32) -> Result<Option<String>, NoLabel> {
    if value.is_nan() {
        return Ok(None);
    }
    // At the border a number may be rounded from one that is not a float.
    if value.abs() >= exact_below(significant_bits) {
        return Err(NoLabel::TooLarge);
    }
    if value.fract() != 0.0 {
        return Err(NoLabel::Fraction);
    }
    Ok(Some((value as i64).to_string()))
}

/// The label of a decimal number from its digits.
pub(crate) fn of_decimal(digits: &str) -> String {
    let value = if digits.contains('.') {
        digits.trim_end_matches('0').trim_end_matches('.')
    } else {
        digits
    };
    if value == "-0" { "0".to_string() } else { value.to_string() }
}

/// The label of a UUID from its 16 bytes.
pub(crate) fn of_uuid(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The other way in which a label writes a number: `7` for `7.0`, `7.0` for `7`. In a file without
/// types nobody can tell whether two units of these names are one.
pub(crate) fn twin(label: &str) -> Option<String> {
    let is_whole = |digits: &str| {
        let digits = digits.strip_prefix('-').unwrap_or(digits);
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    match label.strip_suffix(".0") {
        Some(whole) => is_whole(whole).then(|| whole.to_string()),
        None => is_whole(label).then(|| format!("{label}.0")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_whole_numbers_or_refused() {
        let of = |value: f64| of_float(value, 53);
        assert_eq!(of(7.0), Ok(Some("7".into())));
        assert_eq!(of(-0.0), Ok(Some("0".into())));
        assert_eq!(of(f64::NAN), Ok(None));
        assert_eq!(of(7.5), Err(NoLabel::Fraction));
        assert_eq!(of(9_007_199_254_740_991.0), Ok(Some("9007199254740991".into())));
        for large in [9_007_199_254_740_992.0, 1e300, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(of(large), Err(NoLabel::TooLarge), "{large}");
        }
        assert_eq!(of_float(16_777_216.0, 24), Err(NoLabel::TooLarge));
        assert_eq!(of_float(2047.0, 11), Ok(Some("2047".into())));
    }

    /// No two whole numbers that become one float are both taken.
    #[test]
    fn singles_that_stand_for_several_numbers_are_refused() {
        for number in (1 << 24) - 3..(1 << 24) + 100 {
            let label = of_float(f64::from(number as f32), 24);
            assert!(label.is_err() || label == Ok(Some(number.to_string())), "{number}");
        }
    }

    #[test]
    fn decimals_have_no_idle_zeros() {
        for (digits, label) in
            [("7.00", "7"), ("1.50", "1.5"), ("700", "700"), ("0.00", "0"), ("-0.00", "0")]
        {
            assert_eq!(of_decimal(digits), label);
        }
    }

    #[test]
    fn twins_are_whole_numbers_with_and_without_a_point() {
        assert_eq!(twin("7"), Some("7.0".into()));
        assert_eq!(twin("-12.0"), Some("-12".into()));
        for label in ["", "a", "7.5", "1.0.0", "-", ".0", "7.00"] {
            assert_eq!(twin(label), None, "{label}");
        }
    }
}
