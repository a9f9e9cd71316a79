//! What candle's operations lack for these layers.

use candle_core::{DType, Device, Result, Tensor};

/// The row index that candle's `index_select` answers with zeros.
pub(crate) const NO_ROW: u32 = u32::MAX;

/// `left · right`. Candle multiplies no bf16 on the CPU; there the product is one of f32, rounded.
pub(crate) fn matmul(left: &Tensor, right: &Tensor) -> Result<Tensor> {
    if left.dtype() == DType::BF16 && left.device().is_cpu() {
        let product = left.to_dtype(DType::F32)?.matmul(&right.to_dtype(DType::F32)?)?;
        return product.to_dtype(DType::BF16);
    }
    left.matmul(right)
}

/// `sum + term`, of which a missing sum is nothing.
pub(crate) fn add(sum: Option<Tensor>, term: Option<Tensor>) -> Result<Option<Tensor>> {
    match (sum, term) {
        (Some(sum), Some(term)) => (sum + term).map(Some),
        (sum, term) => Ok(sum.or(term)),
    }
}

/// The type in which sums over many elements are taken: at least f32.
pub(crate) fn wide_type(dtype: DType) -> DType {
    if dtype == DType::F64 { DType::F64 } else { DType::F32 }
}

/// `x` in the type of [`wide_type`].
pub(crate) fn wide(x: &Tensor) -> Result<Tensor> {
    x.to_dtype(wide_type(x.dtype()))
}

/// Sums of the rows of `x` (`[rows, width]`) by `place`, `[places, width]`. Rows of one place
/// meet no other's, whatever they hold, and are added in order.
pub(crate) fn sum_rows(x: &Tensor, place: &Tensor, places: usize) -> Result<Tensor> {
    let zeros = Tensor::zeros((places, x.dim(1)?), x.dtype(), x.device())?;
    zeros.index_add(place, &x.contiguous()?, 0)
}

/// Numbers of the host as a tensor of `dtype`.
pub(crate) fn upload(
    values: &[f32],
    shape: &[usize],
    dtype: DType,
    device: &Device,
) -> Result<Tensor> {
    Tensor::from_slice(values, shape, device)?.to_dtype(dtype)
}

/// A tensor's values, row-major, on the host.
pub(crate) fn download(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.flatten_all()?.to_dtype(DType::F32)?.to_vec1()
}
