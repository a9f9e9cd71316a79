//! The same network with gradients, and a transition system for the gold's labels.
//!
//! The recognizer learns to make the gold's moves from the gold's states (as spaCy does with its
//! oracle while its own moves agree with the gold): the loss is the negative log-probability of the
//! gold's move among the valid ones.

use std::collections::HashMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use candle_core::{D, Device, Result as TensorResult, Tensor, Var};
use pft_pii::evaluate::GoldDocument;
use pft_pii::labels::LabelMap;
use pft_pii::{LoadError, Tagger};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::SpacyTagger;
use super::lexicon::Token;
use super::moves::{Action, Moves};
use super::msgpack::PackedFile;
use super::network::layout;
use super::save::{self, Changed, File};
use super::thinc::{Node, ThincModel};
use super::tokenizer::Piece;
use crate::train::{
    Dropout, Entity, Epoch, Learner, Outcome, TrainError, TrainOptions, Training, cross_entropy,
    entities, layer_norm, linear,
};

/// Tokens of a sample at most, beyond a single line.
const SAMPLE_TOKENS: usize = 256;

/// A parameter with its place.
struct Parameter {
    file: File,
    node: usize,
    name: &'static str,
    var: Var,
}

/// A maxout layer's parameters: weight `[outputs, pieces, inputs]`, bias, and the layer norm's two.
struct Maxout {
    weight: Var,
    bias: Var,
    gain: Var,
    shift: Var,
}

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

/// The words seen, each with its embedding's rows.
#[derive(Default)]
struct Words {
    numbers: HashMap<Piece, usize>,
    rows: Vec<Vec<[usize; 4]>>,
    vectors: Vec<Vec<f32>>,
}

/// Lines of a text: words, those around them that a convolution sees, and the states to learn.
pub(crate) struct Sample {
    words: Vec<usize>,
    states: Vec<State>,
}

/// A state of the transition system before a token, and the gold's move.
struct State {
    /// Places in the sample's words: the token, the open entity's first token, and the one before.
    words: [Option<usize>; 3],
    open: Option<usize>,
    last: bool,
    space: bool,
    target: u32,
}

/// Collects parameters while the network is put together.
struct Parameters<'a> {
    list: Vec<Parameter>,
    device: &'a Device,
}

