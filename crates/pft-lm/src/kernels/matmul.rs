//! Products with the weights of linear layers, in either layout and every precision.

pub use pft_matmul::{Layout, weight_gradient};

use half::bf16;
use pft_matmul::{View, product};
use rayon::prelude::*;

use crate::buffer::Pool;
use crate::kernels::matvec;
use crate::parameters::{Tensor, TensorData};

/// Elements of a narrow weight that are widened at a time; few in tests, so that small weights fall
/// into several blocks.
const WIDENED: usize = if cfg!(test) { 1 << 11 } else { 1 << 22 };

/// Calls `task(first, count, slice)` for the whole of an f32 weight, or for blocks of rows
/// of a narrower weight, widened one after the other.
fn for_weight_rows(
    weight: &Tensor,
    width: usize,
    pool: &Pool,
    mut task: impl FnMut(usize, usize, &[f32]),
) {
    match &weight.data {
        TensorData::F32(values) => task(0, values.len() / width.max(1), values),
        TensorData::Bf16(values) => {
            let block = (WIDENED / width.max(1)).max(1) * width;
            let mut wide = pool.take(block.min(values.len()));
            for (index, values) in values.chunks(block).enumerate() {
                let wide = &mut wide[..values.len()];
                widen(wide, values);
                task(index * block / width, values.len() / width, wide);
            }
        }
        TensorData::Blocks(blocks) => {
            let (count, block) = (blocks.len(), (WIDENED / width.max(1)).max(1) * width);
            let mut wide = pool.take(block.min(count));
            for start in (0..count).step_by(block.max(1)) {
                let wide = &mut wide[..block.min(count - start)];
                blocks.par_widen(start, wide);
                task(start / width, wide.len() / width, wide);
            }
        }
    }
}

/// Converts bf16 to f32.
pub(crate) fn widen(wide: &mut [f32], values: &[bf16]) {
    const BLOCK: usize = 1 << 14;
    wide.par_chunks_mut(BLOCK).zip(values.par_chunks(BLOCK)).for_each(|(wide, values)| {
        for (wide, value) in wide.iter_mut().zip(values) {
            *wide = f32::from_bits(u32::from(value.to_bits()) << 16);
        }
    });
}

/// `output[rows, out] = input[rows, in] · weight`, or `+=` with `accumulate`.
pub(crate) fn forward(
    layout: Layout,
    output: &mut [f32],
    input: &[f32],
    weight: &Tensor,
    [rows, inputs, outputs]: [usize; 3],
    accumulate: bool,
    pool: &Pool,
) {
    check([rows, inputs, outputs], output, input, weight.len());
    if rows == 0 {
        return;
    }
    if rows == 1 && inputs > 0 {
        return matvec::forward(layout, output, input, weight, accumulate);
    }
    match layout {
        Layout::OutIn => for_weight_rows(weight, inputs, pool, |first, count, weight| {
            let target = output[first..].as_mut_ptr();
            let (input, weight) = (View::row_major(input, inputs), View::row_major(weight, inputs));
            let sizes = [rows, inputs, count];
            let weight = weight.transposed();
            // SAFETY: `check` and `for_weight_rows` bound the sizes; output is borrowed mutably.
            unsafe {
                product((target, outputs), input, weight, sizes, 1.0, accumulate, true);
            }
        }),
        Layout::InOut => for_weight_rows(weight, outputs, pool, |first, count, weight| {
            let target = output.as_mut_ptr();
            let (input, weight) =
                (View::row_major(&input[first..], inputs), View::row_major(weight, outputs));
            let sizes = [rows, count, outputs];
            let add = accumulate || first > 0;
            // SAFETY: as above.
            unsafe { product((target, outputs), input, weight, sizes, 1.0, add, true) }
        }),
    }
}

