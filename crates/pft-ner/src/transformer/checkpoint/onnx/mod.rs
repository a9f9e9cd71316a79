//! Weights in `model.onnx`, as `torch.onnx.export` and Optimum write it.
//!
//! An ONNX file is a program and its constants. Here it is not run: the constants are taken out as the
//! weights of the encoder that config.json describes. Most keep their PyTorch names. The matrix of a
//! linear layer often does not, because it was transposed when the graph was written; it is found by
//! the layer's bias, which keeps its name: it is the matrix whose product the bias is added to. How
//! the graph uses the matrix also tells which way round it is stored. What does not fit exactly,
//! such as a graph that was quantised or whose operations were fused, is refused.

mod message;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use half::{bf16, f16};
use memmap2::Mmap;
use pft_pii::LoadError;
use prost::Message;

use message::{Attribute, Model, Node, Tensor};

use super::{Checkpoint, check_shape, elements};
use crate::kernels::transpose;
use crate::weights::Weights;

/// `model.onnx` and the files that it keeps numbers in.
pub(super) struct OnnxFile {
    path: PathBuf,
    file: Bytes,
    /// Other files with numbers, by name.
    external: BTreeMap<String, Bytes>,
    /// The constants by name.
    tensors: HashMap<String, Tensor>,
    nodes: Vec<Node>,
    /// Which node makes a value.
    maker: HashMap<String, usize>,
}

/// A constant matrix and whether the graph uses it transposed.
#[derive(Clone, Copy, PartialEq)]
struct Operand<'a> {
    name: &'a str,
    transposed: bool,
}

impl OnnxFile {
    pub(super) fn open(path: &Path) -> Result<Self, LoadError> {
        let file = map(path)?;
        let model = Model::decode(file.clone()).map_err(|error| broken(path, &error))?;
        let graph = model.graph.ok_or_else(|| broken(path, &"it holds no graph"))?;
        if let Some(node) = graph.node.iter().find(|node| is_quantised(node)) {
            return Err(LoadError::Model(format!(
                "{}: its weights are quantised (it has a node {}), which is not read; take the \
                 model.onnx that was not quantised, or the safetensors",
                path.display(),
                node.op_type
            )));
        }
        let mut tensors: HashMap<String, Tensor> = HashMap::new();
        let (mut nodes, mut maker) = (Vec::new(), HashMap::new());
        for mut node in graph.node {
            let constant = (node.op_type == "Constant")
                .then(|| node.attribute.iter_mut().find_map(|attribute| attribute.t.take()))
                .flatten();
            match (constant, node.output.first()) {
                (Some(tensor), Some(output)) => {
                    tensors.insert(output.clone(), tensor);
                }
                _ => {
                    maker.extend(node.output.iter().map(|output| (output.clone(), nodes.len())));
                    nodes.push(node);
                }
            }
        }
        tensors.extend(graph.initializer.into_iter().map(|tensor| (tensor.name.clone(), tensor)));
        let mut external = BTreeMap::new();
        for tensor in tensors.values().filter(|tensor| tensor.data_location == Tensor::EXTERNAL) {
            let location = tensor.external("location").unwrap_or_default();
            if location.is_empty() || location.contains(['/', '\\']) || location == ".." {
                let what = format!("its numbers lie in {location:?}, which is no file beside it");
                return Err(broken(path, &what));
            }
            if !external.contains_key(location) {
                external.insert(location.to_owned(), map(&path.with_file_name(location))?);
            }
        }
        Ok(Self { path: path.to_path_buf(), file, external, tensors, nodes, maker })
    }

