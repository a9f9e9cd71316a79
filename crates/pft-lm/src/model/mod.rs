//! A whole decoder: tokens in, losses and gradients out.

pub(crate) mod block;
pub(crate) mod build;
mod generate;
pub mod init;
pub(crate) mod inputs;
mod losses;
pub(crate) mod mlp;
pub(crate) mod projection;

pub use generate::{GenerateError, Sampling};
pub use losses::Losses;

use crate::batch::{Batch, BatchError};
use crate::buffer::{Matrix, Pool};
use crate::config::ModelConfig;
use crate::gradient::{EmbeddingGradient, GradientSink};
use crate::kernels::for_rows;
use crate::kernels::int8::Int8Rows;
use crate::layers::lora::{self, LoraConfig};
use crate::layers::rope::Rope;
use crate::layers::{Pass, embedding};
use crate::names::block_index;
use crate::parameters::{
    ParameterError, ParameterId, ParameterKind, Parameters, Tensor, parameter_specs,
};
use block::BlockCache;
use build::Layers;
use inputs::Inputs;

/// A decoder language model with its parameters.
#[derive(Debug, Clone)]
pub struct LanguageModel {
    config: ModelConfig,
    parameters: Parameters,
    lora: Option<LoraConfig>,
    layers: Layers,
    ropes: Vec<Rope>,
    pool: Pool,
    checkpoint_activations: bool,
    /// Weights in 8 bits, by parameter, where generation may round; else empty.
    int8: Vec<Option<Int8Rows>>,
}

impl LanguageModel {
    /// A model over `parameters`. With `lora` the base parameters are frozen, and adapters are
    /// taken from `parameters` where they are there and drawn from `seed` where not.
    ///
    /// # Errors
    /// When a parameter is missing or has the wrong shape, when a trainable one is not in 32 bits, or
    /// when the LoRA settings do not fit the model.
    pub fn new(
        config: ModelConfig,
        mut parameters: Parameters,
        lora: Option<LoraConfig>,
        seed: u64,
    ) -> Result<Self, ParameterError> {
        let specs = parameter_specs(&config);
        for spec in &specs {
            check_shape(&parameters, &spec.name, &spec.shape)?;
        }
        if let Some(lora) = &lora {
            for (index, spec) in lora.specs(&specs)?.into_iter().enumerate() {
                if parameters.id(&spec.name).is_some() {
                    check_shape(&parameters, &spec.name, &spec.shape)?;
                } else {
                    // Streams beyond those of the base model's parameters.
                    let values = init::adapter(&spec, seed, (1 << 32) + index as u64);
                    let tensor = Tensor::new(&spec.shape, values)?;
                    parameters.insert(spec, tensor, true)?;
                }
            }
            parameters.set_trainable(|spec| lora.trains(spec.kind));
        }
        for (_, parameter) in parameters.iter_mut() {
            match parameter.spec.kind {
                ParameterKind::Embedding | ParameterKind::Weight => {
                    if parameter.trainable && parameter.tensor.as_f32().is_none() {
                        return Err(ParameterError::NotTrainable {
                            name: parameter.spec.name.clone(),
                            precision: parameter.tensor.precision().name(),
                        });
                    }
                }
                _ => lora::widened(&mut parameter.tensor),
            }
        }
        let layers = build::layers(&config, &parameters, lora.as_ref())?;
        let ropes = config.design.ropes.iter().map(Rope::new).collect();
        Ok(Self {
            config,
            parameters,
            lora,
            layers,
            ropes,
            pool: Pool::new(),
            checkpoint_activations: false,
            int8: Vec::new(),
        })
    }

    /// The parameter that is both the token embedding and the head, if they are one.
    pub fn tied_table(&self) -> Option<ParameterId> {
        (self.layers.head.weight == self.layers.tokens).then_some(self.layers.tokens)
    }

    /// The model's config.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The LoRA settings, if there are adapters.
    pub fn lora(&self) -> Option<&LoraConfig> {
        self.lora.as_ref()
    }

    /// The parameters, adapters after the base model's.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The parameters, for an optimizer to change. Shapes must stay as they are.
    pub fn parameters_mut(&mut self) -> &mut Parameters {
        self.int8.clear();
        &mut self.parameters
    }

