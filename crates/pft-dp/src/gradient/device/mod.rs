//! Per-unit clipped sums on a device of candle's, by the same book-keeping as on the CPU
//! ([`PrivateGradient`](crate::PrivateGradient)), with a batch entry of one product where the CPU
//! has a task.
//!
//! Units of similar length form rectangles ([`units`]); their norms come from one batched product
//! a layer ([`norms`]). A unit's gradient of a weight is formed and kept where that takes no more
//! memory than its pieces, and else made once more in the clipped sum. All norms of a pass come to
//! the host together, which is the only time that the device is waited for.
//!
//! Pieces may come in any floating-point type. They are widened first: products, norms and sums
//! are in f32 whatever the model is computed in, so that a unit's contribution is as exactly
//! bounded as on the CPU.

mod norms;
mod pieces;
mod sums;
mod units;

use candle_core::{DType, Device, Tensor};

use super::{GradientError, ParameterShape};
use crate::clipping::{Clipping, UnitOutcome};
use crate::sum::ClippedSum;
use crate::tensor_sum::TensorSum;
pub use pieces::DevicePieces;
use pieces::{Formed, Linear, Lookup, Norms};
use sums::{Factors, Sums};
use units::Units;

type Result<T, E = candle_core::Error> = std::result::Result<T, E>;

/// Takes the pieces of backward passes on a device and sums the clipped gradients of their units.
#[derive(Debug)]
pub struct DeviceGradient {
    device: Device,
    parameters: Vec<ParameterShape>,
    clipping: Clipping,
    /// The clipping group of each parameter.
    group: Vec<usize>,
    groups: usize,
    sums: Sums,
    units: Units,
    linears: Vec<Linear>,
    lookups: Vec<Lookup>,
    formed: Vec<Formed>,
    norms: Vec<Norms>,
    /// Rows of each parameter's gradient that came; none where nothing did.
    seen: Vec<Option<usize>>,
    /// Squared norms of the last pass, `[units, groups]`.
    squared: Vec<f64>,
}

impl DeviceGradient {
    /// A sum over `parameters`, clipped as a mechanism says.
    pub fn new(
        clipping: impl Into<Clipping>,
        parameters: Vec<ParameterShape>,
        device: &Device,
    ) -> Self {
        let clipping = clipping.into();
        let names: Vec<&str> = parameters.iter().map(|parameter| &parameter.name[..]).collect();
        let group = clipping.style.groups(&names);
        Self {
            device: device.clone(),
            clipping,
            groups: group.iter().max().map_or(1, |last| last + 1),
            group,
            sums: Sums::new(&parameters, device),
            units: Units::default(),
            linears: Vec::new(),
            lookups: Vec::new(),
            formed: Vec::new(),
            norms: Vec::new(),
            seen: vec![None; parameters.len()],
            squared: Vec::new(),
            parameters,
        }
    }

    /// A pass begins over the sequences `offsets[i]..offsets[i + 1]`, each of unit `units[i]`;
    /// units of a pass are numbered from 0 in order, and a unit's sequences lie together.
    ///
    /// # Panics
    /// When they do not, or there is not one unit for each sequence.
    pub fn begin(&mut self, offsets: &[usize], units: &[usize]) {
        self.units = Units::new(offsets, units);
        self.clear();
        self.squared.clear();
        self.seen.fill(None);
    }

    /// The rows at which units begin, and the end: where a linear map's rows may be cut.
    pub fn borders(&self) -> &[usize] {
        &self.units.borders
    }

    /// Notes that a gradient came for `count` rows from `first` on. Each row's comes once: the norm
    /// of a unit's gradient is not that of its parts.
    fn see(&mut self, parameter: usize, first: usize, count: usize) {
        let seen = &mut self.seen[parameter];
        assert!(seen.unwrap_or(0) <= first, "the gradient of each row comes once, in order");
        *seen = Some(first + count);
    }

    fn clear(&mut self) {
        self.linears.clear();
        self.lookups.clear();
        self.formed.clear();
        self.norms.clear();
    }

