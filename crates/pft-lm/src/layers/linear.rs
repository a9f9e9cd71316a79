//! y = x·W (+ bias) (+ LoRA), with W stored `[out, in]` or `[in, out]`.
//!
//! Backward: dx = g·Wᵀ; the gradients of W and bias, xᵀ·g and Σ g, are the sink's to make from x
//! and g. A frozen W gets none of that.

use crate::buffer::{Buffer, Matrix};
use crate::gradient::{GradientSink, LinearGradient};
use crate::kernels::matmul::{self, Layout};
use crate::kernels::{for_rows, simd};
use crate::layers::Pass;
use crate::layers::lora::{Adapter, AdapterCache};
use crate::parameters::ParameterId;

/// One linear layer.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    pub(crate) weight: ParameterId,
    pub(crate) bias: Option<ParameterId>,
    pub(crate) layout: Layout,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) adapter: Option<Adapter>,
}

/// What a linear layer's backward needs; nothing if it is frozen and has no adapter.
#[derive(Debug, Default)]
pub(crate) struct LinearCache {
    input: Option<Matrix>,
    adapter: Option<AdapterCache>,
}

simd! {
    /// Each row of `target` becomes that of `source` plus `bias`.
    fn add_bias(target: &mut [f32], source: &[f32], bias: &[f32]) {
        let rows = target.chunks_exact_mut(bias.len()).zip(source.chunks_exact(bias.len()));
        for (target, source) in rows {
            for ((target, source), bias) in target.iter_mut().zip(source).zip(bias) {
                *target = source + bias;
            }
        }
    }
}

impl Linear {
    /// The output for each row of `input`, plus `skip` (what goes around the layer) if there is
    /// any.
    pub(crate) fn forward(
        &self,
        pass: &Pass<'_>,
        input: &Matrix,
        skip: Option<&[f32]>,
    ) -> (Buffer, LinearCache) {
        let (parameters, pool, rows) = (pass.parameters, pass.pool, input.rows());
        let mut output = pool.take(rows * self.outputs);
        let bias = self.bias.and_then(|bias| parameters.get(bias).tensor.as_f32());
        let width = self.outputs;
        // What the product is added to.
        match (bias, skip) {
            (Some(bias), Some(skip)) => for_rows(&mut output, width, |first, rows| {
                add_bias(rows, &skip[first * width..][..rows.len()], bias);
            }),
            (Some(bias), None) => for_rows(&mut output, width, |_, rows| {
                rows.chunks_exact_mut(width).for_each(|row| row.copy_from_slice(bias));
            }),
            (None, Some(skip)) => for_rows(&mut output, width, |first, rows| {
                rows.copy_from_slice(&skip[first * width..][..rows.len()]);
            }),
            (None, None) => {}
        }
        let accumulate = bias.is_some() || skip.is_some();
        if let Some(weight) = pass.int8(self.weight).filter(|_| rows == 1) {
            weight.forward(&mut output, input.as_slice(), accumulate);
        } else {
            matmul::forward(
                self.layout,
                &mut output,
                input.as_slice(),
                &parameters.get(self.weight).tensor,
                [rows, self.inputs, self.outputs],
                accumulate,
                pool,
            );
        }
        let adapter = self
            .adapter
            .as_ref()
            .map(|adapter| adapter.forward(pass, &mut output, input, self.outputs));
        let input = pass.trained(self.weight).map(|_| input.clone());
        let cache = LinearCache { input, adapter };
        (output, cache)
    }

    /// Hands out the gradients of the layer's parameters, and writes the input's gradient into
    /// `input_gradient` (or adds to it with `accumulate`) if that is wanted.
    pub(crate) fn backward(
        &self,
        pass: &Pass<'_>,
        cache: LinearCache,
        output_gradient: &Matrix,
        mut input_gradient: Option<(&mut [f32], bool)>,
        sink: &mut dyn GradientSink,
    ) {
        let weight = pass.trained(self.weight);
        let bias = self.bias.and_then(|bias| pass.trained(bias));
        if weight.is_some() || bias.is_some() {
            // A trained bias under a frozen weight needs no input.
            let input =
                cache.input.unwrap_or_else(|| Matrix::new(pass.pool.take(0), 0, self.inputs));
            sink.linear(LinearGradient {
                weight,
                bias,
                layout: self.layout,
                input: &input,
                output_gradient,
                first_row: 0,
            });
        }
        if let Some((target, accumulate)) = &mut input_gradient {
            matmul::input_gradient(
                self.layout,
                target,
                output_gradient.as_slice(),
                &pass.parameters.get(self.weight).tensor,
                [output_gradient.rows(), self.inputs, self.outputs],
                *accumulate,
                pass.pool,
            );
        }
        if let (Some(adapter), Some(cache)) = (&self.adapter, cache.adapter) {
            let target = input_gradient.map(|(target, _)| target);
            adapter.backward(pass, cache, output_gradient, 0, target, sink);
        }
    }
}
