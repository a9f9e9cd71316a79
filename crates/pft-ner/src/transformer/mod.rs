//! Token-classification checkpoints in Hugging Face layout, without Python.
//!
//! BERT, DistilBERT, RoBERTa, XLM-RoBERTa, CamemBERT and DeBERTa v2/v3 folders with `config.json`
//! (with `id2label`), `tokenizer.json` (or the older vocabulary files), and weights: the first that is
//! there of `model.safetensors`, `pytorch_model.bin` (each sharded or not), `model.onnx` and
//! `onnx/model.onnx`. Pickles are read without running anything. Of an ONNX file, too, only the
//! weights are taken, as `torch.onnx.export` and Optimum write it, in 32 or 16 bits; a quantised or
//! fused graph is refused. A text is cut into word pieces as a whole; where it has more of them than
//! the model reads, windows overlap, and each piece is answered for by the window that sees
//! enough context on both sides of it, so that nothing is truncated. Entities are then decoded
//! over the whole text, by the rule that `decode` states.

mod checkpoint;
pub(crate) mod config;
mod decode;
mod disentangled;
pub(crate) mod encoder;
mod learner;
pub(crate) mod pieces;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use pft_pii::{LoadError, Span, TagError, Tagger};

use config::Config;
use decode::{Tag, Word};
use encoder::Encoder;
use pieces::{Piece, Pieces};

pub use learner::train;

use crate::kernels::Linear;

/// Changes whenever this backend may answer differently.
const REVISION: u32 = 1;

/// Pieces that one forward pass reads at most, beyond a single window: enough to keep the matrix
/// products busy, few enough for the caches.
pub(crate) const PASS_TOKENS: usize = 1024;

/// Settings of the backend.
#[derive(Clone, Copy, Debug)]
pub struct TransformerOptions {
    /// Most tokens that the model reads at once, special tokens included; bounded by what the
    /// checkpoint allows.
    pub max_tokens: usize,
    /// Word pieces of context that a window of a long text has on each side of what it answers
    /// for, bounded by a quarter of the window.
    pub context: usize,
}

impl Default for TransformerOptions {
    fn default() -> Self {
        Self { max_tokens: 512, context: 64 }
    }
}

/// A loaded checkpoint.
pub struct TransformerTagger {
    encoder: Encoder,
    classifier: Linear,
    labels: Vec<String>,
    pieces: Pieces,
    tags: Vec<Tag>,
    /// Pieces of a window, special tokens not counted.
    window: usize,
    context: usize,
    name: Arc<str>,
    fingerprint: String,
}

/// A window over the pieces of one text of a batch.
struct Window {
    text: usize,
    range: Range<usize>,
    core: Range<usize>,
}

impl TransformerTagger {
    /// Loads the checkpoint in `dir`.
    ///
    /// # Errors
    /// When a file is missing or damaged, is no token-classification checkpoint, has tensors of
    /// other shapes than `config.json` says, or the options leave no room for text.
    pub fn load(dir: &Path, options: TransformerOptions) -> Result<Self, LoadError> {
        let (config, labels) = Config::read(dir)?;
        let pieces = Pieces::load(dir, &config)?;
        let checkpoint = checkpoint::open(dir)?;
        let window = options.max_tokens.min(config.max_tokens).saturating_sub(2);
        if window < 6 {
            return Err(LoadError::Config(format!(
                "max_tokens {} leaves no room for text; give at least 8",
                options.max_tokens
            )));
        }
        let context = options.context.min(window / 4);
        let mut hasher = blake3::Hasher::new();
        for file in ["config.json", "tokenizer.json", "vocab.txt", "vocab.json", "merges.txt"] {
            let content = std::fs::read(dir.join(file)).unwrap_or_default();
            hasher.update(&(content.len() as u64).to_le_bytes()).update(&content);
        }
        checkpoint.hash(&mut hasher);
        let hash = hasher.finalize().to_hex();
        let fingerprint = format!("transformer/{REVISION}/{window}/{context}/{hash}");
        let tags = labels.iter().map(|label| Tag::parse(label)).collect();
        let classifier = checkpoint.linear("classifier", [labels.len(), config.hidden])?;
        let encoder = Encoder::load(config, &*checkpoint, None)?;
        let name = "transformer".into();
        Ok(Self { encoder, classifier, labels, pieces, tags, window, context, name, fingerprint })
    }

    /// The labels of the checkpoint's classes, in order, scheme prefixes included.
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Logits of every word piece of a text, row after row of [`Self::labels`], and the pieces'
    /// byte ranges: what entities are decoded from.
    ///
    /// # Errors
    /// When the tokenizer fails on the text.
    pub fn logits(&self, text: &str) -> Result<(Vec<Range<usize>>, Vec<f32>), TagError> {
        let pieces = self.pieces.split(text)?;
        let logits = self.run(std::slice::from_ref(&pieces)).remove(0);
        Ok((pieces.iter().map(|piece| piece.start..piece.end).collect(), logits))
    }