/// `input_gradient[rows, in] = output_gradient[rows, out] · weightᵀ`, or `+=` with `accumulate`.
pub(crate) fn input_gradient(
    layout: Layout,
    input_gradient: &mut [f32],
    output_gradient: &[f32],
    weight: &Tensor,
    [rows, inputs, outputs]: [usize; 3],
    accumulate: bool,
    pool: &Pool,
) {
    check([rows, inputs, outputs], output_gradient, input_gradient, weight.len());
    if rows == 0 {
        return;
    }
    match layout {
        Layout::OutIn => for_weight_rows(weight, inputs, pool, |first, count, weight| {
            let target = input_gradient.as_mut_ptr();
            let gradient = View::row_major(&output_gradient[first..], outputs);
            let sizes = [rows, count, inputs];
            let (weight, add) = (View::row_major(weight, inputs), accumulate || first > 0);
            // SAFETY: `check` and `for_weight_rows` bound the sizes; the target is borrowed
            // mutably.
            unsafe { product((target, inputs), gradient, weight, sizes, 1.0, add, true) }
        }),
        Layout::InOut => for_weight_rows(weight, outputs, pool, |first, count, weight| {
            let target = input_gradient[first..].as_mut_ptr();
            let gradient = View::row_major(output_gradient, outputs);
            let weight = View::row_major(weight, outputs).transposed();
            let sizes = [rows, outputs, count];
            // SAFETY: as above.
            unsafe { product((target, inputs), gradient, weight, sizes, 1.0, accumulate, true) }
        }),
    }
}

