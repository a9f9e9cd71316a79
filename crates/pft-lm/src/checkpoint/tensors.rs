//! safetensors files, one or many, mapped and checked.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use memmap2::Mmap;
#[cfg(unix)]
use memmap2::UncheckedAdvice;
use pft_hub::{LFS_POINTER, is_lfs_pointer};
use rayon::prelude::*;
use safetensors::tensor::TensorInfo;
use safetensors::{Dtype, SafeTensors};

use super::buffers::is_buffer;
use super::{CheckpointError, Precision};
use crate::config::ModelConfig;
use crate::names::{HEAD, HEADS};
use crate::parameters::{ParameterSpec, Tensor};

const SINGLE: &str = "model.safetensors";
/// Numbers that are widened at a time on the way into blocks; whole blocks.
const STRETCH: usize = 1 << 22;
const INDEX: &str = "model.safetensors.index.json";

/// A mapped safetensors file.
#[derive(Debug)]
pub(crate) struct TensorFile {
    path: PathBuf,
    map: Mmap,
    data: usize,
    infos: BTreeMap<String, TensorInfo>,
}

impl TensorFile {
    /// Maps a file and checks its header against its length.
    pub(crate) fn open(path: &Path) -> Result<Self, CheckpointError> {
        let file = File::open(path).map_err(CheckpointError::io(path, "open"))?;
        // SAFETY: the map is only read, and model files are not changed while in use.
        let map = unsafe { Mmap::map(&file) }.map_err(CheckpointError::io(path, "map"))?;
        if is_lfs_pointer(&map) {
            return Err(CheckpointError::unusable(path, LFS_POINTER));
        }
        let damaged = |error: safetensors::SafeTensorError| {
            CheckpointError::unusable(
                path,
                format!(
                    "not a whole safetensors file ({error}); it is damaged or cut short, fetch it \
                     again"
                ),
            )
        };
        // Deserializing checks that offsets, shapes and the file's length agree.
        SafeTensors::deserialize(&map).map_err(damaged)?;
        let (header, metadata) = SafeTensors::read_metadata(&map).map_err(damaged)?;
        let infos =
            metadata.tensors().into_iter().map(|(name, info)| (name, info.clone())).collect();
        Ok(Self { path: path.to_path_buf(), map, data: header + 8, infos })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Hands name, type, shape and bytes of every tensor to `look`, by name.
    pub(crate) fn each(&self, mut look: impl FnMut(&str, &str, &[usize], &[u8])) {
        for (name, info) in &self.infos {
            let (start, end) = info.data_offsets;
            let bytes = &self.map[self.data + start..self.data + end];
            look(name, &format!("{:?}", info.dtype), &info.shape, bytes);
            #[cfg(unix)]
            self.release(self.data + start, end - start);
        }
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.infos.keys().map(String::as_str)
    }

    /// Reads a tensor that must have the shape of `spec`.
    pub(crate) fn load(
        &self,
        name: &str,
        spec: &ParameterSpec,
        precision: Precision,
    ) -> Result<Tensor, CheckpointError> {
        let info = &self.infos[name];
        if info.shape != spec.shape {
            return Err(CheckpointError::Shape {
                path: self.path.clone(),
                name: name.to_owned(),
                found: info.shape.clone(),
                expected: spec.shape.clone(),
            });
        }
        let (start, end) = info.data_offsets;
        let bytes = &self.map[self.data + start..self.data + end];
        let tensor = self.convert(name, info.dtype, bytes, spec, precision);
        #[cfg(unix)]
        self.release(self.data + start, end - start);
        tensor
    }

    /// Whether two tensors of the shape of `spec` hold the same numbers, whatever their types.
    fn same(
        &self,
        name: &str,
        other: &Self,
        other_name: &str,
        spec: &ParameterSpec,
    ) -> Result<bool, CheckpointError> {
        let (one, two) = (&self.infos[name], &other.infos[other_name]);
        let bytes = |file: &Self, info: &TensorInfo| {
            let (start, end) = info.data_offsets;
            file.data + start..file.data + end
        };
        let same_bytes = one.dtype == two.dtype
            && one.shape == two.shape
            && self.map[bytes(self, one)] == other.map[bytes(other, two)];
        let wide = Precision::F32;
        // Loading lets go of the pages that the comparison of bytes has touched.
        let (one, two) = (self.load(name, spec, wide)?, other.load(other_name, spec, wide)?);
        Ok(same_bytes || one == two)
    }

    /// Lets go of mapped pages, which the system reads again if they are asked for again: a model
    /// would otherwise be in memory twice by the time that it is loaded.
    #[cfg(unix)]
    fn release(&self, offset: usize, len: usize) {
        // SAFETY: the map is of a file and read-only, so pages come back with the same bytes, and
        // nothing borrows from it here.
        unsafe {
            // Where the system refuses, the pages stay: nothing is lost but memory.
            let _ = self.map.unchecked_advise_range(UncheckedAdvice::DontNeed, offset, len);
        }
    }

    fn convert(
        &self,
        name: &str,
        dtype: Dtype,
        bytes: &[u8],
        spec: &ParameterSpec,
        precision: Precision,
    ) -> Result<Tensor, CheckpointError> {
        if let Some(mut blocks) = Tensor::room(spec, precision)? {
            // A stretch at a time, so that no large matrix is there in 32 bits.
            for bytes in bytes.chunks(STRETCH * dtype.bitsize() / 8) {
                blocks.push(&self.widened(name, dtype, bytes)?);
            }
            return Ok(Tensor::new_blocks(&spec.shape, blocks)?);
        }
        if precision == Precision::Bf16 && spec.is_matrix() {
            let values: Vec<bf16> = match dtype {
                Dtype::BF16 => convert(bytes, |b: &[u8; 2]| bf16::from_le_bytes(*b)),
                Dtype::F16 => convert(bytes, |b| bf16::from_f32(f16::from_le_bytes(*b).to_f32())),
                Dtype::F32 => convert(bytes, |b| bf16::from_f32(f32::from_le_bytes(*b))),
                other => return Err(self.dtype(name, other)),
            };
            return Ok(Tensor::new_bf16(&spec.shape, values)?);
        }
        Ok(Tensor::new(&spec.shape, self.widened(name, dtype, bytes)?)?)
    }

    fn widened(&self, name: &str, dtype: Dtype, bytes: &[u8]) -> Result<Vec<f32>, CheckpointError> {
        Ok(match dtype {
            Dtype::BF16 => convert(bytes, |b| bf16::from_le_bytes(*b).to_f32()),
            Dtype::F16 => convert(bytes, |b| f16::from_le_bytes(*b).to_f32()),
            Dtype::F32 => convert(bytes, |b| f32::from_le_bytes(*b)),
            other => return Err(self.dtype(name, other)),
        })
    }

    fn dtype(&self, name: &str, dtype: Dtype) -> CheckpointError {
        CheckpointError::unusable(
            &self.path,
            format!("tensor `{name}` is stored as {dtype:?}; F32, F16 and BF16 can be read"),
        )
    }
}

fn convert<const N: usize, T: Send>(
    bytes: &[u8],
    one: impl Fn(&[u8; N]) -> T + Send + Sync,
) -> Vec<T> {
    bytes.as_chunks::<N>().0.par_iter().with_min_len(1 << 16).map(one).collect()
}

/// The safetensors files of a Hugging Face folder.
#[derive(Debug)]
pub(crate) struct SafetensorsSource {
    folder: PathBuf,
    files: Vec<TensorFile>,
    /// The file of each tensor.
    by_name: BTreeMap<String, usize>,
}

impl SafetensorsSource {
    pub(crate) fn open(folder: &Path) -> Result<Self, CheckpointError> {
        let names = shard_names(folder)?;
        let mut files = Vec::with_capacity(names.len());
        let mut by_name = BTreeMap::new();
        for name in names {
            let path = folder.join(&name);
            if !path.is_file() {
                return Err(CheckpointError::unusable(
                    folder,
                    format!("{INDEX} names {name}, which is not there; fetch it"),
                ));
            }
            let file = TensorFile::open(&path)?;
            for tensor in file.names() {
                if by_name.insert(tensor.to_owned(), files.len()).is_some() {
                    return Err(CheckpointError::unusable(
                        &path,
                        format!("tensor `{tensor}` lies in another shard too"),
                    ));
                }
            }
            files.push(file);
        }
        Ok(Self { folder: folder.to_path_buf(), files, by_name })
    }

