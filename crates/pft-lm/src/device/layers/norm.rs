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

/// What rows are multiplied by.
fn factors(norm: &Norm, pass: &Pass<'_>) -> Result<Tensor> {
    let scale = pass.weight(norm.scale);
    if norm.from_one { scale + 1.0 } else { Ok(scale.clone()) }
}

/// Rows of the width that is normalised: a token may have several.
fn narrowed(norm: &Norm, x: &Tensor) -> Result<Tensor> {
    let (rows, width) = x.dims2()?;
    x.reshape((rows * norm.rows_per_token, width / norm.rows_per_token))
}

/// Normalised rows of `x`.
pub(crate) fn forward(norm: &Norm, pass: &Pass<'_>, x: &Tensor) -> Result<Tensor> {
    let (scale, eps) = (&factors(norm, pass)?, f64::from(norm.eps));
    let rows = narrowed(norm, x)?;
    let y = match norm.shift {
        Some(shift) => layer_norm::forward(&rows, scale, pass.weight(shift), eps),
        None => rms_norm::forward(&rows, scale, eps),
    };
    y?.reshape(x.shape())
}

/// Hands out the gradients of scale and shift; returns the input's.
pub(crate) fn backward(
    norm: &Norm,
    pass: &Pass<'_>,
    x: &Tensor,
    g: &Tensor,
    sink: &mut dyn DeviceSink,
) -> Result<Tensor> {
    let (scale, eps) = (&factors(norm, pass)?, f64::from(norm.eps));
    let mut hand_out = |parameter, by_row: &Tensor| -> Result<()> {
        if let Some(parameter) = pass.trained(parameter) {
            let by_token = match norm.rows_per_token {
                1 => by_row.clone(),
                rows => by_row.reshape(((), rows, by_row.dim(1)?))?.sum(1)?,
            };
            let gradient = &sum_rows(&by_token, &pass.rows.sequence, pass.rows.sequences)?;
            sink.sequence(SequenceGradient { parameter, gradient })?;
        }
        Ok(())
    };
    let shape = x.shape();
    let (x, g) = (&narrowed(norm, x)?, &narrowed(norm, g)?);
    let wanted = trains(norm, pass);
    if let Some(shift) = norm.shift {
        let (by_input, by_row) = layer_norm::backward(x, g, scale, eps, wanted)?;
        if let Some([by_scale, by_shift]) = by_row {
            hand_out(shift, &by_shift)?;
            hand_out(norm.scale, &by_scale)?;
        }
        return by_input.reshape(shape);
    }
    let (by_input, by_row) = rms_norm::backward(x, g, scale, eps, wanted)?;
    if let Some(by_scale) = by_row {
        hand_out(norm.scale, &by_scale)?;
    }
    by_input.reshape(shape)
}
