//! One transformer block: attention and feed-forward, each between norms and around it the residual
//! stream.
//!
//! With a family's norms before (N) and behind (A) each branch, and its multiplier m:
//! y = x + m · A(attention(N(x))), then y + m · A(mlp(N(y))); or, where both branches are parallel,
//! x + m · attention(N(x)) + m · mlp(N'(x)). A norm that is not there passes its rows on.

use crate::buffer::{Buffer, Matrix};
use crate::gradient::GradientSink;
use crate::kernels::{add, for_rows, simd};
use crate::layers::Pass;
use crate::layers::attention::heads::Heads;
use crate::layers::attention::{self, Projected};
use crate::layers::linear::{Linear, LinearCache};
use crate::layers::norm::Norm;
pub(crate) use crate::model::mlp::Mlp;
use crate::model::mlp::MlpCache;
pub(crate) use crate::model::projection::{KeyValues, Projection};
use crate::model::projection::{ProjectionCache, Turning};

/// What the feed-forward reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Residuals {
    /// What attention was added to.
    Serial,
    /// The block's input, as attention does.
    Parallel,
}

/// The layers of one block.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    pub(crate) before_attention: Option<Norm>,
    pub(crate) projection: Projection,
    pub(crate) query_key_norms: Option<[Norm; 2]>,
    pub(crate) output: Linear,
    pub(crate) after_attention: Option<Norm>,
    /// Parallel branches without it share the norm of attention.
    pub(crate) before_mlp: Option<Norm>,
    pub(crate) mlp: Mlp,
    pub(crate) after_mlp: Option<Norm>,
    pub(crate) heads: Heads,
    /// Which of the model's rotary positions queries and keys have.
    pub(crate) rope: Option<usize>,
    pub(crate) residuals: Residuals,
    /// Multiplies what a branch gives before it is added.
    pub(crate) multiplier: f32,
}

/// What a norm read, and what its backward needs of that.
type Normed = (Matrix, Buffer);

/// What attention's backward needs.
#[derive(Debug)]
struct AttentionCache {
    projection: ProjectionCache,
    projected: Projected,
    lse: Buffer,
    output: LinearCache,
}

/// What the backward of everything but attention needs.
#[derive(Debug)]
struct Around {
    before_attention: Option<Normed>,
    after_attention: Option<Normed>,
    before_mlp: Option<Normed>,
    mlp: MlpCache,
    after_mlp: Option<Normed>,
}

/// The activations that a block's backward needs.
#[derive(Debug)]
pub(crate) struct BlockCache {
    attention: AttentionCache,
    around: Around,
}

simd! {
    /// `y = skip + factor · branch`.
    fn add_scaled(y: &mut [f32], skip: &[f32], branch: &[f32], factor: f32) {
        for ((y, skip), branch) in y.iter_mut().zip(skip).zip(branch) {
            *y = skip + factor * branch;
        }
    }
}

simd! {
    fn scale(target: &mut [f32], source: &[f32], factor: f32) {
        for (target, source) in target.iter_mut().zip(source) {
            *target = factor * source;
        }
    }
}

/// `target += source`, on all threads.
fn add_to(target: &mut [f32], source: &[f32]) {
    for_rows(target, 1, |first, target| add(target, &source[first..first + target.len()]));
}

/// The rows of `x` through a norm, if there is one.
fn normed(pass: &Pass<'_>, norm: Option<&Norm>, x: &Matrix) -> (Matrix, Option<Normed>) {
    match norm {
        Some(norm) => {
            let (y, stats) = norm.forward(pass, x.as_slice());
            (y, Some((x.clone(), stats)))
        }
        None => (x.clone(), None),
    }
}

/// Turns `g`, the gradient by what [`normed`] gave, into `skip` plus the gradient by what it read.
fn through_norm(
    pass: &Pass<'_>,
    norm: Option<&Norm>,
    cache: Option<Normed>,
    g: &mut [f32],
    skip: &[f32],
    sink: &mut dyn GradientSink,
) {
    match (norm, cache) {
        (Some(norm), Some((x, stats))) => {
            norm.backward(pass, (x.as_slice(), &stats), g, skip, sink);
        }
        _ => add_to(g, skip),
    }
}

