//! The named tensors of a model: Hugging Face names and shapes, in one fixed order.

use rayon::prelude::*;
use std::collections::HashMap;

use half::bf16;
use pft_gguf::{BLOCK_LEN, BlockFormat};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::blocks::Blocks;
use crate::config::ModelConfig;
pub use crate::names::{HEADS, parameter_specs};
pub use crate::parameter_error::ParameterError;
pub use crate::spec::{ParameterKind, ParameterSpec};

/// What matrices are kept in. Norms and biases are always 32-bit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(non_camel_case_types)]
pub enum Precision {
    /// 32-bit floats, for weights that are trained.
    #[default]
    F32,
    /// bfloat16: half the memory, for a frozen base model.
    Bf16,
    /// GGUF's blocks of 32 8-bit integers with a scale: 8.5 bits a weight, for a frozen base model.
    Q8_0,
    /// GGUF's blocks of 32 4-bit integers with a scale: 4.5 bits a weight, for a frozen base model.
    Q4_0,
}

impl Precision {
    /// Its name in settings and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Q8_0 => "q8_0",
            Self::Q4_0 => "q4_0",
        }
    }

    /// The format of its blocks, where it has them.
    pub(crate) fn block_format(self) -> Option<BlockFormat> {
        match self {
            Self::F32 | Self::Bf16 => None,
            Self::Q8_0 => Some(BlockFormat::Q8_0),
            Self::Q4_0 => Some(BlockFormat::Q4_0),
        }
    }
}

/// The values of a tensor. Only frozen weights may be kept in other than 32 bits.
#[derive(Debug, Clone, PartialEq)]
pub enum TensorData {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// bfloat16: half the memory, for weights that are not trained.
    Bf16(Vec<bf16>),
    /// Blocks of integers, for weights that are not trained.
    Blocks(Blocks),
}

/// A dense tensor in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// The extent of each dimension.
    pub shape: Vec<usize>,
    /// The elements, last dimension fastest.
    pub data: TensorData,
}

impl Tensor {
    /// A 32-bit tensor.
    ///
    /// # Errors
    /// When `data` has another number of elements than `shape`.
    pub fn new(shape: &[usize], data: Vec<f32>) -> Result<Self, ParameterError> {
        check_len(shape, data.len())?;
        Ok(Self { shape: shape.to_vec(), data: TensorData::F32(data) })
    }

    /// A bfloat16 tensor.
    ///
    /// # Errors
    /// When `data` has another number of elements than `shape`.
    pub fn new_bf16(shape: &[usize], data: Vec<bf16>) -> Result<Self, ParameterError> {
        check_len(shape, data.len())?;
        Ok(Self { shape: shape.to_vec(), data: TensorData::Bf16(data) })
    }

    /// A tensor of blocks.
    ///
    /// # Errors
    /// When `blocks` has another number of elements than `shape`.
    pub fn new_blocks(shape: &[usize], blocks: Blocks) -> Result<Self, ParameterError> {
        check_len(shape, blocks.len())?;
        Ok(Self { shape: shape.to_vec(), data: TensorData::Blocks(blocks) })
    }

    /// A parameter's values as `precision` keeps them: matrices are rounded, all else stays.
    ///
    /// # Errors
    /// When there is another number of values than elements, or a row is not whole blocks.
    pub fn kept(
        spec: &ParameterSpec,
        values: Vec<f32>,
        precision: Precision,
    ) -> Result<Self, ParameterError> {
        if !spec.is_matrix() || precision == Precision::F32 {
            return Self::new(&spec.shape, values);
        }
        let Some(mut blocks) = Self::room(spec, precision)? else {
            let narrow = values.into_iter().map(bf16::from_f32).collect();
            return Self::new_bf16(&spec.shape, narrow);
        };
        check_len(&spec.shape, values.len())?;
        blocks.push(&values);
        Self::new_blocks(&spec.shape, blocks)
    }

    /// Room for a matrix in blocks, where `precision` has them.
    ///
    /// # Errors
    /// When a row is not whole blocks.
    pub(crate) fn room(
        spec: &ParameterSpec,
        precision: Precision,
    ) -> Result<Option<Blocks>, ParameterError> {
        let Some(format) = precision.block_format().filter(|_| spec.is_matrix()) else {
            return Ok(None);
        };
        let width = spec.shape.last().copied().unwrap_or(0);
        if !width.is_multiple_of(BLOCK_LEN) {
            return Err(ParameterError::Rows {
                name: spec.name.clone(),
                width,
                precision: precision.name(),
            });
        }
        Ok(Some(Blocks::with_capacity(format, spec.len())))
    }