impl Parameters<'_> {
    fn add(&mut self, file: File, node: Node<'_>, name: &'static str) -> Result<Var, TrainError> {
        let tensor = node.any_parameter(name)?;
        let var = Var::from_vec(tensor.data, tensor.shape, self.device)?;
        self.list.push(Parameter { file, node: node.index, name, var: var.clone() });
        Ok(var)
    }

    fn maxout(
        &mut self,
        file: File,
        layer: Node<'_>,
        norm: Node<'_>,
    ) -> Result<Maxout, TrainError> {
        Ok(Maxout {
            weight: self.add(file, layer, "W")?,
            bias: self.add(file, layer, "b")?,
            gain: self.add(file, norm, "G")?,
            shift: self.add(file, norm, "b")?,
        })
    }
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

    fn word(&mut self, token: &Token) -> usize {
        let piece = &token.lexeme.piece;
        if let Some(&number) = self.words.numbers.get(piece) {
            return number;
        }
        let number = self.words.rows.len();
        self.words.numbers.insert(piece.clone(), number);
        self.words.rows.push(self.tagger.lexicon.rows(piece));
        self.words.vectors.extend(self.tagger.lexicon.static_vector(piece));
        number
    }

    /// The state before each token of a text, with the gold's moves.
    fn states(&self, tokens: &[Token], entities: &[Entity]) -> Result<Vec<State>, TrainError> {
        let mut actions = vec![(Action::Out, None, 0); tokens.len()];
        for entity in entities {
            let Range { start, end } = entity.tokens;
            for (token, slot) in actions.iter_mut().enumerate().take(end).skip(start) {
                let action = match (token == start, token + 1 == end) {
                    (true, true) => Action::Unit,
                    (true, false) => Action::Begin,
                    (false, true) => Action::Last,
                    (false, false) => Action::In,
                };
                *slot = (action, Some(entity.label.as_str()), start);
            }
        }
        let states = actions.into_iter().enumerate().map(|(token, (action, label, start))| {
            let open = matches!(action, Action::In | Action::Last);
            let target = self.moves.find(action, label).ok_or_else(|| {
                TrainError::Gold(format!("no move {action:?} for the label {label:?}"))
            })?;
            Ok(State {
                words: [Some(token), open.then_some(start), open.then(|| token - 1)],
                open: label.filter(|_| open).and_then(|label| self.moves.label(label)),
                last: token + 1 == tokens.len(),
                space: tokens[token].lexeme.is_space,
                target: target as u32,
            })
        });
        states.collect()
    }

    /// Embeddings of the batch's words, `[rows, width]`, in the layout of a batch of texts.
    fn embed(&self, batch: &[&Sample], dropout: &mut Dropout) -> TensorResult<Tensor> {
        let lengths: Vec<usize> = batch.iter().map(|sample| sample.words.len()).collect();
        let (ranges, rows) = layout(&lengths, self.layers.len());
        let mut unique: Vec<usize> =
            batch.iter().flat_map(|sample| sample.words.iter().copied()).collect();
        unique.sort_unstable();
        unique.dedup();
        // The row behind the last word is zero: padding.
        let mut places = vec![unique.len() as u32; rows];
        for (sample, range) in batch.iter().zip(ranges) {
            for (place, word) in places[range].iter_mut().zip(&sample.words) {
                *place = unique.partition_point(|known| known < word) as u32;
            }
        }
        let device = &Device::Cpu;
        let mut features = Vec::new();
        for (number, table) in self.tables.iter().enumerate() {
            let rows: Vec<u32> = unique
                .iter()
                .flat_map(|&word| self.words.rows[word][number].map(|row| row as u32))
                .collect();
            let rows = Tensor::new(rows, device)?;
            let width = table.dim(1)?;
            let looked_up = table.index_select(&rows, 0)?;
            features.push(looked_up.reshape((unique.len(), 4, width))?.sum(1)?);
        }
        if let Some(weight) = &self.vectors {
            let values: Vec<f32> =
                unique.iter().flat_map(|&word| self.words.vectors[word].iter().copied()).collect();
            let vectors = Tensor::from_vec(values, (unique.len(), weight.dim(1)?), device)?;
            features.push(vectors.matmul(&weight.t()?)?);
        }
        let words = dropout.apply(&self.mix.forward(&Tensor::cat(&features, 1)?)?)?;
        let padding = Tensor::zeros((1, words.dim(1)?), words.dtype(), device)?;
        Tensor::cat(&[&words, &padding], 0)?.index_select(&Tensor::new(places, device)?, 0)
    }

    /// Scores of the moves in every state of a batch, `[states, moves]`.
    fn scores(&self, batch: &[&Sample], dropout: &mut Dropout) -> TensorResult<Tensor> {
        let mut state = self.embed(batch, dropout)?;
        let rows = state.dim(0)?;
        for layer in &self.layers {
            let edge = Tensor::zeros((1, state.dim(1)?), state.dtype(), state.device())?;
            let before = Tensor::cat(&[&edge, &state.narrow(0, 0, rows - 1)?], 0)?;
            let after = Tensor::cat(&[&state.narrow(0, 1, rows - 1)?, &edge], 0)?;
            let windows = Tensor::cat(&[&before, &state, &after], 1)?;
            state = (state + dropout.apply(&layer.forward(&windows)?)?)?;
        }
        let projected = linear(&state, &self.project.0, &self.project.1)?;
        let (weight, bias, pad) = &self.lower;
        let (features, hidden, pieces, inputs) = weight.dims4()?;
        let mut sum = bias.reshape((1, hidden * pieces))?;
        let lengths: Vec<usize> = batch.iter().map(|sample| sample.words.len()).collect();
        let (ranges, _) = layout(&lengths, self.layers.len());
        for feature in 0..features {
            let weight = weight.get(feature)?.reshape((hidden * pieces, inputs))?;
            let pad = pad.get(0)?.get(feature)?.reshape((1, hidden * pieces))?;
            let known = Tensor::cat(&[&projected.matmul(&weight.t()?)?, &pad], 0)?;
            let places: Vec<u32> = batch
                .iter()
                .zip(&ranges)
                .flat_map(|(sample, range)| {
                    let place = |word: usize| range.start + word;
                    sample.states.iter().map(move |state| state.words[feature].map(place))
                })
                .map(|place| place.unwrap_or(rows) as u32)
                .collect();
            let places = Tensor::new(places, &Device::Cpu)?;
            sum = known.index_select(&places, 0)?.broadcast_add(&sum)?;
        }
        let states = sum.dim(0)?;
        let activated = sum.reshape((states, hidden, pieces))?.max(D::Minus1)?;
        linear(&activated, &self.upper.0, &self.upper.1)
    }
}