fn check([rows, inputs, outputs]: [usize; 3], output: &[f32], input: &[f32], weight: usize) {
    assert_eq!(output.len(), rows * outputs, "output rows");
    assert_eq!(input.len(), rows * inputs, "input rows");
    assert_eq!(weight, inputs * outputs, "weight elements");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parameters::Precision;
    use crate::spec::{ParameterKind, ParameterSpec};

    fn numbers(count: usize, seed: u32) -> Vec<f32> {
        let value = |i: u32| ((i.wrapping_mul(2_654_435_761).wrapping_add(seed)) >> 20) as f32;
        (0..count as u32).map(|i| value(i) / 2048.0 - 1.0).collect()
    }

    /// The layout's weight at `(input, output)`.
    fn at(
        layout: Layout,
        weight: &[f32],
        [inputs, outputs]: [usize; 2],
        i: usize,
        o: usize,
    ) -> f32 {
        match layout {
            Layout::OutIn => weight[o * inputs + i],
            Layout::InOut => weight[i * outputs + o],
        }
    }

    #[test]
    fn the_three_products_match_their_definition_in_both_layouts_and_precisions() {
        for rows in [1, 7] {
            three_products([rows, 133, 78]);
            three_products([rows, 5, 78]);
        }
    }

    fn three_products([rows, inputs, outputs]: [usize; 3]) {
        let (x, g) = (numbers(rows * inputs, 1), numbers(rows * outputs, 2));
        // bf16 keeps these exactly, so that both precisions have one expectation.
        let w: Vec<f32> = numbers(inputs * outputs, 3)
            .into_iter()
            .map(|value| bf16::from_f32(value).to_f32())
            .collect();
        let pool = Pool::new();
        let narrow = w.iter().map(|&value| bf16::from_f32(value)).collect();
        let tensors = [
            Tensor { shape: vec![w.len()], data: TensorData::F32(w.clone()) },
            Tensor { shape: vec![w.len()], data: TensorData::Bf16(narrow) },
        ];
        for layout in [Layout::OutIn, Layout::InOut] {
            let weight = |i, o| at(layout, &w, [inputs, outputs], i, o);
            for tensor in &tensors {
                let sizes = [rows, inputs, outputs];
                let mut y = vec![1.0; rows * outputs];
                forward(layout, &mut y, &x, tensor, sizes, true, &pool);
                let mut dx = vec![f32::NAN; rows * inputs];
                input_gradient(layout, &mut dx, &g, tensor, sizes, false, &pool);
                for r in 0..rows {
                    for o in 0..outputs {
                        let sum: f32 = (0..inputs).map(|i| x[r * inputs + i] * weight(i, o)).sum();
                        assert!((y[r * outputs + o] - 1.0 - sum).abs() < 1e-4);
                    }
                    for i in 0..inputs {
                        let sum: f32 =
                            (0..outputs).map(|o| g[r * outputs + o] * weight(i, o)).sum();
                        assert!((dx[r * inputs + i] - sum).abs() < 1e-4);
                    }
                }
            }
            let mut dw = vec![f32::NAN; inputs * outputs];
            for (accumulate, times) in [(false, 1.0), (true, 2.0)] {
                weight_gradient(layout, &mut dw, [&x, &g], [inputs, outputs], accumulate, true);
                for i in 0..inputs {
                    for o in 0..outputs {
                        let product = |r: usize| x[r * inputs + i] * g[r * outputs + o];
                        let sum = times * (0..rows).map(product).sum::<f32>();
                        assert!((at(layout, &dw, [inputs, outputs], i, o) - sum).abs() < 1e-4);
                    }
                }
            }
        }
    }

    /// Products with a weight in blocks are those with its widened numbers.
    #[test]
    fn the_products_with_blocks_are_those_with_what_they_hold() {
        let kinds = [Precision::Q8_0, Precision::Q4_0];
        let layouts = [Layout::OutIn, Layout::InOut];
        for (rows, layout, precision) in [1, 7]
            .into_iter()
            .flat_map(|rows| layouts.map(|layout| (rows, layout)))
            .flat_map(|(rows, layout)| kinds.map(|kind| (rows, layout, kind)))
        {
            let [inputs, outputs] = [1056, 96];
            let shape = match layout {
                Layout::OutIn => [outputs, inputs],
                Layout::InOut => [inputs, outputs],
            };
            let spec = ParameterSpec::new("w", &shape, ParameterKind::Weight);
            let values = numbers(inputs * outputs, 3);
            let narrow = Tensor::kept(&spec, values.clone(), precision).unwrap();
            let wide = Tensor::new(&shape, narrow.to_f32()).unwrap();
            assert_eq!((narrow.precision(), wide.precision()), (precision, Precision::F32));
            assert_ne!(narrow.to_f32(), values);
            let (x, g) = (numbers(rows * inputs, 1), numbers(rows * outputs, 2));
            let (pool, sizes) = (Pool::new(), [rows, inputs, outputs]);
            let results = [&narrow, &wide].map(|weight| {
                let (mut y, mut dx) = (vec![0.5; rows * outputs], vec![0.5; rows * inputs]);
                forward(layout, &mut y, &x, weight, sizes, true, &pool);
                input_gradient(layout, &mut dx, &g, weight, sizes, true, &pool);
                [y, dx]
            });
            for (found, expected) in results[0].iter().flatten().zip(results[1].iter().flatten()) {
                assert!((found - expected).abs() < 1e-3, "{rows}, {layout:?}, {precision:?}");
            }
        }
    }

    #[test]
    fn large_products_have_the_same_bits_on_any_number_of_threads() {
        let [rows, inputs, outputs] = [530, 700, 900];
        let (x, g) = (numbers(rows * inputs, 1), numbers(rows * outputs, 2));
        let weight = Tensor::new(&[outputs, inputs], numbers(inputs * outputs, 3)).unwrap();
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let (sizes, memory) = ([rows, inputs, outputs], Pool::new());
                let (mut y, mut dx) = (vec![0.0; g.len()], vec![0.0; x.len()]);
                let mut dw = vec![0.5; weight.len()];
                forward(Layout::OutIn, &mut y, &x, &weight, sizes, false, &memory);
                input_gradient(Layout::OutIn, &mut dx, &g, &weight, sizes, false, &memory);
                weight_gradient(Layout::OutIn, &mut dw, [&x, &g], [inputs, outputs], true, true);
                [y, dx, dw]
            })
        };
        let one = run(1);
        assert!([2, 3, 8].into_iter().all(|threads| run(threads) == one));
    }
}
