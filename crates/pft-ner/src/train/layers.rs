//! Layers with gradients, out of candle's own operations.

use candle_core::{D, Result, Tensor};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Sets elements to zero at random and scales up the others. The masks depend on nothing but the seed.
pub(crate) struct Dropout {
    rate: f64,
    random: ChaCha8Rng,
}

impl Dropout {
    /// Drops a share `rate` in 0..1 of the elements, to 1/256.
    pub(crate) fn new(rate: f64, seed: u64) -> Self {
        Self { rate, random: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// Applies it.
    pub(crate) fn apply(&mut self, input: &Tensor) -> Result<Tensor> {
        let dropped = (self.rate * 256.0).round() as u8;
        if dropped == 0 {
            return Ok(input.clone());
        }
        let scale = 256.0 / (256.0 - f32::from(dropped));
        let mut bytes = vec![0u8; input.elem_count()];
        self.random.fill_bytes(&mut bytes);
        let mask: Vec<f32> =
            bytes.iter().map(|&byte| if byte < dropped { 0.0 } else { scale }).collect();
        input.mul(&Tensor::from_vec(mask, input.shape(), input.device())?)
    }
}

/// Normalises the last dimension to mean 0 and variance 1, then scales and shifts it.
pub(crate) fn layer_norm(
    input: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    epsilon: f64,
) -> Result<Tensor> {
    let centred = input.broadcast_sub(&input.mean_keepdim(D::Minus1)?)?;
    let deviation = (centred.sqr()?.mean_keepdim(D::Minus1)? + epsilon)?.sqrt()?;
    centred.broadcast_div(&deviation)?.broadcast_mul(weight)?.broadcast_add(bias)
}

/// `input[.., in] · weight[out, in]ᵀ + bias[out]`.
pub(crate) fn linear(input: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let width = input.dim(D::Minus1)?;
    let mut shape = input.dims().to_vec();
    *shape.last_mut().unwrap_or(&mut 0) = weight.dim(0)?;
    input.reshape(((), width))?.matmul(&weight.t()?)?.broadcast_add(bias)?.reshape(shape)
}

/// Mean negative log-probability of `targets[rows]` under the softmax over each row of
/// `logits[rows, classes]`.
pub(crate) fn cross_entropy(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let log_probabilities = candle_nn::ops::log_softmax(logits, D::Minus1)?;
    log_probabilities.gather(&targets.unsqueeze(1)?, 1)?.mean_all()?.neg()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    #[test]
    fn gradients_are_those_of_finite_differences() -> Result<()> {
        let device = &Device::Cpu;
        let values: Vec<f64> = (0..12).map(|n| (f64::from(n) * 1.7).sin()).collect();
        let targets = Tensor::new(&[2u32, 0, 1], device)?;
        let weight = Tensor::new(&[1.1f64, 0.7, -0.4, 0.9], device)?;
        let matrix = Tensor::from_vec(values[..].iter().rev().copied().collect(), (3, 4), device)?;
        let bias = Tensor::new(&[0.1f64, -0.2, 0.3], device)?;
        let loss = |input: &Tensor| {
            let normal = layer_norm(input, &weight, &weight, 1e-5)?;
            cross_entropy(&linear(&normal, &matrix, &bias)?, &targets)
        };
        let input = Var::from_tensor(&Tensor::from_vec(values.clone(), (3, 4), device)?)?;
        let gradients = loss(&input)?.backward()?;
        let gradient: Vec<f64> =
            gradients.get(&input).expect("a gradient").flatten_all()?.to_vec1()?;
        for (index, &found) in gradient.iter().enumerate() {
            let at = |delta: f64| -> Result<f64> {
                let mut values = values.clone();
                values[index] += delta;
                loss(&Tensor::from_vec(values, (3, 4), device)?)?.to_scalar()
            };
            let expected = (at(1e-5)? - at(-1e-5)?) / 2e-5;
            assert!((found - expected).abs() < 1e-8, "{index}: {found} and {expected}");
        }
        Ok(())
    }

    #[test]
    fn dropout_keeps_the_mean_and_depends_on_its_seed() -> Result<()> {
        let ones = Tensor::ones(100_000, candle_core::DType::F32, &Device::Cpu)?;
        let apply = |seed| Dropout::new(0.25, seed).apply(&ones)?.to_vec1::<f32>();
        let (first, again, other) = (apply(1)?, apply(1)?, apply(2)?);
        assert_eq!(first, again);
        assert_ne!(first, other);
        let mean = first.iter().sum::<f32>() / 100_000.0;
        assert!((mean - 1.0).abs() < 0.01, "{mean}");
        let dropped = first.iter().filter(|&&x| x == 0.0).count();
        assert!((24_000..26_000).contains(&dropped), "{dropped}");
        Ok(())
    }
}
