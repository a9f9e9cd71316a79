//! GELU, by its tanh approximation (GPT-2's `gelu_new`) or by the error function.

use candle_core::{Result, Tensor};

use crate::device::ops::wide;

/// √(2/π), and the cubic coefficient of the approximation.
const SQRT_2_OVER_PI: f64 = 0.797_884_560_802_865_4;
const CUBIC: f64 = 0.044_715;
/// 1 / √(2π).
const DENSITY: f64 = 0.398_942_280_401_432_7;

/// gelu(x); `exact` chooses the error function.
pub(crate) fn forward(x: &Tensor, exact: bool) -> Result<Tensor> {
    if exact { x.gelu_erf() } else { x.gelu() }
}

/// g · gelu′(x).
pub(crate) fn backward(x: &Tensor, g: &Tensor, exact: bool) -> Result<Tensor> {
    let dtype = x.dtype();
    let (x, g) = (wide(x)?, wide(g)?);
    let square = x.sqr()?;
    let slope = if exact {
        // Φ(x) + x·φ(x).
        let cumulative =
            ((&x * std::f64::consts::FRAC_1_SQRT_2)?.erf()? + 1.0)?.affine(0.5, 0.0)?;
        let density = (square * -0.5)?.exp()?.affine(DENSITY, 0.0)?;
        (cumulative + (x * density)?)?
    } else {
        let t = (square.affine(CUBIC, 1.0)? * &x)?.affine(SQRT_2_OVER_PI, 0.0)?.tanh()?;
        let inner = square.affine(3.0 * CUBIC * SQRT_2_OVER_PI, SQRT_2_OVER_PI)?;
        let steep = (t.sqr()?.affine(-0.5, 0.5)? * (x * inner)?)?;
        (t.affine(0.5, 0.5)? + steep)?
    };
    (g * slope)?.to_dtype(dtype)
}
