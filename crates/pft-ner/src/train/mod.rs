//! Trains taggers on gold annotations.
//!
//! A [`Training`] goes on from a model that a recognizer reads, teaches it the gold's own labels, and writes
//! a folder that the same recognizer reads; [`crate::spacy::train`] and [`crate::transformer::train`] do one each.
//! After every epoch the model as written is loaded and measured on documents that it does not
//! learn from; the best is kept, and when it has not got better for a while, training ends. Then it
//! is made to lean towards finding more, as far as that is better on those documents: what is
//! missed leaks, what is masked needlessly does not.

mod fit;
mod gold;
mod layers;
mod report;
mod scratch;

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use candle_core::{Tensor, Var};
use pft_pii::evaluate::{GoldDocument, Report};
use pft_pii::{LoadError, TagError, Tagger};
use serde::Serialize;

pub(crate) use gold::{Entity, entities, labels};
pub(crate) use layers::{Dropout, cross_entropy, layer_norm, linear};

/// Settings of a training.
#[derive(Clone, Debug, Serialize)]
pub struct TrainOptions {
    /// Passes over the documents at most.
    pub epochs: usize,
    /// Epochs without a better model after which training ends.
    pub patience: usize,
    /// Learning rate at its peak, after a tenth of the first epoch; it falls linearly to zero
    /// over [`Self::epochs`].
    pub learning_rate: f64,
    /// Tokens of a batch, about.
    pub batch_tokens: usize,
    /// Share of activations set to zero.
    pub dropout: f64,
    /// AdamW's weight decay.
    pub weight_decay: f64,
    /// Largest Euclidean norm of a batch's gradient; larger ones are scaled down.
    pub max_grad_norm: f64,
    /// Share of the documents held out, where no others are given to measure on.
    pub held_out: f64,
    /// How many times as much recall of characters counts as their precision, where models are
    /// compared: the β of van Rijsbergen's F measure.
    pub recall_weight: f64,
    /// Whether only mentions that must be masked are taught.
    pub must_mask_only: bool,
    /// Whether the kept model is trained anew on all documents, for as many epochs as were best.
    pub refit: bool,
    /// Decides which documents are held out, their order, dropout, and new weights.
    pub seed: u64,
}

impl Default for TrainOptions {
    /// Settings that suit an encoder.
    fn default() -> Self {
        Self {
            epochs: 8,
            patience: 2,
            learning_rate: 1e-4,
            batch_tokens: 1024,
            dropout: 0.1,
            weight_decay: 0.01,
            max_grad_norm: 1.0,
            held_out: 0.15,
            recall_weight: 2.0,
            must_mask_only: true,
            refit: false,
            seed: 0,
        }
    }
}

/// What was measured after an epoch.
#[derive(Clone, Debug, Serialize)]
pub struct Epoch {
    /// Its number, from 1.
    pub epoch: usize,
    /// Mean loss of its batches.
    pub loss: f64,
    /// The model on the documents held out; nothing while it is trained anew on all.
    pub held_out: Option<Report>,
    /// Whether it was the best so far.
    pub best: bool,
}

/// What a training did.
#[derive(Clone, Debug, Serialize)]
pub struct Outcome {
    /// Every epoch.
    pub epochs: Vec<Epoch>,
    /// Number of the epoch that was kept.
    pub best: usize,
    /// What was taken from the score of "no mention" in the end, so that the model finds more: the
    /// value that was best on the documents held out.
    pub lean: f32,
    /// The model as it was kept, on the documents held out; where it was trained anew on all, the
    /// one before.
    pub held_out: Report,
    /// The labels that the model gives.
    pub labels: Vec<String>,
    /// Documents that it learned from.
    pub documents: usize,
    /// Documents that it was measured on.
    pub held_out_documents: usize,
}

/// Why a tagger could not be trained.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The base model cannot be read, or not be trained.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The gold teaches nothing.
    #[error("{0}")]
    Gold(String),
    /// A setting is wrong.
    #[error("{0}")]
    Options(String),
    /// The tagger failed on a held-out document.
    #[error(transparent)]
    Tag(#[from] TagError),
    /// A file could not be written.
    #[error("{}: {error}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What happened.
        error: std::io::Error,
    },
    /// It was told to end.
    #[error("interrupted")]
    Interrupted,
    /// An operation on tensors failed.
    #[error("training: {0}")]
    Tensor(#[from] candle_core::Error),
}

impl TrainError {
    pub(crate) fn write(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |error| Self::Write { path: path.to_owned(), error }
    }
}

/// A model that learns.
pub(crate) trait Learner: Sized {
    /// A part of a document.
    type Sample;

    /// Takes up the model in `base`, with an output layer for `labels`.
    fn start(base: &Path, labels: &[String], options: &TrainOptions) -> Result<Self, TrainError>;

    /// Loads what [`Self::save`] wrote.
    fn load(folder: &Path) -> Result<Box<dyn Tagger>, LoadError>;

    /// Parts of a document that are learned from independently.
    fn samples(&mut self, document: &GoldDocument) -> Result<Vec<Self::Sample>, TrainError>;

    /// How many tokens a sample costs.
    fn tokens(sample: &Self::Sample) -> usize;

    /// Mean loss of a batch.
    fn loss(&self, batch: &[&Self::Sample], dropout: &mut Dropout) -> candle_core::Result<Tensor>;

    /// What is learned.
    fn variables(&self) -> Vec<Var>;

    /// The biases of the output layer, and which of them is that of "no mention".
    fn outside(&self) -> (Var, usize);

    /// Writes a folder that [`Self::load`] reads.
    fn save(&self, folder: &Path) -> Result<(), TrainError>;
}

/// What to train, on what.
#[derive(Clone, Copy, Debug)]
pub struct Training<'a> {
    /// The folder of the model to go on from.
    pub base: &'a Path,
    /// What is taught.
    pub gold: &'a [GoldDocument],
    /// What is measured on; where it is empty, a part of `gold`.
    pub held_out: &'a [GoldDocument],
    /// The folder to write. It does not exist yet, and appears only when all is done, with a report,
    /// `training.json`.
    pub output: &'a Path,
    /// How.
    pub options: &'a TrainOptions,
    /// The training ends before its next batch when this becomes true.
    pub interrupted: &'a AtomicBool,
}

impl Training<'_> {
    /// Trains. `progress` hears of every epoch.
    ///
    /// It works in a folder `NAME.PID.partial` beside the output `NAME`, and removes those that killed
    /// trainings of the same output left.
    ///
    /// # Errors
    /// When the base cannot be read or trained, the gold has no mentions, a setting is out of range,
    /// the output cannot be written, or the training was interrupted. Nothing is left behind then.
    pub(crate) fn run<L: Learner>(
        &self,
        progress: &mut dyn FnMut(&Epoch),
    ) -> Result<Outcome, TrainError> {
        fit::check(self.options)?;
        let (learned, measured) = fit::split(self.gold, self.held_out, self.options)?;
        let labels = labels(self.gold, self.options.must_mask_only);
        if labels.is_empty() {
            return Err(TrainError::Gold("the gold has no mention to learn from".to_owned()));
        }
        fit::Plan { training: *self, learned, measured }.run::<L>(labels, progress)
    }
}
