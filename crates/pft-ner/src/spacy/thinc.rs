//! Layers of a serialized thinc model: a list of nodes with names, dimensions and parameters.

use pft_pii::LoadError;

use super::msgpack::{Packed, PackedFile};

/// The nodes of a model file.
pub(super) struct ThincModel<'a> {
    nodes: Vec<Node<'a>>,
    root: Packed<'a>,
}

/// One layer.
#[derive(Clone, Copy)]
pub(super) struct Node<'a> {
    pub(super) name: &'a str,
    /// Its place in the file.
    pub(super) index: usize,
    info: Packed<'a>,
    attrs: Packed<'a>,
    params: Packed<'a>,
}

/// A parameter.
pub(super) struct Tensor {
    pub(super) shape: Vec<usize>,
    pub(super) data: Vec<f32>,
}

impl<'a> ThincModel<'a> {
    /// Takes a model file apart.
    pub(super) fn new(file: &'a PackedFile) -> Result<Self, LoadError> {
        let root = file.root();
        let infos = root.field("nodes")?.list()?;
        let attrs = root.field("attrs")?.list()?;
        let params = root.field("params")?.list()?;
        if infos.len() != attrs.len() || infos.len() != params.len() {
            return Err(root.error("`nodes`, `attrs` and `params` differ in length"));
        }
        let nodes = infos
            .into_iter()
            .zip(attrs)
            .zip(params)
            .enumerate()
            .map(|(index, ((info, attrs), params))| {
                Ok(Node { name: info.field("name")?.text()?, index, info, attrs, params })
            })
            .collect::<Result<_, LoadError>>()?;
        Ok(Self { nodes, root })
    }

    /// The layers of a name, in the file's order (breadth first).
    pub(super) fn named(&self, name: &str) -> Vec<Node<'a>> {
        self.nodes.iter().filter(|node| node.name == name).copied().collect()
    }

    /// The only layer of a name.
    pub(super) fn only(&self, name: &str) -> Result<Node<'a>, LoadError> {
        match self.named(name)[..] {
            [node] => Ok(node),
            ref nodes => Err(self.root.error(format!(
                "{} layers `{name}` where one was expected; this is not a model of the \
                 architecture TransitionBasedParser over MultiHashEmbed and MaxoutWindowEncoder",
                nodes.len()
            ))),
        }
    }

    /// An error about this file.
    pub(super) fn error(&self, message: impl std::fmt::Display) -> LoadError {
        self.root.error(message)
    }
}

impl Node<'_> {
    /// A dimension.
    pub(super) fn dimension(&self, name: &str) -> Result<usize, LoadError> {
        Ok(self.info.field("dims")?.field(name)?.number()? as usize)
    }

    /// An attribute, which is msgpack inside msgpack.
    pub(super) fn attribute(&self, name: &str) -> Result<rmpv::Value, LoadError> {
        let packed = self.attrs.field(name)?;
        rmpv::decode::read_value(&mut packed.bytes()?)
            .map_err(|error| packed.error(format!("attribute `{name}`: {error}")))
    }

    /// A parameter of exactly this shape.
    pub(super) fn parameter(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, LoadError> {
        let tensor = self.any_parameter(name)?;
        if tensor.shape != shape {
            return Err(self.params.error(format!(
                "parameter `{name}` of a layer `{}` has shape {:?}, expected {shape:?}",
                self.name, tensor.shape
            )));
        }
        Ok(tensor.data)
    }

    /// A parameter of any shape.
    pub(super) fn any_parameter(&self, name: &str) -> Result<Tensor, LoadError> {
        let array = self.params.field(name)?;
        let kind = array.field("type")?.text()?;
        if kind != "<f4" {
            return Err(array.error(format!("parameter `{name}` is of type {kind}, not <f4")));
        }
        let shape: Vec<usize> = array
            .field("shape")?
            .list()?
            .into_iter()
            .map(|size| size.number().map(|size| size as usize))
            .collect::<Result<_, _>>()?;
        let bytes = array.field("data")?.bytes()?;
        let elements = shape.iter().try_fold(4usize, |product, &size| product.checked_mul(size));
        if elements != Some(bytes.len()) {
            return Err(array.error(format!("parameter `{name}` is cut off or too long")));
        }
        let data =
            bytes.as_chunks::<4>().0.iter().map(|&chunk| f32::from_le_bytes(chunk)).collect();
        Ok(Tensor { shape, data })
    }
}
