//! Per-unit clipped sums in one backward pass (book-keeping, Bu et al. 2022).
//!
//! A model's backward hands over, for every use of every parameter, what the gradient is made of:
//! a linear map's inputs a and output gradients g, a lookup's ids and gradients, or a small
//! parameter's own gradients. The norm of each unit's gradient follows without a second backward:
//!
//! - **Linear.** ‖aᵀg‖² is ⟨aaᵀ, ggᵀ⟩ over the unit's rows (the ghost identity), or the gradient
//!   is formed. Formed gradients are kept where they take no more memory than what they are made of,
//!   and need not be multiplied again; the others' clipped sum is the one product aᵀ·diag(factor)·g.
//! - **Lookup.** The gradients of a unit's rows with one id are added up: its gradient is sparse.
//! - **Shared.** Where a lookup table is also the head's weight, the norm is that of the sum of
//!   both gradients, ‖H‖² + ‖E‖² + 2⟨H, E⟩, the last being Σ g[h, id(e)]·⟨a(h), g(e)⟩.
//!
//! All rows of a unit must be in one pass: its norm is that of the sum over its sequences.

mod device;
mod kept;
mod norms;
mod product;
mod rows;
mod sums;

use rayon::prelude::*;
use thiserror::Error;

use crate::clipping::{Clipping, UnitOutcome};
use crate::sum::{ClippedSum, StepMean};
use crate::tensor_sum::TensorSum;
pub use device::{DeviceGradient, DevicePieces};
use kept::Kept;
pub use kept::{Heap, Memory};
use norms::unit_squared_norm;
pub use pft_matmul::Layout as WeightLayout;
use pft_matmul::weight_gradient;
use product::squared_norm;
use rows::{BatchRows, gather};
use sums::Accumulator;

/// A matrix that is kept until norms are known, row-major. Sharing beats copying.
pub trait Rows: Sync {
    /// The elements.
    fn as_slice(&self) -> &[f32];
}

impl Rows for Vec<f32> {
    fn as_slice(&self) -> &[f32] {
        self
    }
}

impl Rows for std::sync::Arc<[f32]> {
    fn as_slice(&self) -> &[f32] {
        self
    }
}

/// A trainable parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterShape {
    /// Its name, which decides its clipping group.
    pub name: String,
    /// Its number of elements.
    pub elements: usize,
    /// Whether it is both a lookup table and a linear map's weight (tied embeddings).
    pub shared: bool,
}

/// The pieces of a linear map's gradients.
#[derive(Debug)]
pub struct LinearPieces<R> {
    /// Index of the weight, if it is trainable, and how it lies.
    pub weight: Option<(usize, WeightLayout)>,
    /// Index of the bias, if there is one and it is trainable.
    pub bias: Option<usize>,
    /// Inputs, `[rows, inputs]`.
    pub input: R,
    /// Gradient of the loss by the outputs, `[rows, outputs]`.
    pub output_gradient: R,
    /// Number of rows.
    pub rows: usize,
    /// The batch row that the first row is.
    pub first_row: usize,
}

/// Gradients that cannot be clipped.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum GradientError {
    /// A trainable parameter's gradient did not come.
    #[error(
        "the backward pass gave no gradient of trainable parameter `{0}`, so it cannot be clipped; \
         freeze it"
    )]
    Missing(String),
    /// A device could not compute them.
    #[error("the device refused: {0}")]
    Device(String),
}

impl From<candle_core::Error> for GradientError {
    fn from(error: candle_core::Error) -> Self {
        Self::Device(error.to_string())
    }
}

#[derive(Debug)]
struct LookupPieces<R> {
    table: usize,
    ids: Vec<u32>,
    output_gradient: R,
}

/// Takes the pieces of backward passes and sums the clipped gradients of their units.
#[derive(Debug)]
pub struct PrivateGradient<R, M: Memory = Heap> {
    memory: M,
    parameters: Vec<ParameterShape>,
    clipping: Clipping,
    /// The clipping group of each parameter.
    group: Vec<usize>,
    groups: usize,
    sums: Vec<Accumulator>,
    batch: BatchRows,
    linears: Vec<LinearPieces<R>>,
    lookups: Vec<LookupPieces<R>>,
    kept: Vec<Kept<M::Buffer>>,
    seen: Vec<bool>,
    /// Squared norms, `[units, groups]`.
    norms: Vec<f64>,
    scratch: [Vec<f32>; 2],
}

impl<R: Rows> PrivateGradient<R> {
    /// A sum over `parameters`, clipped as a mechanism says.
    pub fn new(clipping: impl Into<Clipping>, parameters: Vec<ParameterShape>) -> Self {
        Self::with_memory(clipping, parameters, Heap)
    }
}

