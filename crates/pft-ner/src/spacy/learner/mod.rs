//! The same network with gradients, and a transition system for the gold's labels.
//!
//! The recognizer learns to make the gold's moves from the gold's states (as spaCy does with its
//! oracle while its own moves agree with the gold): the loss is the negative log-probability of the
//! gold's move among the valid ones.

mod forward;
mod output;
mod parameters;
mod samples;

use std::path::{Path, PathBuf};

use candle_core::{Device, Result as TensorResult, Tensor, Var};
use pft_pii::evaluate::GoldDocument;
use pft_pii::{LoadError, Tagger};

use super::SpacyTagger;
use super::moves::{Action, Moves};
use super::msgpack::PackedFile;
use super::save::{self, Changed, File};
use super::thinc::ThincModel;
use crate::train::{
    Dropout, Epoch, Learner, Outcome, TrainError, TrainOptions, Training, cross_entropy,
};
use output::output_layer;
use parameters::{Maxout, Parameter, Parameters};
use samples::{Sample, Words};

/// Goes on training a spaCy 3 pipeline; see [`Training`].
///
/// # Errors
/// When the base cannot be read or trained, the gold has no mentions, a setting is out of range, the
/// output cannot be written, or the training was interrupted. Nothing is left behind then.
pub fn train(
    training: &Training<'_>,
    progress: &mut dyn FnMut(&Epoch),
) -> Result<Outcome, TrainError> {
    training.run::<SpacyLearner>(progress)
}

/// Settings that suit a spaCy pipeline.
pub fn train_options() -> TrainOptions {
    TrainOptions { epochs: 30, patience: 5, learning_rate: 1e-3, ..TrainOptions::default() }
}

/// A recognizer that learns.
struct SpacyLearner {
    base: PathBuf,
    tagger: SpacyTagger,
    moves: Moves,
    moves_file: String,
    must_mask_only: bool,
    parameters: Vec<Parameter>,
    tables: Vec<Var>,
    vectors: Option<Var>,
    mix: Maxout,
    layers: Vec<Maxout>,
    project: (Var, Var),
    /// Weight `[features, hidden, pieces, inputs]`, bias `[hidden, pieces]`, and the features of
    /// a position without a word `[1, features, hidden, pieces]`.
    lower: (Var, Var, Var),
    upper: (Var, Var),
    words: Words,
}

