//! PyTorch's files: a ZIP archive with a pickle `data.pkl` and the numbers of its tensors beside it;
//! before version 1.6 several pickles and the numbers one behind the other.

use std::collections::HashMap;
use std::fs::File;
use std::io::Cursor;
use std::ops::Range;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use memmap2::Mmap;
use pft_pii::LoadError;

use super::{Pickle, Value, parse};

/// What a file of the old form starts with, as the pickle of a number.
const OLD_MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// A file of `torch.save`, mapped into memory.
pub(crate) struct Archive {
    path: PathBuf,
    map: Mmap,
    pickle: Range<usize>,
    /// Where the numbers of each storage lie.
    storages: HashMap<String, Range<usize>>,
}

/// A tensor's shape and values.
pub(crate) struct Tensor {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f32>,
}

impl Archive {
    /// Opens a file and finds its parts.
    ///
    /// # Errors
    /// When it is no such archive, or its parts lie outside it.
    pub(crate) fn open(path: &Path) -> Result<Self, LoadError> {
        let wrong = |what: &str| LoadError::Model(format!("{}: {what}", path.display()));
        let file = File::open(path).map_err(|error| wrong(&format!("cannot be read: {error}")))?;
        // SAFETY: the file is only read; changing it meanwhile is the caller's mistake, as with
        // every mapped file.
        let map = unsafe { Mmap::map(&file) }
            .map_err(|error| wrong(&format!("cannot be read: {error}")))?;
        let parts = if map.starts_with(b"PK") { zipped(&map) } else { sequential(&map) };
        let (pickle, storages) = parts.map_err(|what| wrong(&what))?;
        Ok(Self { path: path.to_path_buf(), map, pickle, storages })
    }

    /// Reads the pickle.
    pub(crate) fn pickle(&self) -> Result<Pickle<'_>, LoadError> {
        parse(&self.map[self.pickle.clone()]).map_err(|error| self.error(&error.to_string()))
    }

    /// Feeds the file to a hash.
    pub(crate) fn hash(&self, hasher: &mut blake3::Hasher) {
        hasher.update(&self.map);
    }

    /// An error about this file.
    pub(crate) fn error(&self, what: &str) -> LoadError {
        LoadError::Model(format!("{}: {what}", self.path.display()))
    }

    /// The tensor that a value of the pickle stands for.
    pub(crate) fn tensor(&self, value: Value<'_, '_>) -> Result<Tensor, LoadError> {
        self.read_tensor(value)
            .map_err(|what| self.error(&format!("a tensor cannot be read: {what}")))
    }

    fn read_tensor(&self, value: Value<'_, '_>) -> Result<Tensor, &'static str> {
        let no_tensor = "it is not what torch.save writes for one";
        let (module, name, mut arguments) = value.call().ok_or(no_tensor)?;
        let mut name = name;
        if (module, name) == ("torch._utils", "_rebuild_parameter") {
            let inner = arguments.element(0).ok_or(no_tensor)?;
            (_, name, arguments) = inner.call().ok_or(no_tensor)?;
        }
        if name != "_rebuild_tensor_v2" && name != "_rebuild_tensor" {
            return Err(no_tensor);
        }
        let part = |index: usize| arguments.element(index).ok_or(no_tensor);
        let sizes = |index: usize| -> Result<Vec<usize>, &'static str> {
            let parts = part(index)?.elements().ok_or(no_tensor)?;
            parts.map(|size| size.as_usize().ok_or(no_tensor)).collect()
        };
        let storage = part(0)?.persistent_key().ok_or(no_tensor)?;
        let (offset, shape, strides) =
            (part(1)?.as_usize().ok_or(no_tensor)?, sizes(2)?, sizes(3)?);
        let (_, kind) = storage.element(1).and_then(Value::global).ok_or(no_tensor)?;
        let key = storage.element(2).and_then(Value::as_str).ok_or(no_tensor)?;
        let range = self.storages.get(key).ok_or("its numbers are missing")?;
        let bytes = &self.map[range.clone()];
        let values = match kind {
            "FloatStorage" => gather(bytes, offset, &shape, &strides, f32::from_le_bytes),
            "DoubleStorage" => {
                gather(bytes, offset, &shape, &strides, |eight| f64::from_le_bytes(eight) as f32)
            }
            "HalfStorage" => {
                gather(bytes, offset, &shape, &strides, |two| f16::from_le_bytes(two).to_f32())
            }
            "BFloat16Storage" => {
                gather(bytes, offset, &shape, &strides, |two| bf16::from_le_bytes(two).to_f32())
            }
            _ => return Err("its type is not float, double, half or bfloat16"),
        }?;
        Ok(Tensor { shape, values })
    }
}

