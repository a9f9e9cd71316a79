//! One transformer block: x + attention(norm(x)), then x + mlp(norm(x)).

use candle_core::{Result, Tensor};

use super::gradient::DeviceSink;
use super::layers::attention::{self, Projected};
use super::layers::linear::{self, LinearCache};
use super::layers::{Pass, gelu, norm, swiglu};
use crate::layers::attention::Heads;
use crate::layers::linear::Linear;
use crate::model::block::{Block, Mlp, Projection};

#[derive(Debug)]
enum ProjectionCache {
    Fused(LinearCache),
    Split([LinearCache; 3]),
}

#[derive(Debug)]
enum MlpCache {
    Gelu { hidden: Tensor, fc: LinearCache, proj: LinearCache },
    SwiGlu { gated: Tensor, upward: Tensor, gate: LinearCache, up: LinearCache, down: LinearCache },
}

/// The activations that a block's backward needs.
#[derive(Debug)]
pub(crate) struct BlockCache {
    input: Tensor,
    projection: ProjectionCache,
    projected: Projected,
    attended: Tensor,
    output: LinearCache,
    middle: Tensor,
    mlp: MlpCache,
}

/// `sum + term`, of which a missing sum is nothing.
fn add(sum: Option<Tensor>, term: Option<Tensor>) -> Result<Option<Tensor>> {
    match (sum, term) {
        (Some(sum), Some(term)) => (sum + term).map(Some),
        (sum, term) => Ok(sum.or(term)),
    }
}

fn project(
    projection: &Projection,
    pass: &Pass<'_>,
    x: &Tensor,
    heads: Heads,
) -> Result<(Projected, ProjectionCache)> {
    match projection {
        Projection::Fused(fused) => {
            let (qkv, cache) = linear::forward(fused, pass, x)?;
            let (queries, keys) = (heads.query_width(), heads.key_width());
            let part = |first, width| qkv.narrow(1, first, width)?.contiguous();
            let projected = Projected {
                q: part(0, queries)?,
                k: part(queries, keys)?,
                v: part(queries + keys, keys)?,
            };
            Ok((projected, ProjectionCache::Fused(cache)))
        }
        Projection::Split { q, k, v } => {
            let (q, q_cache) = linear::forward(q, pass, x)?;
            let (k, k_cache) = linear::forward(k, pass, x)?;
            let (v, v_cache) = linear::forward(v, pass, x)?;
            Ok((Projected { q, k, v }, ProjectionCache::Split([q_cache, k_cache, v_cache])))
        }
    }
}

/// The gradient by the projection's input, if it is `wanted`.
fn project_back(
    projection: &Projection,
    pass: &Pass<'_>,
    cache: ProjectionCache,
    gradients: &Projected,
    wanted: bool,
    sink: &mut dyn DeviceSink,
) -> Result<Option<Tensor>> {
    match (projection, cache) {
        (Projection::Fused(fused), ProjectionCache::Fused(cache)) => {
            let gradient = Tensor::cat(&[&gradients.q, &gradients.k, &gradients.v], 1)?;
            linear::backward(fused, pass, cache, &gradient, wanted, sink)
        }
        (Projection::Split { q, k, v }, ProjectionCache::Split([q_cache, k_cache, v_cache])) => {
            let mut sum = None;
            for (linear, cache, gradient) in
                [(v, v_cache, &gradients.v), (k, k_cache, &gradients.k), (q, q_cache, &gradients.q)]
            {
                sum = add(sum, linear::backward(linear, pass, cache, gradient, wanted, sink)?)?;
            }
            Ok(sum)
        }
        _ => unreachable!("the cache was made by this projection"),
    }
}

