//! Hands the pieces of the model's backward pass to `pft-dp`, without copying them.

use std::ops::Range;

use pft_dp::{
    ClippedSum, Clipping, GradientError, LinearPieces, Memory, ParameterShape, PrivateGradient,
    Rows, StepMean, UnitOutcome,
};
use pft_lm::buffer::{Buffer, Matrix, Pool};
use pft_lm::gradient::{
    EmbeddingGradient, GradientSink, HeadRows, LinearGradient, SequenceGradient, Sequences,
};
use pft_lm::model::LanguageModel;
use pft_lm::optimizer::GradientBlocks;
use pft_lm::parameters::ParameterId;

/// A matrix of the backward pass; it shares the model's buffer.
#[derive(Debug)]
struct Shared(Matrix);

impl Rows for Shared {
    fn as_slice(&self) -> &[f32] {
        self.0.as_slice()
    }
}

/// The model's own memory.
#[derive(Debug)]
struct FromPool(Pool);

impl Memory for FromPool {
    type Buffer = Buffer;

    fn take(&self, len: usize) -> Buffer {
        self.0.take(len)
    }
}

/// What `pft-dp` calls each parameter of a model (none for frozen ones), and what it knows of
/// those that train.
pub(super) fn shapes(model: &LanguageModel) -> (Vec<Option<usize>>, Vec<ParameterShape>) {
    let parameters = model.parameters();
    let mut index = vec![None; parameters.len()];
    let mut shapes = Vec::new();
    for (id, parameter) in parameters.trainable() {
        index[id.0] = Some(shapes.len());
        let spec = &parameter.spec;
        shapes.push(ParameterShape {
            name: spec.name.clone(),
            elements: spec.len(),
            shared: model.tied_table() == Some(id),
        });
    }
    (index, shapes)
}

/// The unit of each sequence, where unit `u` owns the next `sequences_of_unit[u]`.
pub(super) fn units_of_sequences(sequences_of_unit: &[usize]) -> Vec<usize> {
    let owned = |(unit, &count)| std::iter::repeat_n(unit, count);
    sequences_of_unit.iter().enumerate().flat_map(owned).collect()
}

/// A parameter's private gradient, whose noise is drawn as the optimizer comes to it.
#[derive(Debug)]
pub struct Noised<'a> {
    mean: &'a StepMean,
    parameter: usize,
}

impl<'a> Noised<'a> {
    /// Those of all parameters, in order.
    pub fn all(mean: &'a StepMean) -> impl Iterator<Item = Self> {
        (0..mean.parameters()).map(move |parameter| Self { mean, parameter })
    }
}

impl GradientBlocks for Noised<'_> {
    fn block<'a>(&'a self, range: Range<usize>, room: &'a mut Vec<f32>) -> &'a [f32] {
        self.mean.block(self.parameter, range, room)
    }
}

/// Takes one backward pass after the other and sums the clipped gradients of their units.
#[derive(Debug)]
pub struct UnitGradients {
    gradient: PrivateGradient<Shared, FromPool>,
    /// What `pft-dp` calls each parameter; none for frozen ones.
    index: Vec<Option<usize>>,
    /// The unit of each sequence of the pass.
    units: Vec<usize>,
}

impl UnitGradients {
    /// A sum over a model's trainable parameters, clipped as a mechanism says.
    pub fn new(model: &LanguageModel, clipping: impl Into<Clipping>) -> Self {
        let (index, shapes) = shapes(model);
        let memory = FromPool(model.pool().clone());
        let gradient = PrivateGradient::with_memory(clipping, shapes, memory);
        Self { gradient, index, units: Vec::new() }
    }

    /// Says how many sequences each unit of the next pass has: unit `u` owns the next
    /// `sequences_of_unit[u]`.
    pub fn expect(&mut self, sequences_of_unit: &[usize]) {
        self.units = units_of_sequences(sequences_of_unit);
    }

    /// Clips the units of the pass that has just run, and adds them to the sum.
    ///
    /// # Errors
    /// When a trainable parameter's gradient did not come, and so could not be clipped.
    pub fn clip(&mut self) -> Result<Vec<UnitOutcome>, GradientError> {
        self.gradient.end()
    }

    /// Norms of the gradients of the last pass's units, before clipping. Private.
    pub fn unit_norms(&self) -> Vec<f64> {
        self.gradient.unit_norms()
    }

    /// The sum over all passes since the last call.
    pub fn take(&mut self) -> ClippedSum {
        self.gradient.take()
    }

    /// Gives the memory of a sum that was taken back.
    pub fn recycle(&mut self, mean: StepMean) {
        self.gradient.recycle(mean);
    }

    fn index(&self, id: ParameterId) -> Option<usize> {
        self.index[id.0]
    }
}

impl GradientSink for UnitGradients {
    fn begin(&mut self, sequences: Sequences<'_>) {
        self.gradient.begin(sequences, &self.units);
    }

    fn linear(&mut self, pieces: LinearGradient<'_>) {
        let weight =
            pieces.weight.and_then(|id| self.index(id)).map(|index| (index, pieces.layout));
        let bias = pieces.bias.and_then(|id| self.index(id));
        self.gradient.linear(LinearPieces {
            weight,
            bias,
            input: Shared(pieces.input.clone()),
            output_gradient: Shared(pieces.output_gradient.clone()),
            rows: pieces.input.rows(),
            first_row: pieces.first_row,
        });
    }

    fn embedding(&mut self, pieces: EmbeddingGradient<'_>) {
        if let Some(table) = self.index(pieces.table) {
            self.gradient.lookup(table, pieces.ids, Shared(pieces.output_gradient.clone()));
        }
    }

    fn sequence(&mut self, pieces: SequenceGradient<'_>) {
        if let Some(parameter) = self.index(pieces.parameter) {
            self.gradient.sequence(parameter, pieces.gradient.as_slice());
        }
    }

    fn head_rows(&self) -> HeadRows {
        HeadRows::WholeSequences
    }
}
