//! The running clipped sum: each unit's gradient times its factor.

use candle_core::{DType, Device, Result, Tensor};

use super::super::{ParameterShape, WeightLayout};
use super::pieces::{Formed, Linear, Lookup};
use super::units::Units;

/// What each unit's gradient is multiplied by.
pub(super) struct Factors {
    /// `[units, groups]`; 0 for units that are not finite.
    pub(super) values: Vec<f32>,
    pub(super) groups: usize,
    /// Whether each unit is not finite.
    pub(super) broken: Vec<bool>,
}

impl Factors {
    fn of(&self, unit: usize, group: usize) -> f32 {
        self.values[unit * self.groups + group]
    }

    /// 0 for a unit that is not finite.
    fn kept(&self, unit: usize) -> u8 {
        u8::from(!self.broken[unit])
    }
}

/// Each parameter's sum on the device, in f32.
#[derive(Debug)]
pub(super) struct Sums {
    device: Device,
    /// `[elements]`; none where nothing was added.
    sums: Vec<Option<Tensor>>,
    elements: Vec<usize>,
}

impl Sums {
    /// Sums of zero.
    pub(super) fn new(parameters: &[ParameterShape], device: &Device) -> Self {
        Self {
            device: device.clone(),
            sums: vec![None; parameters.len()],
            elements: parameters.iter().map(|parameter| parameter.elements).collect(),
        }
    }

    fn add(&mut self, parameter: usize, values: &Tensor) -> Result<()> {
        let values = values.flatten_all()?;
        let sum = self.sums[parameter].take();
        self.sums[parameter] = Some(match sum {
            Some(sum) => (sum + values)?,
            None => values,
        });
        Ok(())
    }

    /// Adds units' gradients, each times its factor.
    pub(super) fn add_formed(
        &mut self,
        formed: &Formed,
        factors: &Factors,
        group: usize,
    ) -> Result<()> {
        let Formed { parameter, units, gradients } = formed;
        let by_unit: Vec<f32> = units.iter().map(|&unit| factors.of(unit, group)).collect();
        let kept: Vec<u8> = units.iter().map(|&unit| factors.kept(unit)).collect();
        let by_unit = Tensor::from_vec(by_unit, (1, units.len()), &self.device)?;
        self.add(*parameter, &by_unit.matmul(&cleaned(gradients, kept)?)?)
    }

    /// Adds aᵀ·diag(factor)·g.
    pub(super) fn add_linear(
        &mut self,
        linear: &Linear,
        units: &Units,
        factors: &Factors,
        group: usize,
    ) -> Result<()> {
        let (first, rows) = (linear.first_row, linear.rows);
        let by_row = units.by_row(first, rows, |unit| factors.of(unit, group));
        let kept = units.by_row(first, rows, |unit| factors.kept(unit));
        let by_row = Tensor::from_vec(by_row, (rows, 1), &self.device)?;
        // Rows of a unit that is not finite are cleared on both sides, since 0 · ∞ is not 0.
        let mut input = cleaned(&linear.input.to_dtype(DType::F32)?, kept.clone())?;
        let mut output = cleaned(&linear.output.to_dtype(DType::F32)?, kept)?;
        // The narrower side takes the factors.
        if input.dim(1)? <= output.dim(1)? {
            input = input.broadcast_mul(&by_row)?;
        } else {
            output = output.broadcast_mul(&by_row)?;
        }
        let product = match linear.layout {
            WeightLayout::InOut => input.t()?.matmul(&output)?,
            WeightLayout::OutIn => output.t()?.matmul(&input)?,
        };
        self.add(linear.weight, &product)
    }

    /// Adds each row times its unit's factor to the row that it was looked up from.
    pub(super) fn add_lookup(
        &mut self,
        lookup: Lookup,
        units: &Units,
        factors: &Factors,
        group: usize,
    ) -> Result<()> {
        let rows = lookup.ids.len();
        let by_row = units.by_row(0, rows, |unit| factors.of(unit, group));
        let kept = units.by_row(0, rows, |unit| factors.kept(unit));
        let by_row = Tensor::from_vec(by_row, (rows, 1), &self.device)?;
        let gradient = cleaned(&lookup.gradient.to_dtype(DType::F32)?, kept)?;
        let scaled = gradient.broadcast_mul(&by_row)?;
        let width = scaled.dim(1)?;
        let table = (self.elements[lookup.table] / width, width);
        let sum = match self.sums[lookup.table].take() {
            Some(sum) => sum.reshape(table)?,
            None => Tensor::zeros(table, DType::F32, &self.device)?,
        };
        let ids = Tensor::from_vec(lookup.ids, rows, &self.device)?;
        self.sums[lookup.table] = Some(sum.index_add(&ids, &scaled, 0)?.flatten_all()?);
        Ok(())
    }

    /// The sums on the host; what is added next starts anew.
    pub(super) fn take(&mut self) -> Result<Vec<Vec<f32>>> {
        let sums = self.sums.iter_mut().zip(&self.elements);
        sums.map(|(sum, &elements)| match sum.take() {
            Some(sum) => sum.to_vec1(),
            None => Ok(vec![0.0; elements]),
        })
        .collect()
    }
}

/// `x` with zeros for rows that are not kept, whatever they hold.
fn cleaned(x: &Tensor, kept: Vec<u8>) -> Result<Tensor> {
    if kept.iter().all(|&kept| kept == 1) {
        return Ok(x.clone());
    }
    let kept = Tensor::from_vec(kept, (x.dim(0)?, 1), x.device())?.broadcast_as(x.shape())?;
    kept.where_cond(x, &x.zeros_like()?)
}
