//! NumPy's arrays, whose numbers lie in the pickle itself.

use super::Value;
use super::torch::Tensor;

/// The array that a value stands for, if it is one of `float32` or `float64` in usual order.
pub(crate) fn array(value: Value<'_, '_>) -> Option<Tensor> {
    let (_, "_reconstruct", _) = value.call()? else { return None };
    // Version, shape, type, whether the first axis comes first, and the numbers.
    let state = value.state()?;
    let part = |index: usize| state.element(index);
    let shape: Vec<usize> = part(1)?.elements()?.map(Value::as_usize).collect::<Option<_>>()?;
    let kind = part(2)?;
    let (_, "dtype", arguments) = kind.call()? else { return None };
    if kind.state()?.element(1)?.as_text() == Some(">") || part(3)?.as_bool()? {
        return None;
    }
    let bytes = part(4)?.as_bytes()?;
    let values: Vec<f32> = match arguments.element(0)?.as_text()? {
        "f4" => bytes.as_chunks().0.iter().map(|&four| f32::from_le_bytes(four)).collect(),
        "f8" => bytes.as_chunks().0.iter().map(|&eight| f64::from_le_bytes(eight) as f32).collect(),
        _ => return None,
    };
    let count = shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size))?;
    (count == values.len()).then_some(Tensor { shape, values })
}