impl<R: Rows, M: Memory> PrivateGradient<R, M> {
    /// The same, with the memory of kept gradients from elsewhere.
    pub fn with_memory(
        clipping: impl Into<Clipping>,
        parameters: Vec<ParameterShape>,
        memory: M,
    ) -> Self {
        let clipping = clipping.into();
        let names: Vec<&str> = parameters.iter().map(|parameter| &parameter.name[..]).collect();
        let group = clipping.style.groups(&names);
        Self {
            memory,
            clipping,
            groups: group.iter().max().map_or(1, |last| last + 1),
            group,
            sums: parameters
                .iter()
                .map(|parameter| Accumulator {
                    sum: TensorSum::zero(parameter.elements),
                    stale: false,
                })
                .collect(),
            batch: BatchRows::default(),
            linears: Vec::new(),
            lookups: Vec::new(),
            kept: parameters.iter().map(|_| Kept::new()).collect(),
            seen: vec![false; parameters.len()],
            norms: Vec::new(),
            scratch: [Vec::new(), Vec::new()],
            parameters,
        }
    }

    /// A pass begins over the sequences `offsets[i]..offsets[i + 1]`, each of unit `units[i]`;
    /// units of a pass are numbered from 0 without gaps.
    ///
    /// # Panics
    /// When there is not one unit for each sequence.
    pub fn begin(&mut self, offsets: &[usize], units: &[usize]) {
        self.batch = BatchRows::new(offsets, units);
        self.norms.clear();
        self.norms.resize(self.batch.units() * self.groups, 0.0);
        self.seen.fill(false);
        self.kept.iter_mut().for_each(Kept::clear);
        self.linears.clear();
        self.lookups.clear();
    }

    /// A linear map.
    ///
    /// # Panics
    /// When the sizes do not fit each other or the parameters, or a weight is used twice that was
    /// not declared as shared.
    pub fn linear(&mut self, pieces: LinearPieces<R>) {
        let rows = pieces.rows;
        if rows == 0 {
            return;
        }
        let (input, output) = (pieces.input.as_slice(), pieces.output_gradient.as_slice());
        let (inputs, outputs) = (input.len() / rows, output.len() / rows);
        if let Some(bias) = pieces.bias {
            let batch = &self.batch;
            let (values, _) = self.kept[bias].ready(&self.memory, batch.units(), outputs, true);
            values.par_chunks_mut(outputs).enumerate().for_each(|(unit, sum)| {
                for row in batch.within(unit, pieces.first_row, rows).flatten() {
                    add(sum, &output[row * outputs..(row + 1) * outputs]);
                }
            });
            self.seen[bias] = true;
        }
        let Some((weight, layout)) = pieces.weight else { return };
        let elements = inputs * outputs;
        assert_eq!(elements, self.parameters[weight].elements, "a weight's size");
        let whole = rows == self.batch.rows;
        let again = std::mem::replace(&mut self.seen[weight], true);
        assert!(!(whole && again), "a weight used twice is declared as shared");
        if self.parameters[weight].shared || !self.forms(inputs, outputs) {
            self.linears.push(pieces);
            return;
        }
        let batch = &self.batch;
        let (values, norms) =
            self.kept[weight].ready(&self.memory, batch.units(), elements, !whole);
        let parallel_within = batch.units() < rayon::current_num_threads();
        let form = |(unit, (into, norm)): (usize, (&mut [f32], &mut Option<f64>))| {
            let within = || batch.within(unit, pieces.first_row, rows);
            if within().next().is_none() && !whole {
                return;
            }
            let sides = [gather(input, inputs, within()), gather(output, outputs, within())];
            let sides = [&sides[0][..], &sides[1][..]];
            weight_gradient(layout, into, sides, [inputs, outputs], !whole, parallel_within);
            // While it is in the cache; a unit that is cut must wait for its other rows.
            *norm = (within().map(|range| range.len()).sum::<usize>() == batch.rows_of(unit))
                .then(|| squared_norm(into));
        };
        if parallel_within {
            values.chunks_mut(elements).zip(norms).enumerate().for_each(form);
        } else {
            values.par_chunks_mut(elements).zip(norms).enumerate().for_each(form);
        }
    }

    /// Whether per-unit gradients of a weight are formed and kept: where they take no more memory
    /// than the pieces they are made of, which are then let go.
    fn forms(&self, inputs: usize, outputs: usize) -> bool {
        self.batch.units() * inputs * outputs <= self.batch.rows * (inputs + outputs)
    }

