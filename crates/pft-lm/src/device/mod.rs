//! Training on a device of candle's: a GPU, or candle's own CPU backend, on which tests compare
//! it with the layers of [`crate::model`].
//!
//! [`DeviceModel`] is the training half of a [`LanguageModel`]: the same families, parameters,
//! adapters and batches, `forward_backward` and `evaluate`, over candle tensors of one type,
//! [`DType::F32`] or [`DType::BF16`]. The host's model stays the one that is loaded, saved and
//! generated with; [`DeviceModel::store`] copies what was trained back to it.
//!
//! - Weights that train are kept in f32 and read in the model's type; the optimizer
//!   ([`DeviceOptimizer`]) changes the former. Norms, softmax and losses are computed in f32.
//! - Sequences never meet: every layer but attention works row by row, and in attention each is
//!   its own batch entry (`rows`). What is not finite in one reaches no other's loss or pieces of
//!   gradients.
//! - Gradients are handed to a [`DeviceSink`], piece by piece, as on the CPU.

mod block;
mod gradient;
mod layers;
mod ops;
mod optimizer;
mod rows;

use candle_core::{DType, Device, Tensor};
use thiserror::Error;

use crate::batch::{Batch, BatchError};
use crate::config::ModelConfig;
use crate::gradient::EmbeddingGradient;
use crate::layers::lora;
use crate::layers::rope::Rope;
use crate::model::build::Layers;
use crate::model::inputs::Inputs;
use crate::model::{LanguageModel, Losses};
use crate::parameters::{ParameterId, ParameterKind, Parameters, TensorData};
pub use gradient::{DeviceGradientSum, DeviceSink};
use layers::head::{self, Targets};
use layers::rope::Turns;
use layers::{Pass, embedding, norm};
use ops::{download, upload, wide_type};
pub use optimizer::DeviceOptimizer;
use rows::Rows;

/// Why a device did not train.
#[derive(Debug, Error)]
pub enum DeviceError {
    /// The batch does not fit the model.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// A type that models are not computed in.
    #[error("the model cannot be computed in {0:?}; F32 and BF16 are known")]
    Type(DType),
    /// The device, or candle, refused.
    #[error("the device refused: {0}")]
    Device(#[from] candle_core::Error),
}

/// A decoder language model on a device.
#[derive(Debug)]
pub struct DeviceModel {
    config: ModelConfig,
    device: Device,
    dtype: DType,
    layers: Layers,
    /// What layers read, by parameter.
    weights: Vec<Tensor>,
    /// The f32 values of parameters that train.
    masters: Vec<Option<Tensor>>,
    trainable: Vec<bool>,
    ropes: Vec<Rope>,
    turns: Vec<Turns>,
    windows: Vec<Option<usize>>,
    drops: bool,
    checkpoint_activations: bool,
    lowest_trainable: Option<usize>,
    embeddings_train: bool,
}

/// What a batch is on the device.
struct Prepared {
    inputs: Inputs,
    targets: Targets,
    rows: Rows,
    seeds: Option<Vec<u64>>,
}

impl DeviceModel {
    /// A copy of `model` on `device`, computed in `dtype`: f32 or bf16 (and f64, for tests).
    ///
    /// # Errors
    /// When the type is another, or the device refuses, most often for want of memory.
    pub fn new(model: &LanguageModel, device: &Device, dtype: DType) -> Result<Self, DeviceError> {
        if !matches!(dtype, DType::F32 | DType::BF16 | DType::F64) {
            return Err(DeviceError::Type(dtype));
        }
        let config = model.config().clone();
        let (mut weights, mut masters, mut trainable) = (Vec::new(), Vec::new(), Vec::new());
        for (_, parameter) in model.parameters().iter() {
            let shape = &parameter.spec.shape[..];
            let held = match &parameter.tensor.data {
                TensorData::F32(values) => Tensor::from_slice(values, shape, device)?,
                TensorData::Bf16(values) => Tensor::from_slice(values, shape, device)?,
                TensorData::Blocks(blocks) => Tensor::from_vec(blocks.to_f32(), shape, device)?,
            };
            weights.push(held.to_dtype(read_type(parameter.spec.kind, dtype))?);
            trainable.push(parameter.trainable);
            masters.push(if parameter.trainable { Some(held.to_dtype(DType::F32)?) } else { None });
        }
        let layers = model.layers().clone();
        let mut ropes: Vec<Rope> = config.design.ropes.iter().map(Rope::new).collect();
        let turns = turns(&mut ropes, 1, dtype, device)?;
        let mut windows: Vec<_> = layers.blocks.iter().map(|block| block.heads.window).collect();
        windows.sort_unstable();
        windows.dedup();
        Ok(Self {
            device: device.clone(),
            dtype,
            layers,
            weights,
            masters,
            trainable,
            ropes,
            turns,
            windows,
            drops: model.lora().is_some_and(|lora| lora.dropout > 0.0),
            checkpoint_activations: model.checkpoints_activations(),
            lowest_trainable: model.lowest_trainable(),
            embeddings_train: model.embeddings_train(),
            config,
        })
    }

    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The parameter that is both the token embedding and the head, if they are one.
    pub fn tied_table(&self) -> Option<ParameterId> {
        (self.layers.head.weight == self.layers.tokens).then_some(self.layers.tokens)
    }