    /// The base model's parameters with the adapters added to the weights as they are kept. A
    /// weight that has an adapter comes out in 32 bits, the others as they were.
    ///
    /// # Errors
    /// When adapters do not fit, which a model that was made by [`LanguageModel::new`] rules out.
    pub fn into_merged(self) -> Result<Parameters, ParameterError> {
        lora::merge(self.parameters, self.lora.as_ref().map_or(0.0, LoraConfig::scale))
    }

    /// Whether blocks keep only their input for the backward and compute the rest again: a
    /// third more time for a fraction of the memory.
    pub fn set_checkpoint_activations(&mut self, on: bool) {
        self.checkpoint_activations = on;
    }

    /// The memory that activations are taken from; a gradient sink may share it.
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    fn prepare(&mut self, batch: &Batch) -> Result<Inputs, BatchError> {
        batch.check(self.config.max_position_embeddings, self.config.vocab_size)?;
        let inputs = Inputs::new(batch);
        let longest = batch.offsets().windows(2).map(|range| range[1] - range[0]).max();
        self.ropes.iter_mut().for_each(|rope| rope.reach(longest.unwrap_or(0)));
        Ok(inputs)
    }

    fn embed(&self, ids: &[u32], places: &[u32]) -> Matrix {
        let width = self.config.hidden_size;
        let tokens = &self.parameters.get(self.layers.tokens).tensor;
        let positions =
            self.layers.positions.map(|table| (&self.parameters.get(table).tensor, places));
        let mut x = embedding::forward(&self.pool, tokens, ids, positions, width);
        scale_rows(&mut x, self.layers.multiplier);
        Matrix::new(x, ids.len(), width)
    }

