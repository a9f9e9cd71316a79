//! One transformer block: x + attention(norm(x)), then x + mlp(norm(x)).

use crate::buffer::{Buffer, Matrix, Pool};
use crate::gradient::GradientSink;
use crate::layers::attention::{self, Heads, Projected};
use crate::layers::linear::{Linear, LinearCache};
use crate::layers::norm::Norm;
use crate::layers::{Pass, gelu, swiglu};

/// Queries, keys and values: one layer (GPT-2's `c_attn`) or three.
#[derive(Debug, Clone)]
pub(crate) enum Projection {
    Fused(Linear),
    Split { q: Linear, k: Linear, v: Linear },
}

/// The feed-forward layer.
#[derive(Debug, Clone)]
pub(crate) enum Mlp {
    Gelu { fc: Linear, proj: Linear, exact: bool },
    SwiGlu { gate: Linear, up: Linear, down: Linear },
}

/// The layers of one block.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) norm1: Norm,
    pub(crate) projection: Projection,
    pub(crate) output: Linear,
    pub(crate) norm2: Norm,
    pub(crate) mlp: Mlp,
    pub(crate) heads: Heads,
}

#[derive(Debug)]
enum ProjectionCache {
    Fused(LinearCache),
    Split([LinearCache; 3]),
}

#[derive(Debug)]
enum MlpCache {
    Gelu { hidden: Buffer, fc: LinearCache, proj: LinearCache },
    SwiGlu { gated: Buffer, upward: Buffer, gate: LinearCache, up: LinearCache, down: LinearCache },
}

/// The activations that a block's backward needs.
#[derive(Debug)]
pub(crate) struct BlockCache {
    input: Matrix,
    stats1: Buffer,
    projection: ProjectionCache,
    projected: Projected,
    lse: Buffer,
    output: LinearCache,
    middle: Matrix,
    stats2: Buffer,
    mlp: MlpCache,
}

/// The keys and values of one block's earlier tokens.
#[derive(Debug)]
pub(crate) struct KeyValues {
    keys: Vec<f32>,
    values: Vec<f32>,
}

impl KeyValues {
    /// Room for `tokens`.
    pub(crate) fn new(block: &Block, tokens: usize) -> Self {
        let room = tokens * block.heads.key_width();
        Self { keys: Vec::with_capacity(room), values: Vec::with_capacity(room) }
    }

    /// Appends the keys and values among `projected`; returns the queries.
    fn push(&mut self, pool: &Pool, projected: Projected, heads: Heads) -> Buffer {
        match projected {
            Projected::Split { q, k, v } => {
                self.keys.extend_from_slice(&k);
                self.values.extend_from_slice(&v);
                q
            }
            Projected::Fused(qkv) => {
                let (queries, keys) = (heads.query_width(), heads.key_width());
                let stride = queries + 2 * keys;
                let mut q = pool.take(qkv.len() / stride * queries);
                for (row, q) in qkv.chunks_exact(stride).zip(q.chunks_exact_mut(queries)) {
                    q.copy_from_slice(&row[..queries]);
                    self.keys.extend_from_slice(&row[queries..queries + keys]);
                    self.values.extend_from_slice(&row[queries + keys..]);
                }
                q
            }
        }
    }
}

impl Projection {
    /// Projects the normalised rows and turns queries and keys to their positions.
    fn forward(&self, pass: &Pass<'_>, x: &Matrix) -> (Projected, ProjectionCache) {
        let run = |linear: &Linear| linear.forward(pass, x, None);
        match self {
            Self::Fused(linear) => {
                let (qkv, cache) = run(linear);
                (Projected::Fused(qkv), ProjectionCache::Fused(cache))
            }
            Self::Split { q, k, v } => {
                let ((mut q_rows, q_cache), (mut k_rows, k_cache), (v_rows, v_cache)) =
                    (run(q), run(k), run(v));
                if let Some(rope) = pass.rope {
                    rope.apply(&mut q_rows, q.outputs, pass.positions, false);
                    rope.apply(&mut k_rows, k.outputs, pass.positions, false);
                }
                let projected = Projected::Split { q: q_rows, k: k_rows, v: v_rows };
                (projected, ProjectionCache::Split([q_cache, k_cache, v_cache]))
            }
        }
    }

