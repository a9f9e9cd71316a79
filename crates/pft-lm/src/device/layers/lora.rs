//! LoRA: a linear layer's output gains s · B(A(dropout(x))), as [`crate::layers::lora`] says.
//!
//! As on the CPU the scale rides on A's output, and the dropout masks are the same ones: hashes
//! of the row's seed, drawn on the host.

use candle_core::{Result, Tensor};

use super::Pass;
use crate::device::gradient::DeviceSink;
use crate::device::ops::{matmul, upload};
use crate::gradient::LinearGradient;
use crate::kernels::matmul::Layout;
use crate::layers::lora::Adapter;

/// What an adapter's backward needs.
#[derive(Debug)]
pub(crate) struct AdapterCache {
    /// A's input where A trains: the layer's, or what dropout left of it.
    input: Option<Tensor>,
    /// s · A's output.
    hidden: Tensor,
    /// What dropout multiplied the input by.
    mask: Option<Tensor>,
}

/// The mask of dropout, 0 or 1 / (share kept), for rows of the shape of `x`.
fn mask(adapter: &Adapter, pass: &Pass<'_>, x: &Tensor) -> Result<Option<Tensor>> {
    let Some(seeds) = pass.seeds.filter(|_| adapter.dropout > 0.0) else { return Ok(None) };
    let (rows, width) = x.dims2()?;
    let ones = vec![1.0; rows * width];
    let mut mask = vec![0.0; rows * width];
    adapter.drop_out(&mut mask, &ones, width, seeds);
    upload(&mask, &[rows, width], x.dtype(), x.device()).map(Some)
}

/// `output` plus the adapter's.
pub(crate) fn forward(
    adapter: &Adapter,
    pass: &Pass<'_>,
    output: Tensor,
    input: &Tensor,
) -> Result<(Tensor, AdapterCache)> {
    let mask = mask(adapter, pass, input)?;
    let input = match &mask {
        Some(mask) => (input * mask)?,
        None => input.clone(),
    };
    let hidden = matmul(&input, &pass.weight(adapter.a).t()?)?;
    let hidden = (hidden * f64::from(adapter.scale))?;
    let output = (output + matmul(&hidden, &pass.weight(adapter.b).t()?)?)?;
    let input = pass.trained(adapter.a).map(|_| input);
    Ok((output, AdapterCache { input, hidden, mask }))
}

/// Hands out the adapter's gradients; returns the input's, to which it adds its share, if there
/// is one. `first_row` is the row of the batch that row 0 is.
pub(crate) fn backward(
    adapter: &Adapter,
    pass: &Pass<'_>,
    cache: AdapterCache,
    output_gradient: &Tensor,
    first_row: usize,
    input_gradient: Option<Tensor>,
    sink: &mut dyn DeviceSink,
) -> Result<Option<Tensor>> {
    let pieces = |weight, input, output_gradient| LinearGradient {
        weight: Some(weight),
        bias: None,
        layout: Layout::OutIn,
        input,
        output_gradient,
        first_row,
    };
    if let Some(b) = pass.trained(adapter.b) {
        sink.linear(pieces(b, &cache.hidden, output_gradient))?;
    }
    let by_hidden = matmul(output_gradient, pass.weight(adapter.b))?;
    let by_hidden = (by_hidden * f64::from(adapter.scale))?;
    if let (Some(a), Some(input)) = (pass.trained(adapter.a), &cache.input) {
        sink.linear(pieces(a, input, &by_hidden))?;
    }
    let Some(input_gradient) = input_gradient else { return Ok(None) };
    let mut share = matmul(&by_hidden, pass.weight(adapter.a))?;
    if let Some(mask) = &cache.mask {
        share = (share * mask)?;
    }
    (input_gradient + share).map(Some)
}
