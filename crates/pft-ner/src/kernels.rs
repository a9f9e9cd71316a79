//! The few dense operations of the networks, single-threaded: callers already run one batch a core.

/// Runs a loop with the widest vectors the processor has; without this it is compiled for the
/// oldest processor of the target.
macro_rules! with_wide_vectors {
    ($(#[$doc:meta])* fn $name:ident($($argument:ident: $kind:ty),*) $body:block) => {
        $(#[$doc])*
        pub(crate) fn $name($($argument: $kind),*) {
            #[inline(always)]
            fn portable($($argument: $kind),*) $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($argument: $kind),*) {
                    portable($($argument),*);
                }
                if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                    // SAFETY: the processor has the features that the function was compiled for.
                    unsafe { avx2($($argument),*) };
                    return;
                }
            }
            portable($($argument),*);
        }
    };
}

/// A matrix inside a slice: element (r, c) is at `offset + r * row_stride + c * column_stride`.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) offset: usize,
    pub(crate) row_stride: usize,
    pub(crate) column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// A whole slice of rows of `width` elements.
    pub(crate) fn rows(data: &'a [f32], width: usize) -> Self {
        Self { data, offset: 0, row_stride: width, column_stride: 1 }
    }

    /// Rows as columns.
    pub(crate) fn transposed(self) -> Self {
        Self { row_stride: self.column_stride, column_stride: self.row_stride, ..self }
    }

    fn view(self) -> pft_matmul::View {
        let Self { data, offset, row_stride, column_stride } = self;
        pft_matmul::View { data: data[offset..].as_ptr(), row_stride, column_stride }
    }

    fn last(&self, rows: usize, columns: usize) -> usize {
        self.offset + (rows - 1) * self.row_stride + (columns - 1) * self.column_stride
    }
}

/// `target[m, n] = scale · left[m, k] · right[k, n] (+ target where `add`)`, where row r of the
/// target starts at `offset + r * row_stride`.
pub(crate) fn product(
    target: (&mut [f32], usize, usize),
    left: Matrix<'_>,
    right: Matrix<'_>,
    [m, k, n]: [usize; 3],
    scale: f32,
    add: bool,
) {
    let (output, offset, row_stride) = target;
    if m == 0 || n == 0 || k == 0 {
        return;
    }
    assert!(offset + (m - 1) * row_stride + n <= output.len(), "product leaves its target");
    assert!(left.last(m, k) < left.data.len(), "product leaves its left matrix");
    assert!(right.last(k, n) < right.data.len(), "product leaves its right matrix");
    // SAFETY: the assertions above bound every element read and written; the target is borrowed
    // mutably, so nothing else reads it meanwhile.
    unsafe {
        let target = (output.as_mut_ptr().add(offset), row_stride);
        pft_matmul::product(target, left.view(), right.view(), [m, k, n], scale, add, false);
    }
}

/// A dense layer: `weight[out, in]` as in `torch.nn.Linear`, and its bias.
#[derive(Debug)]
pub(crate) struct Linear {
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
}

impl Linear {
    /// Width of the input.
    pub(crate) fn inputs(&self) -> usize {
        self.weight.len() / self.bias.len()
    }

    /// `output[rows, out] = input[rows, in] · weightᵀ + bias`.
    pub(crate) fn forward(&self, output: &mut Vec<f32>, input: &[f32]) {
        let (inputs, outputs) = (self.inputs(), self.bias.len());
        let rows = input.len() / inputs;
        output.clear();
        for _ in 0..rows {
            output.extend_from_slice(&self.bias);
        }
        let weight = Matrix::rows(&self.weight, inputs).transposed();
        let sizes = [rows, inputs, outputs];
        product((output, 0, outputs), Matrix::rows(input, inputs), weight, sizes, 1.0, true);
    }
}

/// The transpose of a matrix `[rows, columns]`.
pub(crate) fn transpose(values: &[f32], columns: usize) -> Vec<f32> {
    let column = |column: usize| values.iter().skip(column).step_by(columns).copied();
    (0..columns).flat_map(column).collect()
}

/// Layer normalisation over the last axis.
#[derive(Debug)]
pub(crate) struct LayerNorm {
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
    pub(crate) epsilon: f32,
}

impl LayerNorm {
    /// Normalises rows in place.
    pub(crate) fn apply(&self, rows: &mut [f32]) {
        normalise(rows, &self.weight, &self.bias, self.epsilon);
    }
}