    /// A linear map.
    ///
    /// # Errors
    /// When the device refuses.
    ///
    /// # Panics
    /// When the sizes do not fit each other or the parameters, the rows are not those of whole
    /// units, or they do not come after those of the parameter's earlier pieces.
    pub fn linear(&mut self, pieces: DevicePieces<'_>) -> Result<(), GradientError> {
        let (rows, outputs) = pieces.output_gradient.dims2()?;
        if rows == 0 {
            return Ok(());
        }
        if let Some(bias) = pieces.bias {
            self.see(bias, pieces.first_row, rows);
            let units = self.units.within(pieces.first_row, rows).collect();
            let places = self.units.of_rows(pieces.first_row, rows);
            self.keep_sums(bias, units, &places, pieces.output_gradient)?;
        }
        let Some((weight, layout)) = pieces.weight else { return Ok(()) };
        let inputs = pieces.input.dim(1)?;
        assert_eq!(inputs * outputs, self.parameters[weight].elements, "a weight's size");
        self.see(weight, pieces.first_row, rows);
        let linear = Linear {
            weight,
            layout,
            input: pieces.input.clone(),
            output: pieces.output_gradient.clone(),
            first_row: pieces.first_row,
            rows,
        };
        if self.parameters[weight].shared {
            // Its norm waits for the lookup.
            self.linears.push(linear);
            return Ok(());
        }
        let count = self.units.within(linear.first_row, rows).len();
        if count * inputs * outputs <= rows * (inputs + outputs) {
            return self.form(&linear);
        }
        self.add_linear_norms(&linear)?;
        self.linears.push(linear);
        Ok(())
    }

    /// Forms each unit's gradient and keeps it instead of its pieces.
    fn form(&mut self, linear: &Linear) -> Result<(), GradientError> {
        for group in self.units.groups(linear.first_row, linear.rows) {
            let (input, output) = (group.of(&linear.input)?, group.of(&linear.output)?);
            self.keep(linear.weight, group.units, norms::formed(&input, &output, linear.layout)?)?;
        }
        Ok(())
    }

    /// Squared norms of a linear map, by whichever way costs less.
    fn add_linear_norms(&mut self, linear: &Linear) -> Result<(), GradientError> {
        let (inputs, outputs) = (linear.input.dim(1)?, linear.output.dim(1)?);
        for group in self.units.groups(linear.first_row, linear.rows) {
            let ghost = norms::ghost_is_cheaper(group.length, inputs, outputs);
            let widest = if ghost { inputs.max(outputs) } else { inputs * outputs / group.length };
            for part in group.parts(widest) {
                let (input, output) = (part.of(&linear.input)?, part.of(&linear.output)?);
                let squared = if ghost {
                    norms::ghost(&input, &output)?
                } else {
                    norms::squares(&norms::formed(&input, &output, linear.layout)?)?
                };
                self.norms.push(Norms { parameter: linear.weight, units: part.units, squared });
            }
        }
        Ok(())
    }

    /// A lookup of row `ids[r]` of a table for each row r of the batch.
    ///
    /// # Errors
    /// When the device refuses.
    ///
    /// # Panics
    /// When there is not one id for each row of the batch, or the table was looked up before.
    pub fn lookup(
        &mut self,
        table: usize,
        ids: &[u32],
        output_gradient: &Tensor,
    ) -> Result<(), GradientError> {
        assert_eq!(ids.len(), self.units.rows(), "one id for each row");
        assert!(self.lookups.iter().all(|other| other.table != table), "one lookup a table");
        let seen = &mut self.seen[table];
        assert!(seen.is_none() || self.parameters[table].shared, "a table is used once");
        *seen = Some(ids.len());
        for group in self.units.groups(0, ids.len()) {
            for part in group.parts(output_gradient.dim(1)?) {
                let squared =
                    norms::lookup(&part.of(output_gradient)?, &part.ids(ids, &self.device)?)?;
                self.norms.push(Norms { parameter: table, units: part.units, squared });
            }
        }
        let gradient = output_gradient.clone();
        self.lookups.push(Lookup { table, ids: ids.to_vec(), gradient });
        Ok(())
    }

    /// A small parameter's gradient for each sequence, `[sequences, elements]`.
    ///
    /// # Errors
    /// When the device refuses.
    pub fn sequence(&mut self, parameter: usize, gradient: &Tensor) -> Result<(), GradientError> {
        self.see(parameter, 0, self.units.rows());
        let units = (0..self.units.ranges.len()).collect();
        let places = self.units.of_sequence.clone();
        self.keep_sums(parameter, units, &places, gradient)
    }

    /// Keeps the sums of rows of `gradient` that have the same place among `units`.
    fn keep_sums(
        &mut self,
        parameter: usize,
        units: Vec<usize>,
        places: &[u32],
        gradient: &Tensor,
    ) -> Result<(), GradientError> {
        let (rows, elements) = gradient.dims2()?;
        assert_eq!(elements, self.parameters[parameter].elements, "a parameter's size");
        let places = Tensor::from_slice(places, rows, &self.device)?;
        let zeros = Tensor::zeros((units.len(), elements), DType::F32, &self.device)?;
        let gradient = gradient.to_dtype(DType::F32)?.contiguous()?;
        self.keep(parameter, units, zeros.index_add(&places, &gradient, 0)?)
    }

