//! Squared norms of units' gradients, from the pieces of a group of units. Products are in f32,
//! the last sums in f64, as on the CPU.

use candle_core::{D, DType, Result, Tensor};

use super::super::WeightLayout;
use super::super::product::ROUNDING;

/// The sum over all but the first dimension, in f64: `[units]`.
pub(super) fn unit_sums(x: &Tensor) -> Result<Tensor> {
    let units = x.dim(0)?;
    let rows = x.reshape((units, (), x.dim(D::Minus1)?))?.sum(D::Minus1)?;
    rows.to_dtype(DType::F64)?.sum(1)
}

/// The sum of products of inner products, no less than without their rounding, as on the CPU.
fn unit_sums_at_most(products: &Tensor) -> Result<Tensor> {
    unit_sums(products)? + (unit_sums(&products.abs()?)? * ROUNDING)?
}

/// Σ of each unit's squares.
pub(super) fn squares(x: &Tensor) -> Result<Tensor> {
    unit_sums(&x.sqr()?)
}

/// The inner products of the rows of `left` and `right`, unit by unit: `[units, rows, rows]`.
fn products(left: &Tensor, right: &Tensor) -> Result<Tensor> {
    left.matmul(&right.transpose(1, 2)?)
}

/// ‖aᵀg‖² = ⟨aaᵀ, ggᵀ⟩ of each unit.
pub(super) fn ghost(input: &Tensor, output: &Tensor) -> Result<Tensor> {
    unit_sums_at_most(&(products(input, input)? * products(output, output)?)?)
}

/// aᵀg of each unit in the layout of the weight, `[units, elements]`.
pub(super) fn formed(input: &Tensor, output: &Tensor, layout: WeightLayout) -> Result<Tensor> {
    let gradient = match layout {
        WeightLayout::InOut => input.transpose(1, 2)?.matmul(output)?,
        WeightLayout::OutIn => output.transpose(1, 2)?.matmul(input)?,
    };
    gradient.flatten_from(1)
}

/// Whether [`ghost`] costs less than [`formed`], by about its multiplications.
pub(super) fn ghost_is_cheaper(rows: usize, inputs: usize, outputs: usize) -> bool {
    rows * (inputs + outputs) * 2 <= inputs * outputs * 3
}

/// The squared norm of each unit's gradient of a lookup: rows with one id add up, so it is
/// Σ ⟨gᵢ, gⱼ⟩ over all pairs of rows of the same id.
pub(super) fn lookup(gradient: &Tensor, ids: &Tensor) -> Result<Tensor> {
    let same = ids.unsqueeze(2)?.broadcast_eq(&ids.unsqueeze(1)?)?.to_dtype(DType::F32)?;
    unit_sums_at_most(&(products(gradient, gradient)? * same)?)
}

/// Twice the inner product of a head's gradient aᵀg and the lookup's of the same table:
/// 2 Σ g[h, id(e)] · ⟨a(h), e⟩ over the head's rows h and the lookup's rows e.
pub(super) fn shared(
    input: &Tensor,
    output: &Tensor,
    looked_up: &Tensor,
    ids: &Tensor,
) -> Result<Tensor> {
    let (units, rows, _) = input.dims3()?;
    let ids = ids.unsqueeze(1)?.broadcast_as((units, rows, ids.dim(1)?))?.contiguous()?;
    let at_ids = output.contiguous()?.gather(&ids, 2)?;
    unit_sums_at_most(&(products(input, looked_up)? * at_ids)?)? * 2.0
}
