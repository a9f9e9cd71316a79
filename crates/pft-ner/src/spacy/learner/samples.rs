//! What is learned from: texts cut into samples, with the states that the gold's moves lead through.

use std::collections::HashMap;
use std::ops::Range;

use pft_pii::evaluate::GoldDocument;

use super::SpacyLearner;
use crate::spacy::lexicon::Token;
use crate::spacy::moves::Action;
use crate::spacy::tokenizer::Piece;
use crate::train::{Entity, TrainError, entities};

/// Tokens of a sample at most, beyond a single line.
const SAMPLE_TOKENS: usize = 256;

/// The words seen, each with its embedding's rows.
#[derive(Default)]
pub(super) struct Words {
    pub(super) numbers: HashMap<Piece, usize>,
    pub(super) rows: Vec<Vec<[usize; 4]>>,
    pub(super) vectors: Vec<Vec<f32>>,
}

/// Lines of a text: words, those around them that a convolution sees, and the states to learn.
pub(crate) struct Sample {
    pub(super) words: Vec<usize>,
    pub(super) states: Vec<State>,
}

/// A state of the transition system before a token, and the gold's move.
pub(super) struct State {
    /// Places in the sample's words: the token, the open entity's first token, and the one before.
    pub(super) words: [Option<usize>; 3],
    pub(super) open: Option<usize>,
    pub(super) last: bool,
    pub(super) space: bool,
    pub(super) target: u32,
}

impl SpacyLearner {
    /// The samples of a document, cut behind lines that no entity goes beyond.
    pub(super) fn cut(&mut self, document: &GoldDocument) -> Result<Vec<Sample>, TrainError> {
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
}