impl SpacyLearner {
    /// Takes up the pipeline in `base`, with an output layer for `labels`.
    fn new(base: &Path, labels: &[String], options: &TrainOptions) -> Result<Self, TrainError> {
        // The tagger's own loader refuses what is not of this architecture.
        let tagger = SpacyTagger::load(base)?;
        let mut hasher = blake3::Hasher::new();
        let ner_file = PackedFile::read(base.join("ner/model"), &mut hasher)?;
        let ner = ThincModel::new(&ner_file)?;
        let shared_file;
        let shared;
        let (tok2vec, file) = if ner.named("hashembed").is_empty() {
            shared_file = PackedFile::read(base.join("tok2vec/model"), &mut hasher)?;
            shared = ThincModel::new(&shared_file)?;
            (&shared, File::Shared)
        } else {
            (&ner, File::Ner)
        };
        let moves_file = save::moves_file(labels);
        let moves = Moves::from_json(&moves_file).map_err(LoadError::Model)?;
        let mut parameters = Parameters { list: Vec::new(), device: &Device::Cpu };
        let tables = tok2vec
            .named("hashembed")
            .into_iter()
            .map(|node| parameters.add(file, node, "E"))
            .collect::<Result<_, _>>()?;
        let vectors = match tok2vec.named("static_vectors")[..] {
            [] => None,
            [node, ..] => Some(parameters.add(file, node, "W")?),
        };
        let (maxouts, norms) = (tok2vec.named("maxout"), tok2vec.named("layernorm"));
        let mut layers = maxouts
            .into_iter()
            .zip(norms)
            .map(|(layer, norm)| parameters.maxout(file, layer, norm))
            .collect::<Result<Vec<_>, _>>()?;
        let mix = layers.remove(0);
        let affine = ner.only("precomputable_affine")?;
        let lower = (
            parameters.add(File::Ner, affine, "W")?,
            parameters.add(File::Ner, affine, "b")?,
            parameters.add(File::Ner, affine, "pad")?,
        );
        let linears = ner.named("linear");
        let [upper, project] = linears[..] else {
            return Err(ner.error("the transition model has no upper layer").into());
        };
        let project =
            (parameters.add(File::Ner, project, "W")?, parameters.add(File::Ner, project, "b")?);
        let old = (upper.any_parameter("W")?.data, upper.any_parameter("b")?.data);
        let hidden = upper.dimension("nI")?;
        let (weight, bias) = output_layer(&tagger.moves, &moves, old, hidden, options.seed);
        let upper_index = upper.index;
        let upper = (
            Var::from_vec(weight, (moves.len(), hidden), &Device::Cpu)?,
            Var::from_vec(bias, moves.len(), &Device::Cpu)?,
        );
        let mut list = parameters.list;
        for (name, var) in [("W", &upper.0), ("b", &upper.1)] {
            list.push(Parameter { file: File::Ner, node: upper_index, name, var: var.clone() });
        }
        Ok(Self {
            base: base.to_owned(),
            tagger,
            moves,
            moves_file,
            must_mask_only: options.must_mask_only,
            parameters: list,
            tables,
            vectors,
            mix,
            layers,
            project,
            lower,
            upper,
            words: Words::default(),
        })
    }
}

impl Learner for SpacyLearner {
    type Sample = Sample;

    fn start(base: &Path, labels: &[String], options: &TrainOptions) -> Result<Self, TrainError> {
        Self::new(base, labels, options)
    }

    fn load(folder: &Path) -> Result<Box<dyn Tagger>, LoadError> {
        Ok(Box::new(SpacyTagger::load(folder)?))
    }

    fn samples(&mut self, document: &GoldDocument) -> Result<Vec<Sample>, TrainError> {
        self.cut(document)
    }

    fn tokens(sample: &Sample) -> usize {
        sample.words.len()
    }

    fn loss(&self, batch: &[&Sample], dropout: &mut Dropout) -> TensorResult<Tensor> {
        let scores = self.scores(batch, dropout)?;
        let states = || batch.iter().flat_map(|sample| &sample.states);
        let forbidden: Vec<f32> = states()
            .flat_map(|state| {
                (0..self.moves.len()).map(|index| {
                    let valid = self.moves.is_valid(index, state.open, state.last, state.space);
                    if valid { 0.0 } else { -1e9 }
                })
            })
            .collect();
        let forbidden = Tensor::from_vec(forbidden, scores.shape(), &Device::Cpu)?;
        let targets: Vec<u32> = states().map(|state| state.target).collect();
        cross_entropy(&(scores + forbidden)?, &Tensor::new(targets, &Device::Cpu)?)
    }

    fn variables(&self) -> Vec<Var> {
        self.parameters.iter().map(|parameter| parameter.var.clone()).collect()
    }

    fn outside(&self) -> (Var, usize) {
        let out = self.moves.find(Action::Out, None);
        (self.upper.1.clone(), out.expect("every transition system can leave a token out"))
    }

    fn save(&self, folder: &Path) -> Result<(), TrainError> {
        let changed = self
            .parameters
            .iter()
            .map(|parameter| {
                Ok(Changed {
                    file: parameter.file,
                    node: parameter.node,
                    name: parameter.name,
                    shape: parameter.var.dims().to_vec(),
                    data: parameter.var.flatten_all()?.to_vec1()?,
                })
            })
            .collect::<TensorResult<Vec<_>>>()?;
        save::pipeline(&self.base, folder, &self.moves_file, &changed)
    }
}
