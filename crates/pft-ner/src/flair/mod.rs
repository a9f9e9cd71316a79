//! Flair's SequenceTagger files (`pytorch_model.bin`), without Python and without running the pickle.
//!
//! Read are transformer embeddings with a linear head (as in `ner-english-ontonotes-large`), and
//! stacks of word embeddings and character language models with BiLSTM and CRF (as in
//! `ner-english-ontonotes-fast`), in any combination. A text is cut into sentences and tokens by
//! segtok's rules; the context of a sentence (FLERT) comes from the same text only, so that no
//! document changes what is found in another. Sentences that are too long for a transformer are read
//! in windows, whatever the file says, because what a model would cut off would stay untagged.

mod characters;
mod checkpoint;
mod decode;
mod embeddings;
mod job;
mod lstm;
mod model;
mod sentences;
mod static_words;
mod tokens;
mod transformer;
mod words;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pft_pii::{LoadError, Span, TagError, Tagger};

use checkpoint::Checkpoint;
use job::{Given, Job};
use model::Model;
use tokens::{Token, sentences};

use crate::pickle::torch::Archive;

/// Changes whenever this backend may answer differently.
const REVISION: u32 = 1;

/// Tokens that are tagged together at most, beyond a single sentence.
const PASS_TOKENS: usize = 1024;

/// What the file of a model may lack.
#[derive(Clone, Debug, Default)]
pub struct FlairOptions {
    /// The `tokenizer.json` of the transformer that a model of Flair before 0.12 is based on (later
    /// files have their own), or the folder that holds it. A `tokenizer_config.json` beside it says how
    /// much the transformer reads at once.
    pub tokenizer: Option<PathBuf>,
}

/// A loaded model.
pub struct FlairTagger {
    model: Model,
    name: Arc<str>,
    fingerprint: String,
}

/// A token of a text, its tag, and the model's confidence.
#[derive(Clone, Debug, PartialEq)]
pub struct TaggedToken {
    /// First byte of the token.
    pub start: usize,
    /// One past its last byte.
    pub end: usize,
    /// The tag with its scheme's prefix, such as `B-PERSON`.
    pub tag: String,
    /// The confidence in 0..=1.
    pub score: f32,
}

/// Tag and confidence of every token of every sentence.
type Tags = Vec<Vec<(usize, f32)>>;

impl FlairTagger {
    /// Loads a model: the file, or a folder that holds it as `pytorch_model.bin`.
    ///
    /// # Errors
    /// When a file is missing or damaged, is no SequenceTagger, or has parts of a kind that is not
    /// read.
    pub fn load(path: &Path, options: &FlairOptions) -> Result<Self, LoadError> {
        let file = if path.is_dir() { path.join("pytorch_model.bin") } else { path.to_path_buf() };
        let archive = Archive::open(&file)?;
        let mut hasher = blake3::Hasher::new();
        archive.hash(&mut hasher);
        let (mut tokenizer, mut tokenizer_settings) = (None, None);
        if let Some(path) = &options.tokenizer {
            let path = if path.is_dir() { path.join("tokenizer.json") } else { path.clone() };
            let content = std::fs::read(&path).map_err(|error| {
                LoadError::Model(format!("{}: cannot be read: {error}", path.display()))
            })?;
            hasher.update(&content);
            tokenizer = Some(content);
            tokenizer_settings = std::fs::read(path.with_file_name("tokenizer_config.json")).ok();
            hasher.update(tokenizer_settings.as_deref().unwrap_or_default());
        }
        let fingerprint = format!("flair/{REVISION}/{}", hasher.finalize().to_hex());
        let pickle = archive.pickle()?;
        let checkpoint = Checkpoint::new(&archive, &pickle)?;
        let given = Given {
            tokenizer: tokenizer.as_deref(),
            tokenizer_settings: tokenizer_settings.as_deref(),
        };
        let model = Model::load(&checkpoint, &given)?;
        Ok(Self { model, name: "flair".into(), fingerprint })
    }

    /// The model's tags, scheme prefixes included.
    pub fn tags(&self) -> &[String] {
        &self.model.tags
    }

    /// Sentences of a text, with the tag and confidence of every token: what entities are made from.
    ///
    /// # Errors
    /// When the tokenizer fails on the text.
    pub fn tokens(&self, text: &str) -> Result<Vec<Vec<TaggedToken>>, TagError> {
        let texts = [sentences(text)];
        let tagged = self.run(&texts).remove(0)?;
        let rows = texts[0].iter().zip(tagged).map(|(tokens, tagged)| {
            let pairs = tokens.iter().zip(tagged);
            pairs
                .map(|(token, (tag, score))| TaggedToken {
                    start: token.start,
                    end: token.end,
                    tag: self.model.tags[tag].clone(),
                    score,
                })
                .collect()
        });
        Ok(rows.collect())
    }

    /// Tags of every text's sentences.
    fn run(&self, texts: &[Vec<Vec<Token>>]) -> Vec<Result<Tags, TagError>> {
        let mut results: Vec<Result<Tags, TagError>> =
            texts.iter().map(|sentences| Ok(vec![Vec::new(); sentences.len()])).collect();
        let mut jobs: Vec<(usize, Job<'_>)> = texts
            .iter()
            .enumerate()
            .flat_map(|(text, sentences)| {
                (0..sentences.len()).map(move |index| (text, Job { sentences, index }))
            })
            .collect();
        jobs.sort_by_key(|(_, job)| std::cmp::Reverse(job.tokens().len()));
        let mut rest = &jobs[..];
        while !rest.is_empty() {
            let mut tokens = 0;
            let fitting = rest.iter().take_while(|(_, job)| {
                tokens += job.tokens().len();
                tokens <= PASS_TOKENS
            });
            let (now, later) = rest.split_at(fitting.count().max(1));
            rest = later;
            let batch: Vec<Job<'_>> = now.iter().map(|(_, job)| *job).collect();
            match self.model.tag(&batch) {
                Ok(tagged) => {
                    for ((text, job), tagged) in now.iter().zip(tagged) {
                        if let Ok(sentences) = &mut results[*text] {
                            sentences[job.index] = tagged;
                        }
                    }
                }
                Err(error) => now.iter().for_each(|(text, _)| results[*text] = Err(error.clone())),
            }
        }
        results
    }
}

impl Tagger for FlairTagger {
    fn name(&self) -> &str {
        &self.name
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    fn tag_batch(&self, texts: &[&str]) -> Vec<Result<Vec<Span>, TagError>> {
        let texts: Vec<Vec<Vec<Token>>> = texts.iter().map(|text| sentences(text)).collect();
        let results = self.run(&texts);
        texts
            .iter()
            .zip(results)
            .map(|(sentences, tagged)| {
                let mut spans = Vec::new();
                for (tokens, tagged) in sentences.iter().zip(tagged?) {
                    spans.extend(decode::entities(tokens, &tagged, &self.model.tags, &self.name)?);
                }
                Ok(spans)
            })
            .collect()
    }
}
