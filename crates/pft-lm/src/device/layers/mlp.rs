//! The feed-forward layer: plain, or gated by a second product.

use candle_core::{Result, Tensor};

use super::linear::{self, LinearCache};
use super::{Pass, gated, gelu};
use crate::config::Activation;
use crate::device::gradient::DeviceSink;
use crate::device::ops::add;
use crate::layers::linear::Linear;
use crate::model::mlp::Mlp;

/// What its backward needs.
#[derive(Debug)]
pub(crate) enum MlpCache {
    Plain { hidden: Tensor, up: LinearCache, down: LinearCache },
    Gated { gated: Tensor, upward: Tensor, gate: LinearCache, up: LinearCache, down: LinearCache },
    GatedFused { both: Tensor, gate_up: LinearCache, down: LinearCache },
}

/// The left and the right half of each row.
fn halves(x: &Tensor) -> Result<[Tensor; 2]> {
    let width = x.dim(1)? / 2;
    Ok([x.narrow(1, 0, width)?.contiguous()?, x.narrow(1, width, width)?.contiguous()?])
}

/// The output for each row of `x`.
pub(crate) fn forward(mlp: &Mlp, pass: &Pass<'_>, x: &Tensor) -> Result<(Tensor, MlpCache)> {
    let run = |linear: &Linear, x: &Tensor| linear::forward(linear, pass, x);
    match mlp {
        Mlp::Plain { up, down, activation } => {
            let (hidden, up) = run(up, x)?;
            let (y, down) = run(down, &gelu::forward(&hidden, *activation == Activation::Gelu)?)?;
            Ok((y, MlpCache::Plain { hidden, up, down }))
        }
        Mlp::Gated { gate, up, down, activation } => {
            let (gated, gate) = run(gate, x)?;
            let (upward, up) = run(up, x)?;
            let (y, down) = run(down, &gated::forward(*activation, &gated, &upward)?)?;
            Ok((y, MlpCache::Gated { gated, upward, gate, up, down }))
        }
        Mlp::GatedFused { gate_up, down, activation } => {
            let (both, gate_up) = run(gate_up, x)?;
            let [gated, upward] = halves(&both)?;
            let (y, down) = run(down, &gated::forward(*activation, &gated, &upward)?)?;
            Ok((y, MlpCache::GatedFused { both, gate_up, down }))
        }
    }
}

/// The gradient by the layer's input.
pub(crate) fn backward(
    mlp: &Mlp,
    pass: &Pass<'_>,
    cache: MlpCache,
    gradient: &Tensor,
    sink: &mut dyn DeviceSink,
) -> Result<Option<Tensor>> {
    match (mlp, cache) {
        (
            Mlp::Plain { up, down, activation },
            MlpCache::Plain { hidden, up: up_cache, down: cache },
        ) => {
            let active = linear::backward(down, pass, cache, gradient, true, sink)?;
            let Some(active) = active else { return Ok(None) };
            let gradient = gelu::backward(&hidden, &active, *activation == Activation::Gelu)?;
            linear::backward(up, pass, up_cache, &gradient, true, sink)
        }
        (
            Mlp::Gated { gate, up, down, activation },
            MlpCache::Gated { gated, upward, gate: gate_cache, up: up_cache, down: cache },
        ) => {
            let active = linear::backward(down, pass, cache, gradient, true, sink)?;
            let Some(active) = active else { return Ok(None) };
            let [by_gate, by_up] = gated::backward(*activation, &gated, &upward, &active)?;
            let sum = linear::backward(up, pass, up_cache, &by_up, true, sink)?;
            add(sum, linear::backward(gate, pass, gate_cache, &by_gate, true, sink)?)
        }
        (
            Mlp::GatedFused { gate_up, down, activation },
            MlpCache::GatedFused { both, gate_up: gate_up_cache, down: cache },
        ) => {
            let active = linear::backward(down, pass, cache, gradient, true, sink)?;
            let Some(active) = active else { return Ok(None) };
            let [gated, upward] = halves(&both)?;
            let by_both = gated::backward(*activation, &gated, &upward, &active)?;
            let by_both = Tensor::cat(&by_both, 1)?;
            linear::backward(gate_up, pass, gate_up_cache, &by_both, true, sink)
        }
        _ => unreachable!("the cache was made by this layer"),
    }
}
