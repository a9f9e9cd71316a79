//! LoRA: a linear layer's output gains s · B(A(dropout(x))), with s = alpha / rank (or alpha / √rank), as in
//! PEFT.
//!
//! The scale rides on A's output, h = s · A(dropout(x)), so that B's gradient is gᵀ·h and A's
//! is (s · g·B)ᵀ · dropout(x) without a scaled copy of g.

use std::collections::HashMap;

use crate::buffer::Matrix;
use crate::gradient::{GradientSink, LinearGradient, Sequences};
use crate::kernels::matmul::{self, Layout};
use crate::kernels::{for_rows, simd};
use crate::layers::Pass;
use crate::layers::targets::{TargetModules, path};
use crate::names::layout_of;
use crate::parameters::{
    Parameter, ParameterError, ParameterId, ParameterKind, ParameterSpec, Parameters, Tensor,
    TensorData,
};

/// What PEFT's `adapter_config.json` says about LoRA.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraConfig {
    /// Width of the bottleneck (`r`).
    pub rank: usize,
    /// `lora_alpha`; the adapter's output is scaled by alpha / rank.
    pub alpha: f64,
    /// Scales by alpha / √rank instead (`use_rslora`).
    pub use_rslora: bool,
    /// Share of the adapter's input that is dropped in training (`lora_dropout`).
    pub dropout: f64,
    /// The linear layers that get an adapter.
    pub target_modules: TargetModules,
    /// Leaves A as it was drawn and trains B alone (FFA-LoRA, Sun et al. 2024). PEFT has no such
    /// setting: its files are those of any adapter.
    pub freeze_a: bool,
}

impl Default for LoraConfig {
    /// PEFT's rank and alpha, on queries and values.
    fn default() -> Self {
        Self {
            rank: 8,
            alpha: 8.0,
            use_rslora: false,
            dropout: 0.0,
            target_modules: TargetModules::names(["q_proj", "v_proj"]),
            freeze_a: false,
        }
    }
}

impl LoraConfig {
    /// alpha / rank; alpha / √rank where it is rank-stabilised (Kalajdzievski 2023).
    pub fn scale(&self) -> f64 {
        let rank = self.rank as f64;
        self.alpha / if self.use_rslora { rank.sqrt() } else { rank }
    }

    /// Whether training changes a parameter.
    pub(crate) fn trains(&self, kind: ParameterKind) -> bool {
        match kind {
            ParameterKind::LoraA => !self.freeze_a,
            kind => kind == ParameterKind::LoraB,
        }
    }

    /// The adapter parameters that these settings add to a base model: A and B of each target
    /// module, in the order of the base model's weights, under PEFT's names.
    ///
    /// # Errors
    /// When the rank is 0, alpha or dropout make no sense, or a target module does not exist.
    pub fn specs(&self, base: &[ParameterSpec]) -> Result<Vec<ParameterSpec>, ParameterError> {
        if self.rank == 0 {
            return Err(ParameterError::Lora("rank is 0; it must be at least 1".to_owned()));
        }
        if !(self.alpha.is_finite() && self.alpha > 0.0) {
            return Err(ParameterError::Lora(format!("alpha is {}, not positive", self.alpha)));
        }
        if !(0.0..1.0).contains(&self.dropout) {
            let problem = format!("dropout is {}, not in 0 to 1", self.dropout);
            return Err(ParameterError::Lora(problem));
        }
        let mut specs = Vec::new();
        for spec in self.target_modules.select(base)? {
            let (inputs, outputs) = match layout_of(&spec.name) {
                Layout::OutIn => (spec.shape[1], spec.shape[0]),
                Layout::InOut => (spec.shape[0], spec.shape[1]),
            };
            let [a, b] = adapter_names(&spec.name);
            specs.push(ParameterSpec::new(a, &[self.rank, inputs], ParameterKind::LoraA));
            specs.push(ParameterSpec::new(b, &[outputs, self.rank], ParameterKind::LoraB));
        }
        Ok(specs)
    }
}

/// PEFT's names for the A and B that adapt the weight of that name.
pub fn adapter_names(weight: &str) -> [String; 2] {
    let module = path(weight);
    ["lora_A", "lora_B"].map(|part| format!("base_model.model.{module}.{part}.weight"))
}

