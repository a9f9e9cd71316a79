//! Queries, keys and values: projected, and normalised where the family does so.

use candle_core::{Result, Tensor};

use super::attention::Projected;
use super::linear::{self, LinearCache};
use super::{Pass, norm};
use crate::device::gradient::DeviceSink;
use crate::device::ops::add;
use crate::layers::attention::heads::{Heads, Order};
use crate::layers::norm::Norm;
use crate::model::projection::Projection;

#[derive(Debug)]
enum Products {
    Fused(LinearCache),
    Split([LinearCache; 3]),
}

/// What the backward needs: of the products, and queries and keys before their norms.
#[derive(Debug)]
pub(crate) struct ProjectionCache {
    products: Products,
    normed: Option<[Tensor; 2]>,
}

/// The three parts of one product's rows.
fn parts(qkv: &Tensor, heads: Heads, order: Order) -> Result<Projected> {
    let (queries, keys) = (heads.query_width(), heads.key_width());
    if order == Order::ByHead {
        let by_head = qkv.reshape(((), heads.keys, 3, heads.dim))?;
        let part = |index| by_head.narrow(2, index, 1)?.contiguous()?.reshape(((), keys));
        return Ok(Projected { q: part(0)?, k: part(1)?, v: part(2)? });
    }
    let part = |first, width| qkv.narrow(1, first, width)?.contiguous();
    Ok(Projected { q: part(0, queries)?, k: part(queries, keys)?, v: part(queries + keys, keys)? })
}

/// The way back.
fn whole(parts: &Projected, heads: Heads, order: Order) -> Result<Tensor> {
    let all = [&parts.q, &parts.k, &parts.v];
    if order == Order::ByHead {
        let by_head = all.map(|part| part.reshape(((), heads.keys, 1, heads.dim)));
        let [q, k, v] = by_head;
        let width = heads.query_width() + 2 * heads.key_width();
        return Tensor::cat(&[q?, k?, v?], 2)?.reshape(((), width));
    }
    Tensor::cat(&all, 1)
}

/// Queries, keys and values of the rows of `x`.
pub(crate) fn forward(
    projection: &Projection,
    norms: Option<&[Norm; 2]>,
    pass: &Pass<'_>,
    x: &Tensor,
    heads: Heads,
) -> Result<(Projected, ProjectionCache)> {
    match projection {
        Projection::Fused(fused, order) => {
            let (qkv, cache) = linear::forward(fused, pass, x)?;
            let cache = ProjectionCache { products: Products::Fused(cache), normed: None };
            Ok((parts(&qkv, heads, *order)?, cache))
        }
        Projection::Split { q, k, v } => {
            let (mut q, q_cache) = linear::forward(q, pass, x)?;
            let (mut k, k_cache) = linear::forward(k, pass, x)?;
            let (v, v_cache) = linear::forward(v, pass, x)?;
            let mut normed = None;
            if let Some([of_q, of_k]) = norms {
                let read = [q.clone(), k.clone()];
                q = norm::forward(of_q, pass, &q)?;
                k = norm::forward(of_k, pass, &k)?;
                normed = Some(read);
            }
            let products = Products::Split([q_cache, k_cache, v_cache]);
            Ok((Projected { q, k, v }, ProjectionCache { products, normed }))
        }
    }
}

/// The gradient by the projection's input, if it is `wanted`.
pub(crate) fn backward(
    (projection, norms): (&Projection, Option<&[Norm; 2]>),
    pass: &Pass<'_>,
    cache: ProjectionCache,
    mut gradients: Projected,
    heads: Heads,
    wanted: bool,
    sink: &mut dyn DeviceSink,
) -> Result<Option<Tensor>> {
    match (projection, cache.products) {
        (Projection::Fused(fused, order), Products::Fused(cache)) => {
            let gradient = whole(&gradients, heads, *order)?;
            linear::backward(fused, pass, cache, &gradient, wanted, sink)
        }
        (Projection::Split { q, k, v }, Products::Split([q_cache, k_cache, v_cache])) => {
            if let (Some([of_q, of_k]), Some([before_q, before_k])) = (norms, cache.normed) {
                gradients.q = norm::backward(of_q, pass, &before_q, &gradients.q, sink)?;
                gradients.k = norm::backward(of_k, pass, &before_k, &gradients.k, sink)?;
            }
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
