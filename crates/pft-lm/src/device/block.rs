//! One transformer block: attention and feed-forward, each between norms and around it the residual
//! stream, as in [`crate::model`]'s block.

use candle_core::{Result, Tensor};

use super::gradient::DeviceSink;
use super::layers::attention::{self, Projected};
use super::layers::linear::{self, LinearCache};
use super::layers::mlp::{self, MlpCache};
use super::layers::projection::{self, ProjectionCache};
use super::layers::{Pass, norm};
use crate::layers::norm::Norm;
use crate::model::block::{Block, Residuals};

/// The activations that a block's backward needs.
#[derive(Debug)]
pub(crate) struct BlockCache {
    input: Tensor,
    projection: ProjectionCache,
    projected: Projected,
    attended: Tensor,
    output: LinearCache,
    /// What attention gave, where a norm follows.
    given: Option<Tensor>,
    middle: Tensor,
    mlp: MlpCache,
    /// What the feed-forward gave, where a norm follows.
    mlp_given: Option<Tensor>,
}

/// The rows of `x` through a norm, if there is one.
fn normed(norm: Option<&Norm>, pass: &Pass<'_>, x: &Tensor) -> Result<Tensor> {
    norm.map_or_else(|| Ok(x.clone()), |norm| norm::forward(norm, pass, x))
}

/// The gradient by what [`normed`] read, from that by what it gave.
fn through_norm(
    norm: Option<&Norm>,
    pass: &Pass<'_>,
    read: &Tensor,
    gradient: Tensor,
    sink: &mut dyn DeviceSink,
) -> Result<Tensor> {
    match norm {
        Some(norm) => norm::backward(norm, pass, read, &gradient, sink),
        None => Ok(gradient),
    }
}

/// `x` times the block's multiplier.
fn scaled(block: &Block, x: Tensor) -> Result<Tensor> {
    if block.multiplier == 1.0 { Ok(x) } else { x.affine(f64::from(block.multiplier), 0.0) }
}

/// `skip` plus what a branch gives; what it gave is kept where a norm follows.
fn branch(
    block: &Block,
    after: Option<&Norm>,
    pass: &Pass<'_>,
    skip: &Tensor,
    given: Tensor,
) -> Result<(Tensor, Option<Tensor>)> {
    let added = scaled(block, normed(after, pass, &given)?)?;
    Ok(((skip + added)?, after.map(|_| given)))
}

/// The gradient by what a branch gives, from that by the sum.
fn into_branch(
    block: &Block,
    (after, given): (Option<&Norm>, Option<Tensor>),
    pass: &Pass<'_>,
    gradient: &Tensor,
    sink: &mut dyn DeviceSink,
) -> Result<Tensor> {
    let gradient = scaled(block, gradient.clone())?;
    match given {
        Some(given) => through_norm(after, pass, &given, gradient, sink),
        None => Ok(gradient),
    }
}

/// The block's output and what its backward needs.
pub(crate) fn forward(block: &Block, pass: &Pass<'_>, x: &Tensor) -> Result<(Tensor, BlockCache)> {
    let read = normed(block.before_attention.as_ref(), pass, x)?;
    let norms = block.query_key_norms.as_ref();
    let (projected, projection) =
        projection::forward(&block.projection, norms, pass, &read, block.heads)?;
    let attended = attention::forward(pass, &projected, (block.heads, block.rope))?;
    let (given, output) = linear::forward(&block.output, pass, &attended)?;
    let (middle, given) = branch(block, block.after_attention.as_ref(), pass, x, given)?;
    let read = match (block.residuals, &block.before_mlp) {
        (Residuals::Serial, before) => normed(before.as_ref(), pass, &middle)?,
        (Residuals::Parallel, Some(before)) => norm::forward(before, pass, x)?,
        (Residuals::Parallel, None) => read,
    };
    let (mlp_given, mlp) = mlp::forward(&block.mlp, pass, &read)?;
    let (y, mlp_given) = branch(block, block.after_mlp.as_ref(), pass, &middle, mlp_given)?;
    let input = x.clone();
    let cache = BlockCache {
        input,
        projection,
        projected,
        attended,
        output,
        given,
        middle,
        mlp,
        mlp_given,
    };
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
    let BlockCache {
        input,
        projection,
        projected,
        attended,
        output,
        given,
        middle,
        mlp,
        mlp_given,
    } = cache;
    let serial = block.residuals == Residuals::Serial;
    let (before, before_mlp) = (block.before_attention.as_ref(), block.before_mlp.as_ref());
    let after = (block.after_mlp.as_ref(), mlp_given);
    let by_given = into_branch(block, after, pass, &gradient, sink)?;
    let Some(by_read) = mlp::backward(&block.mlp, pass, mlp, &by_given, sink)? else {
        return Ok(None);
    };
    // What flows on beside attention, and what joins the gradient by attention's norm.
    let (by_middle, shared) = match (serial, before_mlp) {
        (true, _) => {
            let by_middle = through_norm(before_mlp, pass, &middle, by_read, sink)?;
            ((by_middle + &gradient)?, None)
        }
        (false, Some(_)) => {
            let by_input = through_norm(before_mlp, pass, &input, by_read, sink)?;
            ((by_input + &gradient)?, None)
        }
        (false, None) => (gradient.clone(), Some(by_read)),
    };
    drop(middle);
    let reached = if serial { &by_middle } else { &gradient };
    let after = (block.after_attention.as_ref(), given);
    let by_given = into_branch(block, after, pass, reached, sink)?;
    let by_attended = linear::backward(&block.output, pass, output, &by_given, true, sink)?;
    let Some(by_attended) = by_attended else { return Ok(None) };
    let at = (block.heads, block.rope);
    let gradients = attention::backward(pass, &projected, at, &attended, &by_attended)?;
    drop((projected, attended, by_attended));
    let trains = |norm: Option<&Norm>| norm.is_some_and(|norm| norm::trains(norm, pass));
    let through = wanted || trains(before) || (!serial && trains(before_mlp));
    let layers = (&block.projection, block.query_key_norms.as_ref());
    let by_read =
        projection::backward(layers, pass, projection, gradients, block.heads, through, sink)?;
    let Some(mut by_read) = by_read else { return Ok(None) };
    if let Some(shared) = shared {
        by_read = (by_read + shared)?;
    }
    (through_norm(before, pass, &input, by_read, sink)? + by_middle).map(Some)
}