/// Where the pickle and the numbers of each storage lie.
type Parts = (Range<usize>, HashMap<String, Range<usize>>);

/// The parts of a ZIP archive.
fn zipped(file: &[u8]) -> Result<Parts, String> {
    let (mut pickle, mut storages) = (None, HashMap::new());
    let damaged =
        |error: zip::result::ZipError| format!("damaged or not downloaded completely: {error}");
    let mut archive = zip::ZipArchive::new(Cursor::new(file)).map_err(damaged)?;
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(damaged)?;
        let Some((_, name)) = entry.name().split_once('/') else { continue };
        let stored = entry.compression() == zip::CompressionMethod::Stored;
        let range = entry
            .data_start()
            .and_then(|start| Some(start..start.checked_add(entry.size())?))
            .and_then(|range| Some(range.start.try_into().ok()?..range.end.try_into().ok()?))
            .filter(|range: &Range<usize>| stored && range.end <= file.len())
            .ok_or("a part is compressed or lies outside the file")?;
        if name == "data.pkl" {
            pickle = Some(range);
        } else if name == "byteorder" && file[range.clone()] != *b"little" {
            return Err("its numbers are big-endian; save it again on another machine".into());
        } else if let Some(key) = name.strip_prefix("data/") {
            storages.insert(key.to_string(), range);
        }
    }
    Ok((pickle.ok_or("it holds no data.pkl")?, storages))
}

/// The parts of a file of the old form: a magic number, a version, facts about the machine, the
/// object, the keys of its storages, and each storage's count and numbers.
fn sequential(file: &[u8]) -> Result<Parts, String> {
    let mut at = 0;
    let mut next = |what: &str| {
        let start = at;
        let pickle = parse(&file[start..]).map_err(|error| format!("{what}: {error}"))?;
        at += pickle.end;
        Ok::<_, String>((start..at, pickle))
    };
    let known = next("it is no file of PyTorch")
        .is_ok_and(|(_, magic)| magic.root().as_bytes() == Some(&OLD_MAGIC));
    if !known || next("version")?.1.root().as_int() != Some(1001) {
        return Err("it is no file of PyTorch".into());
    }
    let (_, machine) = next("machine")?;
    if machine.root().get("little_endian").and_then(Value::as_bool) != Some(true) {
        return Err("its numbers are big-endian; save it again on another machine".into());
    }
    let (range, object) = next("object")?;
    let mut sizes = HashMap::new();
    let is_storage =
        |value: &Value<'_, '_>| value.element(0).and_then(Value::as_str) == Some("storage");
    for storage in object.persistent().filter(is_storage) {
        let kind = storage.element(1).and_then(Value::global).map_or("", |(_, name)| name);
        let size: u64 = match kind {
            "DoubleStorage" | "LongStorage" => 8,
            "FloatStorage" | "IntStorage" => 4,
            "HalfStorage" | "BFloat16Storage" | "ShortStorage" => 2,
            "BoolStorage" | "ByteStorage" | "CharStorage" => 1,
            _ => return Err(format!("it has numbers of the kind {kind:?}, which is not read")),
        };
        if storage.element(5).is_some_and(|view| !view.is_none()) {
            return Err("it has views of storages, which are not read".into());
        }
        sizes.insert(storage.element(2).and_then(Value::as_str).unwrap_or_default(), size);
    }
    let (_, keys) = next("keys")?;
    let mut storages = HashMap::new();
    for key in keys.root().elements().into_iter().flatten() {
        let short = "it ends too early; was it downloaded completely?";
        let key = key.as_str().ok_or("a storage has no key")?;
        let size = sizes.get(key).ok_or("a storage is never used")?;
        let count = file.get(at..).and_then(|rest| rest.first_chunk()).ok_or(short)?;
        let start = at + count.len();
        let end = u64::from_le_bytes(*count)
            .checked_mul(*size)
            .and_then(|bytes| start.checked_add(usize::try_from(bytes).ok()?))
            .filter(|&end| end <= file.len())
            .ok_or(short)?;
        storages.insert(key.to_string(), start..end);
        at = end;
    }
    Ok((range, storages))
}

