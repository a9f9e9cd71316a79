//! The private gradient sink: one forward, one backward, and no gradient of a single unit held in
//! memory (book-keeping: Bu et al. 2022, 'Differentially private optimization on large model at
//! small cost').
//!
//! The backward pass hands over each layer's inputs and output gradients, which share the model's
//! buffers. Once it is over, the squared norms of every unit's gradient follow from them, then the
//! clipping factors, and then the clipped sum, in which each row of the output gradients carries
//! the factor of its unit.

use std::borrow::Cow;
use std::collections::BTreeMap;

use pft_lm::buffer::Matrix;
use pft_lm::gradient::{
    EmbeddingGradient, GradientSink, GradientSum, HeadRows, LinearGradient, SequenceGradient,
    Sequences,
};
use pft_lm::kernels::matmul::Layout;
use pft_lm::kernels::{add_column_sums, scatter_rows};
use pft_lm::parameters::{ParameterId, Parameters};
use rayon::prelude::*;

use pft_dp::{Clipping, UnitOutcome};

use super::norms;

#[derive(Debug)]
struct Linear {
    weight: Option<ParameterId>,
    bias: Option<ParameterId>,
    layout: Layout,
    input: Matrix,
    gradient: Matrix,
    first_row: usize,
}

#[derive(Debug)]
struct Embedding {
    table: ParameterId,
    ids: Vec<u32>,
    gradient: Matrix,
}

#[derive(Debug)]
struct PerSequence {
    parameter: ParameterId,
    gradient: Matrix,
}

/// Which group each parameter is clipped with.
#[derive(Debug)]
struct Groups {
    /// By [`ParameterId`]; `None` for frozen ones.
    of: Vec<Option<usize>>,
    count: usize,
}

impl Groups {
    fn new(parameters: &Parameters, clipping: &Clipping) -> Self {
        let names: Vec<&str> =
            parameters.trainable().map(|(_, parameter)| parameter.spec.name.as_str()).collect();
        let groups = clipping.style.groups(&names);
        let mut of = vec![None; parameters.len()];
        for ((id, _), &group) in parameters.trainable().zip(&groups) {
            of[id.0] = Some(group);
        }
        Self { of, count: groups.iter().max().map_or(0, |last| last + 1) }
    }

    fn len(&self) -> usize {
        self.count
    }

    fn of(&self, id: ParameterId) -> Option<usize> {
        self.of.get(id.0).copied().flatten()
    }
}

/// What became of the units of a micro-batch.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Clipped {
    /// Norms of the units' whole gradients, before clipping.
    pub norms: Vec<f64>,
    /// Units whose gradient was not finite, and who added nothing.
    pub not_finite: u64,
}

/// Keeps the pieces of one backward pass.
#[derive(Debug)]
pub struct UnitGradients {
    offsets: Vec<usize>,
    linears: Vec<Linear>,
    embeddings: Vec<Embedding>,
    per_sequence: Vec<PerSequence>,
    groups: Groups,
    clipping: Clipping,
}

impl GradientSink for UnitGradients {
    fn begin(&mut self, sequences: Sequences<'_>) {
        self.offsets = sequences.to_vec();
        self.linears.clear();
        self.embeddings.clear();
        self.per_sequence.clear();
    }

    fn linear(&mut self, pieces: LinearGradient<'_>) {
        self.linears.push(Linear {
            weight: pieces.weight,
            bias: pieces.bias,
            layout: pieces.layout,
            input: pieces.input.clone(),
            gradient: pieces.output_gradient.clone(),
            first_row: pieces.first_row,
        });
    }

    fn embedding(&mut self, pieces: EmbeddingGradient<'_>) {
        self.embeddings.push(Embedding {
            table: pieces.table,
            ids: pieces.ids.to_vec(),
            gradient: pieces.output_gradient.clone(),
        });
    }

    fn sequence(&mut self, pieces: SequenceGradient<'_>) {
        self.per_sequence
            .push(PerSequence { parameter: pieces.parameter, gradient: pieces.gradient.clone() });
    }

    fn head_rows(&self) -> HeadRows {
        HeadRows::WholeSequences
    }
}

impl UnitGradients {
    /// A sink for a model's trainable parameters.
    pub fn new(parameters: &Parameters, clipping: Clipping) -> Self {
        Self {
            offsets: vec![0],
            linears: Vec::new(),
            embeddings: Vec::new(),
            per_sequence: Vec::new(),
            groups: Groups::new(parameters, &clipping),
            clipping,
        }
    }