fn mlp_forward(mlp: &Mlp, pass: &Pass<'_>, x: &Tensor) -> Result<(Tensor, MlpCache)> {
    let run = |linear: &Linear, x: &Tensor| linear::forward(linear, pass, x);
    match mlp {
        Mlp::Gelu { fc, proj, exact } => {
            let (hidden, fc) = run(fc, x)?;
            let (y, proj) = run(proj, &gelu::forward(&hidden, *exact)?)?;
            Ok((y, MlpCache::Gelu { hidden, fc, proj }))
        }
        Mlp::SwiGlu { gate, up, down } => {
            let (gated, gate) = run(gate, x)?;
            let (upward, up) = run(up, x)?;
            let (y, down) = run(down, &swiglu::forward(&gated, &upward)?)?;
            Ok((y, MlpCache::SwiGlu { gated, upward, gate, up, down }))
        }
    }
}

fn mlp_backward(
    mlp: &Mlp,
    pass: &Pass<'_>,
    cache: MlpCache,
    gradient: &Tensor,
    sink: &mut dyn DeviceSink,
) -> Result<Option<Tensor>> {
    match (mlp, cache) {
        (Mlp::Gelu { fc, proj, exact }, MlpCache::Gelu { hidden, fc: fc_cache, proj: cache }) => {
            let active = linear::backward(proj, pass, cache, gradient, true, sink)?;
            let Some(active) = active else { return Ok(None) };
            let gradient = gelu::backward(&hidden, &active, *exact)?;
            linear::backward(fc, pass, fc_cache, &gradient, true, sink)
        }
        (
            Mlp::SwiGlu { gate, up, down },
            MlpCache::SwiGlu { gated, upward, gate: gate_cache, up: up_cache, down: cache },
        ) => {
            let active = linear::backward(down, pass, cache, gradient, true, sink)?;
            let Some(active) = active else { return Ok(None) };
            let [by_gate, by_up] = swiglu::backward(&gated, &upward, &active)?;
            let sum = linear::backward(up, pass, up_cache, &by_up, true, sink)?;
            add(sum, linear::backward(gate, pass, gate_cache, &by_gate, true, sink)?)
        }
        _ => unreachable!("the cache was made by this layer"),
    }
}

/// The block's output and what its backward needs.
pub(crate) fn forward(block: &Block, pass: &Pass<'_>, x: &Tensor) -> Result<(Tensor, BlockCache)> {
    let normed = norm::forward(&block.norm1, pass, x)?;
    let (projected, projection) = project(&block.projection, pass, &normed, block.heads)?;
    let attended = attention::forward(pass, &projected, block.heads)?;
    let (middle, output) = linear::forward(&block.output, pass, &attended)?;
    let middle = (middle + x)?;
    let normed = norm::forward(&block.norm2, pass, &middle)?;
    let (y, mlp) = mlp_forward(&block.mlp, pass, &normed)?;
    let y = (y + &middle)?;
    let input = x.clone();
    let cache = BlockCache { input, projection, projected, attended, output, middle, mlp };
    Ok((y, cache))
}

/// Hands out the block's gradients and returns the one by its input; with `wanted` off that is
/// not computed and `None` is returned.
pub(crate) fn backward(
    block: &Block,
    pass: &Pass<'_>,
    cache: BlockCache,
    gradient: Tensor,
    wanted: bool,
    sink: &mut dyn DeviceSink,
) -> Result<Option<Tensor>> {
    let BlockCache { input, projection, projected, attended, output, middle, mlp } = cache;
    let Some(by_normed) = mlp_backward(&block.mlp, pass, mlp, &gradient, sink)? else {
        return Ok(None);
    };
    let by_middle = (norm::backward(&block.norm2, pass, &middle, &by_normed, sink)? + gradient)?;
    drop((middle, by_normed));
    let by_attended = linear::backward(&block.output, pass, output, &by_middle, true, sink)?;
    let Some(by_attended) = by_attended else { return Ok(None) };
    let gradients = attention::backward(pass, &projected, block.heads, &attended, &by_attended)?;
    drop((projected, attended, by_attended));
    let through = wanted || norm::trains(&block.norm1, pass);
    let by_normed = project_back(&block.projection, pass, projection, &gradients, through, sink)?;
    let Some(by_normed) = by_normed else { return Ok(None) };
    (norm::backward(&block.norm1, pass, &input, &by_normed, sink)? + by_middle).map(Some)
}