with_wide_vectors! {
    fn normalise(rows: &mut [f32], weight: &[f32], bias: &[f32], epsilon: f32) {
        let width = weight.len();
        for row in rows.chunks_exact_mut(width) {
            let mean = sum(row, |x| x) / width as f32;
            let variance = sum(row, |x| (x - mean) * (x - mean)) / width as f32;
            let scale = 1.0 / (variance + epsilon).sqrt();
            for ((x, weight), bias) in row.iter_mut().zip(weight).zip(bias) {
                *x = (*x - mean) * scale * weight + bias;
            }
        }
    }
}

with_wide_vectors! {
    /// Exact GELU, x·Φ(x).
    fn gelu(values: &mut [f32]) {
        for x in values {
            *x = 0.5 * *x * (1.0 + erf(*x * std::f32::consts::FRAC_1_SQRT_2));
        }
    }
}

with_wide_vectors! {
    /// GELU with the tanh approximation (`gelu_new`, `gelu_pytorch_tanh`).
    fn gelu_tanh(values: &mut [f32]) {
        for x in values {
            let inner = 0.797_884_6 * (*x + 0.044_715 * *x * *x * *x);
            *x *= 1.0 - 1.0 / (1.0 + exp(2.0 * inner));
        }
    }
}

with_wide_vectors! {
    /// Softmax over rows of `width`, in place.
    fn softmax(values: &mut [f32], width: usize) {
        for row in values.chunks_exact_mut(width) {
            let mut lanes = [f32::NEG_INFINITY; 8];
            let chunks = row.chunks_exact(8);
            let rest = chunks.remainder().iter().fold(f32::NEG_INFINITY, |a, &x| if x > a { x } else { a });
            for chunk in chunks {
                for (lane, &x) in lanes.iter_mut().zip(chunk) {
                    *lane = if x > *lane { x } else { *lane };
                }
            }
            let largest = lanes.iter().fold(rest, |a, &x| if x > a { x } else { a });
            for x in row.iter_mut() {
                *x = exp(*x - largest);
            }
            let scale = 1.0 / sum(row, |x| x);
            for x in row.iter_mut() {
                *x *= scale;
            }
        }
    }
}

with_wide_vectors! {
    /// `target += source`.
    fn add(target: &mut [f32], source: &[f32]) {
        for (x, y) in target.iter_mut().zip(source) {
            *x += y;
        }
    }
}

with_wide_vectors! {
    /// The largest of `pieces` blocks of `width` in each row: `source` `[rows, pieces, width]` to
    /// `target` `[rows, width]`.
    fn maxout(target: &mut [f32], source: &[f32], pieces: usize, width: usize) {
        let rows = target.chunks_exact_mut(width).zip(source.chunks_exact(pieces * width));
        for (target, source) in rows {
            target.copy_from_slice(&source[..width]);
            for piece in source[width..].chunks_exact(width) {
                for (x, &y) in target.iter_mut().zip(piece) {
                    *x = if y > *x { y } else { *x };
                }
            }
        }
    }
}

with_wide_vectors! {
    /// `target += factors · rows`, where row i of `rows` belongs to factor i; added in their order.
    fn add_rows(target: &mut [f32], factors: &[f32], rows: &[f32]) {
        let width = target.len().max(1);
        // Four rows at a time: the target is read and written a fourth as often.
        let (fours, rest) = factors.as_chunks::<4>();
        let (blocks, rows) = rows.split_at(fours.len() * 4 * width);
        for (factor, block) in fours.iter().zip(blocks.chunks_exact(4 * width)) {
            let (first, block) = block.split_at(width);
            let (second, block) = block.split_at(width);
            let (third, fourth) = block.split_at(width);
            let rows = first.iter().zip(second).zip(third.iter().zip(fourth));
            for (x, ((a, b), (c, d))) in target.iter_mut().zip(rows) {
                *x = *x + factor[0] * a + factor[1] * b + factor[2] * c + factor[3] * d;
            }
        }
        for (factor, row) in rest.iter().zip(rows.chunks_exact(width)) {
            for (x, y) in target.iter_mut().zip(row) {
                *x += factor * y;
            }
        }
    }
}

