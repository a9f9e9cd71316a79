//! The file: metadata, tensor table, tensors.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use crate::cursor::{Cursor, Problem};
use crate::{Array, GgmlType, GgufError, Value, quant};

const MAGIC: &[u8; 4] = b"GGUF";
const DEFAULT_ALIGNMENT: u64 = 32;
/// ggml's own limit.
const MAX_DIMENSIONS: u32 = 4;

/// One row of the tensor table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// For instance `blk.0.attn_q.weight`.
    pub name: String,
    /// Row-major extents, last dimension fastest (the file lists them the other way round).
    pub shape: Vec<usize>,
    /// How the numbers are stored.
    pub ggml_type: GgmlType,
    /// First byte in the file.
    start: usize,
    /// Bytes in the file; 0 for an unsupported type.
    bytes: usize,
}

/// An open GGUF file.
#[derive(Debug)]
pub struct Gguf {
    path: PathBuf,
    map: Mmap,
    version: u32,
    metadata: BTreeMap<String, Value>,
    tensors: Vec<TensorInfo>,
    by_name: HashMap<String, usize>,
}

struct Header {
    version: u32,
    metadata: BTreeMap<String, Value>,
    tensors: Vec<TensorInfo>,
    by_name: HashMap<String, usize>,
}

impl Gguf {
    /// Maps a file and reads its metadata and tensor table.
    ///
    /// # Errors
    /// When the file cannot be mapped, is no GGUF file of version 2 or 3, or announces something
    /// that does not fit into it.
    pub fn open(path: &Path) -> Result<Self, GgufError> {
        let io = |action| move |source| GgufError::Io { path: path.to_path_buf(), action, source };
        let file = File::open(path).map_err(io("open"))?;
        // SAFETY: the map is only read. Model files are not changed while they are in use; a
        // process that does so all the same can make the numbers wrong, as with any reader.
        let map = unsafe { Mmap::map(&file) }.map_err(io("map"))?;
        if map.get(..4) != Some(MAGIC.as_slice()) {
            return Err(GgufError::Unsupported {
                path: path.to_path_buf(),
                problem: "not a GGUF file (it does not begin with \"GGUF\")".to_owned(),
            });
        }
        let version = map.get(4..8).map_or(0, |v| u32::from_le_bytes([v[0], v[1], v[2], v[3]]));
        if !matches!(version, 2 | 3) {
            let problem = if matches!(version.swap_bytes(), 2 | 3) {
                "a big-endian GGUF file; convert it to little-endian".to_owned()
            } else {
                format!("GGUF version {version}; versions 2 and 3 can be read")
            };
            return Err(GgufError::Unsupported { path: path.to_path_buf(), problem });
        }
        let Header { version, metadata, tensors, by_name } =
            read_header(&map).map_err(|Problem { offset, message }| GgufError::Damaged {
                path: path.to_path_buf(),
                offset,
                problem: message,
            })?;
        Ok(Self { path: path.to_path_buf(), map, version, metadata, tensors, by_name })
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The container's version, 2 or 3.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// All metadata, sorted by key.
    pub fn metadata(&self) -> &BTreeMap<String, Value> {
        &self.metadata
    }

    /// A metadata value.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.metadata.get(key)
    }

    /// A text of the metadata.
    pub fn str(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Value::as_str)
    }

    /// A non-negative integer of the metadata.
    pub fn u64(&self, key: &str) -> Option<u64> {
        self.get(key).and_then(Value::as_u64)
    }

    /// A number of the metadata.
    pub fn f64(&self, key: &str) -> Option<f64> {
        self.get(key).and_then(Value::as_f64)
    }

    /// A truth value of the metadata.
    pub fn bool(&self, key: &str) -> Option<bool> {
        self.get(key).and_then(Value::as_bool)
    }

    /// An array of the metadata.
    pub fn array(&self, key: &str) -> Option<&Array> {
        match self.get(key) {
            Some(Value::Array(array)) => Some(array),
            _ => None,
        }
    }

    /// An array of texts of the metadata.
    pub fn strings(&self, key: &str) -> Option<&[String]> {
        match self.array(key) {
            Some(Array::String(strings)) => Some(strings),
            _ => None,
        }
    }

    /// The tensor table in the file's order.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.tensors
    }

    /// One row of the tensor table.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.by_name.get(name).map(|index| &self.tensors[*index])
    }

    /// A tensor's numbers as they are stored; empty where their format is not known.
    pub fn bytes(&self, info: &TensorInfo) -> &[u8] {
        &self.map[info.start..info.start + info.bytes]
    }

    /// A tensor's numbers in row-major order, computed on the current rayon pool.
    ///
    /// # Errors
    /// When there is no such tensor, or its format is not supported.
    pub fn dequantize(&self, name: &str) -> Result<Vec<f32>, GgufError> {
        let info = self.tensor(name).ok_or_else(|| GgufError::Missing {
            path: self.path.clone(),
            what: format!("tensor `{name}`"),
        })?;
        if info.ggml_type.block_len().is_none() {
            return Err(GgufError::Unsupported {
                path: self.path.clone(),
                problem: format!(
                    "tensor `{name}` is stored as {}, which cannot be read here; use a file with \
                     {} only",
                    info.ggml_type,
                    GgmlType::SUPPORTED
                ),
            });
        }
        Ok(quant::dequantize(info.ggml_type, &self.map[info.start..info.start + info.bytes]))
    }
}