    fn pass<'a>(
        &'a self,
        batch: &'a Batch,
        inputs: &'a Inputs,
        seeds: Option<&'a [u64]>,
    ) -> Pass<'a> {
        Pass {
            parameters: &self.parameters,
            pool: &self.pool,
            ropes: &self.ropes,
            sequences: batch.offsets(),
            positions: &inputs.positions,
            seeds,
            int8: &[],
        }
    }

    /// One forward and one backward over `batch`: losses, and every trainable parameter's
    /// gradient pieces to `sink`. `seed` draws the dropout masks; it should differ from step to
    /// step.
    ///
    /// # Errors
    /// When the batch does not fit the model.
    pub fn forward_backward(
        &mut self,
        batch: &Batch,
        seed: u64,
        sink: &mut dyn GradientSink,
    ) -> Result<Losses, BatchError> {
        let inputs = self.prepare(batch)?;
        sink.begin(batch.offsets());
        if batch.is_empty() {
            sink.end();
            return Ok(Losses::new(batch, &[]));
        }
        let drops = self.lora.as_ref().is_some_and(|lora| lora.dropout > 0.0);
        let seeds = drops.then(|| lora::row_seeds(seed, batch.input_ids(), batch.offsets()));
        let pass = self.pass(batch, &inputs, seeds.as_deref());
        let mut x = self.embed(batch.input_ids(), &inputs.positions);
        let mut kept: Vec<(Matrix, Option<BlockCache>)> = Vec::new();
        for block in &self.layers.blocks {
            let (y, cache) = block.forward(&pass, &x);
            kept.push((x, (!self.checkpoint_activations).then_some(cache)));
            x = y;
        }
        let layers = &self.layers;
        let (hidden, stats) = layers.norm.forward(&pass, x.as_slice());
        let (by_row, mut gradient) =
            layers.head.forward_backward(&pass, &hidden, inputs.targets(), sink);
        drop(hidden);
        let rows = batch.rows();
        let nothing = self.pool.zeros(gradient.len());
        layers.norm.backward(&pass, (x.as_slice(), &stats), &mut gradient, &nothing, sink);
        drop((x, stats, nothing));

        let lowest = self.lowest_trainable();
        let mut gradient = Some(Matrix::new(gradient, rows, self.config.hidden_size));
        for (index, block) in layers.blocks.iter().enumerate().rev() {
            let (Some((input, cache)), Some(by_output)) = (kept.pop(), gradient.take()) else {
                break;
            };
            if lowest.is_none_or(|lowest| index < lowest) {
                break;
            }
            let cache = cache.unwrap_or_else(|| block.forward(&pass, &input).1);
            drop(input);
            let wanted = lowest.is_some_and(|lowest| index > lowest) || self.embeddings_train();
            gradient = block.backward(&pass, cache, by_output, wanted, sink);
        }
        if let Some(gradient) = gradient
            && self.embeddings_train()
        {
            let gradient = self.by_embeddings(gradient);
            for (table, ids) in [
                (layers.positions, &inputs.positions[..]),
                (Some(layers.tokens), batch.input_ids()),
            ] {
                if let Some(table) = table
                    && self.parameters.get(table).trainable
                {
                    sink.embedding(EmbeddingGradient { table, ids, output_gradient: &gradient });
                }
            }
        }
        sink.end();
        Ok(Losses::new(batch, &by_row))
    }

    /// The gradient by what was looked up, from that by the first block's input.
    fn by_embeddings(&self, gradient: Matrix) -> Matrix {
        if self.layers.multiplier == 1.0 {
            return gradient;
        }
        let (rows, width) = (gradient.rows(), gradient.columns());
        let mut scaled = self.pool.take(rows * width);
        scaled.copy_from_slice(gradient.as_slice());
        scale_rows(&mut scaled, self.layers.multiplier);
        Matrix::new(scaled, rows, width)
    }

    /// The layers, as indices into the parameters.
    pub(crate) fn layers(&self) -> &Layers {
        &self.layers
    }

    /// Whether blocks compute their activations again in the backward.
    pub(crate) fn checkpoints_activations(&self) -> bool {
        self.checkpoint_activations
    }

    /// Whether the backward must go through all blocks to the embeddings.
    pub(crate) fn embeddings_train(&self) -> bool {
        let trains = |id: ParameterId| self.parameters.get(id).trainable;
        trains(self.layers.tokens) || self.layers.positions.is_some_and(trains)
    }

    /// The lowest block that the backward must reach.
    pub(crate) fn lowest_trainable(&self) -> Option<usize> {
        if self.embeddings_train() {
            return Some(0);
        }
        self.parameters
            .trainable()
            .filter_map(|(_, parameter)| block_index(&parameter.spec.name))
            .min()
    }

    /// Losses alone.
    ///
    /// # Errors
    /// When the batch does not fit the model.
    pub fn evaluate(&mut self, batch: &Batch) -> Result<Losses, BatchError> {
        let inputs = self.prepare(batch)?;
        let hidden = self.hidden(batch, &inputs);
        let targets = inputs.targets();
        let pass = self.pass(batch, &inputs, None);
        let by_row = self.layers.head.evaluate(&pass, &hidden, targets);
        Ok(Losses::new(batch, &by_row))
    }

    /// The logits of every row, `[rows, vocabulary]`.
    ///
    /// # Errors
    /// When the batch does not fit the model.
    pub fn logits(&mut self, batch: &Batch) -> Result<Vec<f32>, BatchError> {
        let inputs = self.prepare(batch)?;
        let hidden = self.hidden(batch, &inputs);
        let pass = self.pass(batch, &inputs, None);
        Ok(self.layers.head.logits(&pass, &hidden).0.to_vec())
    }

    /// The rows that the head reads.
    fn hidden(&self, batch: &Batch, inputs: &Inputs) -> Matrix {
        let pass = self.pass(batch, inputs, None);
        let mut x = self.embed(batch.input_ids(), &inputs.positions);
        for block in &self.layers.blocks {
            x = block.forward(&pass, &x).0;
        }
        self.layers.norm.forward(&pass, x.as_slice()).0
    }
}

/// Multiplies embeddings, or their gradient, where the family does so.
fn scale_rows(x: &mut [f32], multiplier: f32) {
    if multiplier != 1.0 {
        for_rows(x, 1, |_, x| x.iter_mut().for_each(|x| *x *= multiplier));
    }
}

fn check_shape(parameters: &Parameters, name: &str, shape: &[usize]) -> Result<(), ParameterError> {
    let id = parameters.id(name).ok_or_else(|| ParameterError::Missing(name.to_owned()))?;
    let found = &parameters.get(id).tensor.shape;
    if found != shape {
        return Err(ParameterError::Shape {
            name: name.to_owned(),
            found: found.clone(),
            expected: shape.to_vec(),
        });
    }
    Ok(())
}
