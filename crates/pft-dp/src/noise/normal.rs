//! Standard normals from random bits, many at once, without a branch.
//!
//! Box and Muller's transform (1958) in double precision: of 64 bits, 36 give the radius and 28
//! the angle of two normals. A single draw ends at 7.16 standard deviations; where several are
//! summed, the sum's tail goes on to twice that and more.
//!
//! Logarithm, sine and cosine are polynomials of least relative error over their interval
//! (Remez 1934), a hundredth of a cell of those bits or less away from the true functions: 2⁻⁴⁵,
//! 2⁻⁴⁷ and 2⁻⁴³. Only additions, products, fused products, divisions and roots that are rounded
//! as IEEE 754 says are used, so that every processor draws the same bits.

use super::keystream::WORDS;

/// Normals made of one call of the keystream.
pub(super) const NORMALS: usize = 2 * WORDS;
const ONE: u64 = 1.0_f64.to_bits();
const TWO_52: f64 = 4_503_599_627_370_496.0;
/// Words of one pass of [`add_normals`].
const GROUP: usize = 64;

/// −2·atanh(s)·2/s in powers of s², for |s| ≤ 3 − 2√2.
const LOGARITHM: [f64; 6] = [
    -3.999_999_999_999_893_5,
    -1.333_333_333_593_029_2,
    -0.799_999_897_443_629_2,
    -0.571_443_360_336_887_3,
    -0.443_483_544_393_586,
    -0.392_181_678_652_384_4,
];
/// sin(πa/2)/a in powers of a², for |a| ≤ 1/2.
const SINE: [f64; 6] = [
    3.141_592_653_589_779 / 2.0,
    -5.167_712_780_033_917 / 8.0,
    2.550_164_036_913_1 / 32.0,
    -0.599_264_328_547_236_1 / 128.0,
    0.082_139_726_084_274_56 / 512.0,
    -0.007_283_111_063_790_795 / 2048.0,
];
/// cos(πa/2) in powers of a², for |a| ≤ 1/2.
const COSINE: [f64; 6] = [
    0.999_999_999_999_934_4,
    -4.934_802_200_472_755 / 4.0,
    4.058_712_113_463_712 / 16.0,
    -1.335_261_907_966_703 / 64.0,
    0.235_304_602_630_458_1 / 256.0,
    -0.025_442_282_113_674_577 / 1024.0,
];

/// A polynomial in x, whose square and fourth power come along, by Estrin's scheme: its short
/// chains of operations keep the processor busy.
#[inline(always)]
fn polynomial(coefficients: &[f64; 6], x: f64, square: f64, fourth: f64) -> f64 {
    let [c0, c1, c2, c3, c4, c5] = *coefficients;
    let (low, middle, high) = (x.mul_add(c1, c0), x.mul_add(c3, c2), x.mul_add(c5, c4));
    fourth.mul_add(high, square.mul_add(middle, low))
}

/// The exponent e of a normal u in (0, 1), and s = (m − 1)/(m + 1) of u = 2ᵉ·m with m in
/// [√½, √2): ln u = e·ln 2 + 2·atanh(s).
#[inline(always)]
fn split(u: f64) -> (f64, f64) {
    // Bits 52 and up are e + 64, which is no negative number here.
    const SHIFT: u64 = 64 << 52;
    const ROOT_HALF: u64 = std::f64::consts::FRAC_1_SQRT_2.to_bits();
    let bits = u.to_bits();
    let shifted = bits.wrapping_sub(ROOT_HALF - SHIFT);
    let exponent = f64::from_bits(shifted >> 52 | TWO_52.to_bits()) - (TWO_52 + 64.0);
    let mantissa = f64::from_bits(bits.wrapping_sub((shifted & 0xfff << 52).wrapping_sub(SHIFT)));
    (exponent, (mantissa - 1.0) / (mantissa + 1.0))
}

/// −2·ln u from what [`split`] gives.
#[inline(always)]
fn squared_radius(exponent: f64, s: f64) -> f64 {
    let square = s * s;
    let fourth = square * square;
    let series = polynomial(&LOGARITHM, square, fourth, fourth * fourth);
    s.mul_add(series, exponent * (-2.0 * std::f64::consts::LN_2))
}

