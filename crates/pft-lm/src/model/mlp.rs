//! The feed-forward layer: plain, or gated by a second product.

use crate::buffer::{Buffer, Matrix, Pool};
use crate::config::Activation;
use crate::gradient::GradientSink;
use crate::kernels::for_rows;
use crate::layers::linear::{Linear, LinearCache};
use crate::layers::{Pass, gated, gelu};

/// The feed-forward layer.
#[derive(Debug, Clone)]
pub(crate) enum Mlp {
    Plain { up: Linear, down: Linear, activation: Activation },
    Gated { gate: Linear, up: Linear, down: Linear, activation: Activation },
    GatedFused { gate_up: Linear, down: Linear, activation: Activation },
}

/// What its backward needs.
#[derive(Debug)]
pub(crate) enum MlpCache {
    Plain { hidden: Buffer, up: LinearCache, down: LinearCache },
    Gated { gated: Buffer, upward: Buffer, gate: LinearCache, up: LinearCache, down: LinearCache },
    GatedFused { gated: Buffer, upward: Buffer, gate_up: LinearCache, down: LinearCache },
}

/// The left and the right half of each row.
fn halves(pool: &Pool, x: &[f32], width: usize) -> [Buffer; 2] {
    [0, width].map(|first| {
        let mut half = pool.take(x.len() / 2);
        for_rows(&mut half, width, |row, half| {
            let rows = x[row * 2 * width..].chunks_exact(2 * width);
            for (half, x) in half.chunks_exact_mut(width).zip(rows) {
                half.copy_from_slice(&x[first..first + width]);
            }
        });
        half
    })
}

/// Rows whose halves are `left` and `right`.
fn joined(pool: &Pool, left: &[f32], right: &[f32], width: usize) -> Buffer {
    let mut x = pool.take(left.len() + right.len());
    for_rows(&mut x, 2 * width, |row, x| {
        let rows =
            left[row * width..].chunks_exact(width).zip(right[row * width..].chunks_exact(width));
        for (x, (left, right)) in x.chunks_exact_mut(2 * width).zip(rows) {
            x[..width].copy_from_slice(left);
            x[width..].copy_from_slice(right);
        }
    });
    x
}

impl Mlp {
    /// The output for each row of `x`, plus `skip` if there is any.
    pub(crate) fn forward(
        &self,
        pass: &Pass<'_>,
        x: &Matrix,
        skip: Option<&[f32]>,
    ) -> (Buffer, MlpCache) {
        let pool = pass.pool;
        match self {
            Self::Plain { up, down, activation } => {
                let (hidden, up_cache) = up.forward(pass, x, None);
                let mut active = pool.take(hidden.len());
                gelu::forward(&hidden, &mut active, *activation == Activation::Gelu);
                let active = Matrix::new(active, x.rows(), up.outputs);
                let (y, down) = down.forward(pass, &active, skip);
                (y, MlpCache::Plain { hidden, up: up_cache, down })
            }
            Self::Gated { gate, up, down, activation } => {
                let (gated, gate_cache) = gate.forward(pass, x, None);
                let (upward, up_cache) = up.forward(pass, x, None);
                let mut active = pool.take(gated.len());
                gated::forward(*activation, &gated, &upward, &mut active);
                let active = Matrix::new(active, x.rows(), gate.outputs);
                let (y, down) = down.forward(pass, &active, skip);
                (y, MlpCache::Gated { gated, upward, gate: gate_cache, up: up_cache, down })
            }
            Self::GatedFused { gate_up, down, activation } => {
                let width = gate_up.outputs / 2;
                let (both, gate_up_cache) = gate_up.forward(pass, x, None);
                let [gated, upward] = halves(pool, &both, width);
                drop(both);
                let mut active = pool.take(gated.len());
                gated::forward(*activation, &gated, &upward, &mut active);
                let active = Matrix::new(active, x.rows(), width);
                let (y, down) = down.forward(pass, &active, skip);
                (y, MlpCache::GatedFused { gated, upward, gate_up: gate_up_cache, down })
            }
        }
    }

    /// The gradient by the layer's input.
    pub(crate) fn backward(
        &self,
        pass: &Pass<'_>,
        cache: MlpCache,
        gradient: &Matrix,
        sink: &mut dyn GradientSink,
    ) -> Buffer {
        let (rows, pool) = (gradient.rows(), pass.pool);
        let by_active = |down: &Linear, cache, sink: &mut dyn GradientSink| {
            let mut active = pool.take(rows * down.inputs);
            down.backward(pass, cache, gradient, Some((&mut active[..], false)), sink);
            active
        };
        match (self, cache) {
            (
                Self::Plain { up, down, activation },
                MlpCache::Plain { mut hidden, up: up_cache, down: down_cache },
            ) => {
                let active = by_active(down, down_cache, sink);
                gelu::backward(&mut hidden, &active, *activation == Activation::Gelu);
                drop(active);
                through(pass, rows, [(up, up_cache, hidden)], sink)
            }
            (
                Self::Gated { gate, up, down, activation },
                MlpCache::Gated {
                    mut gated,
                    mut upward,
                    gate: gate_cache,
                    up: up_cache,
                    down: down_cache,
                },
            ) => {
                let active = by_active(down, down_cache, sink);
                gated::backward(*activation, pool, &mut gated, &mut upward, &active);
                drop(active);
                through(pass, rows, [(up, up_cache, upward), (gate, gate_cache, gated)], sink)
            }
            (
                Self::GatedFused { gate_up, down, activation },
                MlpCache::GatedFused {
                    mut gated,
                    mut upward,
                    gate_up: gate_up_cache,
                    down: down_cache,
                },
            ) => {
                let active = by_active(down, down_cache, sink);
                gated::backward(*activation, pool, &mut gated, &mut upward, &active);
                drop(active);
                let both = joined(pool, &gated, &upward, gate_up.outputs / 2);
                drop((gated, upward));
                through(pass, rows, [(gate_up, gate_up_cache, both)], sink)
            }
            _ => unreachable!("the cache was made by this layer"),
        }
    }
}

/// The sum of the gradients by the input that several products read.
fn through<const N: usize>(
    pass: &Pass<'_>,
    rows: usize,
    products: [(&Linear, LinearCache, Buffer); N],
    sink: &mut dyn GradientSink,
) -> Buffer {
    let mut input = pass.pool.take(rows * products[0].0.inputs);
    for (index, (linear, cache, gradient)) in products.into_iter().enumerate() {
        let gradient = Matrix::new(gradient, rows, linear.outputs);
        linear.backward(pass, cache, &gradient, Some((&mut input[..], index > 0)), sink);
    }
    input
}
