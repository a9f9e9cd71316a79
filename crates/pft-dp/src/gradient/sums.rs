//! The running clipped sum on the CPU: each unit's gradient times its factor.

use pft_matmul::weight_gradient;
use rayon::prelude::*;

use super::{Memory, PrivateGradient, Rows};
use crate::tensor_sum::TensorSum;

/// A parameter's running clipped sum.
#[derive(Debug)]
pub(super) struct Accumulator {
    pub(super) sum: TensorSum,
    /// Whether the sum is still that of an earlier step, to be overwritten.
    pub(super) stale: bool,
}

impl Accumulator {
    pub(super) fn ready(&mut self) -> &mut TensorSum {
        if std::mem::take(&mut self.stale) {
            self.sum.clear();
        }
        &mut self.sum
    }

    /// All elements, and whether they are to be added to, not overwritten.
    fn overwrite(&mut self) -> (&mut [f32], bool) {
        let fresh = std::mem::take(&mut self.stale) || self.sum.is_untouched();
        (self.sum.dense(), !fresh)
    }
}

impl<R: Rows, M: Memory> PrivateGradient<R, M> {
    pub(super) fn add_kept(&mut self, factors: &[f32]) {
        for (parameter, kept) in self.kept.iter().enumerate() {
            let Some(values) = &kept.values else { continue };
            let elements = self.parameters[parameter].elements;
            let of_unit = |unit: usize| factors[unit * self.groups + self.group[parameter]];
            self.sums[parameter].ready().dense().par_chunks_mut(1 << 14).enumerate().for_each(
                |(chunk, sum)| {
                    let first = chunk << 14;
                    for (unit, gradient) in values.chunks(elements).enumerate() {
                        let factor = of_unit(unit);
                        if factor != 0.0 {
                            let gradient = &gradient[first..first + sum.len()];
                            add_scaled(sum, gradient, factor);
                        }
                    }
                },
            );
        }
    }

    pub(super) fn add_linears(&mut self, factors: &[f32], broken: &[usize]) {
        let [scaled, cleaned] = &mut self.scratch;
        for pieces in self.linears.drain(..) {
            let Some((weight, layout)) = pieces.weight else { continue };
            let rows = pieces.rows;
            let (input, output) = (pieces.input.as_slice(), pieces.output_gradient.as_slice());
            let (inputs, outputs) = (input.len() / rows, output.len() / rows);
            // The narrower side takes the factors. Rows of a unit that is not finite are cleared
            // on both sides, since 0 · ∞ is not 0.
            let (narrow, wide, columns) =
                if inputs <= outputs { (input, output, inputs) } else { (output, input, outputs) };
            let mut wide = wide;
            let mut by_row = vec![0.0; rows];
            for unit in 0..self.batch.units() {
                let factor = factors[unit * self.groups + self.group[weight]];
                for range in self.batch.within(unit, pieces.first_row, rows) {
                    by_row[range].fill(factor);
                }
            }
            scaled.resize(narrow.len(), 0.0);
            scaled
                .par_chunks_mut(columns)
                .zip(narrow.par_chunks(columns))
                .zip(&by_row)
                .with_min_len(64)
                .for_each(|((into, from), &factor)| scale(into, from, factor));
            if !broken.is_empty() {
                let columns = inputs.max(outputs);
                cleaned.clear();
                cleaned.extend_from_slice(wide);
                for &unit in broken {
                    for range in self.batch.within(unit, pieces.first_row, rows) {
                        cleaned[range.start * columns..range.end * columns].fill(0.0);
                    }
                }
                wide = cleaned;
            }
            let sides = if inputs <= outputs { [&scaled[..], wide] } else { [wide, &scaled[..]] };
            let (sum, added) = self.sums[weight].overwrite();
            weight_gradient(layout, sum, sides, [inputs, outputs], added, true);
        }
    }

    pub(super) fn add_lookups(&mut self, factors: &[f32]) {
        for pieces in self.lookups.drain(..) {
            let gradient = pieces.output_gradient.as_slice();
            let width = gradient.len() / pieces.ids.len().max(1);
            let sum = self.sums[pieces.table].ready();
            for unit in 0..self.batch.units() {
                let factor = factors[unit * self.groups + self.group[pieces.table]];
                if factor == 0.0 {
                    continue;
                }
                for row in self.batch.ranges[unit].iter().cloned().flatten() {
                    let gradient = &gradient[row * width..(row + 1) * width];
                    add_scaled(sum.row(pieces.ids[row], width), gradient, factor);
                }
            }
        }
    }
}

/// `from` times `factor`; zeros for a factor of 0, whatever `from` holds.
fn scale(into: &mut [f32], from: &[f32], factor: f32) {
    if factor == 0.0 {
        into.fill(0.0);
    } else {
        into.iter_mut().zip(from).for_each(|(into, from)| *into = factor * from);
    }
}

fn add_scaled(into: &mut [f32], from: &[f32], factor: f32) {
    into.iter_mut().zip(from).for_each(|(into, from)| *into += factor * from);
}