/// Cosine and sine of one of the 2²⁸ cells of the circle. Of the lower 28 bits of `word`, 26 are
/// the place between −45 and 45 degrees; bit 1 turns it over to the other axis, bit 0 around.
#[inline(always)]
fn direction(word: u64) -> (f64, f64) {
    // From the middle of a cell to that of another within (-1/2, 1/2).
    let a = f64::from_bits(ONE | word << 24 & 0x000f_ffff_fc00_0000) - (1.5 - 1.0 / 134_217_728.0);
    let square = a * a;
    let fourth = square * square;
    let eighth = fourth * fourth;
    let sine = a * polynomial(&SINE, square, fourth, eighth);
    let cosine = polynomial(&COSINE, square, fourth, eighth);
    let turned = (word << 62) as i64 >= 0;
    if turned { (cosine, sine) } else { (sine, cosine) }
}

/// Room for [`add_normals`] to work in.
pub(super) struct Scratch {
    exponents: [f64; GROUP],
    ratios: [f64; GROUP],
}

impl Scratch {
    pub(super) fn new() -> Self {
        Self { exponents: [0.0; GROUP], ratios: [0.0; GROUP] }
    }
}

/// Adds a standard normal to each of `sums`.
#[inline(always)]
pub(super) fn add_normals(words: &[u64; WORDS], sums: &mut [f64; NORMALS], scratch: &mut Scratch) {
    let (cosines, sines) = sums.split_at_mut(WORDS);
    let sums = cosines.as_chunks_mut().0.iter_mut().zip(sines.as_chunks_mut().0);
    for (words, (cosines, sines)) in words.as_chunks().0.iter().zip(sums) {
        add_group(words, cosines, sines, scratch);
    }
}

/// In three loops, since one would be too long a chain of operations for the processor to work on
/// several turns at once.
#[inline(always)]
fn add_group(
    words: &[u64; GROUP],
    cosines: &mut [f64; GROUP],
    sines: &mut [f64; GROUP],
    Scratch { exponents, ratios }: &mut Scratch,
) {
    for i in 0..GROUP {
        // In the middle of one of 2³⁶ cells of (0, 1).
        let cell = f64::from_bits(ONE | words[i] >> 12 & !0xffff);
        (exponents[i], ratios[i]) = split(cell - (1.0 - 1.0 / 137_438_953_472.0));
    }
    let squares = exponents;
    for i in 0..GROUP {
        squares[i] = squared_radius(squares[i], ratios[i]);
    }
    for i in 0..GROUP {
        let (x, y) = direction(words[i]);
        let radius = f64::from_bits(squares[i].sqrt().to_bits() ^ words[i] << 63);
        cosines[i] = radius.mul_add(x, cosines[i]);
        sines[i] = radius.mul_add(y, sines[i]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_the_library_s() {
        for k in 0..100_000_u32 {
            let u = (f64::from(k) + 0.5) / 1e5 * 2_f64.powi(-((k % 37) as i32));
            let (exponent, s) = split(u);
            let error = squared_radius(exponent, s) / (-2.0 * u.ln()) - 1.0;
            assert!(error.abs() <= 5e-14, "{u}: {error}");
        }
    }

    #[test]
    fn every_bit_pattern_is_a_point_at_its_radius_and_angle() {
        let mut state = 1_u64;
        let mut words = [0; WORDS];
        let mut eighths = [false; 8];
        for _ in 0..50 {
            for word in &mut words {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                *word = state ^ state >> 29;
            }
            words[0] = 0;
            words[1] = u64::MAX;
            let mut sums = [0.0; NORMALS];
            add_normals(&words, &mut sums, &mut Scratch::new());
            for (pair, word) in words.into_iter().enumerate() {
                let (x, y) = (sums[pair], sums[WORDS + pair]);
                let cell = (word >> 28) as f64;
                let radius = (-2.0 * ((cell + 0.5) * 2_f64.powi(-36)).ln()).sqrt();
                let place = (word >> 2 & 0x3ff_ffff) as f64;
                let angle = ((place + 0.5) * 2_f64.powi(-26) - 0.5) * std::f64::consts::FRAC_PI_2;
                let (mut expected_x, mut expected_y) = (radius * angle.cos(), radius * angle.sin());
                if word & 2 != 0 {
                    (expected_x, expected_y) = (expected_y, expected_x);
                }
                if word & 1 != 0 {
                    (expected_x, expected_y) = (-expected_x, -expected_y);
                }
                let error = (x - expected_x).hypot(y - expected_y);
                assert!(error < 1e-13 * radius, "{x} {y}, not {expected_x} {expected_y}");
                let eighth = usize::from(x > 0.0)
                    + 2 * usize::from(y > 0.0)
                    + 4 * usize::from(x.abs() > y.abs());
                eighths[eighth] = true;
            }
        }
        assert_eq!(eighths, [true; 8]);
    }
}