    /// Clips the units of the last backward pass and adds them to `sum`. Unit `u` owns the next
    /// `sequences_of_unit[u]` sequences of the batch. The pieces are let go.
    pub fn clip_into(&mut self, sum: &mut GradientSum, sequences_of_unit: &[usize]) -> Clipped {
        let mut first = 0;
        let units: Vec<std::ops::Range<usize>> = sequences_of_unit
            .iter()
            .map(|&count| {
                first += count;
                first - count..first
            })
            .collect();
        let squared: Vec<Vec<f64>> =
            units.par_iter().map(|sequences| self.squared_norms(sequences)).collect();
        let mut clipped = Clipped::default();
        // The factor of every group for every sequence, from its unit.
        let mut factors = vec![vec![0.0f32; self.offsets.len() - 1]; self.groups.len()];
        let mut unit_factors = vec![0.0; self.groups.len()];
        let mut broken = Vec::new();
        for (sequences, squared) in units.iter().zip(&squared) {
            clipped.norms.push(squared.iter().sum::<f64>().max(0.0).sqrt());
            if self.clipping.factors(squared, &mut unit_factors) == UnitOutcome::NotFinite {
                clipped.not_finite += 1;
                broken.push(self.rows(sequences));
            }
            for (group, &factor) in unit_factors.iter().enumerate() {
                factors[group][sequences.clone()].fill(factor);
            }
        }
        self.add_weighted(sum, &factors, &broken);
        self.linears.clear();
        self.embeddings.clear();
        self.per_sequence.clear();
        clipped
    }

    fn rows(&self, sequences: &std::ops::Range<usize>) -> std::ops::Range<usize> {
        self.offsets[sequences.start]..self.offsets[sequences.end]
    }

    /// Squared norm of one unit's gradient, by group.
    fn squared_norms(&self, sequences: &std::ops::Range<usize>) -> Vec<f64> {
        let rows = self.rows(sequences);
        let mut by_group = vec![0.0; self.groups.len()];
        let mut add = |id: ParameterId, squared: f64| {
            if let Some(group) = self.groups.of(id) {
                by_group[group] += squared;
            }
        };
        // A parameter that several chunks or uses add to is collected first: the norm of a sum is
        // not the sum of norms.
        let mut uses: BTreeMap<ParameterId, Vec<&Linear>> = BTreeMap::new();
        for linear in &self.linears {
            let range = local(&rows, linear);
            if range.is_empty() {
                continue;
            }
            if let Some(weight) = linear.weight {
                uses.entry(weight).or_default().push(linear);
            }
            if let Some(bias) = linear.bias {
                add(
                    bias,
                    norms::bias(linear.gradient.as_slice(), linear.gradient.columns(), &range),
                );
            }
        }
        for (&weight, linears) in &uses {
            for linear in linears {
                let (inputs, outputs) = (linear.input.columns(), linear.gradient.columns());
                let range = local(&rows, linear);
                let (a, g) = (linear.input.as_slice(), linear.gradient.as_slice());
                add(weight, norms::linear(a, inputs, g, outputs, &range));
            }
            // Chunks of the head hold different rows of one unit only if the unit has several
            // sequences: the cross terms between them.
            for (index, one) in linears.iter().enumerate() {
                for other in &linears[index + 1..] {
                    add(weight, 2.0 * cross_chunks(one, other, &rows));
                }
            }
        }
        for embedding in &self.embeddings {
            let range: Vec<usize> = rows.clone().collect();
            let width = embedding.gradient.columns();
            let gradient = embedding.gradient.as_slice();
            add(embedding.table, norms::embedding(&embedding.ids, gradient, width, &range));
            for linear in uses.get(&embedding.table).into_iter().flatten() {
                let head = (
                    linear.input.as_slice(),
                    linear.gradient.as_slice(),
                    linear.gradient.columns(),
                    &local(&rows, linear)[..],
                );
                let cross = norms::tied_cross_term(head, &embedding.ids, gradient, width, &range);
                add(embedding.table, 2.0 * cross);
            }
        }
        for piece in &self.per_sequence {
            let range: Vec<usize> = sequences.clone().collect();
            let gradient = &piece.gradient;
            add(piece.parameter, norms::bias(gradient.as_slice(), gradient.columns(), &range));
        }
        by_group
    }

