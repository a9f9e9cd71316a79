//! Llama 3's scaling of the rotary frequencies, of which GGUF keeps the divisor of each alone.

use serde_json::{Value, json};

use crate::config::RopeScaling;
use crate::layers::rope::llama3;

/// How far a divisor of a file may be from what the constants found for it give: they are stored in
/// 32 bits.
const TOLERANCE: f64 = 1e-5;

/// The context that Llama 3 was first trained with.
const USUAL_CONTEXT: usize = 8192;

/// The divisors of the rotary frequencies that Llama 3's scaling means.
pub(super) fn llama3_factors(scaling: RopeScaling, theta: f64, head_dim: usize) -> Vec<f32> {
    frequencies(theta, head_dim)
        .map(|frequency| (frequency / llama3(frequency, scaling)) as f32)
        .collect()
}

/// Radians a position, from the highest to the lowest.
fn frequencies(theta: f64, head_dim: usize) -> impl Iterator<Item = f64> {
    (0..head_dim / 2).map(move |i| theta.powf(-2.0 * i as f64 / head_dim as f64))
}

/// `rope_scaling` of a `config.json` that gives the divisors found in a file, and `null` where they
/// are all one. Constants as in the released models are tried first; several others may mean the same
/// divisors, and then it does not matter which are taken.
pub(super) fn llama3_scaling(found: &[f32], theta: f64, head_dim: usize) -> Option<Value> {
    let factor = f64::from(*found.last()?);
    if found.iter().all(|divisor| *divisor == 1.0) {
        return Some(Value::Null);
    }
    let contexts = std::iter::once(USUAL_CONTEXT).chain((7..=20).map(|power| 1 << power));
    let usual = contexts.map(|original_max_position_embeddings| RopeScaling::Llama3 {
        factor,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings,
    });
    let gives = |scaling: &RopeScaling| {
        let expected = llama3_factors(*scaling, theta, head_dim);
        let near = |(a, b): (&f32, &f32)| f64::from((a - b).abs()) <= TOLERANCE * f64::from(*b);
        found.len() == expected.len() && found.iter().zip(&expected).all(near)
    };
    let scaling = usual.chain(fitted(found, theta, head_dim)).find(gives)?;
    Some(scaling_json(scaling))
}

/// Between the two bounds, one over the divisor is linear in the frequency: 1/`factor` at the lower
/// bound and 1 at the upper one.
fn fitted(found: &[f32], theta: f64, head_dim: usize) -> Option<RopeScaling> {
    let factor = f64::from(*found.last()?);
    let lowest = 1.0 / factor;
    // Cycles a position, and one over the divisor.
    let cycles = frequencies(theta, head_dim).map(|frequency| frequency / std::f64::consts::TAU);
    let points: Vec<(f64, f64)> =
        cycles.zip(found).map(|(x, divisor)| (x, 1.0 / f64::from(*divisor))).collect();
    let is = |value: f64| move |(_, y): &&(f64, f64)| (y - value).abs() <= TOLERANCE * value;
    let kept = points.iter().take_while(is(1.0)).last().map(|(x, _)| *x);
    let divided = points.iter().find(is(lowest)).map(|(x, _)| *x)?;
    let between: Vec<&(f64, f64)> =
        points.iter().filter(|(x, _)| *x > divided && kept.is_none_or(|kept| *x < kept)).collect();
    let (low, high) = match (between.first(), between.last()) {
        (Some((x, y)), Some((other_x, other_y))) => {
            let slope = if x == other_x {
                // Steep enough to leave the neighbours on their sides of the bounds.
                let below = (y - lowest) / (x - divided);
                let above = kept.map_or(0.0, |kept| (1.0 - y) / (kept - x));
                if below.abs() > above.abs() { below } else { above }
            } else {
                (y - other_y) / (x - other_x)
            };
            (x - (y - lowest) / slope, x + (1.0 - y) / slope)
        }
        _ => (divided, kept.unwrap_or(2.0 * divided)),
    };
    let context = USUAL_CONTEXT as f64;
    let sound = low.is_finite() && low > 0.0 && high > low && high.is_finite();
    sound.then_some(RopeScaling::Llama3 {
        factor,
        low_freq_factor: context * low,
        high_freq_factor: context * high,
        original_max_position_embeddings: USUAL_CONTEXT,
    })
}

fn scaling_json(scaling: RopeScaling) -> Value {
    let RopeScaling::Llama3 {
        factor,
        low_freq_factor,
        high_freq_factor,
        original_max_position_embeddings,
    } = scaling
    else {
        return Value::Null;
    };
    json!({
        "rope_type": "llama3", "factor": factor, "low_freq_factor": low_freq_factor,
        "high_freq_factor": high_freq_factor,
        "original_max_position_embeddings": original_max_position_embeddings,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scaling(factor: f64, low: f64, high: f64, original: usize) -> RopeScaling {
        RopeScaling::Llama3 {
            factor,
            low_freq_factor: low,
            high_freq_factor: high,
            original_max_position_embeddings: original,
        }
    }

    #[test]
    fn released_models_are_recognised_by_their_divisors() {
        for original in [8192, 4096] {
            let mut factors = llama3_factors(scaling(32.0, 1.0, 4.0, original), 500_000.0, 64);
            assert_eq!((factors[0], factors[31]), (1.0, 32.0));
            let found = llama3_scaling(&factors, 500_000.0, 64).unwrap();
            assert_eq!(found["factor"], json!(32.0));
            assert_eq!(found["original_max_position_embeddings"], json!(original));
            assert_eq!(found["high_freq_factor"], json!(4.0));
            factors[2] *= 1.1;
            assert!(llama3_scaling(&factors, 500_000.0, 64).is_none());
        }
        assert_eq!(llama3_scaling(&[1.0; 32], 500_000.0, 64), Some(Value::Null));
    }

    #[test]
    fn any_constants_come_back_as_some_with_the_same_divisors() {
        for factor in [0.5, 1.5, 8.0, 61.0] {
            for low in [0.3, 1.0, 2.5, 7.0] {
                for spread in [1.05, 1.7, 4.0, 30.0] {
                    for original in [64, 1000, 8192, 131_072] {
                        for (theta, head_dim) in [(1e4, 8), (1e4, 64), (5e5, 16), (1e6, 128)] {
                            let constants = scaling(factor, low, low * spread, original);
                            let divisors = llama3_factors(constants, theta, head_dim);
                            let found = llama3_scaling(&divisors, theta, head_dim);
                            let found = found.unwrap_or_else(|| panic!("{constants:?} {theta}"));
                            if found.is_null() {
                                continue;
                            }
                            let number = |key: &str| found[key].as_f64().unwrap();
                            let again = scaling(
                                number("factor"),
                                number("low_freq_factor"),
                                number("high_freq_factor"),
                                number("original_max_position_embeddings") as usize,
                            );
                            let again = llama3_factors(again, theta, head_dim);
                            for (a, b) in divisors.iter().zip(&again) {
                                assert!((a - b).abs() <= 2e-5 * b, "{constants:?}: {a} {b}");
                            }
                        }
                    }
                }
            }
        }
    }
}