    /// The files.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|file| file.path.as_path())
    }

    /// Number of tensors in all files.
    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
    }

    /// A parameter's name here: checkpoints saved from the bare model lack its prefix, and
    /// transformers 5 calls GPT-NeoX's head as all others.
    fn find(&self, name: &str) -> Option<(&str, usize)> {
        let prefixes = ["transformer.", "model.", "gpt_neox."];
        let bare = prefixes.iter().find_map(|prefix| name.strip_prefix(prefix));
        let head = HEADS.contains(&name).then_some(HEAD);
        [Some(name), bare, head]
            .into_iter()
            .flatten()
            .find_map(|name| self.by_name.get_key_value(name))
            .map(|(name, file)| (name.as_str(), *file))
    }

    pub(crate) fn load(
        &self,
        spec: &ParameterSpec,
        precision: Precision,
    ) -> Result<Tensor, CheckpointError> {
        let (name, file) = self.find(&spec.name).ok_or_else(|| {
            CheckpointError::unusable(
                &self.folder,
                format!(
                    "tensor `{}` is missing; config.json and the weights are of different models, \
                     or a shard is missing",
                    spec.name
                ),
            )
        })?;
        self.files[file].load(name, spec, precision)
    }

    /// Refuses tensors that the model of the config does not have: they are a sign that the
    /// config is another model's, and would silently be left out.
    pub(crate) fn check_unexpected(
        &self,
        specs: &[ParameterSpec],
        config: &ModelConfig,
    ) -> Result<(), CheckpointError> {
        let wanted: BTreeSet<&str> =
            specs.iter().filter_map(|spec| self.find(&spec.name)).map(|(name, _)| name).collect();
        for (name, file) in self.by_name.iter().filter(|(name, _)| !wanted.contains(name.as_str()))
        {
            let file = &self.files[*file];
            if name == HEAD && config.tie_word_embeddings {
                self.check_tied(file, specs)?;
            } else if !is_buffer(name, &file.infos[name].shape, config) {
                return Err(CheckpointError::unusable(
                    file.path(),
                    format!(
                        "tensor `{name}` has no place in the model of config.json; config and \
                         weights are of different models"
                    ),
                ));
            }
        }
        Ok(())
    }

    /// A tied head is the embedding, and may be saved as well. Where another one was saved,
    /// transformers 4 takes the embedding for a head and transformers 5 the head of the file.
    fn check_tied(
        &self,
        file: &TensorFile,
        specs: &[ParameterSpec],
    ) -> Result<(), CheckpointError> {
        let Some(embedding) = specs.first() else { return Ok(()) };
        let Some((name, other)) = self.find(&embedding.name) else { return Ok(()) };
        if file.same(HEAD, &self.files[other], name, embedding)? {
            return Ok(());
        }
        Err(CheckpointError::unusable(
            file.path(),
            format!(
                "`tie_word_embeddings` is true in config.json, or is so where it is left out: the \
                 head is the embedding. But `{HEAD}` is another matrix than `{name}`, and \
                 transformers 4 and 5 read such a model differently: 4 drops the head, 5 keeps \
                 both. Set \"tie_word_embeddings\": false in config.json to keep this head, or \
                 leave `{HEAD}` out of the weights to have the embedding for a head"
            ),
        ))
    }
}