    /// Keeps units' gradients and their norms.
    fn keep(
        &mut self,
        parameter: usize,
        units: Vec<usize>,
        gradients: Tensor,
    ) -> Result<(), GradientError> {
        let squared = norms::squares(&gradients)?;
        self.norms.push(Norms { parameter, units: units.clone(), squared });
        self.formed.push(Formed { parameter, units, gradients });
        Ok(())
    }

    /// The pass is over: computes every unit's norms, and adds its clipped gradient to the sum.
    ///
    /// # Errors
    /// When a parameter's gradient did not come, or the device refuses. After the former the sum
    /// is as it was; after the latter it must not be used.
    pub fn end(&mut self) -> Result<Vec<UnitOutcome>, GradientError> {
        let units = self.units.ranges.len();
        let missing = self.seen.iter().position(Option::is_none).filter(|_| units > 0);
        if let Some(missing) = missing {
            return Err(GradientError::Missing(self.parameters[missing].name.clone()));
        }
        self.add_shared_norms()?;
        self.squared = self.host_norms()?;
        let mut factors = vec![0.0; units * self.groups];
        let outcomes: Vec<UnitOutcome> = self
            .squared
            .chunks(self.groups)
            .zip(factors.chunks_mut(self.groups))
            .map(|(norms, factors)| self.clipping.factors(norms, factors))
            .collect();
        let broken: Vec<bool> =
            outcomes.iter().map(|&outcome| outcome == UnitOutcome::NotFinite).collect();
        let factors = Factors { values: factors, groups: self.groups, broken };
        for formed in std::mem::take(&mut self.formed) {
            let group = self.group[formed.parameter];
            self.sums.add_formed(&formed, &factors, group)?;
        }
        for linear in std::mem::take(&mut self.linears) {
            let group = self.group[linear.weight];
            self.sums.add_linear(&linear, &self.units, &factors, group)?;
        }
        for lookup in std::mem::take(&mut self.lookups) {
            let group = self.group[lookup.table];
            self.sums.add_lookup(lookup, &self.units, &factors, group)?;
        }
        self.clear();
        Ok(outcomes)
    }

    /// What shared tables' norms lack: those of the head, and twice the inner product of both.
    fn add_shared_norms(&mut self) -> Result<(), GradientError> {
        let linears = std::mem::take(&mut self.linears);
        for linear in &linears {
            if !self.parameters[linear.weight].shared {
                continue;
            }
            self.add_linear_norms(linear)?;
            let Some(lookup) = self.lookups.iter().find(|other| other.table == linear.weight)
            else {
                continue;
            };
            let range = linear.first_row..linear.first_row + linear.rows;
            let gradient = lookup.gradient.narrow(0, range.start, range.len())?;
            let outputs = linear.output.dim(1)?;
            for group in self.units.groups(linear.first_row, linear.rows) {
                for part in group.parts(outputs) {
                    let squared = norms::shared(
                        &part.of(&linear.input)?,
                        &part.of(&linear.output)?,
                        &part.of(&gradient)?,
                        &part.ids(&lookup.ids[range.clone()], &self.device)?,
                    )?;
                    let parameter = linear.weight;
                    self.norms.push(Norms { parameter, units: part.units, squared });
                }
            }
        }
        self.linears = linears;
        Ok(())
    }

    /// All squared norms, `[units, groups]`.
    fn host_norms(&self) -> Result<Vec<f64>, GradientError> {
        let mut squared = vec![0.0; self.units.ranges.len() * self.groups];
        if self.norms.is_empty() {
            return Ok(squared);
        }
        let parts: Vec<&Tensor> = self.norms.iter().map(|norms| &norms.squared).collect();
        let mut found = Tensor::cat(&parts, 0)?.to_vec1::<f64>()?.into_iter();
        for norms in &self.norms {
            for (&unit, value) in norms.units.iter().zip(found.by_ref()) {
                squared[unit * self.groups + self.group[norms.parameter]] += value;
            }
        }
        Ok(squared)
    }

    /// Norms, `[units]`, of the last pass's gradients over all groups. Private: not to be
    /// published.
    pub fn unit_norms(&self) -> Vec<f64> {
        self.squared.chunks(self.groups).map(|norms| norms.iter().sum::<f64>().sqrt()).collect()
    }

    /// The sum over all passes since the last call, on the host.
    ///
    /// # Errors
    /// When the device refuses.
    pub fn take(&mut self) -> Result<ClippedSum, GradientError> {
        let tensors = self.sums.take()?.into_iter().map(TensorSum::Dense).collect();
        Ok(ClippedSum { tensors, l2_sensitivity: self.clipping.max_grad_norm })
    }
}