    /// The matrix of the linear layer `name`, found by where its bias is added.
    fn matrix(&self, name: &str) -> Result<Operand<'_>, LoadError> {
        let bias = format!("{name}.bias");
        let mut found: Option<Operand<'_>> = None;
        for node in self.nodes.iter().filter(|node| node.input.contains(&bias)) {
            let Some(operand) = self.multiplied(node, &bias) else { continue };
            if found.is_some_and(|other| other != operand) {
                return Err(self.unlike(&format!("`{bias}` is added to products of two matrices")));
            }
            found = Some(operand);
        }
        found.ok_or_else(|| {
            self.unlike(&format!("there is no matrix whose product `{bias}` is added to"))
        })
    }

    /// The constant matrix `W` `[inputs, outputs]` in `x · W + bias`, where a node computes that.
    fn multiplied<'a>(&'a self, node: &'a Node, bias: &str) -> Option<Operand<'a>> {
        match (node.op_type.as_str(), &node.input[..]) {
            ("Add", [a, b]) => {
                let product = self.made_by(if a == bias { b } else { a })?;
                match &product.input[..] {
                    [_, matrix] if product.op_type == "MatMul" => self.operand(matrix),
                    _ => None,
                }
            }
            ("Gemm", [_, matrix, c]) if c == bias => {
                let attribute = |name| node.attribute(name);
                let scaled = ["alpha", "beta"]
                    .into_iter()
                    .any(|name| attribute(name).is_some_and(|scale| scale.f != 1.0));
                let flipped = |name| attribute(name).is_some_and(|flag| flag.i != 0);
                if scaled || flipped("transA") {
                    return None;
                }
                let operand = self.operand(matrix)?;
                Some(Operand { transposed: operand.transposed != flipped("transB"), ..operand })
            }
            _ => None,
        }
    }

    /// The constant matrix that a value is, seen through what only renames or transposes it.
    fn operand<'a>(&'a self, mut value: &'a str) -> Option<Operand<'a>> {
        let mut transposed = false;
        // No chain is longer than the graph, unless it is a circle.
        for _ in 0..=self.nodes.len() {
            if self.tensors.contains_key(value) {
                return Some(Operand { name: value, transposed });
            }
            let node = self.made_by(value)?;
            match node.op_type.as_str() {
                "Identity" => {}
                "Transpose" => match node.attribute("perm").map(|perm| &perm.ints[..]) {
                    None | Some([1, 0]) => transposed = !transposed,
                    Some(_) => return None,
                },
                _ => return None,
            }
            value = node.input.first()?;
        }
        None
    }

    /// The node of ONNX's own that makes a value.
    fn made_by(&self, value: &str) -> Option<&Node> {
        let node = &self.nodes[*self.maker.get(value)?];
        matches!(node.domain.as_str(), "" | "ai.onnx").then_some(node)
    }

    /// The numbers of the constant that a value is, and their shape.
    fn read(&self, name: &str) -> Result<(Vec<usize>, Vec<f32>), LoadError> {
        let operand = self.operand(name).filter(|operand| !operand.transposed);
        let operand =
            operand.ok_or_else(|| self.unlike(&format!("there is no tensor `{name}`")))?;
        let tensor = &self.tensors[operand.name];
        let damaged = || broken(&self.path, &format!("tensor `{name}` and its shape do not fit"));
        let shape: Option<Vec<usize>> =
            tensor.dims.iter().map(|&size| usize::try_from(size).ok()).collect();
        let shape = shape.ok_or_else(damaged)?;
        let count = shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size));
        let bytes = self.bytes(tensor).ok_or_else(damaged)?;
        let values = match tensor.data_type {
            Tensor::FLOAT if !tensor.float_data.is_empty() => tensor.float_data.clone(),
            Tensor::FLOAT => elements(&bytes, f32::from_le_bytes),
            Tensor::FLOAT16 => elements(&bytes, |pair| f16::from_le_bytes(pair).to_f32()),
            Tensor::BFLOAT16 => elements(&bytes, |pair| bf16::from_le_bytes(pair).to_f32()),
            other => {
                return Err(LoadError::Model(format!(
                    "{}: tensor `{name}` is of ONNX's type {other}; FLOAT, FLOAT16 and BFLOAT16 \
                     are read",
                    self.path.display()
                )));
            }
        };
        if count != Some(values.len()) {
            return Err(damaged());
        }
        Ok((shape, values))
    }

    /// Where a tensor's numbers lie.
    fn bytes(&self, tensor: &Tensor) -> Option<Bytes> {
        if tensor.data_location != Tensor::EXTERNAL {
            return Some(tensor.raw_data.clone());
        }
        let file = self.external.get(tensor.external("location")?)?;
        let number = |key: &str| tensor.external(key).map(|text| text.parse::<usize>().ok());
        let start = number("offset").unwrap_or(Some(0))?;
        let rest = file.len().checked_sub(start)?;
        let length = number("length").unwrap_or(Some(rest)).filter(|&length| length <= rest)?;
        Some(file.slice(start..start + length))
    }

    /// What is wrong with a graph that an exporter of PyTorch does not write.
    fn unlike(&self, what: &str) -> LoadError {
        let foreign =
            self.nodes.iter().find(|node| !matches!(node.domain.as_str(), "" | "ai.onnx"));
        let fused = foreign.map_or(String::new(), |node| {
            format!(" (it was optimised: it has a node {} of {})", node.op_type, node.domain)
        });
        LoadError::Model(format!(
            "{}: {what}{fused}; is it the token classifier that its config.json describes, as \
             torch.onnx.export or Optimum write it, not optimised?",
            self.path.display()
        ))
    }
}