/// Adds every adapter of `parameters` to the weight that it adapts, as PEFT's `merge_and_unload`.
/// Returns the base model's parameters alone.
///
/// # Errors
/// When the adapter's shapes do not fit the weight's.
pub fn merge(parameters: Parameters, scale: f64) -> Result<Parameters, ParameterError> {
    let is_adapter = |parameter: &Parameter| {
        matches!(parameter.spec.kind, ParameterKind::LoraA | ParameterKind::LoraB)
    };
    let (adapters, base): (Vec<_>, Vec<_>) = parameters.into_entries().partition(is_adapter);
    let adapters: HashMap<String, Tensor> =
        adapters.into_iter().map(|adapter| (adapter.spec.name, adapter.tensor)).collect();
    let mut merged = Parameters::new();
    for Parameter { spec, tensor, trainable } in base {
        let [a, b] = adapter_names(&spec.name).map(|name| adapters.get(&name));
        let tensor = match (a, b) {
            (Some(a), Some(b)) => {
                let mut values = tensor.to_f32();
                add_product(&mut values, layout_of(&spec.name), a, b, scale)?;
                Tensor::new(&tensor.shape, values)?
            }
            _ => tensor,
        };
        merged.insert(spec, tensor, trainable)?;
    }
    Ok(merged)
}

/// `weight += scale · B·A` in the weight's layout, summed in f64.
fn add_product(
    weight: &mut [f32],
    layout: Layout,
    a: &Tensor,
    b: &Tensor,
    scale: f64,
) -> Result<(), ParameterError> {
    let (rank, inputs, outputs) = (a.shape[0], a.shape[1], b.shape[0]);
    if weight.len() != inputs * outputs || b.shape[1] != rank {
        return Err(ParameterError::Lora("adapter does not fit its weight".to_owned()));
    }
    let (a, b) = (a.to_f32(), b.to_f32());
    let mut row = vec![0.0f64; inputs];
    for output in 0..outputs {
        row.fill(0.0);
        for r in 0..rank {
            let factor = f64::from(b[output * rank + r]) * scale;
            for (sum, value) in row.iter_mut().zip(&a[r * inputs..(r + 1) * inputs]) {
                *sum += factor * f64::from(*value);
            }
        }
        for (input, sum) in row.iter().enumerate() {
            let at = match layout {
                Layout::OutIn => output * inputs + input,
                Layout::InOut => input * outputs + output,
            };
            weight[at] = (f64::from(weight[at]) + sum) as f32;
        }
    }
    Ok(())
}

/// The adapter of one linear layer.
#[derive(Debug, Clone)]
pub(crate) struct Adapter {
    pub(crate) a: ParameterId,
    pub(crate) b: ParameterId,
    pub(crate) rank: usize,
    pub(crate) scale: f32,
    pub(crate) dropout: f32,
    /// Tells the adapters' dropout masks apart.
    pub(crate) index: u64,
}

/// What an adapter's backward needs.
#[derive(Debug)]
pub(crate) struct AdapterCache {
    /// A's input where A trains: the layer's, or what dropout left of it.
    input: Option<Matrix>,
    /// s · A's output.
    hidden: Matrix,
}

/// A hash that spreads every bit (splitmix64's).
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// A seed for each row of a batch, from the step's seed, the row's place in its sequence and the
/// sequence's own tokens: what is dropped of a sequence does not depend on its batch mates.
pub(crate) fn row_seeds(seed: u64, tokens: &[u32], sequences: Sequences<'_>) -> Vec<u64> {
    let mut seeds = Vec::with_capacity(tokens.len());
    for range in sequences.windows(2) {
        let tokens = &tokens[range[0]..range[1]];
        let sequence = tokens.iter().fold(mix(seed), |hash, &token| mix(hash ^ u64::from(token)));
        seeds.extend((0..tokens.len() as u64).map(|place| mix(sequence.wrapping_add(place))));
    }
    seeds
}

simd! {
    /// `y = x` where the mask keeps it, divided by the share kept; 0 elsewhere. A hash of row
    /// and column draws the mask, so that backward and a recomputed forward see the same one.
    fn drop_row(y: &mut [f32], x: &[f32], dropout: f32, seed: u64) {
        let threshold = (f64::from(dropout) * 4_294_967_296.0) as u32;
        let factor = 1.0 / (1.0 - dropout);
        for (column, (y, x)) in y.iter_mut().zip(x).enumerate() {
            let draw = (mix(seed.wrapping_add(column as u64)) >> 32) as u32;
            *y = if draw >= threshold { x * factor } else { 0.0 };
        }
    }
}

simd! {
    fn scale_values(values: &mut [f32], factor: f32) {
        for value in values {
            *value *= factor;
        }
    }
}

