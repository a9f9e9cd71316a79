//! y = x·W (+ bias) (+ LoRA), with W stored `[out, in]` or `[in, out]`.
//!
//! Backward: dx = g·Wᵀ; the gradients of W and bias, xᵀ·g and Σ g, are the sink's to make from x
//! and g. The products read W across where they must; no transposed copy is made.

use candle_core::{Result, Tensor};

use super::Pass;
use super::lora::{self, AdapterCache};
use crate::device::gradient::DeviceSink;
use crate::device::ops::matmul;
use crate::gradient::LinearGradient;
use crate::kernels::matmul::Layout;
use crate::layers::linear::Linear;
use crate::parameters::ParameterId;

/// What a linear layer's backward needs; nothing if it is frozen and has no adapter.
#[derive(Debug)]
pub(crate) struct LinearCache {
    input: Option<Tensor>,
    adapter: Option<AdapterCache>,
}

/// The output for each row of `input`.
pub(crate) fn forward(
    linear: &Linear,
    pass: &Pass<'_>,
    input: &Tensor,
) -> Result<(Tensor, LinearCache)> {
    let weight = pass.weight(linear.weight);
    let mut output = match linear.layout {
        Layout::OutIn => matmul(input, &weight.t()?)?,
        Layout::InOut => matmul(input, weight)?,
    };
    if let Some(bias) = linear.bias {
        output = output.broadcast_add(pass.weight(bias))?;
    }
    let mut kept = None;
    if let Some(adapter) = &linear.adapter {
        let (sum, cache) = lora::forward(adapter, pass, output, input)?;
        (output, kept) = (sum, Some(cache));
    }
    let trains = trained(linear, pass) != (None, None);
    let cache = LinearCache { input: trains.then(|| input.clone()), adapter: kept };
    Ok((output, cache))
}

/// Weight and bias, as far as they train.
fn trained(linear: &Linear, pass: &Pass<'_>) -> (Option<ParameterId>, Option<ParameterId>) {
    (pass.trained(linear.weight), linear.bias.and_then(|bias| pass.trained(bias)))
}

/// Hands out the gradients of the layer's parameters; returns the input's if it is `wanted`.
pub(crate) fn backward(
    linear: &Linear,
    pass: &Pass<'_>,
    cache: LinearCache,
    output_gradient: &Tensor,
    wanted: bool,
    sink: &mut dyn DeviceSink,
) -> Result<Option<Tensor>> {
    let (weight, bias) = trained(linear, pass);
    if let Some(input) = &cache.input {
        let layout = linear.layout;
        sink.linear(LinearGradient { weight, bias, layout, input, output_gradient, first_row: 0 })?;
    }
    let mut gradient = None;
    if wanted {
        let weight = pass.weight(linear.weight);
        gradient = Some(match linear.layout {
            Layout::OutIn => matmul(output_gradient, weight)?,
            Layout::InOut => matmul(output_gradient, &weight.t()?)?,
        });
    }
    match (&linear.adapter, cache.adapter) {
        (Some(adapter), Some(cache)) => {
            lora::backward(adapter, pass, cache, output_gradient, 0, gradient, sink)
        }
        _ => Ok(gradient),
    }
}
