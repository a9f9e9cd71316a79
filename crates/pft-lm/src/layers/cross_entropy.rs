//! The head and its loss, fused: the −ln softmax(h·Wᵀ) of the target, without ever holding the logits of
//! all tokens.
//!
//! Rows are taken in chunks: logits, then each row's negative log-likelihood, then the logits'
//! gradient weight · (softmax − onehot) in their place, then the gradients of h and of W.

use rayon::prelude::*;

use crate::buffer::{Buffer, Matrix};
use crate::gradient::{GradientSink, HeadRows, LinearGradient, Sequences};
use crate::kernels::math::exp;
use crate::kernels::matmul::{self, Layout};
use crate::kernels::{add_lanes, for_rows, max, rows_per_task, simd};
use crate::layers::lora::{Adapter, AdapterCache};
use crate::layers::{Pass, soft_cap};
use crate::parameters::ParameterId;

/// About how many logits are held at a time (64 MB).
const LOGITS: usize = 1 << 24;

/// The output layer.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    /// `[vocabulary, width]`; the token embedding if they are tied.
    pub(crate) weight: ParameterId,
    /// `[vocabulary]`.
    pub(crate) bias: Option<ParameterId>,
    /// Never on a tied head.
    pub(crate) adapter: Option<Adapter>,
    pub(crate) vocabulary: usize,
    pub(crate) width: usize,
    /// Multiplies logits.
    pub(crate) multiplier: f32,
    /// Bounds logits, smoothly.
    pub(crate) soft_cap: Option<f32>,
}

/// What each row is to predict, and how much that counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Targets<'a> {
    /// The next token; any value where there is none.
    pub(crate) tokens: &'a [u32],
    /// Weight in the loss; 0 where there is no target.
    pub(crate) weights: &'a [f32],
}

simd! {
    /// Overwrites a row of logits by e^(logit − largest); returns the largest and the sum.
    fn exponentials(logits: &mut [f32]) -> (f32, f32) {
        let largest = max(logits);
        let mut lanes = [0.0f32; 16];
        let mut chunks = logits.chunks_exact_mut(16);
        for chunk in &mut chunks {
            for lane in 0..16 {
                chunk[lane] = exp(chunk[lane] - largest);
                lanes[lane] += chunk[lane];
            }
        }
        for (logit, lane) in chunks.into_remainder().iter_mut().zip(&mut lanes) {
            *logit = exp(*logit - largest);
            *lane += *logit;
        }
        (largest, add_lanes(lanes))
    }
}

simd! {
    fn scale_row(row: &mut [f32], factor: f32) {
        for value in row {
            *value *= factor;
        }
    }
}

/// A row's negative log-likelihood; with a weight the logits become the loss's gradient.
fn row_loss(logits: &mut [f32], target: u32, weight: Option<f32>) -> f32 {
    let wanted = logits[target as usize];
    let (largest, total) = exponentials(logits);
    if let Some(weight) = weight {
        scale_row(logits, weight / total);
        logits[target as usize] -= weight;
    }
    largest + total.ln() - wanted
}

impl Head {
    /// The logits of `hidden`'s rows, which are those of the pass, and what the adapter's backward
    /// needs.
    pub(crate) fn logits(
        &self,
        pass: &Pass<'_>,
        hidden: &Matrix,
    ) -> (Buffer, Option<AdapterCache>) {
        let (parameters, pool, rows) = (pass.parameters, pass.pool, hidden.rows());
        let mut logits = pool.take(rows * self.vocabulary);
        let bias = self.bias.and_then(|bias| parameters.get(bias).tensor.as_f32());
        if let Some(bias) = bias {
            for_rows(&mut logits, self.vocabulary, |_, rows| {
                rows.chunks_exact_mut(bias.len()).for_each(|row| row.copy_from_slice(bias));
            });
        }
        let (input, add) = (hidden.as_slice(), bias.is_some());
        if let Some(weight) = pass.int8(self.weight).filter(|_| rows == 1) {
            weight.forward(&mut logits, input, add);
        } else {
            let weight = &parameters.get(self.weight).tensor;
            let sizes = [rows, self.width, self.vocabulary];
            matmul::forward(Layout::OutIn, &mut logits, input, weight, sizes, add, pool);
        }
        let adapter = self.adapter.as_ref();
        let cache =
            adapter.map(|adapter| adapter.forward(pass, &mut logits, hidden, self.vocabulary));
        self.bound(&mut logits);
        (logits, cache)
    }

    /// Multiplies logits and bounds them, where the family does so.
    fn bound(&self, logits: &mut [f32]) {
        if self.multiplier != 1.0 {
            for_rows(logits, 1, |_, logits| scale_row(logits, self.multiplier));
        }
        if let Some(cap) = self.soft_cap {
            for_rows(logits, 1, |_, logits| soft_cap::apply(logits, cap));
        }
    }

    /// Whether logits are not what the product gives.
    fn bounds(&self) -> bool {
        self.multiplier != 1.0 || self.soft_cap.is_some()
    }