/// The values of a tensor in order of its last axis first, out of a storage.
fn gather<const N: usize>(
    bytes: &[u8],
    offset: usize,
    shape: &[usize],
    strides: &[usize],
    read: impl Fn([u8; N]) -> f32,
) -> Result<Vec<f32>, &'static str> {
    let elements = bytes.as_chunks::<N>().0;
    let outside = "its shape does not fit its numbers";
    if shape.len() != strides.len() {
        return Err(outside);
    }
    let count = shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size));
    // A tensor with more values than its storage would be expanded; torch.save writes none such.
    let count = count.filter(|&count| count <= elements.len()).ok_or(outside)?;
    if count == 0 {
        return Ok(Vec::new());
    }
    let last = shape.iter().zip(strides).try_fold(offset, |last, (&size, &stride)| {
        last.checked_add((size - 1).checked_mul(stride)?)
    });
    if last.is_none_or(|last| last >= elements.len()) {
        return Err(outside);
    }
    let contiguous = shape.iter().zip(strides).rev().try_fold(1, |expected, (&size, &stride)| {
        (size == 1 || stride == expected).then_some(expected * size)
    });
    if contiguous.is_some() {
        return Ok(elements[offset..offset + count].iter().map(|&chunk| read(chunk)).collect());
    }
    let mut index = vec![0; shape.len()];
    let mut values = Vec::with_capacity(count);
    for _ in 0..count {
        let at: usize = index.iter().zip(strides).map(|(i, stride)| i * stride).sum();
        values.push(read(elements[offset + at]));
        for (i, &size) in index.iter_mut().zip(shape).rev() {
            *i += 1;
            if *i < size {
                break;
            }
            *i = 0;
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(offset: usize, shape: &[usize], strides: &[usize]) -> Result<Vec<f32>, &'static str> {
        let bytes: Vec<u8> = (0..6u8).flat_map(|n| f32::from(n).to_le_bytes()).collect();
        gather(&bytes, offset, shape, strides, f32::from_le_bytes)
    }

    #[test]
    fn strides_are_followed_inside_the_storage_only() {
        assert_eq!(take(0, &[2, 3], &[3, 1]).unwrap(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(take(0, &[3, 2], &[1, 3]).unwrap(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(take(4, &[2], &[1]).unwrap(), [4.0, 5.0]);
        assert_eq!(take(5, &[], &[]).unwrap(), [5.0]);
        assert!(take(0, &[0, 3], &[3, 1]).unwrap().is_empty());
        for (offset, shape, strides) in [
            (5, &[2][..], &[1][..]),
            (0, &[2, 3], &[4, 1]),
            (0, &[2, 3], &[3]),
            (0, &[100], &[0]),
            (usize::MAX, &[2], &[1]),
            (0, &[usize::MAX, 2], &[1, 1]),
            (0, &[2], &[usize::MAX]),
        ] {
            assert!(take(offset, shape, strides).is_err());
        }
    }
}
