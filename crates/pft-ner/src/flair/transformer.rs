//! Embeddings of words by a transformer that reads their sentence and what is around it.

use std::io::{Cursor, Read};
use std::ops::Range;

use pft_pii::{LoadError, TagError};
use serde_json::Value as Json;
use tokenizers::Tokenizer;

use super::checkpoint::{Checkpoint, setting};
use super::job::{Columns, Given, Job};
use super::tokens::Token;
use crate::pickle::Value;
use crate::transformer::PASS_TOKENS;
use crate::transformer::config::Config;
use crate::transformer::encoder::Encoder;
use crate::transformer::pieces::{fits, frame};

/// Between a sentence and its context.
const SEPARATOR: &str = "[FLERT]";
/// Largest tokenizer file that is unpacked.
const MAX_TOKENIZER_BYTES: u64 = 256 << 20;

/// A transformer, its tokenizer, and how words are made of its pieces.
pub(super) struct TransformerWords {
    encoder: Encoder,
    tokenizer: Tokenizer,
    first: u32,
    last: u32,
    /// Most pieces of a pass, special ones not counted.
    window: usize,
    /// Tokens of context on each side.
    context: usize,
    separator: bool,
    pooling: Pooling,
}

/// Which pieces of a word count.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pooling {
    First,
    Last,
    FirstLast,
    Mean,
}

impl TransformerWords {
    pub(super) fn load(
        model: &Checkpoint<'_, '_>,
        value: Value<'_, '_>,
        prefix: &str,
        given: &Given<'_>,
    ) -> Result<Self, LoadError> {
        let wrong = |what: &str| model.error(&format!("its TransformerWordEmbeddings: {what}"));
        let config = setting(value, "config_state_dict");
        let config = config.ok_or_else(|| wrong("no `config_state_dict`"))?;
        let config = Config::from_json(&config.to_json(&mut 100_000)).map_err(|e| wrong(&e))?;
        let layers = match (setting(value, "layers"), setting(value, "layer_indexes")) {
            (Some(layers), _) => layers.as_str().unwrap_or_default().to_string(),
            (None, Some(list)) => list.to_json(&mut 100).to_string().replace(['[', ']'], ""),
            (None, None) => String::new(),
        };
        if layers != "-1" && layers != config.layers().to_string() {
            return Err(wrong(&format!("layers `{layers}` are not read, only the last, `-1`")));
        }
        let pooling = setting(value, "subtoken_pooling")
            .or_else(|| setting(value, "pooling_operation"))
            .and_then(Value::as_str);
        let pooling = match pooling {
            Some("first") => Pooling::First,
            Some("last") => Pooling::Last,
            Some("first_last") => Pooling::FirstLast,
            Some("mean") => Pooling::Mean,
            _ => return Err(wrong("its subtoken_pooling is not known")),
        };
        if setting(value, "peft_config").is_some() {
            return Err(wrong("adapters are not read; merge them and save the model again"));
        }
        let (tokenizer, limit) = tokenizer(value, given).map_err(|what| wrong(&what))?;
        let (first, last) = frame(&tokenizer).map_err(|what| wrong(&what))?;
        fits(&tokenizer, [first, last], config.vocabulary)
            .map_err(|what| wrong(&format!("tokenizer: {what}")))?;
        let window = limit.unwrap_or(usize::MAX).min(config.max_tokens).saturating_sub(2);
        if window < 4 {
            return Err(wrong("the longest sequence leaves no room for text"));
        }
        let context = setting(value, "context_length").map_or(Some(0), |length| {
            // Old models say `True` for the default.
            if length.as_int().is_none() && length.as_bool() == Some(true) {
                return Some(64);
            }
            length.as_usize().or((length.as_bool() == Some(false)).then_some(0))
        });
        Ok(Self {
            encoder: Encoder::load(config, model, Some(&format!("{prefix}.model")))?,
            tokenizer,
            first,
            last,
            window,
            context: context.filter(|&n| n <= 1 << 16).ok_or_else(|| wrong("its context"))?,
            // Absent before Flair 0.12, which had none.
            separator: setting(value, "use_context_separator").and_then(Value::as_bool)
                == Some(true),
            pooling,
        })
    }

