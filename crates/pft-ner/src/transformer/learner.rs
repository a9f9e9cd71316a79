//! The same encoder with gradients, and a classifier for the gold's labels.
//!
//! Words are labelled in the BIO scheme at their first piece, which is where the backend reads
//! them; other pieces are not learned from. Long texts are cut into the backend's windows.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{D, Device, Result as TensorResult, Tensor, Var};
use pft_pii::evaluate::GoldDocument;
use pft_pii::{LoadError, Tagger};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::checkpoint;
use super::config::{Activation, Config, Family};
use super::encoder::Names;
use super::pieces::Pieces;
use super::{TransformerOptions, TransformerTagger, Window, windows};
use crate::train::{
    Dropout, Epoch, Learner, Outcome, TrainError, TrainOptions, Training, cross_entropy, entities,
    layer_norm, linear,
};

/// Word pieces of a window, special tokens not counted, and of context on each of its sides. Shorter
/// than what the backend reads: attention costs the square, and names need little context.
const WINDOW: usize = 254;
const CONTEXT: usize = 32;

/// Files of a checkpoint that its tokenizer is read from.
const TOKENIZER_FILES: [&str; 7] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
];

/// Goes on training a BERT, DistilBERT, RoBERTa or XLM-RoBERTa encoder; see [`Training`].
///
/// # Errors
/// When the base cannot be read or trained, the gold has no mentions, a setting is out of range, the
/// output cannot be written, or the training was interrupted. Nothing is left behind then.
pub fn train(
    training: &Training<'_>,
    progress: &mut dyn FnMut(&Epoch),
) -> Result<Outcome, TrainError> {
    training.run::<TransformerLearner>(progress)
}

/// An encoder that learns.
struct TransformerLearner {
    base: PathBuf,
    json: Value,
    config: Config,
    pieces: Pieces,
    names: &'static Names,
    /// First part of the parameters' names as they are saved.
    root: &'static str,
    window: usize,
    must_mask_only: bool,
    /// `O`, then `B-` and `I-` of every label.
    classes: Vec<String>,
    variables: HashMap<String, Var>,
}

/// A window of a text.
pub(crate) struct Sample {
    /// Ids with the special ones around them.
    ids: Vec<u32>,
    /// Places in [`Self::ids`] that are learned from, and their classes.
    targets: Vec<(usize, u32)>,
}

impl TransformerLearner {
    /// Takes up the encoder in `base`, whose parameters may or may not begin with its family's name,
    /// with a new classifier for `labels`.
    fn new(base: &Path, labels: &[String], options: &TrainOptions) -> Result<Self, TrainError> {
        let (json, config) = Config::encoder(base)?;
        let (root, names) = Names::of(config.family);
        if config.family == Family::DebertaV2 {
            return Err(LoadError::Model(format!(
                "{}: DeBERTa cannot be trained here; take a BERT, DistilBERT, RoBERTa or \
                 XLM-RoBERTa encoder",
                base.display()
            ))
            .into());
        }
        let pieces = Pieces::load(base, &config)?;
        let checkpoint = checkpoint::open(base)?;
        let mut variables = HashMap::new();
        let mut take = |name: &str, shape: &[usize]| -> Result<(), TrainError> {
            let full = format!("{root}.{name}");
            let stored = [&full, name].into_iter().find(|name| checkpoint.has(name));
            let values = checkpoint.tensor(stored.unwrap_or(&full), shape)?;
            variables.insert(full, Var::from_vec(values, shape, &Device::Cpu)?);
            Ok(())
        };
        let hidden = config.hidden;
        take("embeddings.word_embeddings.weight", &[config.vocabulary, hidden])?;
        take("embeddings.position_embeddings.weight", &[config.positions, hidden])?;
        if config.family != Family::DistilBert && config.token_types > 0 {
            take("embeddings.token_type_embeddings.weight", &[config.token_types, hidden])?;
        }
        let mut pair = |name: &str, shape: &[usize]| -> Result<(), TrainError> {
            take(&format!("{name}.weight"), shape)?;
            take(&format!("{name}.bias"), &shape[..1])
        };
        pair("embeddings.LayerNorm", &[hidden])?;
        for layer in 0..config.layers {
            let name = |part: &str| format!("{}.{layer}.{part}", names.prefix);
            for part in [names.query, names.key, names.value, names.attention_output] {
                pair(&name(part), &[hidden, hidden])?;
            }
            pair(&name(names.attention_norm), &[hidden])?;
            pair(&name(names.intermediate), &[config.intermediate, hidden])?;
            pair(&name(names.output), &[hidden, config.intermediate])?;
            pair(&name(names.output_norm), &[hidden])?;
        }
        let mut classes = vec!["O".to_owned()];
        for label in labels {
            classes.extend([format!("B-{label}"), format!("I-{label}")]);
        }
        let mut random = ChaCha8Rng::seed_from_u64(options.seed);
        let weight: Vec<f32> =
            (0..classes.len() * hidden).map(|_| random.random_range(-0.035..0.035)).collect();
        let weight = Var::from_vec(weight, (classes.len(), hidden), &Device::Cpu)?;
        let bias = Var::from_vec(vec![0.0f32; classes.len()], classes.len(), &Device::Cpu)?;
        variables.insert("classifier.weight".to_owned(), weight);
        variables.insert("classifier.bias".to_owned(), bias);
        let window = WINDOW.min(config.max_tokens - 2);
        Ok(Self {
            base: base.to_owned(),
            json,
            config,
            pieces,
            names,
            root,
            window,
            must_mask_only: options.must_mask_only,
            classes,
            variables,
        })
    }