    /// Logits of every text's pieces.
    fn run(&self, texts: &[Vec<Piece>]) -> Vec<Vec<f32>> {
        let width = self.tags.len();
        let mut logits: Vec<Vec<f32>> =
            texts.iter().map(|pieces| vec![0.0; pieces.len() * width]).collect();
        let windows = windows(texts, self.window, self.context);
        let mut rest = &windows[..];
        while !rest.is_empty() {
            let (mut ids, mut sequences) = (Vec::new(), Vec::new());
            for window in rest {
                let length = window.range.len() + 2;
                if !ids.is_empty() && ids.len() + length > PASS_TOKENS {
                    break;
                }
                let start = ids.len();
                ids.push(self.pieces.first);
                let pieces = &texts[window.text][window.range.clone()];
                ids.extend(pieces.iter().map(|piece| piece.id));
                ids.push(self.pieces.last);
                sequences.push(start..ids.len());
            }
            let states = self.encoder.forward(&ids, &sequences);
            let mut output = Vec::new();
            self.classifier.forward(&mut output, &states);
            let (now, later) = rest.split_at(sequences.len());
            for (window, sequence) in now.iter().zip(&sequences) {
                let first = sequence.start + 1 + window.core.start - window.range.start;
                let rows = first * width..(first + window.core.len()) * width;
                let target = window.core.start * width..window.core.end * width;
                logits[window.text][target].copy_from_slice(&output[rows]);
            }
            rest = later;
        }
        logits
    }

    fn decode(&self, text: &str, pieces: &[Piece], logits: &[f32]) -> Result<Vec<Span>, TagError> {
        let mut words: Vec<Word> = Vec::new();
        for (index, (piece, row)) in
            pieces.iter().zip(logits.chunks_exact(self.tags.len())).enumerate()
        {
            if index > 0
                && !piece.starts_word
                && let Some(word) = words.last_mut()
            {
                word.end = word.end.max(piece.end);
                continue;
            }
            let (tag, score) = most_likely(row)?;
            words.push(Word { start: piece.start, end: piece.end, tag, score });
        }
        Ok(decode::entities(text, &words, &self.tags, &self.name))
    }
}

/// Windows of at most `window` pieces over the pieces of every text, with `context` pieces around
/// each core.
fn windows(texts: &[Vec<Piece>], window: usize, context: usize) -> Vec<Window> {
    let mut windows = Vec::new();
    for (text, pieces) in texts.iter().enumerate() {
        let length = pieces.len();
        if length <= window {
            if length > 0 {
                windows.push(Window { text, range: 0..length, core: 0..length });
            }
            continue;
        }
        let step = window - 2 * context;
        let mut start = 0;
        while start < length {
            let mut end = (start + step).min(length);
            // A border inside a word would part it from its first piece's context.
            if let Some(border) = (start + step / 2..end).rev().find(|&at| pieces[at].starts_word)
                && end < length
                && !pieces[end].starts_word
            {
                end = border;
            }
            let range = start.saturating_sub(context)..(end + context).min(length);
            windows.push(Window { text, range, core: start..end });
            start = end;
        }
    }
    windows
}

/// The class of the largest logit and its probability.
fn most_likely(row: &[f32]) -> Result<(usize, f32), TagError> {
    let mut best = 0;
    for (index, value) in row.iter().enumerate() {
        if value.is_nan() {
            return Err(TagError::Model(
                "the model's output is not a number; its weights are damaged".to_owned(),
            ));
        }
        if *value > row[best] {
            best = index;
        }
    }
    let total: f32 = row.iter().map(|value| (value - row[best]).exp()).sum();
    Ok((best, 1.0 / total))
}

impl Tagger for TransformerTagger {
    fn name(&self) -> &str {
        &self.name
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    fn tag_batch(&self, texts: &[&str]) -> Vec<Result<Vec<Span>, TagError>> {
        let mut failed = vec![None; texts.len()];
        let pieces: Vec<Vec<Piece>> = texts
            .iter()
            .zip(&mut failed)
            .map(|(text, failed)| {
                self.pieces.split(text).unwrap_or_else(|error| {
                    *failed = Some(error);
                    Vec::new()
                })
            })
            .collect();
        let logits = self.run(&pieces);
        let tagged = texts.iter().zip(pieces).zip(logits).zip(failed);
        tagged
            .map(|(((text, pieces), logits), failed)| match failed {
                Some(error) => Err(error),
                None => self.decode(text, &pieces, &logits),
            })
            .collect()
    }
}