    pub(super) fn width(&self) -> usize {
        let hidden = self.encoder.config().hidden;
        if self.pooling == Pooling::FirstLast { 2 * hidden } else { hidden }
    }

    pub(super) fn embed(
        &self,
        jobs: &[Job<'_>],
        columns: &mut Columns<'_>,
    ) -> Result<(), TagError> {
        let hidden = self.encoder.config().hidden;
        let mut first_token = 0;
        let mut pass = Pass::default();
        for job in jobs {
            let sentence = self.pieces(*job)?;
            for window in self.windows(sentence.ids.len()) {
                if !pass.ids.is_empty() && pass.ids.len() + window.range.len() + 2 > PASS_TOKENS {
                    self.finish(&mut pass, columns, hidden);
                }
                let start = pass.ids.len();
                pass.ids.push(self.first);
                pass.ids.extend(&sentence.ids[window.range.clone()]);
                pass.ids.push(self.last);
                pass.sequences.push(start..pass.ids.len());
                for piece in window.core.clone() {
                    let Some(word) = sentence.words[piece] else { continue };
                    let parts = &sentence.parts[word];
                    for (column, share) in self.shares(piece, parts).into_iter().flatten() {
                        let row = start + 1 + piece - window.range.start;
                        pass.uses.push((row, first_token + word, column, share));
                    }
                }
            }
            first_token += job.tokens().len();
        }
        self.finish(&mut pass, columns, hidden);
        Ok(())
    }

    /// Which columns a piece of a word goes to (in units of the hidden size), and how much of it.
    fn shares(&self, piece: usize, parts: &Range<usize>) -> [Option<(usize, f32)>; 2] {
        let (first, last) = (piece == parts.start, piece + 1 == parts.end);
        match self.pooling {
            Pooling::First => [first.then_some((0, 1.0)), None],
            Pooling::Last => [last.then_some((0, 1.0)), None],
            Pooling::FirstLast => [first.then_some((0, 1.0)), last.then_some((1, 1.0))],
            Pooling::Mean => [Some((0, 1.0 / parts.len() as f32)), None],
        }
    }

    fn finish(&self, pass: &mut Pass, columns: &mut Columns<'_>, hidden: usize) {
        let Pass { ids, sequences, uses } = std::mem::take(pass);
        if ids.is_empty() {
            return;
        }
        let states = self.encoder.forward(&ids, &sequences);
        for (row, token, column, share) in uses {
            let state = &states[row * hidden..][..hidden];
            let target = &mut columns.row(token, self.width())[column * hidden..][..hidden];
            for (x, y) in target.iter_mut().zip(state) {
                *x += share * y;
            }
        }
    }

    /// Pieces of a sentence with its context.
    fn pieces(&self, job: Job<'_>) -> Result<Sentence, TagError> {
        let (mut left, mut right) = (Vec::new(), Vec::new());
        for sentence in job.sentences[..job.index].iter().rev() {
            if left.len() >= self.context {
                break;
            }
            left.extend(sentence.iter().rev());
        }
        for sentence in &job.sentences[job.index + 1..] {
            if right.len() >= self.context {
                break;
            }
            right.extend(sentence.iter());
        }
        left.truncate(self.context);
        right.truncate(self.context);
        let text = |token: &Token| token.text.clone();
        let mut words: Vec<String> = left.into_iter().rev().map(text).collect();
        let separated = self.separator && self.context > 0;
        words.extend(separated.then(|| SEPARATOR.to_string()));
        let own = words.len()..words.len() + job.tokens().len();
        words.extend(job.tokens().iter().map(text));
        words.extend(separated.then(|| SEPARATOR.to_string()));
        words.extend(right.into_iter().map(text));
        let encoding = self
            .tokenizer
            .encode(words, false)
            .map_err(|error| TagError::Text(format!("the tokenizer failed: {error}")))?;
        let word_of = |word: &Option<u32>| {
            let word = (*word)? as usize;
            own.contains(&word).then(|| word - own.start)
        };
        let words: Vec<Option<usize>> = encoding.get_word_ids().iter().map(word_of).collect();
        let mut parts = vec![0..0; own.len()];
        for (piece, word) in words.iter().enumerate() {
            let Some(word) = *word else { continue };
            let start = if parts[word].is_empty() { piece } else { parts[word].start };
            parts[word] = start..piece + 1;
        }
        Ok(Sentence { ids: encoding.get_ids().to_vec(), words, parts })
    }

    /// Windows over pieces, and what each answers for: as Flair with `allow_long_sentences`, which overlaps
    /// windows by half and takes the middle of each. It is done for every model, because what a
    /// model would cut off would stay untagged.
    fn windows(&self, length: usize) -> Vec<Window> {
        let stride = (self.window + 2) / 2;
        let half = stride / 2;
        let step = self.window - stride;
        let mut windows = Vec::new();
        let mut start = 0;
        loop {
            let end = (start + self.window).min(length);
            let from = if start == 0 { 0 } else { start + half };
            let to = if end == length { length } else { start + half + step };
            windows.push(Window { range: start..end, core: from.min(to)..to });
            if end == length {
                return windows;
            }
            start += step;
        }
    }
}

struct Window {
    range: Range<usize>,
    core: Range<usize>,
}

/// Pieces of a sentence with its context.
struct Sentence {
    ids: Vec<u32>,
    /// The word of the sentence that a piece belongs to.
    words: Vec<Option<usize>>,
    /// The pieces of each word.
    parts: Vec<Range<usize>>,
}

/// Sequences that are read together.
#[derive(Default)]
struct Pass {
    ids: Vec<u32>,
    sequences: Vec<Range<usize>>,
    /// Row of a state, token it belongs to, columns it goes to, and how much of it.
    uses: Vec<(usize, usize, usize, f32)>,
}

/// The tokenizer, and the most tokens it says the model reads.
fn tokenizer(
    value: Value<'_, '_>,
    given: &Given<'_>,
) -> Result<(Tokenizer, Option<usize>), String> {
    let (file, settings) = match (given.tokenizer, setting(value, "tokenizer_data")) {
        (Some(file), _) => (
            file.to_vec(),
            given.tokenizer_settings.and_then(|settings| serde_json::from_slice(settings).ok()),
        ),
        (None, Some(data)) => unpack(data)?,
        (None, None) => {
            return Err(
                "it has no tokenizer, as before Flair 0.12; name the tokenizer.json of its \
                        base model with `tokenizer`"
                    .to_string(),
            );
        }
    };
    let mut tokenizer = Tokenizer::from_bytes(file).map_err(|error| error.to_string())?;
    tokenizer.with_truncation(None).map_err(|error| error.to_string())?;
    tokenizer.with_padding(None);
    let limit = settings.and_then(|settings| settings["model_max_length"].as_u64());
    Ok((tokenizer, limit.and_then(|limit| usize::try_from(limit).ok())))
}

/// `tokenizer.json` and `tokenizer_config.json` out of the archive in a model.
fn unpack(data: Value<'_, '_>) -> Result<(Vec<u8>, Option<Json>), String> {
    let bytes = data.as_bytes().or_else(|| data.state()?.element(0)?.as_bytes());
    let bytes = bytes.ok_or("its tokenizer_data is not known")?;
    let mut archive =
        zip::ZipArchive::new(Cursor::new(bytes)).map_err(|error| format!("tokenizer: {error}"))?;
    let mut read = |name: &str| -> Option<Vec<u8>> {
        let entry = archive.by_name(name).ok()?;
        let mut content = Vec::new();
        let size = entry.take(MAX_TOKENIZER_BYTES).read_to_end(&mut content).ok()?;
        ((size as u64) < MAX_TOKENIZER_BYTES).then_some(content)
    };
    let settings =
        read("tokenizer_config.json").and_then(|json| serde_json::from_slice(&json).ok());
    let file = read("tokenizer.json").ok_or(
        "it has a tokenizer without tokenizer.json; name that of its base model with `tokenizer`",
    )?;
    Ok((file, settings))
}