impl Block {
    fn turning<'a>(&'a self, pass: &Pass<'a>) -> Turning<'a> {
        Turning {
            heads: self.heads,
            norms: self.query_key_norms.as_ref(),
            rope: self.rope.map(|rope| &pass.ropes[rope]),
        }
    }

    /// `skip` plus what a branch gives: added by the branch's last product where nothing is between
    /// the two.
    fn branch<C>(
        &self,
        pass: &Pass<'_>,
        after: Option<&Norm>,
        skip: &Matrix,
        run: impl FnOnce(Option<&[f32]>) -> (Buffer, C),
    ) -> (Matrix, Option<Normed>, C) {
        let (rows, width) = (skip.rows(), skip.columns());
        if after.is_none() && self.multiplier == 1.0 {
            let (y, cache) = run(Some(skip.as_slice()));
            return (Matrix::new(y, rows, width), None, cache);
        }
        let (given, cache) = run(None);
        let (given, kept) = normed(pass, after, &Matrix::new(given, rows, width));
        let mut y = pass.pool.take(rows * width);
        for_rows(&mut y, 1, |first, y| {
            let range = first..first + y.len();
            let (skip, given) = (&skip.as_slice()[range.clone()], &given.as_slice()[range]);
            add_scaled(y, skip, given, self.multiplier);
        });
        (Matrix::new(y, rows, width), kept, cache)
    }

    /// The gradient by what a branch gives, from that by the sum.
    fn branch_gradient(
        &self,
        pass: &Pass<'_>,
        (after, cache): (Option<&Norm>, Option<Normed>),
        gradient: &Matrix,
        sink: &mut dyn GradientSink,
    ) -> Matrix {
        if after.is_none() && self.multiplier == 1.0 {
            return gradient.clone();
        }
        let (rows, width) = (gradient.rows(), gradient.columns());
        let mut g = pass.pool.take(rows * width);
        for_rows(&mut g, 1, |first, g| {
            scale(g, &gradient.as_slice()[first..first + g.len()], self.multiplier);
        });
        if after.is_some() {
            let nothing = pass.pool.zeros(g.len());
            through_norm(pass, after, cache, &mut g, &nothing, sink);
        }
        Matrix::new(g, rows, width)
    }

    /// The block around `attend`, which gets the rows that attention reads and what its output is
    /// added to.
    fn run<C>(
        &self,
        pass: &Pass<'_>,
        x: &Matrix,
        attend: impl FnOnce(Matrix, Option<&[f32]>) -> (Buffer, C),
    ) -> (Matrix, C, Around) {
        let (read, before_attention) = normed(pass, self.before_attention.as_ref(), x);
        let shared = (self.residuals == Residuals::Parallel).then(|| match &self.before_mlp {
            Some(norm) => normed(pass, Some(norm), x),
            None => (read.clone(), None),
        });
        let (middle, after_attention, attention) =
            self.branch(pass, self.after_attention.as_ref(), x, |skip| attend(read, skip));
        let (read, before_mlp) =
            shared.unwrap_or_else(|| normed(pass, self.before_mlp.as_ref(), &middle));
        let (y, after_mlp, mlp) = self.branch(pass, self.after_mlp.as_ref(), &middle, |skip| {
            self.mlp.forward(pass, &read, skip)
        });
        let around = Around { before_attention, after_attention, before_mlp, mlp, after_mlp };
        (y, attention, around)
    }

    /// The block's output and what its backward needs.
    pub(crate) fn forward(&self, pass: &Pass<'_>, x: &Matrix) -> (Matrix, BlockCache) {
        let (y, attention, around) = self.run(pass, x, |read, skip| {
            let (mut projected, projection) =
                self.projection.forward(pass, &read, self.turning(pass));
            drop(read);
            let (attended, lse) =
                attention::forward(pass.pool, &mut projected, self.heads, pass.sequences);
            let attended = Matrix::new(attended, x.rows(), self.heads.query_width());
            let (given, output) = self.output.forward(pass, &attended, skip);
            (given, AttentionCache { projection, projected, lse, output })
        });
        (y, BlockCache { attention, around })
    }

