//! The norm of either family: which parameters it has, and how its gradients are handed out.

use std::borrow::Cow;

use crate::buffer::{Buffer, Matrix};
use crate::gradient::{GradientSink, SequenceGradient};
use crate::layers::{Pass, layer_norm, rms_norm};
use crate::parameters::{ParameterId, Parameters, TensorData};

/// LayerNorm if it has a shift, RMSNorm otherwise.
#[derive(Debug, Clone)]
pub(crate) struct Norm {
    pub(crate) scale: ParameterId,
    pub(crate) shift: Option<ParameterId>,
    pub(crate) eps: f32,
    /// Whether rows are multiplied by 1 + scale (Gemma).
    pub(crate) from_one: bool,
    /// How many rows a token has: its heads, where each is normalised by itself.
    pub(crate) rows_per_token: usize,
}

/// A norm's parameter; norms are always kept in 32 bits.
fn values(parameters: &Parameters, id: ParameterId) -> &[f32] {
    match &parameters.get(id).tensor.data {
        TensorData::F32(values) => values,
        TensorData::Bf16(_) | TensorData::Blocks(_) => {
            unreachable!("the model widens norms when it is made")
        }
    }
}

impl Norm {
    /// What rows are multiplied by.
    fn factors<'a>(&self, pass: &Pass<'a>) -> Cow<'a, [f32]> {
        let scale = values(pass.parameters, self.scale);
        if self.from_one { scale.iter().map(|scale| 1.0 + scale).collect() } else { scale.into() }
    }

    /// Whether any of its parameters trains.
    pub(crate) fn trains(&self, pass: &Pass<'_>) -> bool {
        pass.trained(self.scale).is_some()
            || self.shift.is_some_and(|shift| pass.trained(shift).is_some())
    }

    /// Normalised rows of `x`, and what the backward needs of them.
    pub(crate) fn forward(&self, pass: &Pass<'_>, x: &[f32]) -> (Matrix, Buffer) {
        let mut y = pass.pool.take(x.len());
        let stats = self.forward_into(pass, x, &mut y);
        let width = pass.parameters.get(self.scale).tensor.len();
        (Matrix::new(y, x.len() / width, width), stats)
    }

    /// Writes the normalised rows of `x` into `y`; returns what the backward needs of them.
    pub(crate) fn forward_into(&self, pass: &Pass<'_>, x: &[f32], y: &mut [f32]) -> Buffer {
        let scale = &self.factors(pass);
        let rows = x.len() / scale.len();
        match self.shift {
            Some(shift) => {
                let mut stats = pass.pool.take(2 * rows);
                let shift = values(pass.parameters, shift);
                layer_norm::forward(x, y, &mut stats, scale, shift, self.eps);
                stats
            }
            None => {
                let mut stats = pass.pool.take(rows);
                rms_norm::forward(x, y, &mut stats, scale, self.eps);
                stats
            }
        }
    }

    /// Turns `g`, the output's gradient, into `skip` plus the input's.
    pub(crate) fn backward(
        &self,
        pass: &Pass<'_>,
        (x, stats): (&[f32], &[f32]),
        g: &mut [f32],
        skip: &[f32],
        sink: &mut dyn GradientSink,
    ) {
        let pool = pass.pool;
        let scale = &self.factors(pass);
        let width = scale.len();
        let sequences: Cow<'_, [usize]> = match self.rows_per_token {
            1 => pass.sequences.into(),
            rows => pass.sequences.iter().map(|offset| offset * rows).collect(),
        };
        let sequences = &sequences[..];
        let count = sequences.len() - 1;
        if self.trains(pass) {
            let mut by_scale = pool.take(count * width);
            if let Some(shift) = self.shift {
                let mut by_shift = pool.take(count * width);
                layer_norm::parameter_gradients(
                    &mut by_scale,
                    &mut by_shift,
                    g,
                    x,
                    stats,
                    width,
                    sequences,
                );
                if let Some(parameter) = pass.trained(shift) {
                    let gradient = &Matrix::new(by_shift, count, width);
                    sink.sequence(SequenceGradient { parameter, gradient });
                }
            } else {
                rms_norm::parameter_gradient(&mut by_scale, g, x, stats, width, sequences);
            }
            if let Some(parameter) = pass.trained(self.scale) {
                let gradient = &Matrix::new(by_scale, count, width);
                sink.sequence(SequenceGradient { parameter, gradient });
            }
        }
        if self.shift.is_some() {
            layer_norm::backward(g, skip, x, stats, scale);
        } else {
            rms_norm::backward(g, skip, x, stats, scale);
        }
    }
}
