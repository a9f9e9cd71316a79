//! What a training begins from, as its statement says it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the user declares that a base model without a record has seen of the units trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BaseHasSeen {
    /// None of them, in no training before.
    Nothing,
    /// Nobody says that it has not seen them.
    #[default]
    Unknown,
}

/// What the user declares of the units of a base model that was trained privately before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BaseUnits {
    /// What was one unit there is one here: a case and a case, not a case and a paragraph.
    Same,
    /// Nobody says that it is.
    #[default]
    Unknown,
}

/// A file of a base model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BaseFile {
    /// Its name, without the folders above it.
    pub name: String,
    /// BLAKE3 of its contents, 64 hexadecimal digits.
    pub blake3: String,
}

/// What a training begins from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Base {
    /// Weights drawn at random: they have seen nothing.
    #[default]
    Random,
    /// Weights on disk.
    Checkpoint(BaseCheckpoint),
}

/// Weights on disk that a training begins from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BaseCheckpoint {
    /// Name of its folder or file.
    pub name: String,
    /// The files that say which model it is. Empty in what is published of a base that was trained
    /// by this software: its hash would be a hash of what it was trained on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<BaseFile>,
    /// What the user declared that it has seen.
    pub base_has_seen: BaseHasSeen,
    /// What the user declared of the units of its private trainings.
    #[serde(default)]
    pub base_units: BaseUnits,
}

impl Base {
    /// The declaration; a base drawn at random needs none.
    pub fn has_seen(&self) -> BaseHasSeen {
        match self {
            Self::Random => BaseHasSeen::Nothing,
            Self::Checkpoint(checkpoint) => checkpoint.base_has_seen,
        }
    }

    /// What was declared of the units of its private trainings; one drawn at random had none.
    pub fn units(&self) -> BaseUnits {
        match self {
            Self::Random => BaseUnits::Same,
            Self::Checkpoint(checkpoint) => checkpoint.base_units,
        }
    }

    /// The base without the hashes of its files.
    pub(crate) fn without_files(&self) -> Self {
        match self.clone() {
            Self::Random => Self::Random,
            Self::Checkpoint(checkpoint) => {
                Self::Checkpoint(BaseCheckpoint { files: Vec::new(), ..checkpoint })
            }
        }
    }

    /// Leaves out the files where `published` leaves them out.
    pub(crate) fn leave_out_like(&mut self, published: &Self) {
        if let (Self::Checkpoint(own), Self::Checkpoint(published)) = (self, published)
            && published.files.is_empty()
        {
            own.files.clear();
        }
    }
}
