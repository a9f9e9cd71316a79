//! Standard normals from random bits, many at once, without a branch.
//!
//! Box and Muller's transform (1958) in double precision: of 64 bits, 36 give the radius and 28
//! the angle of two normals. A single draw ends at 7.16 standard deviations; where several are
//! summed, the sum's tail goes on to twice that and more. The logarithm is fdlibm's (Sun
//! Microsystems 1993), sine and cosine are Taylor's to beyond double precision on a quarter of a
//! right angle's half. No fused operation is used, so that every processor draws the same bits.

use super::keystream::WORDS;

/// Normals made of one call of the keystream.
pub(super) const NORMALS: usize = WORDS;
const PAIRS: usize = NORMALS / 2;
const TWO_52: f64 = 4_503_599_627_370_496.0;
const TWO_52_BITS: u64 = 0x4330_0000_0000_0000;

/// A whole number below 2⁵² as a float, in two operations that vectorise.
#[inline(always)]
fn exact(integer: u64) -> f64 {
    f64::from_bits(integer | TWO_52_BITS) - TWO_52
}

/// ln u for a normal u in (0, 1].
#[inline(always)]
fn ln(u: f64) -> f64 {
    let bits = u.to_bits();
    let mantissa = f64::from_bits(bits & 0x000f_ffff_ffff_ffff | 0x3fe0_0000_0000_0000);
    let low = mantissa < std::f64::consts::FRAC_1_SQRT_2;
    let (mantissa, exponent) = (
        if low { mantissa + mantissa } else { mantissa },
        exact(bits >> 52) - if low { 1023.0 } else { 1022.0 },
    );
    let f = mantissa - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let w = z * z;
    let even = w
        * (0.399_999_999_994_094_2 + w * (0.222_221_984_321_497_84 + w * 0.153_138_376_992_093_73));
    let odd = z
        * (0.666_666_666_666_673_5
            + w * (0.285_714_287_436_623_9
                + w * (0.181_835_721_616_180_5 + w * 0.147_981_986_051_165_86)));
    let half = 0.5 * f * f;
    exponent * std::f64::consts::LN_2 + (f - (half - s * (half + even + odd)))
}

/// Adds a standard normal to each of `sums`.
#[inline(always)]
pub(super) fn add_normals(bits: &[u32; WORDS], sums: &mut [f64; NORMALS]) {
    let (first, second) = bits.split_at(PAIRS);
    let (cosines, sines) = sums.split_at_mut(PAIRS);
    for pair in 0..PAIRS {
        let (low, high) = (u64::from(first[pair]), u64::from(second[pair]));
        // In the middle of one of 2³⁶ cells of (0, 1).
        let uniform = (exact(low << 4 | high & 15) + 0.5) * (1.0 / 68_719_476_736.0);
        let radius = (-2.0 * ln(uniform)).sqrt();
        // An angle within an eighth of the circle, and which eighth it is.
        let angle = (exact(high >> 7) + 0.5) * (std::f64::consts::FRAC_PI_4 / 33_554_432.0);
        let z = angle * angle;
        let sine = angle
            * (1.0
                + z * (-1.0 / 6.0
                    + z * (1.0 / 120.0
                        + z * (-1.0 / 5_040.0
                            + z * (1.0 / 362_880.0
                                + z * (-1.0 / 39_916_800.0 + z * (1.0 / 6_227_020_800.0)))))));
        let cosine = 1.0
            + z * (-0.5
                + z * (1.0 / 24.0
                    + z * (-1.0 / 720.0
                        + z * (1.0 / 40_320.0
                            + z * (-1.0 / 3_628_800.0 + z * (1.0 / 479_001_600.0))))));
        let swap = high & 16 != 0;
        let (x, y) = if swap { (sine, cosine) } else { (cosine, sine) };
        let flip = |value: f64, bit: u64| f64::from_bits(value.to_bits() ^ (bit << 63));
        cosines[pair] += radius * flip(x, high >> 5 & 1);
        sines[pair] += radius * flip(y, high >> 6 & 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_the_library_s() {
        for k in 0..100_000_u32 {
            let u = (f64::from(k) + 0.5) / 1e5 * 2_f64.powi(-((k % 37) as i32));
            assert!((ln(u) - u.ln()).abs() <= 4e-16 * u.ln().abs().max(1e-3), "{u}");
        }
        assert_eq!(ln(1.0), 0.0);
    }

    #[test]
    fn every_bit_pattern_is_a_point_at_its_radius_and_angle() {
        let mut state = 1_u32;
        let mut bits = [0; WORDS];
        let mut eighths = [false; 8];
        for _ in 0..50 {
            for word in &mut bits {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *word = state ^ state >> 15;
            }
            bits[0] = 0;
            bits[PAIRS] = 0;
            bits[1] = u32::MAX;
            bits[PAIRS + 1] = u32::MAX;
            let mut sums = [0.0; NORMALS];
            add_normals(&bits, &mut sums);
            for pair in 0..PAIRS {
                let (x, y) = (sums[pair], sums[PAIRS + pair]);
                let k = u64::from(bits[pair]) << 4 | u64::from(bits[PAIRS + pair]) & 15;
                let expected = (-2.0 * ((k as f64 + 0.5) * 2_f64.powi(-36)).ln()).sqrt();
                assert!((x.hypot(y) / expected - 1.0).abs() < 1e-10, "{x} {y} {expected}");
                let angle = (f64::from(bits[PAIRS + pair] >> 7) + 0.5) * 2_f64.powi(-25);
                let within = x.abs().min(y.abs()).atan2(x.abs().max(y.abs()));
                assert!((within - angle * std::f64::consts::FRAC_PI_4).abs() < 1e-12);
                let eighth = usize::from(x > 0.0)
                    + 2 * usize::from(y > 0.0)
                    + 4 * usize::from(x.abs() > y.abs());
                eighths[eighth] = true;
            }
        }
        assert_eq!(eighths, [true; 8]);
    }
}
