//! Gradients of weights, in the layout in which they lie.

use crate::{View, product};

/// How a linear layer's weight is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `[out, in]`, as `torch.nn.Linear`.
    OutIn,
    /// `[in, out]`, as GPT-2's `Conv1D`.
    InOut,
}

/// Inputs of a layer that is narrow, as LoRA's B.
const NARROW: usize = 16;

/// The gradient of a weight in its own layout, inputᵀ · output_gradient or its transpose, with
/// `input` `[rows, inputs]` and `output_gradient` `[rows, outputs]`; `+=` with `accumulate`.
///
/// # Panics
/// When the slices do not have the sizes given.
pub fn weight_gradient(
    layout: Layout,
    gradient: &mut [f32],
    [input, output_gradient]: [&[f32]; 2],
    [inputs, outputs]: [usize; 2],
    accumulate: bool,
    parallel: bool,
) {
    let rows = input.len() / inputs.max(1);
    assert_eq!(input.len(), rows * inputs, "input rows");
    assert_eq!(output_gradient.len(), rows * outputs, "output rows");
    assert_eq!(gradient.len(), inputs * outputs, "weight elements");
    if rows == 0 {
        if !accumulate {
            gradient.fill(0.0);
        }
        return;
    }
    if layout == Layout::OutIn && inputs <= NARROW {
        // The other way round, and turned over: across so few columns the product would read the
        // output's gradient down its columns.
        let mut turned = vec![0.0; gradient.len()];
        let (pieces, sizes) = ([input, output_gradient], [inputs, outputs]);
        weight_gradient(Layout::InOut, &mut turned, pieces, sizes, false, parallel);
        for (output, gradient) in gradient.chunks_exact_mut(inputs).enumerate() {
            for (gradient, turned) in gradient.iter_mut().zip(turned.chunks_exact(outputs)) {
                *gradient = if accumulate { *gradient + turned[output] } else { turned[output] };
            }
        }
        return;
    }
    let target = gradient.as_mut_ptr();
    let input = View::row_major(input, inputs);
    let output = View::row_major(output_gradient, outputs);
    // SAFETY: the sizes were checked against the slices; `gradient` is borrowed mutably.
    unsafe {
        match layout {
            Layout::OutIn => {
                let (left, sizes) = (output.transposed(), [outputs, rows, inputs]);
                product((target, inputs), left, input, sizes, 1.0, accumulate, parallel);
            }
            Layout::InOut => {
                let (left, sizes) = (input.transposed(), [inputs, rows, outputs]);
                product((target, outputs), left, output, sizes, 1.0, accumulate, parallel);
            }
        }
    }
}
