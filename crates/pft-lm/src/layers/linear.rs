//! y = x·W (+ bias) (+ LoRA), with W stored `[out, in]` or `[in, out]`.
//!
//! Backward: dx = g·Wᵀ; the gradients of W and bias, xᵀ·g and Σ g, are the sink's to make from x
//! and g. A frozen W gets none of that.

use crate::buffer::{Buffer, Matrix, Pool};
use crate::gradient::{GradientSink, LinearGradient};
use crate::kernels::for_rows;
use crate::kernels::matmul::{self, Layout};
use crate::layers::lora::{Adapter, AdapterCache};
use crate::parameters::{ParameterId, Parameters, TensorData};

/// One linear layer.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    pub(crate) weight: ParameterId,
    pub(crate) bias: Option<ParameterId>,
    pub(crate) layout: Layout,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) adapter: Option<Adapter>,
    /// Tells the layers' dropout masks apart.
    pub(crate) index: u64,
}

/// What a linear layer's backward needs; nothing if it is frozen and has no adapter.
#[derive(Debug, Default)]
pub(crate) struct LinearCache {
    input: Option<Matrix>,
    adapter: Option<AdapterCache>,
}

impl Linear {
    fn seed(&self, step_seed: Option<u64>) -> Option<u64> {
        step_seed.map(|seed| seed.wrapping_add((self.index + 1).wrapping_mul(0xD1B5_4A32_D192_ED03)))
    }

    /// The output for each row of `input`. `step_seed` draws dropout masks, `None` outside
    /// training.
    pub(crate) fn forward(
        &self,
        parameters: &Parameters,
        pool: &Pool,
        input: &Matrix,
        step_seed: Option<u64>,
    ) -> (Buffer, LinearCache) {
        let rows = input.rows();
        let mut output = pool.take(rows * self.outputs);
        if let Some(bias) = self.bias
            && let TensorData::F32(bias) = &parameters.get(bias).tensor.data
        {
            for_rows(&mut output, self.outputs, |_, rows| {
                for row in rows.chunks_exact_mut(self.outputs) {
                    row.copy_from_slice(bias);
                }
            });
        }
        let weight = &parameters.get(self.weight).tensor;
        matmul::forward(
            self.layout,
            &mut output,
            input.as_slice(),
            weight,
            [rows, self.inputs, self.outputs],
            self.bias.is_some(),
            pool,
        );
        let adapter = self.adapter.as_ref().map(|adapter| {
            let seed = self.seed(step_seed);
            adapter.forward(parameters, pool, &mut output, input, self.outputs, seed)
        });
        let keep = parameters.get(self.weight).trainable;
        let cache = LinearCache { input: keep.then(|| input.clone()), adapter };
        (output, cache)
    }

    /// Hands out the gradients of the layer's parameters, and writes the input's gradient into
    /// `input_gradient` (or adds to it with `accumulate`) if that is wanted.
    pub(crate) fn backward(
        &self,
        parameters: &Parameters,
        pool: &Pool,
        cache: LinearCache,
        output_gradient: &Matrix,
        mut input_gradient: Option<(&mut [f32], bool)>,
        step_seed: Option<u64>,
        sink: &mut dyn GradientSink,
    ) {
        let trains = |id: ParameterId| parameters.get(id).trainable.then_some(id);
        let (weight, bias) = (trains(self.weight), self.bias.and_then(trains));
        if weight.is_some() || bias.is_some() {
            // A trained bias under a frozen weight needs no input.
            let input =
                cache.input.unwrap_or_else(|| Matrix::new(pool.take(0), 0, self.inputs));
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
                &parameters.get(self.weight).tensor,
                [output_gradient.rows(), self.inputs, self.outputs],
                *accumulate,
                pool,
            );
        }
        if let (Some(adapter), Some(cache)) = (&self.adapter, cache.adapter) {
            let seed = self.seed(step_seed);
            let target = input_gradient.map(|(target, _)| target);
            adapter.backward(parameters, pool, cache, output_gradient, target, seed, sink);
        }
    }
}