with_wide_vectors! {
    /// One step of an LSTM: new `state` and `cell` `[rows, hidden]` from `gates` `[rows, 4 · hidden]` in the
    /// order input, forget, cell, output.
    fn lstm_cell(state: &mut [f32], cell: &mut [f32], gates: &[f32], hidden: usize) {
        let rows = state.chunks_exact_mut(hidden).zip(cell.chunks_exact_mut(hidden));
        for ((state, cell), gates) in rows.zip(gates.chunks_exact(4 * hidden)) {
            let (input, rest) = gates.split_at(hidden);
            let (forget, rest) = rest.split_at(hidden);
            let (new, output) = rest.split_at(hidden);
            for i in 0..hidden {
                let kept = sigmoid(forget[i]) * cell[i] + sigmoid(input[i]) * tanh(new[i]);
                cell[i] = kept;
                state[i] = sigmoid(output[i]) * tanh(kept);
            }
        }
    }
}

#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

#[inline(always)]
fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (1.0 + exp(2.0 * x))
}

/// Sum in eight lanes, so that the loop vectorises.
#[inline(always)]
fn sum(values: &[f32], map: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; 8];
    let chunks = values.chunks_exact(8);
    let rest: f32 = chunks.remainder().iter().map(|&x| map(x)).sum();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane += map(x);
        }
    }
    lanes.iter().sum::<f32>() + rest
}

/// e^x for any x, to about one unit in the last place (Cephes' expf without branches).
#[inline(always)]
fn exp(x: f32) -> f32 {
    const SHIFT: f32 = 12_582_912.0;
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + SHIFT;
    let n = shifted - SHIFT;
    let r = (x - n * 0.693_359_4) - n * -2.121_944_4e-4;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_2e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let p = p * (r * r) + r + 1.0;
    f32::from_bits(p.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// The error function to 2e-7 (Abramowitz and Stegun 7.1.26).
#[inline(always)]
fn erf(x: f32) -> f32 {
    let t = 1.0 / (1.0 + 0.327_591_1 * x.abs());
    let p = 1.061_405_4;
    let p = p * t - 1.453_152_1;
    let p = p * t + 1.421_413_7;
    let p = p * t - 0.284_496_72;
    let p = p * t + 0.254_829_6;
    (1.0 - p * t * exp(-x * x)).copysign(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linear_layer_matches_its_definition() {
        let weight: Vec<f32> = (0..15).map(|i| i as f32 * 0.25 - 1.0).collect();
        let layer = Linear { weight: weight.clone(), bias: vec![0.5, -0.5, 2.0] };
        let input: Vec<f32> = (0..10).map(|i| 1.0 - i as f32 * 0.125).collect();
        let mut output = Vec::new();
        layer.forward(&mut output, &input);
        for row in 0..2 {
            for out in 0..3 {
                let dot: f32 = (0..5).map(|i| input[row * 5 + i] * weight[out * 5 + i]).sum();
                assert!((output[row * 3 + out] - dot - layer.bias[out]).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn rows_are_added_in_their_order() {
        let number = |i: usize| ((i * 37 % 101) as f32 - 50.0) / 7.0;
        for count in [0, 1, 3, 4, 9] {
            let factors: Vec<f32> = (0..count).map(number).collect();
            let rows: Vec<f32> = (0..count * 19).map(|i| number(i + 5)).collect();
            let mut target: Vec<f32> = (0..19).map(|i| number(i + 11)).collect();
            let mut expected = target.clone();
            for (factor, row) in factors.iter().zip(rows.chunks_exact(19)) {
                expected.iter_mut().zip(row).for_each(|(x, y)| *x += factor * y);
            }
            add_rows(&mut target, &factors, &rows);
            assert_eq!(target, expected, "to the bit, {count} rows");
        }
    }

    #[test]
    fn softmax_and_norm_have_their_moments() {
        let mut row: Vec<f32> = (0..19).map(|i| (i * 7 % 19) as f32 - 9.0).collect();
        let norm = LayerNorm { weight: vec![1.0; 19], bias: vec![0.0; 19], epsilon: 1e-12 };
        norm.apply(&mut row);
        let (mean, square): (f32, f32) = (row.iter().sum(), row.iter().map(|x| x * x).sum());
        assert!(mean.abs() < 1e-4 && (square / 19.0 - 1.0).abs() < 1e-4);
        softmax(&mut row, 19);
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert!(row.iter().all(|&p| p > 0.0));
    }

    #[test]
    fn gelu_matches_known_values() {
        let mut values = [-2.0, -0.5, 0.0, 1.0, 3.0];
        gelu(&mut values);
        let expected = [-0.045_500_26, -0.154_268_77, 0.0, 0.841_344_7, 2.995_950_3];
        for (value, expected) in values.iter().zip(expected) {
            assert!((value - expected).abs() < 1e-6, "{value} {expected}");
        }
    }
}
