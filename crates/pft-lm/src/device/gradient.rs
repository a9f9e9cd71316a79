//! What the backward pass on a device hands out, and the plain way to take it: summing.
//!
//! The pieces are those of [`crate::gradient`], over candle tensors, and come in the same order;
//! every operation may fail, for instance for want of memory.

use candle_core::{Device, Result, Tensor};

use super::ops::{download, matmul, sum_rows, wide};
use crate::gradient::{EmbeddingGradient, LinearGradient, SequenceGradient, Sequences};
use crate::kernels::matmul::Layout;
use crate::parameters::ParameterId;

/// Takes the gradients of one or more backward passes on a device.
///
/// Tensors are in the model's type; a sink widens what it sums.
pub trait DeviceSink {
    /// A backward pass starts, over a batch whose rows divide so.
    ///
    /// # Errors
    /// When the device refuses, as for all methods.
    fn begin(&mut self, sequences: Sequences<'_>) -> Result<()>;

    /// A linear layer. At least one of weight and bias is trainable.
    ///
    /// # Errors
    /// When the device refuses.
    fn linear(&mut self, pieces: LinearGradient<'_, Tensor>) -> Result<()>;

    /// A token or position embedding.
    ///
    /// # Errors
    /// When the device refuses.
    fn embedding(&mut self, pieces: EmbeddingGradient<'_, Tensor>) -> Result<()>;

    /// A parameter whose gradients are small enough to have one for each sequence.
    ///
    /// # Errors
    /// When the device refuses.
    fn sequence(&mut self, pieces: SequenceGradient<'_, Tensor>) -> Result<()>;

    /// The rows, ascending from 0 to the batch's, between which the rows of a trained head must
    /// come in one call; `None` where they may be cut anywhere.
    fn head_borders(&self) -> Option<&[usize]> {
        None
    }

    /// The backward pass is over.
    ///
    /// # Errors
    /// When the device refuses.
    fn end(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Sums gradients over rows, and over backward passes until [`DeviceGradientSum::clear`]. Each
/// pass's products are made in the model's type, and added up in f32.
#[derive(Debug)]
pub struct DeviceGradientSum {
    /// Shape and running sum of each parameter; no shape for frozen ones.
    gradients: Vec<(Option<Vec<usize>>, Option<Tensor>)>,
    device: Device,
}

impl DeviceGradientSum {
    pub(super) fn new(shapes: Vec<Option<Vec<usize>>>, device: Device) -> Self {
        Self { gradients: shapes.into_iter().map(|shape| (shape, None)).collect(), device }
    }

    /// Forgets what was summed.
    pub fn clear(&mut self) {
        self.gradients.iter_mut().for_each(|(_, sum)| *sum = None);
    }

    /// The gradient of every trainable parameter in order, in f32 and the parameter's own shape.
    ///
    /// # Errors
    /// When the device refuses.
    pub fn in_order(&self) -> Result<Vec<Tensor>> {
        let of = |(shape, sum): &(Option<Vec<usize>>, Option<Tensor>)| match (shape, sum) {
            (Some(shape), Some(sum)) => Some(sum.reshape(&shape[..])),
            (Some(shape), None) => {
                let dtype = candle_core::DType::F32;
                Some(Tensor::zeros(&shape[..], dtype, &self.device))
            }
            (None, _) => None,
        };
        self.gradients.iter().filter_map(of).collect()
    }

    /// The Euclidean norm of all gradients together.
    ///
    /// # Errors
    /// When the device refuses.
    pub fn global_norm(&self) -> Result<f64> {
        let squares: Vec<Tensor> = self
            .gradients
            .iter()
            .filter_map(|(_, sum)| sum.as_ref())
            .map(|sum| wide(sum)?.sqr()?.sum_all()?.reshape(1))
            .collect::<Result<_>>()?;
        if squares.is_empty() {
            return Ok(0.0);
        }
        let squares = download(&Tensor::cat(&squares, 0)?)?;
        Ok(squares.into_iter().map(f64::from).sum::<f64>().sqrt())
    }

    /// Adds to a parameter's gradient what `make` makes of its shape.
    fn add(
        &mut self,
        id: ParameterId,
        make: impl FnOnce(&[usize]) -> Result<Tensor>,
    ) -> Result<()> {
        let (Some(shape), sum) = &mut self.gradients[id.0] else { return Ok(()) };
        let gradient = wide(&make(shape)?)?;
        *sum = Some(match sum.take() {
            Some(sum) => (sum + gradient)?,
            None => gradient,
        });
        Ok(())
    }
}

impl DeviceSink for DeviceGradientSum {
    fn begin(&mut self, _sequences: Sequences<'_>) -> Result<()> {
        Ok(())
    }

    fn linear(&mut self, pieces: LinearGradient<'_, Tensor>) -> Result<()> {
        let (input, output) = (pieces.input, pieces.output_gradient);
        if let Some(weight) = pieces.weight {
            self.add(weight, |_| match pieces.layout {
                Layout::OutIn => matmul(&output.t()?, input),
                Layout::InOut => matmul(&input.t()?, output),
            })?;
        }
        if let Some(bias) = pieces.bias {
            self.add(bias, |_| wide(output)?.sum(0))?;
        }
        Ok(())
    }

    fn embedding(&mut self, pieces: EmbeddingGradient<'_, Tensor>) -> Result<()> {
        let ids = Tensor::from_slice(pieces.ids, pieces.ids.len(), &self.device)?;
        self.add(pieces.table, |shape| sum_rows(&wide(pieces.output_gradient)?, &ids, shape[0]))
    }

    fn sequence(&mut self, pieces: SequenceGradient<'_, Tensor>) -> Result<()> {
        self.add(pieces.parameter, |_| wide(pieces.gradient)?.sum(0))
    }
}