/// The files of a folder, sorted.
fn shard_names(folder: &Path) -> Result<Vec<String>, CheckpointError> {
    if folder.join(SINGLE).is_file() {
        return Ok(vec![SINGLE.to_owned()]);
    }
    let index = folder.join(INDEX);
    if !index.is_file() {
        for pickle in ["pytorch_model.bin", "pytorch_model.bin.index.json"] {
            if folder.join(pickle).is_file() {
                return Err(CheckpointError::Pickle(folder.join(pickle)));
            }
        }
        return Err(CheckpointError::unusable(
            folder,
            format!("the folder holds neither {SINGLE} nor {INDEX}"),
        ));
    }
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let parsed: Index = serde_json::from_str(&read_text(&index)?).map_err(|error| {
        CheckpointError::unusable(&index, format!("not an index of shards: {error}"))
    })?;
    let names: BTreeSet<String> = parsed.weight_map.into_values().collect();
    if let Some(name) = names.iter().find(|name| Path::new(name).components().count() != 1) {
        return Err(CheckpointError::unusable(
            &index,
            format!("names {name:?}, which is not a file of this folder"),
        ));
    }
    if names.is_empty() {
        return Err(CheckpointError::unusable(&index, "names no shard"));
    }
    Ok(names.into_iter().collect())
}

/// Reads a small text file.
pub(crate) fn read_text(path: &Path) -> Result<String, CheckpointError> {
    let text = std::fs::read_to_string(path).map_err(CheckpointError::io(path, "read"))?;
    if is_lfs_pointer(text.as_bytes()) {
        return Err(CheckpointError::unusable(path, LFS_POINTER));
    }
    Ok(text)
}