    fn variable(&self, name: &str) -> TensorResult<&Var> {
        self.variables
            .get(name)
            .ok_or_else(|| candle_core::Error::Msg(format!("no parameter {name}")))
    }

    fn parameter(&self, name: &str) -> TensorResult<&Var> {
        self.variable(&format!("{}.{name}", self.root))
    }

    fn linear(&self, input: &Tensor, name: &str) -> TensorResult<Tensor> {
        let weight = self.parameter(&format!("{name}.weight"))?;
        linear(input, weight, self.parameter(&format!("{name}.bias"))?)
    }

    fn norm(&self, input: &Tensor, name: &str) -> TensorResult<Tensor> {
        let weight = self.parameter(&format!("{name}.weight"))?;
        let bias = self.parameter(&format!("{name}.bias"))?;
        layer_norm(input, weight, bias, f64::from(self.config.epsilon))
    }

    /// Logits `[batch, length, classes]` of samples filled up to the longest.
    fn logits(&self, batch: &[&Sample], dropout: &mut Dropout) -> TensorResult<Tensor> {
        let device = &Device::Cpu;
        let length = batch.iter().map(|sample| sample.ids.len()).max().unwrap_or(0);
        let hidden = self.config.hidden;
        let ids: Vec<u32> = batch
            .iter()
            .flat_map(|sample| {
                let filled = sample.ids.iter().copied().chain(std::iter::repeat(self.pieces.last));
                filled.take(length)
            })
            .collect();
        let words = self
            .parameter("embeddings.word_embeddings.weight")?
            .index_select(&Tensor::new(ids, device)?, 0)?
            .reshape((batch.len(), length, hidden))?;
        let first = self.config.positions - self.config.max_tokens;
        let positions =
            self.parameter("embeddings.position_embeddings.weight")?.narrow(0, first, length)?;
        let mut state = words.broadcast_add(&positions)?;
        if let Ok(types) = self.parameter("embeddings.token_type_embeddings.weight") {
            state = state.broadcast_add(&types.narrow(0, 0, 1)?)?;
        }
        state = dropout.apply(&self.norm(&state, "embeddings.LayerNorm")?)?;
        // What fills up is never looked at.
        let hidden_from: Vec<f32> = batch
            .iter()
            .flat_map(|sample| (0..length).map(|at| if at < sample.ids.len() { 0.0 } else { -1e9 }))
            .collect();
        let hidden_from = Tensor::from_vec(hidden_from, (batch.len(), 1, 1, length), device)?;
        for layer in 0..self.config.layers {
            state = self.block(&state, layer, &hidden_from, dropout)?;
        }
        linear(&state, self.variable("classifier.weight")?, self.variable("classifier.bias")?)
    }

    fn block(
        &self,
        state: &Tensor,
        layer: usize,
        hidden_from: &Tensor,
        dropout: &mut Dropout,
    ) -> TensorResult<Tensor> {
        let (rows, length, hidden) = state.dims3()?;
        let (heads, size) = (self.config.heads, hidden / self.config.heads);
        let name = |part: &str| format!("{}.{layer}.{part}", self.names.prefix);
        let by_head = |part: &str| {
            let projected = self.linear(state, &name(part))?;
            projected.reshape((rows, length, heads, size))?.transpose(1, 2)?.contiguous()
        };
        let (query, key, value) =
            (by_head(self.names.query)?, by_head(self.names.key)?, by_head(self.names.value)?);
        let scores = (query.matmul(&key.t()?.contiguous()?)? / (size as f64).sqrt())?;
        let weights = candle_nn::ops::softmax(&scores.broadcast_add(hidden_from)?, D::Minus1)?;
        let context = dropout.apply(&weights)?.matmul(&value)?;
        let context = context.transpose(1, 2)?.reshape((rows, length, hidden))?;
        let attended = self.linear(&context, &name(self.names.attention_output))?;
        let state = (state + dropout.apply(&attended)?)?;
        let state = self.norm(&state, &name(self.names.attention_norm))?;
        let wide = self.linear(&state, &name(self.names.intermediate))?;
        let wide = match self.config.activation {
            Activation::Gelu => wide.gelu_erf()?,
            Activation::GeluTanh => wide.gelu()?,
            Activation::Relu => wide.relu()?,
        };
        let output = dropout.apply(&self.linear(&wide, &name(self.names.output))?)?;
        self.norm(&(state + output)?, &name(self.names.output_norm))
    }
}