    /// Room for a sum of this model's gradients.
    pub fn gradient_sum(&self) -> DeviceGradientSum {
        let shapes = self.masters.iter().map(|master| Some(master.as_ref()?.dims().to_vec()));
        DeviceGradientSum::new(shapes.collect(), self.device.clone())
    }

    /// Gradients of the host's, one for each trainable parameter in order, as
    /// [`DeviceOptimizer::step`] takes them.
    ///
    /// # Errors
    /// When one has another size than its parameter, or the device refuses.
    pub fn upload(&self, gradients: &[Vec<f32>]) -> Result<Vec<Tensor>, DeviceError> {
        let trained = self.masters.iter().flatten();
        let uploaded = trained
            .zip(gradients)
            .map(|(master, values)| upload(values, master.dims(), DType::F32, &self.device))
            .collect::<candle_core::Result<_>>()?;
        Ok(uploaded)
    }

    /// Copies the parameters that train into the host's.
    ///
    /// # Errors
    /// When the device refuses.
    pub fn store(&self, parameters: &mut Parameters) -> Result<(), DeviceError> {
        for (master, (_, parameter)) in self.masters.iter().zip(parameters.iter_mut()) {
            if let Some(master) = master {
                parameter.tensor.data = TensorData::F32(download(master)?);
            }
        }
        Ok(())
    }

    /// The f32 values of a parameter that trains.
    pub(crate) fn master(&self, id: ParameterId) -> Option<&Tensor> {
        self.masters[id.0].as_ref()
    }

    /// Changes a parameter that trains.
    pub(crate) fn set_master(&mut self, id: ParameterId, value: Tensor) -> candle_core::Result<()> {
        self.weights[id.0] = value.to_dtype(self.weights[id.0].dtype())?;
        self.masters[id.0] = Some(value);
        Ok(())
    }

    fn prepare(&mut self, batch: &Batch, seed: Option<u64>) -> Result<Prepared, DeviceError> {
        batch.check(self.config.max_position_embeddings, self.config.vocab_size)?;
        let wide = wide_type(self.dtype);
        let heads = self.config.num_attention_heads;
        let rows = Rows::new(batch, heads, &self.windows, wide, &self.device)?;
        if self.turns.iter().any(|turns| turns.reach() < rows.longest) {
            self.turns = turns(&mut self.ropes, rows.longest, self.dtype, &self.device)?;
        }
        let inputs = Inputs::new(batch);
        let targets = Targets {
            tokens: Tensor::from_slice(&inputs.targets, batch.rows(), &self.device)?,
            weights: upload(&inputs.weights, &[batch.rows()], wide, &self.device)?,
        };
        let seeds = seed
            .filter(|_| self.drops)
            .map(|seed| lora::row_seeds(seed, batch.input_ids(), batch.offsets()));
        Ok(Prepared { inputs, targets, rows, seeds })
    }

    fn pass<'a>(&'a self, prepared: &'a Prepared) -> Pass<'a> {
        Pass {
            weights: &self.weights,
            trainable: &self.trainable,
            rows: &prepared.rows,
            turns: &self.turns,
            seeds: prepared.seeds.as_deref(),
        }
    }

    fn embed(&self, ids: &[u32], places: &[u32]) -> candle_core::Result<Tensor> {
        let table = |id: ParameterId| &self.weights[id.0];
        let positions = self.layers.positions.map(|positions| (table(positions), places));
        let x = embedding::forward(table(self.layers.tokens), ids, positions)?;
        self.scaled(x)
    }

