//! The norm of either family, and how its gradients are handed out: summed over the rows of each
//! sequence.

use candle_core::{Result, Tensor};

use super::{Pass, layer_norm, rms_norm};
use crate::device::gradient::DeviceSink;
use crate::device::ops::sum_rows;
use crate::gradient::SequenceGradient;
use crate::layers::norm::Norm;

/// Whether any of its parameters trains.
pub(crate) fn trains(norm: &Norm, pass: &Pass<'_>) -> bool {
    let trained = |id| pass.trained(id).is_some();
    trained(norm.scale) || norm.shift.is_some_and(trained)
}

/// Normalised rows of `x`.
pub(crate) fn forward(norm: &Norm, pass: &Pass<'_>, x: &Tensor) -> Result<Tensor> {
    let (scale, eps) = (pass.weight(norm.scale), f64::from(norm.eps));
    match norm.shift {
        Some(shift) => layer_norm::forward(x, scale, pass.weight(shift), eps),
        None => rms_norm::forward(x, scale, eps),
    }
}

/// Hands out the gradients of scale and shift; returns the input's.
pub(crate) fn backward(
    norm: &Norm,
    pass: &Pass<'_>,
    x: &Tensor,
    g: &Tensor,
    sink: &mut dyn DeviceSink,
) -> Result<Tensor> {
    let (scale, eps) = (pass.weight(norm.scale), f64::from(norm.eps));
    let mut hand_out = |parameter, by_row: &Tensor| -> Result<()> {
        if let Some(parameter) = pass.trained(parameter) {
            let gradient = &sum_rows(by_row, &pass.rows.sequence, pass.rows.sequences)?;
            sink.sequence(SequenceGradient { parameter, gradient })?;
        }
        Ok(())
    };
    let wanted = trains(norm, pass);
    if let Some(shift) = norm.shift {
        let (by_input, by_row) = layer_norm::backward(x, g, scale, eps, wanted)?;
        if let Some([by_scale, by_shift]) = by_row {
            hand_out(shift, &by_shift)?;
            hand_out(norm.scale, &by_scale)?;
        }
        return Ok(by_input);
    }
    let (by_input, by_row) = rms_norm::backward(x, g, scale, eps, wanted)?;
    if let Some(by_scale) = by_row {
        hand_out(norm.scale, &by_scale)?;
    }
    Ok(by_input)
}