    /// Adds every piece to `sum`, each sequence times its factor. The rows `broken` add nothing,
    /// whatever they hold.
    fn add_weighted(
        &self,
        sum: &mut GradientSum,
        factors: &[Vec<f32>],
        broken: &[std::ops::Range<usize>],
    ) {
        let by_row: Vec<Vec<f32>> = factors
            .iter()
            .map(|factors| {
                let lengths = self.offsets.windows(2).map(|range| range[1] - range[0]);
                factors.iter().zip(lengths).flat_map(|(f, n)| std::iter::repeat_n(*f, n)).collect()
            })
            .collect();
        let weights = |id: ParameterId| self.groups.of(id).map(|group| &by_row[group][..]);
        for linear in &self.linears {
            let range = linear.first_row..linear.first_row + linear.gradient.rows();
            if let Some(weight) = linear.weight
                && let Some(factors) = weights(weight)
            {
                let scaled = scale_rows(&linear.gradient, &factors[range.clone()]);
                let rows = linear.gradient.rows();
                let input = without_rows(linear, broken);
                sum.add_product(weight, linear.layout, &input, &scaled, rows);
            }
            if let Some(bias) = linear.bias
                && let Some(factors) = weights(bias)
                && let Some(target) = sum.get_mut(bias)
            {
                add_column_sums(target, &scale_rows(&linear.gradient, &factors[range]));
            }
        }
        for embedding in &self.embeddings {
            if let Some(factors) = weights(embedding.table)
                && let Some(target) = sum.get_mut(embedding.table)
            {
                let scaled = scale_rows(&embedding.gradient, factors);
                scatter_rows(target, &embedding.ids, &scaled, embedding.gradient.columns());
            }
        }
        for piece in &self.per_sequence {
            if let Some(group) = self.groups.of(piece.parameter)
                && let Some(target) = sum.get_mut(piece.parameter)
            {
                add_column_sums(target, &scale_rows(&piece.gradient, &factors[group]));
            }
        }
    }
}

/// The rows of a unit that lie in a layer's matrices, as the matrices count them.
fn local(rows: &std::ops::Range<usize>, linear: &Linear) -> Vec<usize> {
    let end = linear.first_row + linear.gradient.rows();
    (rows.start.max(linear.first_row)..rows.end.min(end))
        .map(|row| row - linear.first_row)
        .collect()
}

/// ⟨Σ aᵣ gᵣᵀ, Σ aₛ gₛᵀ⟩ over the rows of a unit in two chunks.
fn cross_chunks(one: &Linear, other: &Linear, rows: &std::ops::Range<usize>) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
    };
    let row = |matrix: &Matrix, index: usize| -> std::ops::Range<usize> {
        index * matrix.columns()..(index + 1) * matrix.columns()
    };
    let mut sum = 0.0;
    for r in local(rows, one) {
        for s in local(rows, other) {
            let inputs = dot(
                &one.input.as_slice()[row(&one.input, r)],
                &other.input.as_slice()[row(&other.input, s)],
            );
            let gradients = dot(
                &one.gradient.as_slice()[row(&one.gradient, r)],
                &other.gradient.as_slice()[row(&other.gradient, s)],
            );
            sum += inputs * gradients;
        }
    }
    sum
}

/// A layer's input with the batch rows `broken` set to zero: a product with a gradient of zero
/// would carry what is not finite in them into the sum.
fn without_rows<'a>(linear: &'a Linear, broken: &[std::ops::Range<usize>]) -> Cow<'a, [f32]> {
    let mut input = Cow::Borrowed(linear.input.as_slice());
    let columns = linear.input.columns();
    for rows in broken {
        for row in local(rows, linear) {
            input.to_mut()[row * columns..(row + 1) * columns].fill(0.0);
        }
    }
    input
}

/// Rows times factors. A factor of 0 gives zeros even where the row is not finite.
fn scale_rows(matrix: &Matrix, factors: &[f32]) -> Vec<f32> {
    let columns = matrix.columns().max(1);
    let mut scaled = vec![0.0f32; matrix.as_slice().len()];
    scaled
        .par_chunks_mut(columns)
        .zip(matrix.as_slice().par_chunks(columns))
        .zip(factors)
        .for_each(|((out, row), &factor)| {
            if factor != 0.0 {
                out.iter_mut().zip(row).for_each(|(o, x)| *o = x * factor);
            }
        });
    scaled
}
