//! Hands the pieces of a device's backward pass to `pft-dp`, where they are.

use candle_core::{Device, Tensor};
use pft_dp::{ClippedSum, Clipping, DeviceGradient, DevicePieces, GradientError, UnitOutcome};
use pft_lm::device::DeviceSink;
use pft_lm::gradient::{EmbeddingGradient, LinearGradient, SequenceGradient, Sequences};
use pft_lm::model::LanguageModel;
use pft_lm::parameters::ParameterId;

use super::sink::{shapes, units_of_sequences};

type Result<T, E = candle_core::Error> = std::result::Result<T, E>;

/// Takes one backward pass on a device after the other and sums the clipped gradients of their
/// units.
#[derive(Debug)]
pub struct DeviceUnitGradients {
    gradient: DeviceGradient,
    /// What `pft-dp` calls each parameter; none for frozen ones.
    index: Vec<Option<usize>>,
    /// The unit of each sequence of the pass.
    units: Vec<usize>,
}

impl DeviceUnitGradients {
    /// A sum over the trainable parameters of a model, of which there is a copy on `device`,
    /// clipped as a mechanism says.
    pub fn new(model: &LanguageModel, clipping: impl Into<Clipping>, device: &Device) -> Self {
        let (index, shapes) = shapes(model);
        Self { gradient: DeviceGradient::new(clipping, shapes, device), index, units: Vec::new() }
    }

    /// Says how many sequences each unit of the next pass has: unit `u` owns the next
    /// `sequences_of_unit[u]`.
    pub fn expect(&mut self, sequences_of_unit: &[usize]) {
        self.units = units_of_sequences(sequences_of_unit);
    }

    /// Clips the units of the pass that has just run, and adds them to the sum.
    ///
    /// # Errors
    /// When a trainable parameter's gradient did not come, or the device refuses.
    pub fn clip(&mut self) -> Result<Vec<UnitOutcome>, GradientError> {
        self.gradient.end()
    }

    /// Norms of the gradients of the last pass's units, before clipping. Private.
    pub fn unit_norms(&self) -> Vec<f64> {
        self.gradient.unit_norms()
    }

    /// The sum over all passes since the last call.
    ///
    /// # Errors
    /// When the device refuses.
    pub fn take(&mut self) -> Result<ClippedSum, GradientError> {
        self.gradient.take()
    }

    fn index(&self, id: ParameterId) -> Option<usize> {
        self.index[id.0]
    }
}

impl DeviceSink for DeviceUnitGradients {
    fn begin(&mut self, sequences: Sequences<'_>) -> Result<()> {
        self.gradient.begin(sequences, &self.units);
        Ok(())
    }

    fn linear(&mut self, pieces: LinearGradient<'_, Tensor>) -> Result<()> {
        let weight = pieces.weight.and_then(|id| self.index(id));
        let pieces = DevicePieces {
            weight: weight.map(|index| (index, pieces.layout)),
            bias: pieces.bias.and_then(|id| self.index(id)),
            input: pieces.input,
            output_gradient: pieces.output_gradient,
            first_row: pieces.first_row,
        };
        self.gradient.linear(pieces).map_err(candle_core::Error::wrap)
    }

    fn embedding(&mut self, pieces: EmbeddingGradient<'_, Tensor>) -> Result<()> {
        let Some(table) = self.index(pieces.table) else { return Ok(()) };
        let gradient = pieces.output_gradient;
        self.gradient.lookup(table, pieces.ids, gradient).map_err(candle_core::Error::wrap)
    }

    fn sequence(&mut self, pieces: SequenceGradient<'_, Tensor>) -> Result<()> {
        let Some(parameter) = self.index(pieces.parameter) else { return Ok(()) };
        self.gradient.sequence(parameter, pieces.gradient).map_err(candle_core::Error::wrap)
    }

    fn head_borders(&self) -> Option<&[usize]> {
        Some(self.gradient.borders())
    }
}