    /// A lookup of row `ids[r]` of a table for each row r of the batch.
    ///
    /// # Panics
    /// When there is not one id for each row of the batch, or the table was looked up before.
    pub fn lookup(&mut self, table: usize, ids: &[u32], output_gradient: R) {
        assert_eq!(ids.len(), self.batch.rows, "one id for each row");
        assert!(self.lookups.iter().all(|other| other.table != table), "one lookup a table");
        self.seen[table] = true;
        self.lookups.push(LookupPieces { table, ids: ids.to_vec(), output_gradient });
    }

    /// A small parameter's gradient for each sequence, `[sequences, elements]`.
    ///
    /// # Panics
    /// When `gradient` has another size.
    pub fn sequence(&mut self, parameter: usize, gradient: &[f32]) {
        let elements = self.parameters[parameter].elements;
        let sequences = self.batch.unit_of_sequence.len();
        assert_eq!(gradient.len(), elements * sequences, "one gradient for each sequence");
        let units = self.batch.units();
        let (values, _) = self.kept[parameter].ready(&self.memory, units, elements, true);
        for (gradient, &unit) in gradient.chunks(elements).zip(&self.batch.unit_of_sequence) {
            add(&mut values[unit * elements..(unit + 1) * elements], gradient);
        }
        self.seen[parameter] = true;
    }

    /// The pass is over: computes every unit's norms, and adds its clipped gradient to the sum.
    ///
    /// # Errors
    /// When a parameter's gradient did not come; the sum is then as it was.
    pub fn end(&mut self) -> Result<Vec<UnitOutcome>, GradientError> {
        let units = self.batch.units();
        let missing = self.seen.iter().position(|seen| !seen).filter(|_| units > 0);
        if let Some(missing) = missing {
            return Err(GradientError::Missing(self.parameters[missing].name.clone()));
        }
        self.add_norms();
        let mut factors = vec![0.0; units * self.groups];
        let outcomes: Vec<UnitOutcome> = self
            .norms
            .chunks(self.groups)
            .zip(factors.chunks_mut(self.groups))
            .map(|(norms, factors)| self.clipping.factors(norms, factors))
            .collect();
        self.add_kept(&factors);
        let broken: Vec<usize> =
            (0..units).filter(|&unit| outcomes[unit] == UnitOutcome::NotFinite).collect();
        self.add_linears(&factors, &broken);
        self.add_lookups(&factors);
        self.kept.iter_mut().for_each(Kept::clear);
        Ok(outcomes)
    }

    /// Norms, `[units]`, of the last pass's gradients over all groups. Private: not to be
    /// published.
    pub fn unit_norms(&self) -> Vec<f64> {
        self.norms.chunks(self.groups).map(|norms| norms.iter().sum::<f64>().sqrt()).collect()
    }

    /// The sum over all passes since the last call.
    pub fn take(&mut self) -> ClippedSum {
        let tensors = self
            .sums
            .iter_mut()
            .map(|sum| {
                let elements = sum.ready().len();
                std::mem::replace(&mut sum.sum, TensorSum::zero(elements))
            })
            .collect();
        ClippedSum { tensors, l2_sensitivity: self.clipping.max_grad_norm }
    }

    /// Gives the memory of a sum that was taken back.
    ///
    /// # Panics
    /// When it is not a sum over these parameters.
    pub fn recycle(&mut self, mean: StepMean) {
        assert_eq!(mean.parameters(), self.sums.len(), "a sum over these parameters");
        for (accumulator, sum) in self.sums.iter_mut().zip(mean.into_sums()) {
            assert_eq!(accumulator.sum.len(), sum.len(), "a sum over these parameters");
            *accumulator = Accumulator { sum, stale: true };
        }
    }

    /// Adds every use's squared norms to `self.norms`.
    fn add_norms(&mut self) {
        let units = self.batch.units();
        for parameter in 0..self.parameters.len() {
            let group = self.group[parameter];
            let elements = self.parameters[parameter].elements;
            let kept = &self.kept[parameter];
            let linears: Vec<&LinearPieces<R>> = self
                .linears
                .iter()
                .filter(|pieces| pieces.weight.is_some_and(|(weight, _)| weight == parameter))
                .collect();
            let lookup = self.lookups.iter().find(|pieces| pieces.table == parameter);
            let batch = &self.batch;
            let norms: Vec<f64> = (0..units)
                .into_par_iter()
                .map(|unit| {
                    if let Some(values) = &kept.values {
                        return kept.norms[unit].unwrap_or_else(|| {
                            squared_norm(&values[unit * elements..(unit + 1) * elements])
                        });
                    }
                    unit_squared_norm(batch, unit, &linears, lookup)
                })
                .collect();
            for (unit, norm) in norms.into_iter().enumerate() {
                self.norms[unit * self.groups + group] += norm;
            }
        }
    }
}

fn add(into: &mut [f32], from: &[f32]) {
    into.iter_mut().zip(from).for_each(|(into, from)| *into += from);
}