impl Maxout {
    fn forward(&self, input: &Tensor) -> TensorResult<Tensor> {
        let (outputs, pieces, inputs) = self.weight.dims3()?;
        let weight = self.weight.reshape((outputs * pieces, inputs))?;
        let bias = self.bias.reshape(outputs * pieces)?;
        let wide = linear(input, &weight, &bias)?;
        let best = wide.reshape(((), outputs, pieces))?.max(D::Minus1)?;
        layer_norm(&best, &self.gain, &self.shift, 1e-8)
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
        let tokens = self.tagger.lexicon.tokenize(&document.text);
        let ranges: Vec<Range<usize>> = tokens.iter().map(|token| token.start..token.end).collect();
        let entities = entities(document, &ranges, self.must_mask_only);
        let states = self.states(&tokens, &entities)?;
        let words: Vec<usize> = tokens.iter().map(|token| self.word(token)).collect();
        let reach = self.layers.len();
        let mut samples = Vec::new();
        let mut states = states.into_iter();
        let (mut start, mut breakable) = (0, 0);
        for end in 1..=tokens.len() {
            let line_ends = document.text[ranges[end - 1].clone()].contains('\n');
            let inside =
                entities.iter().any(|entity| entity.tokens.start < end && end < entity.tokens.end);
            if line_ends && !inside {
                breakable = end;
            }
            let full = end - start >= SAMPLE_TOKENS && breakable > start;
            let cut = if end == tokens.len() { end } else { breakable };
            if !full && end < tokens.len() {
                continue;
            }
            // The words around it are seen by its convolutions, as they will be when tagging.
            let first = start.saturating_sub(reach);
            let seen = first..(cut + reach).min(tokens.len());
            let states = states
                .by_ref()
                .take(cut - start)
                .map(|state| State { words: state.words.map(|w| w.map(|w| w - first)), ..state });
            samples.push(Sample { words: words[seen].to_vec(), states: states.collect() });
            start = cut;
        }
        Ok(samples)
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

/// The output layer for new moves: a move whose label means the same as labels that the base knows
/// starts as the mean of theirs, any other near zero.
fn output_layer(
    old_moves: &Moves,
    moves: &Moves,
    (old_weight, old_bias): (Vec<f32>, Vec<f32>),
    hidden: usize,
    seed: u64,
) -> (Vec<f32>, Vec<f32>) {
    let map = LabelMap::built_in();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (mut weight, mut bias) = (Vec::new(), Vec::new());
    for index in 0..moves.len() {
        let (action, label) = moves.get(index);
        let like: Vec<usize> = (0..old_moves.len())
            .filter(|&old| {
                let (old_action, old_label) = old_moves.get(old);
                let alike = match (old_label, label) {
                    (Some(old), Some(new)) => map.alike(old, new),
                    (old, new) => old == new,
                };
                old_action == action && alike
            })
            .collect();
        if like.is_empty() {
            weight.extend((0..hidden).map(|_| random.random_range(-0.05..0.05f32)));
            bias.push(0.0);
            continue;
        }
        let mean = |value: &dyn Fn(usize) -> f32| {
            like.iter().map(|&old| value(old)).sum::<f32>() / like.len() as f32
        };
        weight.extend((0..hidden).map(|unit| mean(&|old| old_weight[old * hidden + unit])));
        bias.push(mean(&|old| old_bias[old]));
    }
    (weight, bias)
}