impl Learner for TransformerLearner {
    type Sample = Sample;

    fn start(base: &Path, labels: &[String], options: &TrainOptions) -> Result<Self, TrainError> {
        Self::new(base, labels, options)
    }

    fn load(folder: &Path) -> Result<Box<dyn Tagger>, LoadError> {
        Ok(Box::new(TransformerTagger::load(folder, TransformerOptions::default())?))
    }

    fn samples(&mut self, document: &GoldDocument) -> Result<Vec<Sample>, TrainError> {
        let pieces = self.pieces.split(&document.text)?;
        let mut words = Vec::new();
        let mut starts = Vec::new();
        for (at, piece) in pieces.iter().enumerate() {
            match words.last_mut() {
                Some(std::ops::Range { end, .. }) if !piece.starts_word => *end = piece.end,
                _ => {
                    words.push(piece.start..piece.end);
                    starts.push(at);
                }
            }
        }
        let mut classes = vec![None; pieces.len()];
        for &at in &starts {
            classes[at] = Some(0);
        }
        for entity in entities(document, &words, self.must_mask_only) {
            for word in entity.tokens.clone() {
                let scheme = if word == entity.tokens.start { "B" } else { "I" };
                let class = format!("{scheme}-{}", entity.label);
                let class = self.classes.iter().position(|known| *known == class);
                classes[starts[word]] = class.map(|class| class as u32);
            }
        }
        let context = CONTEXT.min(self.window / 4);
        let samples = windows(std::slice::from_ref(&pieces), self.window, context)
            .into_iter()
            .map(|Window { range, core, .. }| {
                let mut ids = vec![self.pieces.first];
                ids.extend(pieces[range.clone()].iter().map(|piece| piece.id));
                ids.push(self.pieces.last);
                let targets = core
                    .filter_map(|at| classes[at].map(|class| (at - range.start + 1, class)))
                    .collect();
                Sample { ids, targets }
            })
            .filter(|sample| !sample.targets.is_empty());
        Ok(samples.collect())
    }

    fn tokens(sample: &Sample) -> usize {
        sample.ids.len()
    }

    fn loss(&self, batch: &[&Sample], dropout: &mut Dropout) -> TensorResult<Tensor> {
        let logits = self.logits(batch, dropout)?;
        let (_, length, classes) = logits.dims3()?;
        let places = batch.iter().enumerate().flat_map(|(row, sample)| {
            sample.targets.iter().map(move |&(at, _)| (row * length + at) as u32)
        });
        let places = Tensor::new(places.collect::<Vec<u32>>(), &Device::Cpu)?;
        let targets: Vec<u32> =
            batch.iter().flat_map(|sample| sample.targets.iter().map(|target| target.1)).collect();
        let logits = logits.reshape(((), classes))?.index_select(&places, 0)?;
        cross_entropy(&logits, &Tensor::new(targets, &Device::Cpu)?)
    }

    fn variables(&self) -> Vec<Var> {
        let mut names: Vec<&String> = self.variables.keys().collect();
        names.sort_unstable();
        names.into_iter().map(|name| self.variables[name].clone()).collect()
    }

    fn outside(&self) -> (Var, usize) {
        (self.variables["classifier.bias"].clone(), 0)
    }

    fn save(&self, folder: &Path) -> Result<(), TrainError> {
        fs::create_dir_all(folder).map_err(TrainError::write(folder))?;
        for name in TOKENIZER_FILES {
            if self.base.join(name).is_file() {
                let target = folder.join(name);
                fs::copy(self.base.join(name), &target).map_err(TrainError::write(&target))?;
            }
        }
        let mut json = self.json.clone();
        let model_class = match json["model_type"].as_str() {
            Some("distilbert") => "DistilBertForTokenClassification",
            Some("roberta") => "RobertaForTokenClassification",
            Some("xlm-roberta") => "XLMRobertaForTokenClassification",
            Some("camembert") => "CamembertForTokenClassification",
            _ => "BertForTokenClassification",
        };
        let numbered = || self.classes.iter().enumerate();
        json["architectures"] = json!([model_class]);
        json["id2label"] =
            numbered().map(|(id, label)| (id.to_string(), json!(label))).collect::<Value>();
        json["label2id"] = numbered().map(|(id, label)| (label.clone(), json!(id))).collect();
        json["torch_dtype"] = json!("float32");
        let path = folder.join("config.json");
        fs::write(&path, format!("{json:#}\n")).map_err(TrainError::write(&path))?;
        let tensors: HashMap<&str, Tensor> = self
            .variables
            .iter()
            .map(|(name, variable)| (name.as_str(), variable.as_tensor().clone()))
            .collect();
        let path = folder.join("model.safetensors");
        let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
        safetensors::serialize_to_file(tensors, Some(metadata), &path)
            .map_err(|error| TrainError::write(&path)(std::io::Error::other(error)))
    }
}
