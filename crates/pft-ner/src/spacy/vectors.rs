//! Static word vectors: `vocab/vectors` (NumPy's file format) and `vocab/key2row`.

use std::collections::HashMap;
use std::path::Path;

use pft_pii::LoadError;

use super::hash::string_id;
use super::msgpack::PackedFile;

/// A table of vectors and the row of each word.
pub(super) struct StaticVectors {
    rows: HashMap<u64, usize>,
    values: Vec<f32>,
    width: usize,
}

impl StaticVectors {
    /// Reads the vectors of a model folder.
    pub(super) fn read(dir: &Path, hasher: &mut blake3::Hasher) -> Result<Self, LoadError> {
        let path = dir.join("vocab/vectors");
        let wrong = |message: String| LoadError::Model(format!("{}: {message}", path.display()));
        let bytes = std::fs::read(&path).map_err(|error| wrong(error.to_string()))?;
        hasher.update(&bytes);
        let (shape, data) = npy(&bytes).map_err(|message| wrong(message.to_owned()))?;
        let [count, width] = shape;
        let mut rows = HashMap::new();
        for (key, row) in PackedFile::read(dir.join("vocab/key2row"), hasher)?.root().entries()? {
            let Some(key) = key.value.as_u64() else { continue };
            let row = row.number()? as usize;
            if row >= count {
                return Err(wrong(format!("key2row names row {row} of {count}")));
            }
            rows.insert(key, row);
        }
        let values =
            data.as_chunks::<4>().0.iter().map(|&chunk| f32::from_le_bytes(chunk)).collect();
        Ok(Self { rows, values, width })
    }

    /// Numbers of a vector.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// A word's vector.
    pub(super) fn get(&self, text: &str) -> Option<&[f32]> {
        let row = *self.rows.get(&string_id(text))?;
        Some(&self.values[row * self.width..][..self.width])
    }
}

/// Shape and bytes of a two-dimensional little-endian `f32` array in C order.
fn npy(bytes: &[u8]) -> Result<([usize; 2], &[u8]), &'static str> {
    const CUT: &str = "the file is cut off";
    if !bytes.starts_with(b"\x93NUMPY\x01") {
        return Err("not a NumPy file of version 1");
    }
    let length: [u8; 2] = bytes.get(8..10).ok_or(CUT)?.try_into().map_err(|_| CUT)?;
    let end = 10 + usize::from(u16::from_le_bytes(length));
    let header = std::str::from_utf8(bytes.get(10..end).ok_or(CUT)?).map_err(|_| "bad header")?;
    if !header.contains("'<f4'") || !header.contains("'fortran_order': False") {
        return Err("only little-endian f32 in C order is read");
    }
    let sizes = header.split_once("'shape': (").and_then(|(_, rest)| rest.split_once(')'));
    let sizes: Vec<usize> =
        sizes.ok_or("no shape")?.0.split(',').filter_map(|size| size.trim().parse().ok()).collect();
    let [rows, width] = sizes[..] else { return Err("not two-dimensional") };
    let data = &bytes[end..];
    let expected = rows.checked_mul(width).and_then(|count| count.checked_mul(4));
    if expected == Some(data.len()) { Ok(([rows, width], data)) } else { Err(CUT) }
}