    /// Embeddings, or their gradient, times the family's multiplier.
    fn scaled(&self, x: Tensor) -> candle_core::Result<Tensor> {
        match self.layers.multiplier {
            1.0 => Ok(x),
            multiplier => x.affine(f64::from(multiplier), 0.0),
        }
    }

    /// One forward and one backward over `batch`: losses, and every trainable parameter's
    /// gradient pieces to `sink`. `seed` draws the dropout masks.
    ///
    /// # Errors
    /// When the batch does not fit the model, or the device refuses.
    pub fn forward_backward(
        &mut self,
        batch: &Batch,
        seed: u64,
        sink: &mut dyn DeviceSink,
    ) -> Result<Losses, DeviceError> {
        sink.begin(batch.offsets())?;
        if batch.is_empty() {
            sink.end()?;
            return Ok(Losses::new(batch, &[]));
        }
        let prepared = self.prepare(batch, Some(seed))?;
        let (pass, layers) = (self.pass(&prepared), &self.layers);
        let mut x = self.embed(batch.input_ids(), &prepared.inputs.positions)?;
        let mut kept = Vec::new();
        for block in &layers.blocks {
            let (y, cache) = block::forward(block, &pass, &x)?;
            kept.push((x, (!self.checkpoint_activations).then_some(cache)));
            x = y;
        }
        let hidden = norm::forward(&layers.norm, &pass, &x)?;
        let (by_row, by_hidden) =
            head::forward_backward(&layers.head, &pass, &hidden, &prepared.targets, sink)?;
        drop(hidden);
        let mut gradient = Some(norm::backward(&layers.norm, &pass, &x, &by_hidden, sink)?);
        drop((x, by_hidden));
        for (index, block) in layers.blocks.iter().enumerate().rev() {
            let (Some((input, cache)), Some(by_output)) = (kept.pop(), gradient.take()) else {
                break;
            };
            let Some(lowest) = self.lowest_trainable.filter(|&lowest| index >= lowest) else {
                break;
            };
            let cache = match cache {
                Some(cache) => cache,
                None => block::forward(block, &pass, &input)?.1,
            };
            drop(input);
            let wanted = index > lowest || self.embeddings_train;
            gradient = block::backward(block, &pass, cache, by_output, wanted, sink)?;
        }
        if let Some(gradient) = gradient.filter(|_| self.embeddings_train) {
            let gradient = self.scaled(gradient)?;
            for (table, ids) in [
                (layers.positions, &prepared.inputs.positions[..]),
                (Some(layers.tokens), batch.input_ids()),
            ] {
                if let Some(table) = table.and_then(|table| pass.trained(table)) {
                    let output_gradient = &gradient;
                    sink.embedding(EmbeddingGradient { table, ids, output_gradient })?;
                }
            }
        }
        sink.end()?;
        Ok(Losses::new(batch, &download(&by_row)?))
    }

    /// Losses alone.
    ///
    /// # Errors
    /// When the batch does not fit the model, or the device refuses.
    pub fn evaluate(&mut self, batch: &Batch) -> Result<Losses, DeviceError> {
        if batch.is_empty() {
            return Ok(Losses::new(batch, &[]));
        }
        let prepared = self.prepare(batch, None)?;
        let pass = self.pass(&prepared);
        let mut x = self.embed(batch.input_ids(), &prepared.inputs.positions)?;
        for block in &self.layers.blocks {
            x = block::forward(block, &pass, &x)?.0;
        }
        let hidden = norm::forward(&self.layers.norm, &pass, &x)?;
        let by_row = head::evaluate(&self.layers.head, &pass, &hidden, &prepared.targets)?;
        Ok(Losses::new(batch, &download(&by_row)?))
    }
}

/// The turns of `positions` positions, of each kind of rotary positions.
fn turns(
    ropes: &mut [Rope],
    positions: usize,
    dtype: DType,
    device: &Device,
) -> candle_core::Result<Vec<Turns>> {
    ropes.iter_mut().map(|rope| Turns::new(rope, positions, dtype, device)).collect()
}

/// The type in which layers read a parameter: the model's, except for norms.
fn read_type(kind: ParameterKind, dtype: DType) -> DType {
    match kind {
        ParameterKind::NormScale | ParameterKind::NormShift => wide_type(dtype),
        _ => dtype,
    }
}