impl Adapter {
    /// `y` is what dropout leaves of the rows of `x`.
    pub(crate) fn drop_out(&self, y: &mut [f32], x: &[f32], width: usize, seeds: &[u64]) {
        let salt = mix(self.index);
        for_rows(y, width, |first, y| {
            let rows = y.chunks_exact_mut(width).zip(x[first * width..].chunks_exact(width));
            for ((y, x), seed) in rows.zip(&seeds[first..]) {
                drop_row(y, x, self.dropout, seed ^ salt);
            }
        });
    }

    /// Adds the adapter's output to `output`.
    pub(crate) fn forward(
        &self,
        pass: &Pass<'_>,
        output: &mut [f32],
        input: &Matrix,
        outputs: usize,
    ) -> AdapterCache {
        let (pool, rows, inputs) = (pass.pool, input.rows(), input.columns());
        let tensor = |id| &pass.parameters.get(id).tensor;
        let (a, b) = (tensor(self.a), tensor(self.b));
        let input = match pass.seeds {
            Some(seeds) if self.dropout > 0.0 => {
                let mut kept = pool.take(rows * inputs);
                self.drop_out(&mut kept, input.as_slice(), inputs, seeds);
                Matrix::new(kept, rows, inputs)
            }
            _ => input.clone(),
        };
        let mut hidden = pool.take(rows * self.rank);
        let sizes = [rows, inputs, self.rank];
        matmul::forward(Layout::OutIn, &mut hidden, input.as_slice(), a, sizes, false, pool);
        scale_values(&mut hidden, self.scale);
        let sizes = [rows, self.rank, outputs];
        matmul::forward(Layout::OutIn, output, &hidden, b, sizes, true, pool);
        let input = pass.trained(self.a).map(|_| input);
        AdapterCache { input, hidden: Matrix::new(hidden, rows, self.rank) }
    }

    /// Adds the adapter's share to the input's gradient, if that is wanted. `first_row` is the row of
    /// the batch that row 0 is.
    pub(crate) fn backward(
        &self,
        pass: &Pass<'_>,
        cache: AdapterCache,
        output_gradient: &Matrix,
        first_row: usize,
        input_gradient: Option<&mut [f32]>,
        sink: &mut dyn GradientSink,
    ) {
        let (parameters, pool) = (pass.parameters, pass.pool);
        let (rows, outputs) = (output_gradient.rows(), output_gradient.columns());
        let pieces = |weight, input, output_gradient| LinearGradient {
            weight,
            bias: None,
            layout: Layout::OutIn,
            input,
            output_gradient,
            first_row,
        };
        if let Some(b) = pass.trained(self.b) {
            sink.linear(pieces(Some(b), &cache.hidden, output_gradient));
        }
        let mut by_hidden = pool.take(rows * self.rank);
        let sizes = [rows, self.rank, outputs];
        let gradient = output_gradient.as_slice();
        let b = &parameters.get(self.b).tensor;
        matmul::input_gradient(Layout::OutIn, &mut by_hidden, gradient, b, sizes, false, pool);
        scale_values(&mut by_hidden, self.scale);
        let by_hidden = Matrix::new(by_hidden, rows, self.rank);
        if let (Some(a), Some(input)) = (pass.trained(self.a), &cache.input) {
            sink.linear(pieces(Some(a), input, &by_hidden));
        }
        let Some(input_gradient) = input_gradient else { return };
        let a = &parameters.get(self.a).tensor;
        let inputs = a.shape[1];
        let sizes = [rows, inputs, self.rank];
        let gradient = by_hidden.as_slice();
        match pass.seeds {
            Some(seeds) if self.dropout > 0.0 => {
                let mut kept = pool.take(rows * inputs);
                matmul::input_gradient(Layout::OutIn, &mut kept, gradient, a, sizes, false, pool);
                let mut dropped = pool.take(rows * inputs);
                self.drop_out(&mut dropped, &kept, inputs, seeds);
                for_rows(input_gradient, 1, |first, target| {
                    crate::kernels::add(target, &dropped[first..first + target.len()]);
                });
            }
            _ => matmul::input_gradient(
                Layout::OutIn,
                input_gradient,
                gradient,
                a,
                sizes,
                true,
                pool,
            ),
        }
    }
}

/// Widens a tensor that the kernels read as f32.
pub(crate) fn widened(tensor: &mut Tensor) {
    if tensor.as_f32().is_none() {
        tensor.data = TensorData::F32(tensor.to_f32());
    }
}