fn read_header(bytes: &[u8]) -> Result<Header, Problem> {
    let mut cursor = Cursor::new(bytes);
    cursor.take(MAGIC.len())?;
    let version = cursor.u32()?;
    // A tensor takes at least name length, dimension count, type and offset; a metadata pair at
    // least key length, type and one byte.
    let tensor_count = cursor.count(8 + 4 + 4 + 8, "tensors")?;
    let pair_count = cursor.count(8 + 4 + 1, "metadata pairs")?;
    let mut metadata = BTreeMap::new();
    for _ in 0..pair_count {
        let key = cursor.string()?.to_owned();
        let value = Value::read(&mut cursor)?;
        if metadata.contains_key(&key) {
            return Err(cursor.problem(format!("metadata key `{key}` occurs twice")));
        }
        metadata.insert(key, value);
    }
    let alignment = match metadata.get("general.alignment") {
        None => DEFAULT_ALIGNMENT,
        Some(value) => value
            .as_u64()
            .filter(|alignment| alignment.is_power_of_two() && *alignment <= 1 << 20)
            .ok_or_else(|| cursor.problem("general.alignment is not a small power of two"))?,
    };

    let mut tensors: Vec<TensorInfo> = Vec::with_capacity(tensor_count);
    let mut by_name = HashMap::with_capacity(tensor_count);
    let mut offsets = Vec::with_capacity(tensor_count);
    for index in 0..tensor_count {
        let (info, offset) = read_tensor_info(&mut cursor, bytes.len())?;
        if offset % alignment != 0 {
            return Err(cursor.problem(format!(
                "tensor `{}` begins at {offset}, which is not a multiple of {alignment}",
                info.name
            )));
        }
        if by_name.insert(info.name.clone(), index).is_some() {
            return Err(cursor.problem(format!("tensor `{}` occurs twice", info.name)));
        }
        tensors.push(info);
        offsets.push(offset);
    }
    let data = (cursor.position() as u64).next_multiple_of(alignment);
    for (info, offset) in tensors.iter_mut().zip(offsets) {
        let end = data.checked_add(offset).and_then(|start| start.checked_add(info.bytes as u64));
        if end.is_none_or(|end| end > bytes.len() as u64) {
            return Err(cursor.problem(format!(
                "tensor `{}` needs {} bytes from byte {}, but the file has {}",
                info.name,
                info.bytes,
                data.saturating_add(offset),
                bytes.len()
            )));
        }
        info.start = (data + offset) as usize;
    }
    Ok(Header { version, metadata, tensors, by_name })
}

/// A row of the tensor table, and the tensor's offset from the start of the data.
fn read_tensor_info(
    cursor: &mut Cursor<'_>,
    file_len: usize,
) -> Result<(TensorInfo, u64), Problem> {
    let name = cursor.string()?.to_owned();
    let dimensions = cursor.u32()?;
    if !(1..=MAX_DIMENSIONS).contains(&dimensions) {
        return Err(cursor.problem(format!("tensor `{name}` has {dimensions} dimensions")));
    }
    let mut shape = Vec::with_capacity(dimensions as usize);
    for _ in 0..dimensions {
        shape.push(cursor.u64()?);
    }
    let ggml_type = GgmlType::from_id(cursor.u32()?);
    let offset = cursor.u64()?;
    let (block_len, block_bytes) = (ggml_type.block_len(), ggml_type.block_bytes());
    let row = shape[0];
    // Every known format takes at least a byte for eight elements: more of them cannot be there.
    let most = (file_len as u64).saturating_mul(8);
    let elements = shape
        .iter()
        .try_fold(1u64, |product, extent| product.checked_mul(*extent))
        .filter(|elements| (1..=most).contains(elements))
        .ok_or_else(|| {
            cursor.problem(format!(
                "tensor `{name}` of shape {shape:?} cannot lie in a file of {file_len} bytes"
            ))
        })?;
    let bytes = match (block_len, block_bytes) {
        (Some(len), Some(bytes)) => {
            if !row.is_multiple_of(len as u64) {
                return Err(cursor.problem(format!(
                    "tensor `{name}` has rows of {row}, which {ggml_type} cannot hold: it takes \
                     multiples of {len}"
                )));
            }
            elements / len as u64 * bytes as u64
        }
        _ => 0,
    };
    let shape = shape.iter().rev().map(|extent| *extent as usize).collect();
    Ok((TensorInfo { name, shape, ggml_type, start: 0, bytes: bytes as usize }, offset))
}
