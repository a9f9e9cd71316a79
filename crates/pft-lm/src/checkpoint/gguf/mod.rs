//! GGUF models of the families that llama.cpp computes as pft does, in the layout that llama.cpp's
//! converter gives them.

mod config;
mod layout;
mod limits;
mod rope;
mod write;

use std::collections::BTreeSet;
use std::path::Path;

use pft_gguf::Gguf;
use pft_hub::{Origin, mistaken};
use serde_json::Value;

use super::{CheckpointError, Precision, check_layers};
use crate::config::{Architecture, ModelConfig};
use crate::parameters::{ParameterSpec, Tensor};
use layout::{arrangement, family_of, gguf_name, readable};
pub use write::{check_gguf, save_gguf};

/// Llama 3's factors of the rotary frequencies, which GGUF keeps as a tensor.
const ROPE_FREQS: &str = "rope_freqs.weight";

/// An open GGUF model.
#[derive(Debug)]
pub(crate) struct GgufSource {
    file: Gguf,
}

impl GgufSource {
    pub(crate) fn open(path: &Path) -> Result<(Self, ModelConfig), CheckpointError> {
        if let Some(problem) = mistaken(path) {
            return Err(CheckpointError::unusable(path, problem));
        }
        let file = Gguf::open(path)?;
        refuse_parts(&file)?;
        let architecture = file.str("general.architecture").unwrap_or("unknown");
        let Some((family, prefix)) = family_of(architecture) else {
            return Err(CheckpointError::unusable(
                path,
                format!("holds a model of architecture {architecture:?}; read are {}", readable()),
            ));
        };
        let object = config::read(&file, family, prefix)?;
        let config = ModelConfig::from_json(&Value::Object(object).to_string())
            .map_err(|source| CheckpointError::Config { path: path.to_path_buf(), source })?;
        check_layers(path, &config, file.tensors().len())?;
        Ok((Self { file }, config))
    }

    /// Refuses tensors that the model does not have: they would silently be left out.
    pub(crate) fn check_unexpected(
        &self,
        specs: &[ParameterSpec],
        config: &ModelConfig,
    ) -> Result<(), CheckpointError> {
        let wanted: BTreeSet<String> =
            specs.iter().filter_map(|spec| gguf_name(&spec.name, config)).collect();
        let gpt2 = config.architecture == Architecture::Gpt2;
        let unexpected = self.file.tensors().iter().map(|info| &info.name).find(|name| {
            // Read with the config: the scaling of the frequencies, and whether a head is a copy.
            let read = if gpt2 { "output.weight" } else { ROPE_FREQS };
            !wanted.contains(*name) && *name != read
        });
        match unexpected {
            None => Ok(()),
            Some(name) => Err(CheckpointError::unusable(
                self.file.path(),
                format!("tensor `{name}` has no place in the model that can be computed here"),
            )),
        }
    }

    /// Where the model comes from, as the file's metadata says it.
    pub(crate) fn origin(&self) -> Origin {
        let text =
            |key: &str| self.file.str(key).filter(|text| !text.is_empty()).map(ToOwned::to_owned);
        let origin = Origin {
            repository: None,
            license: text("general.license"),
            license_name: text("general.license.name"),
            license_link: text("general.license.link"),
        };
        // What was converted goes before the place of the conversion.
        [
            "general.source.repo_url",
            "general.source.huggingface.repository",
            "general.source.url",
            "general.repo_url",
            "general.url",
        ]
        .iter()
        .fold(origin, |origin, key| origin.or_repository(self.file.str(key)))
    }

    pub(crate) fn load(
        &self,
        spec: &ParameterSpec,
        config: &ModelConfig,
        precision: Precision,
    ) -> Result<Tensor, CheckpointError> {
        let missing = |name: &str| {
            CheckpointError::unusable(self.file.path(), format!("tensor `{name}` is missing"))
        };
        let name = gguf_name(&spec.name, config).ok_or_else(|| missing(&spec.name))?;
        let info = self.file.tensor(&name).ok_or_else(|| missing(&name))?;
        let arrangement = arrangement(spec, config);
        let expected = arrangement.shape(&spec.shape);
        if info.shape != expected {
            return Err(CheckpointError::Shape {
                path: self.file.path().to_path_buf(),
                name,
                found: info.shape.clone(),
                expected,
            });
        }
        let values = arrangement.to_hugging_face(self.file.dequantize(&name)?, &spec.shape);
        Ok(Tensor::kept(spec, values, precision)?)
    }
}

/// Refuses files that are no whole model.
fn refuse_parts(file: &Gguf) -> Result<(), CheckpointError> {
    let parts = file.u64("split.count").unwrap_or(1);
    if parts > 1 {
        return Err(CheckpointError::unusable(
            file.path(),
            format!(
                "is one of {parts} parts of a model; `llama-gguf-split --merge` makes one file"
            ),
        ));
    }
    match file.str("general.type") {
        None | Some("model") => Ok(()),
        Some(other) => Err(CheckpointError::unusable(
            file.path(),
            format!("holds no model, but what GGUF calls {other:?}"),
        )),
    }
}