    /// The output for new rows of one sequence, whose earlier keys and values are in `cache`.
    pub(crate) fn extend(&self, pass: &Pass<'_>, x: &Matrix, cache: &mut KeyValues) -> Matrix {
        let past = cache.keys.len() / self.heads.key_width();
        let (y, ..) = self.run(pass, x, |read, skip| {
            let (projected, _) = self.projection.forward(pass, &read, self.turning(pass));
            let queries = cache.push(pass.pool, projected, self.heads);
            let kept = (&cache.keys[..], &cache.values[..]);
            let attended = attention::extend(pass.pool, &queries, kept, self.heads, past);
            let attended = Matrix::new(attended, x.rows(), self.heads.query_width());
            self.output.forward(pass, &attended, skip)
        });
        y
    }

    /// The gradient by the rows that attention reads, given the one by what it gives; with `wanted`
    /// off it is not computed and the buffer holds nothing of meaning.
    fn attention_backward(
        &self,
        pass: &Pass<'_>,
        cache: AttentionCache,
        gradient: &Matrix,
        wanted: bool,
        sink: &mut dyn GradientSink,
    ) -> Buffer {
        let mut attended = pass.pool.take(gradient.rows() * self.heads.query_width());
        let target = Some((&mut attended[..], false));
        self.output.backward(pass, cache.output, gradient, target, sink);
        let mut projected = cache.projected;
        let (lse, heads) = (cache.lse, self.heads);
        attention::backward(pass.pool, &mut projected, heads, pass.sequences, &lse, &attended);
        drop((lse, attended));
        let turning = self.turning(pass);
        self.projection.backward(pass, cache.projection, projected, turning, wanted, sink)
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
        let (rows, width) = (gradient.rows(), gradient.columns());
        let BlockCache { attention, around } = cache;
        let after = (self.after_mlp.as_ref(), around.after_mlp);
        let by_given = self.branch_gradient(pass, after, &gradient, sink);
        let mut by_read = self.mlp.backward(pass, around.mlp, &by_given, sink);
        drop(by_given);
        let trains = |norm: &Option<Norm>| norm.as_ref().is_some_and(|norm| norm.trains(pass));
        let after = (self.after_attention.as_ref(), around.after_attention);
        let before_mlp = (self.before_mlp.as_ref(), around.before_mlp);
        let before = (self.before_attention.as_ref(), around.before_attention);

        if self.residuals == Residuals::Serial {
            let skip = gradient.as_slice();
            through_norm(pass, before_mlp.0, before_mlp.1, &mut by_read, skip, sink);
            drop(gradient);
            let by_middle = Matrix::new(by_read, rows, width);
            let by_given = self.branch_gradient(pass, after, &by_middle, sink);
            let through = wanted || trains(&self.before_attention);
            let mut by_read = self.attention_backward(pass, attention, &by_given, through, sink);
            drop(by_given);
            if !through {
                return None;
            }
            through_norm(pass, before.0, before.1, &mut by_read, by_middle.as_slice(), sink);
            return Some(Matrix::new(by_read, rows, width));
        }

        let by_given = self.branch_gradient(pass, after, &gradient, sink);
        let through = wanted || trains(&self.before_attention) || trains(&self.before_mlp);
        let mut by_attended = self.attention_backward(pass, attention, &by_given, through, sink);
        drop(by_given);
        if !through {
            return None;
        }
        let skip = gradient.as_slice();
        if self.before_mlp.is_some() {
            through_norm(pass, before_mlp.0, before_mlp.1, &mut by_read, skip, sink);
            through_norm(pass, before.0, before.1, &mut by_attended, &by_read, sink);
        } else {
            add_to(&mut by_attended, &by_read);
            through_norm(pass, before.0, before.1, &mut by_attended, skip, sink);
        }
        Some(Matrix::new(by_attended, rows, width))
    }
}
