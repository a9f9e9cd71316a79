//! The head and its loss: the −ln softmax(h·Wᵀ) of the target.
//!
//! Rows are taken in chunks, so that the logits of all tokens need not be held: logits, then each
//! row's negative log-likelihood, then weight · (softmax − onehot), the logits' gradient, then the
//! gradients of h and of W. A sink that keeps the logits' gradients says where they may be cut.

use candle_core::{D, Result, Tensor};

use super::lora::{self, AdapterCache};
use super::{Pass, soft_cap};
use crate::device::gradient::DeviceSink;
use crate::device::ops::{matmul, wide};
use crate::gradient::LinearGradient;
use crate::kernels::matmul::Layout;
use crate::layers::cross_entropy::Head;

/// About how many logits are held at a time (256 MB in f32).
const LOGITS: usize = 1 << 26;

/// What each row is to predict, and how much that counts; on the device.
#[derive(Debug)]
pub(crate) struct Targets {
    /// The next token, `[rows]`; any value where there is none.
    pub(crate) tokens: Tensor,
    /// Weight in the loss, `[rows]` in the wide type; 0 where there is no target.
    pub(crate) weights: Tensor,
}

/// The logits of the rows of `hidden`, in the wide type, and what the adapter's backward needs.
fn logits(head: &Head, pass: &Pass<'_>, hidden: &Tensor) -> Result<(Tensor, Option<AdapterCache>)> {
    let mut product = matmul(hidden, &pass.weight(head.weight).t()?)?;
    let mut kept = None;
    if let Some(adapter) = &head.adapter {
        let (sum, cache) = lora::forward(adapter, pass, product, hidden)?;
        (product, kept) = (sum, Some(cache));
    }
    let mut logits = wide(&product)?;
    if let Some(bias) = head.bias {
        logits = logits.broadcast_add(&wide(pass.weight(bias))?)?;
    }
    if head.multiplier != 1.0 {
        logits = logits.affine(f64::from(head.multiplier), 0.0)?;
    }
    if let Some(cap) = head.soft_cap {
        logits = soft_cap::forward(&logits, f64::from(cap))?;
    }
    Ok((logits, kept))
}

/// How logits follow what the product gives, where that is not at once.
fn slopes(head: &Head, logits: &Tensor) -> Result<Option<Tensor>> {
    let multiplier = f64::from(head.multiplier);
    match head.soft_cap {
        Some(cap) => soft_cap::slopes(logits, f64::from(cap))?.affine(multiplier, 0.0).map(Some),
        None if multiplier != 1.0 => logits.ones_like()?.affine(multiplier, 0.0).map(Some),
        None => Ok(None),
    }
}

/// Each row's loss and e^(logit − largest) with its sum over the row.
fn row_losses(logits: &Tensor, tokens: &Tensor) -> Result<(Tensor, Tensor, Tensor)> {
    let largest = logits.max_keepdim(D::Minus1)?;
    let wanted = logits.gather(tokens, 1)?;
    let exponentials = logits.broadcast_sub(&largest)?.exp()?;
    let total = exponentials.sum_keepdim(D::Minus1)?;
    let losses = ((largest + total.log()?)? - wanted)?.squeeze(1)?;
    Ok((losses, exponentials, total))
}

/// The borders of chunks of about `rows` rows, at `allowed` borders where these are given.
fn chunks(count: usize, rows: usize, allowed: Option<&[usize]>) -> Vec<usize> {
    let rows = rows.max(1);
    let Some(allowed) = allowed else {
        return (0..count).step_by(rows).chain([count]).collect();
    };
    let mut borders = vec![0];
    for pair in allowed.windows(2) {
        let start = borders[borders.len() - 1];
        if pair[1] - start > rows && pair[0] > start {
            borders.push(pair[0]);
        }
    }
    borders.push(count);
    borders
}

/// Each row's negative log-likelihood.
pub(crate) fn evaluate(
    head: &Head,
    pass: &Pass<'_>,
    hidden: &Tensor,
    targets: &Targets,
) -> Result<Tensor> {
    let count = hidden.dim(0)?;
    let mut losses = Vec::new();
    for range in chunks(count, LOGITS / head.vocabulary, None).windows(2) {
        let (first, rows) = (range[0], range[1] - range[0]);
        let hidden = hidden.narrow(0, first, rows)?;
        let logits = logits(head, &pass.of_rows(first, rows), &hidden)?.0;
        let tokens = targets.tokens.narrow(0, first, rows)?.reshape((rows, 1))?;
        losses.push(row_losses(&logits, &tokens)?.0);
    }
    Tensor::cat(&losses, 0)
}

/// Each row's negative log-likelihood, and the gradient of the weighted loss by `hidden`.
pub(crate) fn forward_backward(
    head: &Head,
    pass: &Pass<'_>,
    hidden: &Tensor,
    targets: &Targets,
    sink: &mut dyn DeviceSink,
) -> Result<(Tensor, Tensor)> {
    let (count, dtype) = (hidden.dim(0)?, hidden.dtype());
    let trained = pass.trained(head.weight);
    let bias = head.bias.and_then(|bias| pass.trained(bias));
    let trains = trained.is_some() || bias.is_some() || head.adapter.is_some();
    let allowed = if trains { sink.head_borders() } else { None };
    let borders = chunks(count, LOGITS / head.vocabulary, allowed);
    let (mut losses, mut gradients) = (Vec::new(), Vec::new());
    for range in borders.windows(2) {
        let (first, rows) = (range[0], range[1] - range[0]);
        let hidden = hidden.narrow(0, first, rows)?;
        let tokens = targets.tokens.narrow(0, first, rows)?.reshape((rows, 1))?;
        let weights = targets.weights.narrow(0, first, rows)?.reshape((rows, 1))?;
        let pass = pass.of_rows(first, rows);
        let (logits, cache) = logits(head, &pass, &hidden)?;
        let (loss, exponentials, total) = row_losses(&logits, &tokens)?;
        let slopes = slopes(head, &logits)?;
        drop(logits);
        let mut by_logits = exponentials.broadcast_mul(&(&weights / total)?)?.scatter_add(
            &tokens,
            &weights.neg()?,
            1,
        )?;
        if let Some(slopes) = slopes {
            by_logits = (by_logits * slopes)?;
        }
        let by_logits = by_logits.to_dtype(dtype)?;
        losses.push(loss);
        let mut by_hidden = Some(matmul(&by_logits, pass.weight(head.weight))?);
        if trained.is_some() || bias.is_some() {
            sink.linear(LinearGradient {
                weight: trained,
                bias,
                layout: Layout::OutIn,
                input: &hidden,
                output_gradient: &by_logits,
                first_row: first,
            })?;
        }
        if let (Some(adapter), Some(cache)) = (&head.adapter, cache) {
            by_hidden = lora::backward(adapter, &pass, cache, &by_logits, first, by_hidden, sink)?;
        }
        gradients.extend(by_hidden);
    }
    Ok((Tensor::cat(&losses, 0)?, Tensor::cat(&gradients, 0)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_cut_where_allowed() {
        assert_eq!(chunks(10, 4, None), [0, 4, 8, 10]);
        assert_eq!(chunks(10, 4, Some(&[0, 3, 4, 9, 10])), [0, 4, 9, 10]);
        assert_eq!(chunks(10, 100, Some(&[0, 3, 4, 9, 10])), [0, 10]);
        assert_eq!(chunks(10, 1, Some(&[0, 10])), [0, 10]);
    }
}
