//! The norm of one unit's gradient of a parameter, from the pieces of all its uses.

use std::borrow::Cow;

use super::product::{View, dot_at_most, ghost_squared_norm, multiply, squared_norm};
use super::rows::{BatchRows, gather};
use super::{LinearPieces, LookupPieces, Rows, WeightLayout, add, weight_gradient};

/// ‖Σ of all uses' gradients‖² of one parameter for one unit.
pub(super) fn unit_squared_norm<R: Rows>(
    batch: &BatchRows,
    unit: usize,
    linears: &[&LinearPieces<R>],
    lookup: Option<&LookupPieces<R>>,
) -> f64 {
    let rows = UnitRows::of(batch, unit, linears);
    let norm = rows.squared_norm();
    match lookup {
        Some(lookup) => with_lookup(norm, batch, unit, &rows, lookup),
        None => norm,
    }
}

/// One unit's rows of all linear uses of a weight.
struct UnitRows<'a> {
    /// `[rows, inputs]`.
    input: Cow<'a, [f32]>,
    /// `[rows, outputs]`.
    output: Cow<'a, [f32]>,
    rows: usize,
    inputs: usize,
    outputs: usize,
}

impl<'a> UnitRows<'a> {
    fn of<R: Rows>(batch: &BatchRows, unit: usize, linears: &[&'a LinearPieces<R>]) -> Self {
        let (mut input, mut output) = (Vec::new(), Vec::new());
        let (mut inputs, mut outputs, mut rows) = (0, 0, 0);
        let mut borrowed = None;
        for pieces in linears {
            let (a, g) = (pieces.input.as_slice(), pieces.output_gradient.as_slice());
            (inputs, outputs) = (a.len() / pieces.rows, g.len() / pieces.rows);
            let within = || batch.within(unit, pieces.first_row, pieces.rows);
            let count: usize = within().map(|range| range.len()).sum();
            if count == 0 {
                continue;
            }
            let part = (gather(a, inputs, within()), gather(g, outputs, within()));
            rows += count;
            // Most often all of a unit's rows are in one piece and need no copy.
            match borrowed.take() {
                None if input.is_empty() => borrowed = Some(part),
                earlier => {
                    if let Some((a, g)) = earlier {
                        input.extend_from_slice(&a);
                        output.extend_from_slice(&g);
                    }
                    input.extend_from_slice(&part.0);
                    output.extend_from_slice(&part.1);
                }
            }
        }
        let (input, output) = borrowed.unwrap_or((input.into(), output.into()));
        Self { input, output, rows, inputs, outputs }
    }

    /// ‖aᵀg‖², by whichever way costs less.
    fn squared_norm(&self) -> f64 {
        let (input, output) = (&self.input[..], &self.output[..]);
        let Self { rows, inputs, outputs, .. } = *self;
        if rows == 0 {
            0.0
        } else if rows * (inputs + outputs) * 2 <= inputs * outputs * 3 {
            ghost_squared_norm(input, output, rows)
        } else {
            let mut gradient = vec![0.0; inputs * outputs];
            weight_gradient(
                WeightLayout::InOut,
                &mut gradient,
                [input, output],
                [inputs, outputs],
                false,
                false,
            );
            squared_norm(&gradient)
        }
    }
}

/// Adds to a weight's squared norm what the lookup's gradient makes of it: ‖E‖² + 2⟨H, E⟩.
fn with_lookup<R: Rows>(
    mut norm: f64,
    batch: &BatchRows,
    unit: usize,
    linear: &UnitRows<'_>,
    lookup: &LookupPieces<R>,
) -> f64 {
    // A lookup's gradient is sparse: one row for each distinct id.
    let gradient = lookup.output_gradient.as_slice();
    let width = gradient.len() / lookup.ids.len().max(1);
    let mut looked_up: Vec<(u32, usize)> =
        batch.ranges[unit].iter().cloned().flatten().map(|row| (lookup.ids[row], row)).collect();
    looked_up.sort_unstable();
    let groups: Vec<&[(u32, usize)]> =
        looked_up.chunk_by(|left, right| left.0 == right.0).collect();
    let mut summed = vec![0.0; groups.len() * width];
    for (group, into) in groups.iter().zip(summed.chunks_mut(width.max(1))) {
        for &(_, row) in *group {
            add(into, &gradient[row * width..(row + 1) * width]);
        }
    }
    norm += squared_norm(&summed);
    let UnitRows { rows, inputs, outputs, .. } = *linear;
    if rows > 0 {
        let mut products = vec![0.0; rows * groups.len()];
        multiply(
            &mut products,
            View::new(&linear.input, rows, inputs),
            View::new(&summed, groups.len(), width).transposed(),
            false,
            false,
        );
        for (products, output) in products.chunks(groups.len()).zip(linear.output.chunks(outputs)) {
            let at_ids: Vec<f32> = groups.iter().map(|group| output[group[0].0 as usize]).collect();
            norm += 2.0 * dot_at_most(products, &at_ids);
        }
    }
    norm
}
