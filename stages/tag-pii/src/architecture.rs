//! Which recognizers can be trained, and by what.

use std::path::Path;

use pft_ner::train::{Epoch, Outcome, TrainError, TrainOptions, Training};
use pft_ner::{spacy, transformer};
use pft_pii::LoadError;

/// What the folder of a recognizer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Architecture {
    /// A spaCy 3 pipeline.
    Spacy,
    /// A Hugging Face encoder.
    Transformer,
}

impl Architecture {
    /// Tells by the folder's files.
    ///
    /// # Errors
    /// When it is neither.
    pub(crate) fn of(base: &Path) -> Result<Self, LoadError> {
        if base.join("ner/model").is_file() {
            Ok(Self::Spacy)
        } else if base.join("config.json").is_file() {
            Ok(Self::Transformer)
        } else {
            Err(LoadError::Model(format!(
                "{} is neither a spaCy 3 pipeline (no ner/model) nor an encoder in Hugging Face \
                 layout (no config.json)",
                base.display()
            )))
        }
    }

    /// Settings that suit it.
    pub(crate) fn options(self) -> TrainOptions {
        match self {
            Self::Spacy => spacy::train_options(),
            Self::Transformer => TrainOptions::default(),
        }
    }

    /// Trains it.
    pub(crate) fn train(
        self,
        training: &Training<'_>,
        progress: &mut dyn FnMut(&Epoch),
    ) -> Result<Outcome, TrainError> {
        match self {
            Self::Spacy => spacy::train(training, progress),
            Self::Transformer => transformer::train(training, progress),
        }
    }
}
