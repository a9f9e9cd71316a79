//! Queries, keys and values: projected, normalised where the family does so, and turned to their
//! positions.

use crate::buffer::{Buffer, Matrix, Pool};
use crate::gradient::GradientSink;
use crate::layers::Pass;
use crate::layers::attention::Projected;
use crate::layers::attention::heads::{Columns, Heads, Order, columns};
use crate::layers::linear::{Linear, LinearCache};
use crate::layers::norm::Norm;
use crate::layers::rope::Rope;

/// The products: one for all, or three.
#[derive(Debug, Clone)]
pub(crate) enum Projection {
    Fused(Linear, Order),
    Split { q: Linear, k: Linear, v: Linear },
}

/// What is done to the products' rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turning<'a> {
    pub(crate) heads: Heads,
    /// Norms of queries and keys.
    pub(crate) norms: Option<&'a [Norm; 2]>,
    pub(crate) rope: Option<&'a Rope>,
}

impl Turning<'_> {
    /// Turns queries and keys.
    fn turn(&self, pass: &Pass<'_>, projected: &mut Projected, backward: bool) {
        let Some(rope) = self.rope else { return };
        let Heads { queries, keys, .. } = self.heads;
        let turn = |x: &mut Buffer, columns: Columns, heads: usize| {
            rope.apply(x, (columns, heads), pass.positions, backward);
        };
        match projected {
            Projected::Fused(qkv, order) => {
                let [of_q, of_k, _] = columns(self.heads, Some(*order));
                turn(qkv, of_q, queries);
                turn(qkv, of_k, keys);
            }
            Projected::Split { q, k, .. } => {
                let [of_q, of_k, _] = columns(self.heads, None);
                turn(q, of_q, queries);
                turn(k, of_k, keys);
            }
        }
    }
}

#[derive(Debug)]
enum Products {
    Fused(LinearCache),
    Split([LinearCache; 3]),
}

/// Rows before their norm, and what its backward needs of them.
type Normed = (Buffer, Buffer);

/// What the backward needs.
#[derive(Debug)]
pub(crate) struct ProjectionCache {
    products: Products,
    normed: Option<[Normed; 2]>,
}

/// Overwrites `x` by its normalised rows; returns what it was.
fn normalise(pass: &Pass<'_>, norm: &Norm, x: &mut Buffer) -> Normed {
    let mut y = pass.pool.take(x.len());
    let stats = norm.forward_into(pass, x, &mut y);
    (std::mem::replace(x, y), stats)
}

impl Projection {
    /// Queries, keys and values of the rows of `x`.
    pub(crate) fn forward(
        &self,
        pass: &Pass<'_>,
        x: &Matrix,
        turning: Turning<'_>,
    ) -> (Projected, ProjectionCache) {
        let mut normed = None;
        let (mut projected, products) = match self {
            Self::Fused(linear, order) => {
                let (qkv, cache) = linear.forward(pass, x, None);
                (Projected::Fused(qkv, *order), Products::Fused(cache))
            }
            Self::Split { q, k, v } => {
                let [(mut q, q_cache), (mut k, k_cache), (v, v_cache)] =
                    [q, k, v].map(|linear| linear.forward(pass, x, None));
                if let Some([of_q, of_k]) = turning.norms {
                    normed = Some([normalise(pass, of_q, &mut q), normalise(pass, of_k, &mut k)]);
                }
                (Projected::Split { q, k, v }, Products::Split([q_cache, k_cache, v_cache]))
            }
        };
        turning.turn(pass, &mut projected, false);
        (projected, ProjectionCache { products, normed })
    }

    /// The gradient by the projection's input, given those by q, k and v; with `wanted` off it
    /// is not computed and the buffer returned holds nothing of meaning.
    pub(crate) fn backward(
        &self,
        pass: &Pass<'_>,
        cache: ProjectionCache,
        mut gradients: Projected,
        turning: Turning<'_>,
        wanted: bool,
        sink: &mut dyn GradientSink,
    ) -> Buffer {
        turning.turn(pass, &mut gradients, true);
        let rows = pass.positions.len();
        match (self, cache.products, gradients) {
            (Self::Fused(linear, _), Products::Fused(cache), Projected::Fused(gradient, _)) => {
                let mut input = pass.pool.take(rows * linear.inputs);
                let gradient = Matrix::new(gradient, rows, linear.outputs);
                let target = wanted.then_some((&mut input[..], false));
                linear.backward(pass, cache, &gradient, target, sink);
                input
            }
            (
                Self::Split { q, k, v },
                Products::Split([q_cache, k_cache, v_cache]),
                Projected::Split { q: mut by_q, k: mut by_k, v: by_v },
            ) => {
                if let (Some(norms), Some(normed)) = (turning.norms, cache.normed) {
                    let gradients = [&mut by_q, &mut by_k];
                    for ((norm, (x, stats)), g) in norms.iter().zip(normed).zip(gradients) {
                        let nothing = pass.pool.zeros(g.len());
                        norm.backward(pass, (&x, &stats), g, &nothing, sink);
                    }
                }
                let mut input = pass.pool.take(rows * q.inputs);
                let parts = [(v, v_cache, by_v), (k, k_cache, by_k), (q, q_cache, by_q)];
                for (index, (linear, cache, gradient)) in parts.into_iter().enumerate() {
                    let gradient = Matrix::new(gradient, rows, linear.outputs);
                    let target = wanted.then_some((&mut input[..], index > 0));
                    linear.backward(pass, cache, &gradient, target, sink);
                }
                input
            }
            _ => unreachable!("cache and gradients were made by this projection"),
        }
    }
}

/// The keys and values of one block's earlier tokens.
#[derive(Debug)]
pub(crate) struct KeyValues {
    pub(crate) keys: Vec<f32>,
    pub(crate) values: Vec<f32>,
}

impl KeyValues {
    /// Room for `tokens`.
    pub(crate) fn new(heads: Heads, tokens: usize) -> Self {
        let room = tokens * heads.key_width();
        Self { keys: Vec::with_capacity(room), values: Vec::with_capacity(room) }
    }

    /// Appends the keys and values among `projected`; returns the queries.
    pub(crate) fn push(&mut self, pool: &Pool, projected: Projected, heads: Heads) -> Buffer {
        match projected {
            Projected::Split { q, k, v } => {
                self.keys.extend_from_slice(&k);
                self.values.extend_from_slice(&v);
                q
            }
            Projected::Fused(qkv, order) => {
                let [of_q, of_k, of_v] = columns(heads, Some(order));
                let width = heads.query_width();
                let mut q = pool.take(qkv.len() / of_q.stride * width);
                for (row, q) in qkv.chunks_exact(of_q.stride).zip(q.chunks_exact_mut(width)) {
                    let head = |columns: Columns, head| &row[columns.of(head)..][..heads.dim];
                    for (index, q) in q.chunks_exact_mut(heads.dim).enumerate() {
                        q.copy_from_slice(head(of_q, index));
                    }
                    for index in 0..heads.keys {
                        self.keys.extend_from_slice(head(of_k, index));
                        self.values.extend_from_slice(head(of_v, index));
                    }
                }
                q
            }
        }
    }
}