    /// What the values are kept in.
    pub fn precision(&self) -> Precision {
        match &self.data {
            TensorData::F32(_) => Precision::F32,
            TensorData::Bf16(_) => Precision::Bf16,
            TensorData::Blocks(blocks) => match blocks.format() {
                BlockFormat::Q8_0 => Precision::Q8_0,
                BlockFormat::Q4_0 => Precision::Q4_0,
            },
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match &self.data {
            TensorData::F32(values) => values.len(),
            TensorData::Bf16(values) => values.len(),
            TensorData::Blocks(blocks) => blocks.len(),
        }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The values as 32-bit floats, whatever they are kept in.
    pub fn to_f32(&self) -> Vec<f32> {
        match &self.data {
            TensorData::F32(values) => values.clone(),
            TensorData::Bf16(values) => values.iter().map(|value| value.to_f32()).collect(),
            TensorData::Blocks(blocks) => blocks.to_f32(),
        }
    }

    /// The values if they are 32-bit floats.
    pub fn as_f32(&self) -> Option<&[f32]> {
        match &self.data {
            TensorData::F32(values) => Some(values),
            TensorData::Bf16(_) | TensorData::Blocks(_) => None,
        }
    }
}

fn check_len(shape: &[usize], elements: usize) -> Result<(), ParameterError> {
    if shape.iter().product::<usize>() == elements {
        Ok(())
    } else {
        Err(ParameterError::Length { shape: shape.to_vec(), elements })
    }
}

/// Index of a parameter within its [`Parameters`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ParameterId(pub usize);

/// One parameter with its values.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// Name, shape and kind.
    pub spec: ParameterSpec,
    /// The values.
    pub tensor: Tensor,
    /// Whether training changes it. Nothing is computed for the gradient of a frozen one.
    pub trainable: bool,
}

/// An ordered table of parameters.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parameters {
    entries: Vec<Parameter>,
    by_name: HashMap<String, ParameterId>,
}

impl Parameters {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// The table of `config`'s model, each tensor asked of `load` in order. All are trainable.
    ///
    /// # Errors
    /// Whatever `load` returns, or when a tensor has the wrong shape.
    pub fn load<E: From<ParameterError>>(
        config: &ModelConfig,
        mut load: impl FnMut(&ParameterSpec) -> Result<Tensor, E>,
    ) -> Result<Self, E> {
        let mut parameters = Self::new();
        for spec in parameter_specs(config) {
            let tensor = load(&spec)?;
            parameters.insert(spec, tensor, true)?;
        }
        Ok(parameters)
    }

    /// Appends a parameter.
    ///
    /// # Errors
    /// When the name is taken or the shapes differ.
    pub fn insert(
        &mut self,
        spec: ParameterSpec,
        tensor: Tensor,
        trainable: bool,
    ) -> Result<ParameterId, ParameterError> {
        if tensor.shape != spec.shape {
            return Err(ParameterError::Shape {
                name: spec.name,
                found: tensor.shape,
                expected: spec.shape,
            });
        }
        if self.by_name.contains_key(&spec.name) {
            return Err(ParameterError::Duplicate(spec.name));
        }
        let id = ParameterId(self.entries.len());
        self.by_name.insert(spec.name.clone(), id);
        self.entries.push(Parameter { spec, tensor, trainable });
        Ok(id)
    }

    /// Number of parameters (tensors, not elements).
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the table is empty.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The index of a name.
    pub fn id(&self, name: &str) -> Option<ParameterId> {
        self.by_name.get(name).copied()
    }

    /// The parameter of that index.
    ///
    /// # Panics
    /// When `id` comes from another table.
    pub fn get(&self, id: ParameterId) -> &Parameter {
        &self.entries[id.0]
    }

    /// The parameter of that index, to be changed.
    ///
    /// # Panics
    /// When `id` comes from another table.
    pub fn get_mut(&mut self, id: ParameterId) -> &mut Parameter {
        &mut self.entries[id.0]
    }

    /// All parameters in order.
    pub fn iter(&self) -> impl Iterator<Item = (ParameterId, &Parameter)> {
        self.entries.iter().enumerate().map(|(index, entry)| (ParameterId(index), entry))
    }

    /// All parameters in order, taken out of the table.
    pub fn into_entries(self) -> impl Iterator<Item = Parameter> {
        self.entries.into_iter()
    }

    /// All parameters in order, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (ParameterId, &mut Parameter)> {
        self.entries.iter_mut().enumerate().map(|(index, entry)| (ParameterId(index), entry))
    }

    /// The trainable parameters in order.
    pub fn trainable(&self) -> impl Iterator<Item = (ParameterId, &Parameter)> {
        self.iter().filter(|(_, entry)| entry.trainable)
    }

    /// Marks each parameter as trainable or frozen.
    pub fn set_trainable(&mut self, trainable: impl Fn(&ParameterSpec) -> bool) {
        for entry in &mut self.entries {
            entry.trainable = trainable(&entry.spec);
        }
    }

    /// Whether all trained weights are numbers: a training that diverged leaves some that are not.
    pub fn trained_are_finite(&self) -> bool {
        self.trainable().all(|(_, entry)| {
            let values = entry.tensor.as_f32().unwrap_or_default();
            values.par_iter().all(|value| value.is_finite())
        })
    }

    /// Elements of all parameters, and of the trainable ones.
    pub fn count(&self) -> (usize, usize) {
        let elements = |entries: &mut dyn Iterator<Item = &Parameter>| {
            entries.map(|entry| entry.spec.len()).sum()
        };
        (
            elements(&mut self.entries.iter()),
            elements(&mut self.entries.iter().filter(|entry| entry.trainable)),
        )
    }
}