    /// The gradient by the projection's input, given those by q, k and v; with `wanted` off it
    /// is not computed and the buffer returned holds nothing of meaning.
    fn backward(
        &self,
        pass: &Pass<'_>,
        cache: ProjectionCache,
        gradients: Projected,
        rows: usize,
        wanted: bool,
        sink: &mut dyn GradientSink,
    ) -> Buffer {
        match (self, cache, gradients) {
            (Self::Fused(linear), ProjectionCache::Fused(cache), Projected::Fused(gradient)) => {
                let mut input = pass.pool.take(rows * linear.inputs);
                let gradient = Matrix::new(gradient, rows, linear.outputs);
                let target = wanted.then_some((&mut input[..], false));
                linear.backward(pass, cache, &gradient, target, sink);
                input
            }
            (
                Self::Split { q, k, v },
                ProjectionCache::Split([q_cache, k_cache, v_cache]),
                Projected::Split { q: mut by_q, k: mut by_k, v: by_v },
            ) => {
                if let Some(rope) = pass.rope {
                    rope.apply(&mut by_q, q.outputs, pass.positions, true);
                    rope.apply(&mut by_k, k.outputs, pass.positions, true);
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

impl Mlp {
    /// The output for each row of `x`, plus `skip`.
    fn forward(&self, pass: &Pass<'_>, x: &Matrix, skip: &[f32]) -> (Buffer, MlpCache) {
        match self {
            Self::Gelu { fc, proj, exact } => {
                let (hidden, fc_cache) = fc.forward(pass, x, None);
                let mut active = pass.pool.take(hidden.len());
                gelu::forward(&hidden, &mut active, *exact);
                let active = Matrix::new(active, x.rows(), fc.outputs);
                let (y, proj) = proj.forward(pass, &active, Some(skip));
                (y, MlpCache::Gelu { hidden, fc: fc_cache, proj })
            }
            Self::SwiGlu { gate, up, down } => {
                let (gated, gate_cache) = gate.forward(pass, x, None);
                let (upward, up_cache) = up.forward(pass, x, None);
                let mut active = pass.pool.take(gated.len());
                swiglu::forward(&gated, &upward, &mut active);
                let active = Matrix::new(active, x.rows(), gate.outputs);
                let (y, down) = down.forward(pass, &active, Some(skip));
                (y, MlpCache::SwiGlu { gated, upward, gate: gate_cache, up: up_cache, down })
            }
        }
    }

    fn backward(
        &self,
        pass: &Pass<'_>,
        cache: MlpCache,
        gradient: &Matrix,
        sink: &mut dyn GradientSink,
    ) -> Buffer {
        let rows = gradient.rows();
        let pool = pass.pool;
        match (self, cache) {
            (
                Self::Gelu { fc, proj, exact },
                MlpCache::Gelu { mut hidden, fc: fc_cache, proj: proj_cache },
            ) => {
                let mut active = pool.take(rows * fc.outputs);
                let target = Some((&mut active[..], false));
                proj.backward(pass, proj_cache, gradient, target, sink);
                gelu::backward(&mut hidden, &active, *exact);
                drop(active);
                let gradient = Matrix::new(hidden, rows, fc.outputs);
                let mut input = pool.take(rows * fc.inputs);
                let target = Some((&mut input[..], false));
                fc.backward(pass, fc_cache, &gradient, target, sink);
                input
            }
            (
                Self::SwiGlu { gate, up, down },
                MlpCache::SwiGlu {
                    mut gated,
                    mut upward,
                    gate: gate_cache,
                    up: up_cache,
                    down: down_cache,
                },
            ) => {
                let mut active = pool.take(rows * gate.outputs);
                let target = Some((&mut active[..], false));
                down.backward(pass, down_cache, gradient, target, sink);
                swiglu::backward(&mut gated, &mut upward, &active);
                drop(active);
                let mut input = pool.take(rows * gate.inputs);
                for (linear, cache, gradient, accumulate) in
                    [(up, up_cache, upward, false), (gate, gate_cache, gated, true)]
                {
                    let gradient = Matrix::new(gradient, rows, linear.outputs);
                    let target = Some((&mut input[..], accumulate));
                    linear.backward(pass, cache, &gradient, target, sink);
                }
                input
            }
            _ => unreachable!("the cache was made by this layer"),
        }
    }
}

impl Block {
    /// The block's output and what its backward needs.
    pub(crate) fn forward(&self, pass: &Pass<'_>, x: &Matrix) -> (Matrix, BlockCache) {
        let (pool, rows, width) = (pass.pool, x.rows(), x.columns());
        let (normed, stats1) = self.norm1.forward(pass, x.as_slice());
        let (mut projected, projection) = self.projection.forward(pass, &normed);
        drop(normed);
        let (attended, lse) = attention::forward(pool, &mut projected, self.heads, pass.sequences);
        let attended = Matrix::new(attended, rows, self.heads.query_width());
        let (middle, output) = self.output.forward(pass, &attended, Some(x.as_slice()));
        let (normed, stats2) = self.norm2.forward(pass, &middle);
        let (y, mlp) = self.mlp.forward(pass, &normed, &middle);
        let cache = BlockCache {
            input: x.clone(),
            stats1,
            projection,
            projected,
            lse,
            output,
            middle: Matrix::new(middle, rows, width),
            stats2,
            mlp,
        };
        (Matrix::new(y, rows, width), cache)
    }

    /// The output for new rows of one sequence, whose earlier keys and values are in `cache`.
    pub(crate) fn extend(&self, pass: &Pass<'_>, x: &Matrix, cache: &mut KeyValues) -> Matrix {
        let (pool, rows, width) = (pass.pool, x.rows(), x.columns());
        let past = cache.keys.len() / self.heads.key_width();
        let (normed, _) = self.norm1.forward(pass, x.as_slice());
        let (projected, _) = self.projection.forward(pass, &normed);
        let queries = cache.push(pool, projected, self.heads);
        let kept = (&cache.keys[..], &cache.values[..]);
        let attended = attention::extend(pool, &queries, kept, self.heads, past);
        let attended = Matrix::new(attended, rows, self.heads.query_width());
        let (middle, _) = self.output.forward(pass, &attended, Some(x.as_slice()));
        let (normed, _) = self.norm2.forward(pass, &middle);
        let (y, _) = self.mlp.forward(pass, &normed, &middle);
        Matrix::new(y, rows, width)
    }

    /// Hands out the block's gradients and returns the one by its input; with `wanted` off that
    /// is not computed and `None` is returned.
    pub(crate) fn backward(
        &self,
        pass: &Pass<'_>,
        cache: BlockCache,
        gradient: Matrix,
        wanted: bool,
        sink: &mut dyn GradientSink,
    ) -> Option<Matrix> {
        let (pool, sequences) = (pass.pool, pass.sequences);
        let (rows, width) = (gradient.rows(), gradient.columns());

        let mut by_middle = self.mlp.backward(pass, cache.mlp, &gradient, sink);
        let at = (cache.middle.as_slice(), &cache.stats2[..]);
        let skip = gradient.as_slice();
        self.norm2.backward(pass, at, &mut by_middle, skip, sink);
        drop((cache.middle, cache.stats2, gradient));
        let by_middle = Matrix::new(by_middle, rows, width);

        let mut by_attended = pool.take(rows * self.heads.query_width());
        let target = Some((&mut by_attended[..], false));
        self.output.backward(pass, cache.output, &by_middle, target, sink);
        let mut projected = cache.projected;
        attention::backward(pool, &mut projected, self.heads, sequences, &cache.lse, &by_attended);
        drop((cache.lse, by_attended));

        let through = wanted || self.norm1.trains(pass);
        let mut by_input =
            self.projection.backward(pass, cache.projection, projected, rows, through, sink);
        if !through {
            return None;
        }
        let at = (cache.input.as_slice(), &cache.stats1[..]);
        let skip = by_middle.as_slice();
        self.norm1.backward(pass, at, &mut by_input, skip, sink);
        Some(Matrix::new(by_input, rows, width))
    }
}