    /// How the logits of a row follow what the product gives.
    fn slopes(&self, logits: &[f32], slopes: &mut [f32]) {
        match self.soft_cap {
            Some(cap) => soft_cap::slopes(logits, slopes, cap),
            None => slopes.fill(1.0),
        }
        scale_row(slopes, self.multiplier);
    }

    /// Overwrites logits by their gradients if `train`, and puts each row's loss into `losses`.
    fn losses(&self, logits: &mut [f32], targets: Targets<'_>, losses: &mut [f32], train: bool) {
        let block = rows_per_task(losses.len());
        let rows = logits.par_chunks_mut(block * self.vocabulary);
        let wanted = targets.tokens.par_chunks(block).zip(targets.weights.par_chunks(block));
        rows.zip(losses.par_chunks_mut(block)).zip(wanted).for_each(
            |((logits, losses), wanted)| {
                let wanted = wanted.0.iter().zip(wanted.1);
                let rows = logits.chunks_exact_mut(self.vocabulary).zip(losses).zip(wanted);
                let bounds = train && self.bounds();
                let mut slopes = vec![0.0; if bounds { self.vocabulary } else { 0 }];
                for ((logits, loss), (&token, &weight)) in rows {
                    if bounds {
                        self.slopes(logits, &mut slopes);
                    }
                    *loss = row_loss(logits, token, train.then_some(weight));
                    if bounds {
                        soft_cap::multiply(logits, &slopes);
                    }
                }
            },
        );
    }

    /// Each row's negative log-likelihood.
    pub(crate) fn evaluate(
        &self,
        pass: &Pass<'_>,
        hidden: &Matrix,
        targets: Targets<'_>,
    ) -> Vec<f32> {
        let rows = hidden.rows();
        let mut losses = vec![0.0; rows];
        let step = (LOGITS / self.vocabulary).clamp(1, rows.max(1));
        for first in (0..rows).step_by(step) {
            let end = (first + step).min(rows);
            let part = Targets {
                tokens: &targets.tokens[first..end],
                weights: &targets.weights[first..end],
            };
            let hidden = hidden.view_rows(first, end - first);
            let mut logits = self.logits(&pass.of_rows(first, end), &hidden).0;
            self.losses(&mut logits, part, &mut losses[first..end], false);
        }
        losses
    }

    /// Each row's negative log-likelihood, and the gradient of the weighted loss by `hidden`.
    pub(crate) fn forward_backward(
        &self,
        pass: &Pass<'_>,
        hidden: &Matrix,
        targets: Targets<'_>,
        sink: &mut dyn GradientSink,
    ) -> (Vec<f32>, Buffer) {
        let (parameters, pool) = (pass.parameters, pass.pool);
        let parameter = parameters.get(self.weight);
        let mut losses = vec![0.0; hidden.rows()];
        let mut gradient = pool.take(hidden.rows() * self.width);
        for range in self.chunks(pass.sequences, sink.head_rows()).windows(2) {
            let (first, end) = (range[0], range[1]);
            let hidden = hidden.view_rows(first, end - first);
            let pass = pass.of_rows(first, end);
            let (mut logits, cache) = self.logits(&pass, &hidden);
            let part = Targets {
                tokens: &targets.tokens[first..end],
                weights: &targets.weights[first..end],
            };
            self.losses(&mut logits, part, &mut losses[first..end], true);
            let logits = Matrix::new(logits, end - first, self.vocabulary);
            let by_hidden = &mut gradient[first * self.width..end * self.width];
            matmul::input_gradient(
                Layout::OutIn,
                by_hidden,
                logits.as_slice(),
                &parameter.tensor,
                [end - first, self.width, self.vocabulary],
                false,
                pool,
            );
            let bias = self.bias.filter(|&bias| parameters.get(bias).trainable);
            if parameter.trainable || bias.is_some() {
                sink.linear(LinearGradient {
                    weight: parameter.trainable.then_some(self.weight),
                    bias,
                    layout: Layout::OutIn,
                    input: &hidden,
                    output_gradient: &logits,
                    first_row: first,
                });
            }
            if let (Some(adapter), Some(cache)) = (&self.adapter, cache) {
                adapter.backward(&pass, cache, &logits, first, Some(by_hidden), sink);
            }
        }
        (losses, gradient)
    }

    /// The borders of the chunks of rows.
    fn chunks(&self, sequences: Sequences<'_>, cut: HeadRows) -> Vec<usize> {
        let rows = sequences.last().copied().unwrap_or(0);
        let step = (LOGITS / self.vocabulary).max(1);
        match cut {
            HeadRows::Any => {
                // Chunks of about the same size.
                let count = rows.div_ceil(step).max(1);
                let step = rows.div_ceil(count).max(1);
                (0..rows).step_by(step).chain([rows]).collect()
            }
            HeadRows::WholeSequences => {
                let mut borders = vec![0];
                for range in sequences.windows(2) {
                    let start = borders[borders.len() - 1];
                    if range[1] - start > step && range[0] > start {
                        borders.push(range[0]);
                    }
                }
                borders.push(rows);
                borders
            }
        }
    }
}
