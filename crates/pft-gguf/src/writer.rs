//! Writing version 3.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use half::f16;

use crate::value::{ARRAY, BOOL, F32, I32, STRING, U32};
use crate::{BlockFormat, GgufError};

const ALIGNMENT: usize = 32;

/// The formats that can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(non_camel_case_types)]
pub enum WriteType {
    /// 32-bit floats.
    F32,
    /// 16-bit floats.
    F16,
    /// 8-bit integers with a scale for each 32; rows must be multiples of 32.
    Q8_0,
}

impl WriteType {
    fn id(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q8_0 => 8,
        }
    }

    fn bytes(self, elements: usize) -> usize {
        match self {
            Self::F32 => 4 * elements,
            Self::F16 => 2 * elements,
            Self::Q8_0 => elements / 32 * 34,
        }
    }
}

#[derive(Debug)]
struct Planned {
    name: String,
    shape: Vec<usize>,
    kind: WriteType,
}

/// Collects metadata and the tensor table, then writes the file in one pass, so that one tensor
/// is in memory at a time.
#[derive(Debug, Default)]
pub struct GgufWriter {
    metadata: Vec<u8>,
    pairs: u64,
    tensors: Vec<Planned>,
}

impl GgufWriter {
    /// A file without metadata or tensors.
    pub fn new() -> Self {
        Self::default()
    }

    fn pair(&mut self, key: &str, kind: u32, value: &[u8]) {
        push_string(&mut self.metadata, key);
        self.metadata.extend(kind.to_le_bytes());
        self.metadata.extend(value);
        self.pairs += 1;
    }

    fn list(&mut self, key: &str, kind: u32, count: usize, elements: &[u8]) {
        let mut value = kind.to_le_bytes().to_vec();
        value.extend((count as u64).to_le_bytes());
        value.extend(elements);
        self.pair(key, ARRAY, &value);
    }

    /// Adds a u32.
    pub fn u32(&mut self, key: &str, value: u32) {
        self.pair(key, U32, &value.to_le_bytes());
    }

    /// Adds an f32.
    pub fn f32(&mut self, key: &str, value: f32) {
        self.pair(key, F32, &value.to_le_bytes());
    }

    /// Adds a truth value.
    pub fn bool(&mut self, key: &str, value: bool) {
        self.pair(key, BOOL, &[u8::from(value)]);
    }

    /// Adds a text.
    pub fn string(&mut self, key: &str, value: &str) {
        let mut bytes = Vec::new();
        push_string(&mut bytes, value);
        self.pair(key, STRING, &bytes);
    }

    /// Adds an array of texts.
    pub fn strings<S: AsRef<str>>(&mut self, key: &str, values: &[S]) {
        let mut bytes = Vec::new();
        values.iter().for_each(|value| push_string(&mut bytes, value.as_ref()));
        self.list(key, STRING, values.len(), &bytes);
    }

    /// Adds an array of i32.
    pub fn i32s(&mut self, key: &str, values: &[i32]) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.list(key, I32, values.len(), &bytes);
    }

    /// Adds an array of f32.
    pub fn f32s(&mut self, key: &str, values: &[f32]) {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.list(key, F32, values.len(), &bytes);
    }

    /// Announces a tensor of row-major `shape`. Rows that Q8_0 cannot hold are written as F16.
    pub fn tensor(&mut self, name: &str, shape: &[usize], kind: WriteType) {
        let fits = shape.last().is_some_and(|row| row.is_multiple_of(32));
        let kind = if kind == WriteType::Q8_0 && !fits { WriteType::F16 } else { kind };
        self.tensors.push(Planned { name: name.to_owned(), shape: shape.to_vec(), kind });
    }

    /// Writes the file, asking `values` for each tensor's numbers in the order announced.
    ///
    /// # Errors
    /// When the disk refuses, `values` fails, or gives another number of elements than announced.
    pub fn write(
        &self,
        path: &Path,
        mut values: impl FnMut(&str) -> Result<Vec<f32>, GgufError>,
    ) -> Result<(), GgufError> {
        let io = |source| GgufError::Io { path: path.to_path_buf(), action: "write", source };
        let mut out = BufWriter::with_capacity(1 << 20, File::create(path).map_err(io)?);
        let header = self.header();
        out.write_all(&header).map_err(io)?;
        let mut buffer = Vec::new();
        for planned in &self.tensors {
            let numbers = values(&planned.name)?;
            if numbers.len() != planned.shape.iter().product::<usize>() {
                return Err(GgufError::Unsupported {
                    path: path.to_path_buf(),
                    problem: format!(
                        "tensor `{}` announced with shape {:?} has {} elements",
                        planned.name,
                        planned.shape,
                        numbers.len()
                    ),
                });
            }
            buffer.clear();
            match planned.kind {
                WriteType::F32 => buffer.extend(numbers.iter().flat_map(|n| n.to_le_bytes())),
                WriteType::F16 => {
                    buffer.extend(numbers.iter().flat_map(|n| f16::from_f32(*n).to_le_bytes()))
                }
                WriteType::Q8_0 => buffer.extend(BlockFormat::Q8_0.quantize(&numbers)),
            }
            buffer.resize(buffer.len().next_multiple_of(ALIGNMENT), 0);
            out.write_all(&buffer).map_err(io)?;
        }
        out.flush().map_err(io)
    }

    fn header(&self) -> Vec<u8> {
        let mut header = b"GGUF".to_vec();
        header.extend(3u32.to_le_bytes());
        header.extend((self.tensors.len() as u64).to_le_bytes());
        header.extend(self.pairs.to_le_bytes());
        header.extend(&self.metadata);
        let mut offset = 0;
        for planned in &self.tensors {
            push_string(&mut header, &planned.name);
            header.extend((planned.shape.len() as u32).to_le_bytes());
            for extent in planned.shape.iter().rev() {
                header.extend((*extent as u64).to_le_bytes());
            }
            header.extend(planned.kind.id().to_le_bytes());
            header.extend((offset as u64).to_le_bytes());
            let bytes = planned.kind.bytes(planned.shape.iter().product());
            offset += bytes.next_multiple_of(ALIGNMENT);
        }
        header.resize(header.len().next_multiple_of(ALIGNMENT), 0);
        header
    }
}

fn push_string(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}
