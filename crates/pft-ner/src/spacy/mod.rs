//! spaCy 3 pipelines, read from their folder without Python: the tokenizer and the entity
//! recognizer.
//!
//! Reads what `spacy train` writes for `TransitionBasedParser` over `MultiHashEmbed` and
//! `MaxoutWindowEncoder`, with or without static vectors, with its own token-to-vector layer or
//! one shared through a listener; `en_core_web_sm` and `en_core_web_md` are of this kind. The
//! answers are those of spaCy with only its `ner` enabled (a parser's sentence borders would
//! forbid entities across them), up to ties that floating point decides.
//!
//! A word's embedding does not depend on its context, and neither do its products with the first
//! convolution, so both are computed once and kept; what is left per token are the other
//! convolutions and one step of the transition system.

mod embedder;
mod encoder;
mod features;
mod hash;
mod learner;
mod lexeme;
mod lexicon;
mod maxout;
mod moves;
mod msgpack;
mod pattern;
mod save;
mod scorer;
mod thinc;
mod tokenizer;
mod vectors;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use pft_pii::{LoadError, Span, TagError, Tagger};

use embedder::Embedder;
use encoder::{Encoder, layout};
use lexeme::Norms;
use lexicon::{Lexicon, Token};
use moves::Moves;
use msgpack::PackedFile;
use scorer::{Choice, Scorer};
use thinc::ThincModel;
use tokenizer::Tokenizer;
use vectors::StaticVectors;

pub use learner::{train, train_options};

/// Changes whenever this backend may answer differently.
const REVISION: u32 = 1;

/// Tokens that are encoded together, beyond a single text.
const BATCH_TOKENS: usize = 2048;

/// A loaded pipeline.
pub struct SpacyTagger {
    lexicon: Lexicon,
    encoder: Encoder,
    scorer: Scorer,
    moves: Moves,
    choices: Vec<Choice>,
    name: Arc<str>,
    fingerprint: String,
}

impl SpacyTagger {
    /// Loads the pipeline in `dir`, the folder with `config.cfg`, `tokenizer`, `vocab` and `ner`.
    ///
    /// # Errors
    /// When a file is missing or damaged, or the entity recognizer is of another architecture.
    pub fn load(dir: &Path) -> Result<Self, LoadError> {
        if !dir.join("ner/model").is_file() {
            return Err(LoadError::Model(format!(
                "{} holds no ner/model; give the folder of a spaCy 3 pipeline that has config.cfg, \
                 tokenizer, vocab and ner (in an installed package: NAME/NAME-VERSION)",
                dir.display()
            )));
        }
        let mut hasher = blake3::Hasher::new();
        let tokenizer_file = PackedFile::read(dir.join("tokenizer"), &mut hasher)?;
        let lookups = PackedFile::read(dir.join("vocab/lookups.bin"), &mut hasher)?;
        let moves_file = PackedFile::read(dir.join("ner/moves"), &mut hasher)?;
        let ner_file = PackedFile::read(dir.join("ner/model"), &mut hasher)?;
        let ner = ThincModel::new(&ner_file)?;
        let shared_file;
        let shared;
        let tok2vec = if ner.named("hashembed").is_empty() {
            shared_file = PackedFile::read(dir.join("tok2vec/model"), &mut hasher)?;
            shared = ThincModel::new(&shared_file)?;
            &shared
        } else {
            &ner
        };
        let embedder = Embedder::load(tok2vec, || StaticVectors::read(dir, &mut hasher))?;
        let encoder = Encoder::load(tok2vec, &ner, embedder.width())?;
        let moves = Moves::read(moves_file.root())?;
        let scorer = Scorer::load(&ner, moves.len())?;
        let tokenizer = Tokenizer::read(tokenizer_file.root())?;
        let norms = Norms::read(lookups.root())?;
        let fingerprint = format!("spacy/{REVISION}/{}", hasher.finalize().to_hex());
        let lexicon = Lexicon::new(tokenizer, norms, embedder, encoder.word_products());
        let choices = moves.choices(&scorer);
        Ok(Self { lexicon, encoder, scorer, moves, choices, name: "spacy".into(), fingerprint })
    }

    /// Byte ranges of a text's tokens.
    pub fn tokens(&self, text: &str) -> Vec<Range<usize>> {
        self.lexicon.tokenize(text).iter().map(|token| token.start..token.end).collect()
    }

    /// Tags texts whose tokens are known, as one batch.
    fn tag(&self, texts: &[Vec<Token>]) -> Vec<Vec<Span>> {
        let lengths: Vec<usize> = texts.iter().map(Vec::len).collect();
        let (ranges, rows) = layout(&lengths, self.encoder.padding());
        let width = self.lexicon.width();
        let mut words = vec![0.0; rows * width];
        for (tokens, range) in texts.iter().zip(&ranges) {
            let rows = words[range.start * width..].chunks_exact_mut(width);
            for (token, row) in tokens.iter().zip(rows) {
                row.copy_from_slice(&token.lexeme.vector);
            }
        }
        // Of words that came too late for theirs to be kept.
        let computed: Vec<Box<[f32]>> = texts
            .iter()
            .flatten()
            .filter(|token| token.lexeme.products.is_none())
            .map(|token| self.lexicon.products().of(&token.lexeme.vector))
            .collect();
        let mut computed = computed.iter();
        let mut products: Vec<Option<&[f32]>> = vec![None; rows];
        for (tokens, range) in texts.iter().zip(&ranges) {
            for (token, row) in tokens.iter().zip(&mut products[range.clone()]) {
                *row = token.lexeme.products.as_deref().or_else(|| computed.next().map(|p| &**p));
            }
        }
        let mut features = self.encoder.features(words, &products);
        let parsed = texts.iter().zip(ranges).map(|(tokens, range)| {
            let is_space = |token: usize| tokens[token].lexeme.is_space;
            let entities = self.moves.parse(
                &self.scorer,
                &self.choices,
                &mut features,
                range.start,
                range.len(),
                is_space,
            );
            let span = |entity: moves::Entity| {
                let (start, end) = (tokens[entity.start].start, tokens[entity.end - 1].end);
                Span::new(start, end, &entity.label, 1.0, &self.name)
            };
            entities.into_iter().map(span).collect()
        });
        parsed.collect()
    }
}

impl Tagger for SpacyTagger {
    fn name(&self) -> &str {
        &self.name
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    fn tag_batch(&self, texts: &[&str]) -> Vec<Result<Vec<Span>, TagError>> {
        let mut results = Vec::with_capacity(texts.len());
        let (mut batch, mut tokens) = (Vec::new(), 0);
        for text in texts {
            let text = self.lexicon.tokenize(text);
            if tokens + text.len() > BATCH_TOKENS && !batch.is_empty() {
                results.extend(self.tag(&std::mem::take(&mut batch)).into_iter().map(Ok));
                tokens = 0;
            }
            tokens += text.len();
            batch.push(text);
        }
        results.extend(self.tag(&batch).into_iter().map(Ok));
        results
    }
}
