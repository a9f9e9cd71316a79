//! The trainable parameters, each with its place in the pipeline's files.

use candle_core::{D, Device, Result as TensorResult, Tensor, Var};

use crate::spacy::save::File;
use crate::spacy::thinc::Node;
use crate::train::{TrainError, layer_norm, linear};

/// A parameter with its place.
pub(super) struct Parameter {
    pub(super) file: File,
    pub(super) node: usize,
    pub(super) name: &'static str,
    pub(super) var: Var,
}

/// A maxout layer's parameters: weight `[outputs, pieces, inputs]`, bias, and the layer norm's two.
pub(super) struct Maxout {
    pub(super) weight: Var,
    pub(super) bias: Var,
    pub(super) gain: Var,
    pub(super) shift: Var,
}

/// Collects parameters while the network is put together.
pub(super) struct Parameters<'a> {
    pub(super) list: Vec<Parameter>,
    pub(super) device: &'a Device,
}

impl Parameters<'_> {
    pub(super) fn add(
        &mut self,
        file: File,
        node: Node<'_>,
        name: &'static str,
    ) -> Result<Var, TrainError> {
        let tensor = node.any_parameter(name)?;
        let var = Var::from_vec(tensor.data, tensor.shape, self.device)?;
        self.list.push(Parameter { file, node: node.index, name, var: var.clone() });
        Ok(var)
    }

    pub(super) fn maxout(
        &mut self,
        file: File,
        layer: Node<'_>,
        norm: Node<'_>,
    ) -> Result<Maxout, TrainError> {
        Ok(Maxout {
            weight: self.add(file, layer, "W")?,
            bias: self.add(file, layer, "b")?,
            gain: self.add(file, norm, "G")?,
            shift: self.add(file, norm, "b")?,
        })
    }
}

impl Maxout {
    pub(super) fn forward(&self, input: &Tensor) -> TensorResult<Tensor> {
        let (outputs, pieces, inputs) = self.weight.dims3()?;
        let weight = self.weight.reshape((outputs * pieces, inputs))?;
        let bias = self.bias.reshape(outputs * pieces)?;
        let wide = linear(input, &weight, &bias)?;
        let best = wide.reshape(((), outputs, pieces))?.max(D::Minus1)?;
        layer_norm(&best, &self.gain, &self.shift, 1e-8)
    }
}
