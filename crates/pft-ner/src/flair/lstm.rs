//! Long short-term memory over sequences of different lengths at once.

use pft_pii::LoadError;

use crate::kernels::{Linear, Matrix, lstm_cell, product};
use crate::weights::Weights;

/// One direction of one layer, as in `torch.nn.LSTM`: gates in the order input, forget, cell, output.
pub(super) struct Lstm {
    /// Input to gates `[4 · hidden, inputs]`, with both biases.
    pub(super) input: Linear,
    /// `[4 · hidden, hidden]`
    recurrent: Vec<f32>,
    pub(super) hidden: usize,
}

impl Lstm {
    /// Takes the parameters `PREFIX.weight_ih_SUFFIX` and so on.
    pub(super) fn load(
        weights: &dyn Weights,
        prefix: &str,
        suffix: &str,
        [inputs, hidden]: [usize; 2],
    ) -> Result<Self, LoadError> {
        let take = |name: &str, shape: &[usize]| {
            weights.tensor(&format!("{prefix}.{name}_{suffix}"), shape)
        };
        let mut bias = take("bias_ih", &[4 * hidden])?;
        for (x, y) in bias.iter_mut().zip(take("bias_hh", &[4 * hidden])?) {
            *x += y;
        }
        let weight = take("weight_ih", &[4 * hidden, inputs])?;
        let recurrent = take("weight_hh", &[4 * hidden, hidden])?;
        Ok(Self { input: Linear { weight, bias }, recurrent, hidden })
    }

    /// Runs over sequences of these lengths, the longest first. `input` adds what the input of a step of
    /// a sequence gives to the gates; `output` gets the hidden state after it.
    pub(super) fn run(
        &self,
        lengths: &[usize],
        mut input: impl FnMut(usize, usize, &mut [f32]),
        mut output: impl FnMut(usize, usize, &[f32]),
    ) {
        assert!(lengths.is_sorted_by(|a, b| a >= b), "sequences are not sorted by length");
        let hidden = self.hidden;
        let mut state = vec![0.0; lengths.len() * hidden];
        let mut cell = vec![0.0; lengths.len() * hidden];
        let mut gates = vec![0.0; lengths.len() * 4 * hidden];
        let mut running = lengths.len();
        for step in 0..lengths.first().copied().unwrap_or(0) {
            while running > 0 && lengths[running - 1] <= step {
                running -= 1;
            }
            let rows = &mut gates[..running * 4 * hidden];
            for (sequence, row) in rows.chunks_exact_mut(4 * hidden).enumerate() {
                input(sequence, step, row);
            }
            product(
                (rows, 0, 4 * hidden),
                Matrix::rows(&state[..running * hidden], hidden),
                Matrix::rows(&self.recurrent, hidden).transposed(),
                [running, hidden, 4 * hidden],
                1.0,
                true,
            );
            let (state, cell) = (&mut state[..running * hidden], &mut cell[..running * hidden]);
            lstm_cell(state, cell, rows, hidden);
            for (sequence, row) in state.chunks_exact(hidden).enumerate() {
                output(sequence, step, row);
            }
        }
    }
}

/// Layers of both directions, or of one, over rows of a matrix.
pub(super) struct Stack {
    layers: Vec<Vec<Lstm>>,
}

impl Stack {
    /// Takes `rnn` with as many layers as it has; the second direction where there is one.
    pub(super) fn load(
        weights: &dyn Weights,
        prefix: &str,
        [mut inputs, hidden, layers]: [usize; 3],
    ) -> Result<Self, LoadError> {
        let both = weights.has(&format!("{prefix}.weight_ih_l0_reverse"));
        let layers = (0..layers)
            .map(|layer| {
                let mut directions =
                    vec![Lstm::load(weights, prefix, &format!("l{layer}"), [inputs, hidden])?];
                if both {
                    let suffix = format!("l{layer}_reverse");
                    directions.push(Lstm::load(weights, prefix, &suffix, [inputs, hidden])?);
                }
                inputs = directions.len() * hidden;
                Ok(directions)
            })
            .collect::<Result<_, LoadError>>()?;
        Ok(Self { layers })
    }

    /// Width of the output.
    pub(super) fn width(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.len() * layer[0].hidden)
    }

    /// `[rows, inputs]` to `[rows, width]`; each sequence has its own rows, the longest first.
    pub(super) fn forward(&self, mut rows: Vec<f32>, lengths: &[usize]) -> Vec<f32> {
        let mut firsts = Vec::with_capacity(lengths.len());
        let mut total = 0;
        for length in lengths {
            firsts.push(total);
            total += length;
        }
        for layer in &self.layers {
            let width = layer.len() * layer[0].hidden;
            let mut outputs = vec![0.0; total * width];
            let mut projected = Vec::new();
            for (direction, lstm) in layer.iter().enumerate() {
                lstm.input.forward(&mut projected, &rows);
                let gates = 4 * lstm.hidden;
                let row_of = |sequence: usize, step: usize| {
                    let step = if direction == 0 { step } else { lengths[sequence] - 1 - step };
                    firsts[sequence] + step
                };
                lstm.run(
                    lengths,
                    |sequence, step, row| {
                        let at = row_of(sequence, step) * gates;
                        row.copy_from_slice(&projected[at..at + gates]);
                    },
                    |sequence, step, state| {
                        let at = row_of(sequence, step) * width + direction * lstm.hidden;
                        outputs[at..at + lstm.hidden].copy_from_slice(state);
                    },
                );
            }
            rows = outputs;
        }
        rows
    }
}