impl Checkpoint for OnnxFile {
    fn hash(&self, hasher: &mut blake3::Hasher) {
        hasher.update(&self.file);
        for file in self.external.values() {
            hasher.update(file);
        }
    }
}

impl Weights for OnnxFile {
    fn has(&self, name: &str) -> bool {
        let linear = |layer| self.operand(&format!("{layer}.bias")).is_some();
        self.operand(name).is_some() || name.strip_suffix(".weight").is_some_and(linear)
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, LoadError> {
        if let (Some(layer), [outputs, inputs]) = (name.strip_suffix(".weight"), shape)
            && self.operand(&format!("{layer}.bias")).is_some()
        {
            let operand = self.matrix(layer)?;
            if self.operand(name).is_some_and(|named| named.name != operand.name) {
                return Err(self.unlike(&format!("`{name}` is not what `{layer}.bias` follows")));
            }
            let (found, values) = self.read(operand.name)?;
            if operand.transposed {
                check_shape(&self.path, name, &found, shape)?;
                return Ok(values);
            }
            check_shape(&self.path, name, &found, &[*inputs, *outputs])?;
            return Ok(transpose(&values, *outputs));
        }
        let (found, values) = self.read(name)?;
        check_shape(&self.path, name, &found, shape)?;
        Ok(values)
    }
}

impl Node {
    fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attribute.iter().find(|attribute| attribute.name == name)
    }
}

impl Tensor {
    fn external(&self, key: &str) -> Option<&str> {
        self.external_data.iter().find(|entry| entry.key == key).map(|entry| &*entry.value)
    }
}

/// Whether a node computes with numbers of 8 bits or fewer.
fn is_quantised(node: &Node) -> bool {
    let kind = node.op_type.as_str();
    kind.contains("Quantize")
        || matches!(kind, "MatMulInteger" | "MatMulNBits" | "GatherBlockQuantized")
        || kind.starts_with("QLinear")
        || matches!(kind, "QAttention" | "QGemm" | "QEmbedLayerNormalization" | "QOrderedMatMul")
}

/// A file, mapped into memory.
fn map(path: &Path) -> Result<Bytes, LoadError> {
    let file = File::open(path).map_err(|error| broken(path, &error))?;
    // SAFETY: the file is only read; changing it meanwhile is the caller's mistake, as with every
    // mapped file.
    let map = unsafe { Mmap::map(&file) }.map_err(|error| broken(path, &error))?;
    Ok(Bytes::from_owner(map))
}

fn broken(path: &Path, error: &dyn std::fmt::Display) -> LoadError {
    LoadError::Model(format!(
        "{} cannot be read as ONNX: {error}; the file is damaged or was not downloaded completely",
        path.display()
    ))
}
