//! Matrix products over slices, and the norms that book-keeping takes from them.

use pft_matmul::product;

/// Columns of a panel of a Gram matrix: few, since half of the square at its top is for nothing.
const PANEL: usize = 32;

/// A matrix view: element (r, c) is `data[r · row_stride + c · column_stride]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> View<'a> {
    /// A row-major matrix that fills `data`.
    pub(crate) fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(data.len(), rows * columns, "a matrix fills its data");
        Self { data, rows, columns, row_stride: columns, column_stride: 1 }
    }

    fn raw(self) -> pft_matmul::View {
        let (row_stride, column_stride) = (self.row_stride, self.column_stride);
        pft_matmul::View { data: self.data.as_ptr(), row_stride, column_stride }
    }

    pub(crate) fn transposed(self) -> Self {
        Self {
            data: self.data,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }
}

/// `into` = `left` · `right` (+ `into`), row-major.
pub(crate) fn multiply(
    into: &mut [f32],
    left: View<'_>,
    right: View<'_>,
    accumulate: bool,
    parallel: bool,
) {
    assert_eq!(left.columns, right.rows, "inner dimensions agree");
    assert_eq!(into.len(), left.rows * right.columns, "the product fills its place");
    let target = (into.as_mut_ptr(), right.columns);
    let sizes = [left.rows, left.columns, right.columns];
    // SAFETY: the pointers come from slices whose lengths were checked against the dimensions and
    // strides, here and in `View::new`; `into` is borrowed uniquely.
    unsafe { product(target, left.raw(), right.raw(), sizes, 1.0, accumulate, parallel) };
}

/// Σ a·b in double precision.
pub(crate) fn dot(left: &[f32], right: &[f32]) -> f64 {
    sum_of_products(left, right, |product| product)
}

/// What a sum of products of two inner products, each of single precision, is taken to be wrong by, as
/// a part of the sum of their absolute values: four units of the last place, where layers of 768 and
/// 3,072 columns were seen to be wrong by a tenth of one. Measured, not proved.
pub(super) const ROUNDING: f64 = 1.0 / 4_194_304.0;

/// Σ a·b, but no less than it would be without rounding of a and b, which are inner products. Where
/// most of the sum cancels, what is left may be rounding more than anything else; a norm must not
/// come out too small for that, since a unit would be clipped too little.
pub(crate) fn dot_at_most(left: &[f32], right: &[f32]) -> f64 {
    dot(left, right) + ROUNDING * sum_of_products(left, right, f32::abs)
}

/// Σ of(a·b) in double precision.
#[inline(always)]
fn sum_of_products(left: &[f32], right: &[f32], of: impl Fn(f32) -> f32) -> f64 {
    // Sixteen partial sums in single precision over short runs: fast, and exact to 1e-7.
    left.chunks(256)
        .zip(right.chunks(256))
        .map(|(left, right)| {
            let mut lanes = [0.0_f32; 16];
            let (left_lanes, right_lanes) = (left.chunks_exact(16), right.chunks_exact(16));
            let rest: f32 = left_lanes
                .remainder()
                .iter()
                .zip(right_lanes.remainder())
                .map(|(left, right)| of(left * right))
                .sum();
            for (left, right) in left_lanes.zip(right_lanes) {
                for lane in 0..16 {
                    lanes[lane] += of(left[lane] * right[lane]);
                }
            }
            f64::from(rest) + lanes.iter().map(|&lane| f64::from(lane)).sum::<f64>()
        })
        .sum()
}

pub(crate) fn squared_norm(values: &[f32]) -> f64 {
    dot(values, values)
}

/// ‖aᵀg‖² = ⟨aaᵀ, ggᵀ⟩ of `rows` rows, no less than without rounding. Gram matrices are
/// symmetric: panel by panel, only the rows from the diagonal on are formed.
pub(crate) fn ghost_squared_norm(input: &[f32], output: &[f32], rows: usize) -> f64 {
    if rows == 0 {
        return 0.0;
    }
    let mut panels = vec![0.0; 2 * rows * PANEL];
    let (input_panel, output_panel) = panels.split_at_mut(rows * PANEL);
    let mut sum = 0.0;
    for first in (0..rows).step_by(PANEL) {
        let (height, width) = (rows - first, PANEL.min(rows - first));
        let gram = |into: &mut [f32], data: &[f32]| {
            let columns = data.len() / rows;
            let of = |count: usize| {
                View::new(&data[first * columns..(first + count) * columns], count, columns)
            };
            multiply(into, of(height), of(width).transposed(), false, false);
        };
        let input_panel = &mut input_panel[..height * width];
        let output_panel = &mut output_panel[..height * width];
        gram(input_panel, input);
        gram(output_panel, output);
        let square = width * width;
        sum += dot_at_most(&input_panel[..square], &output_panel[..square])
            + 2.0 * dot_at_most(&input_panel[square..], &output_panel[square..]);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: u64) -> Vec<f32> {
        let mut state = seed;
        (0..count)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                ((state >> 40) as f32) / 8_388_608.0 - 1.0
            })
            .collect()
    }

    #[test]
    fn ghost_norm_is_the_norm_of_the_product() {
        for (rows, inputs, outputs) in [(1, 3, 2), (5, 7, 11), (130, 20, 9), (300, 33, 40)] {
            let (input, output) = (numbers(rows * inputs, 1), numbers(rows * outputs, 2));
            let mut exact = 0.0;
            for i in 0..inputs {
                for o in 0..outputs {
                    let element: f64 = (0..rows)
                        .map(|r| {
                            f64::from(input[r * inputs + i]) * f64::from(output[r * outputs + o])
                        })
                        .sum();
                    exact += element * element;
                }
            }
            let ghost = ghost_squared_norm(&input, &output, rows);
            assert!((ghost / exact - 1.0).abs() < 1e-5, "{ghost} {exact}");
            let mut product = vec![0.0; inputs * outputs];
            multiply(
                &mut product,
                View::new(&input, rows, inputs).transposed(),
                View::new(&output, rows, outputs),
                false,
                false,
            );
            assert!((squared_norm(&product) / exact - 1.0).abs() < 1e-5);
        }
    }
}
