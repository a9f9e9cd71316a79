//! Causal attention with grouped key and value heads: o = softmax(q·kᵀ / √d) · v, with rotary
//! positions where the family has them.
//!
//! Sequences attend group by group ([`Rows`](crate::device::rows::Rows)); the scores of one group
//! are all that exists of the scores. Query heads that share a key head are rows of one product,
//! so that keys and values are not repeated. Backward computes the probabilities P again. With
//! D = Σ(dO · O) over a head's row, dP = dO·Vᵀ and dS = P · (dP − D): dQ = dS·K, dK = dSᵀ·Q,
//! dV = Pᵀ·dO. The scale 1/√d rides on q. With a soft cap, dS is multiplied by its slope.

use candle_core::{D, Result, Tensor};
use candle_nn::ops::softmax_last_dim;

use super::{Pass, soft_cap};
use crate::device::ops::{matmul, wide};
use crate::device::rows::Group;
use crate::layers::attention::heads::Heads;

/// Queries, keys and values of all rows, before they are turned: `[rows, heads · head_dim]` each.
#[derive(Debug)]
pub(crate) struct Projected {
    pub(crate) q: Tensor,
    pub(crate) k: Tensor,
    pub(crate) v: Tensor,
}

/// One group's heads, `[sequences, key heads, rows, head_dim]`: the rows of q are those of all
/// query heads that share the key head, one head after the other.
struct Attending {
    q: Tensor,
    k: Tensor,
    v: Tensor,
    probabilities: Tensor,
    /// The slopes of capped scores, in the shape of the probabilities.
    slopes: Option<Tensor>,
}

/// `[rows, heads · head_dim]` → `[sequences, heads, length, head_dim]`, missing rows zero.
fn spread(x: &Tensor, group: &Group, heads: usize) -> Result<Tensor> {
    let shape = (group.sequences, group.length, heads, x.dim(1)? / heads);
    x.index_select(&group.rows, 0)?.reshape(shape)?.transpose(1, 2)?.contiguous()
}

/// The way back, missing rows included: `[sequences · length, heads · head_dim]`.
fn gather(x: &Tensor, group: &Group) -> Result<Tensor> {
    let (sequences, heads, length, width) = x.dims4()?;
    debug_assert_eq!((sequences, length), (group.sequences, group.length));
    x.transpose(1, 2)?.contiguous()?.reshape((sequences * length, heads * width))
}

fn attend(
    pass: &Pass<'_>,
    projected: &Projected,
    (heads, rope): (Heads, Option<usize>),
    group: &Group,
) -> Result<Attending> {
    let turn = |x: Tensor| match rope {
        Some(rope) => pass.turns[rope].forward(&x),
        None => Ok(x),
    };
    let (sequences, length, dim) = (group.sequences, group.length, heads.dim);
    let rows = heads.queries / heads.keys * length;
    let q = turn(spread(&projected.q, group, heads.queries)?)?;
    let q = (q * f64::from(heads.scale))?.reshape((sequences, heads.keys, rows, dim))?;
    let k = turn(spread(&projected.k, group, heads.keys)?)?;
    let v = spread(&projected.v, group, heads.keys)?;
    let mut scores = wide(&matmul(&q, &k.t()?)?)?;
    let mut slopes = None;
    if let Some(cap) = heads.soft_cap {
        scores = soft_cap::forward(&scores, f64::from(cap))?;
        slopes = Some(soft_cap::slopes(&scores, f64::from(cap))?);
    }
    let scores = scores
        .reshape((sequences, heads.queries, length, length))?
        .broadcast_add(group.mask(heads.window)?)?;
    let probabilities =
        softmax_last_dim(&scores)?.reshape((sequences, heads.keys, rows, length))?;
    Ok(Attending { q, k, v, probabilities, slopes })
}

/// Puts the groups' rows in the order of the batch.
fn packed(pass: &Pass<'_>, groups: &[Tensor]) -> Result<Tensor> {
    Tensor::cat(groups, 0)?.index_select(&pass.rows.places, 0)
}

/// What every row attends to, `[rows, query heads · head_dim]`.
pub(crate) fn forward(
    pass: &Pass<'_>,
    projected: &Projected,
    (heads, rope): (Heads, Option<usize>),
) -> Result<Tensor> {
    let dtype = projected.q.dtype();
    let mut outputs = Vec::new();
    for group in &pass.rows.groups {
        let at = attend(pass, projected, (heads, rope), group)?;
        let output = matmul(&at.probabilities.to_dtype(dtype)?, &at.v)?;
        let shape = (group.sequences, heads.queries, group.length, heads.dim);
        outputs.push(gather(&output.reshape(shape)?, group)?);
    }
    packed(pass, &outputs)
}

/// The gradients by q, k and v, given the output and its gradient.
pub(crate) fn backward(
    pass: &Pass<'_>,
    projected: &Projected,
    (heads, rope): (Heads, Option<usize>),
    output: &Tensor,
    output_gradient: &Tensor,
) -> Result<Projected> {
    let dtype = projected.q.dtype();
    let turn_back = |g: Tensor| match rope {
        Some(rope) => pass.turns[rope].backward(&g),
        None => Ok(g),
    };
    let [mut by_q, mut by_k, mut by_v] = [Vec::new(), Vec::new(), Vec::new()];
    for group in &pass.rows.groups {
        let Attending { q, k, v, probabilities, slopes } =
            attend(pass, projected, (heads, rope), group)?;
        let shape = q.dims();
        let by_output = spread(output_gradient, group, heads.queries)?.reshape(shape)?;
        let output = spread(output, group, heads.queries)?.reshape(shape)?;
        let p = probabilities.to_dtype(dtype)?;
        by_v.push(gather(&matmul(&p.transpose(2, 3)?, &by_output)?, group)?);
        drop(p);
        let along = (wide(&by_output)? * wide(&output)?)?.sum_keepdim(D::Minus1)?;
        let by_probabilities = wide(&matmul(&by_output, &v.t()?)?)?;
        let mut by_scores = (probabilities * by_probabilities.broadcast_sub(&along)?)?;
        if let Some(slopes) = slopes {
            by_scores = (by_scores * slopes)?;
        }
        let by_scores = by_scores.to_dtype(dtype)?;
        by_k.push(gather(&turn_back(matmul(&by_scores.transpose(2, 3)?, &q)?)?, group)?);
        let g = (matmul(&by_scores, &k)? * f64::from(heads.scale))?;
        let shape = (group.sequences, heads.queries, group.length, heads.dim);
        by_q.push(gather(&turn_back(g.reshape(shape)?)?, group)?);
    }
    Ok(Projected { q: packed(pass, &by_q)?, k: packed(pass, &by_k)?, v: packed(pass, &by_v)? })
}
