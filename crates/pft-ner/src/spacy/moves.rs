//! The transition system of a spaCy entity recognizer: begin, inside, last, unit, outside.

use std::collections::HashMap;
use std::sync::Arc;

use pft_pii::LoadError;

use super::features::{Features, Position};
use super::msgpack::Packed;
use super::scorer::{Choice, Scorer};

/// Counts of labels by move, as a model's `moves` file lists them.
type LabelCounts = HashMap<String, HashMap<String, i64>>;

/// What a move does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Begin,
    In,
    Last,
    Unit,
    Out,
}

/// All moves, in the order of the network's outputs.
pub(super) struct Moves {
    moves: Vec<(Action, Option<usize>)>,
    labels: Vec<Arc<str>>,
}

/// An entity over tokens `start..end`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entity {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) label: Arc<str>,
}

impl Moves {
    /// Reads a `moves` file: labels by action with their counts, from which the order follows.
    pub(super) fn read(file: Packed<'_>) -> Result<Self, LoadError> {
        let field = file.field("moves")?;
        Self::from_json(field.text()?).map_err(|message| field.error(message))
    }

    /// Reads the counts of labels by action, in JSON.
    pub(super) fn from_json(json: &str) -> Result<Self, String> {
        let counts: LabelCounts = serde_json::from_str(json)
            .map_err(|error| format!("`moves` is not understood: {error}"))?;
        let mut actions: Vec<&String> = counts.keys().collect();
        actions.sort();
        let mut system = Self { moves: Vec::new(), labels: Vec::new() };
        let mut added: Vec<(i64, &str, &str)> = Vec::new();
        for action in actions {
            let mut labels: Vec<(i64, &str)> =
                counts[action].iter().map(|(label, &count)| (count, &**label)).collect();
            labels.sort_unstable();
            for &(count, label) in labels.iter().rev() {
                if count < 0 {
                    // Labels added after the model was made come last.
                    added.push((count, label, action));
                } else {
                    system.add(action, label);
                }
            }
        }
        added.sort_by(|a, b| (b.0, b.1).cmp(&(a.0, a.1)).then(a.2.cmp(b.2)));
        for (_, label, action) in added {
            system.add(action, label);
        }
        if system.moves.is_empty() {
            return Err("no moves".to_owned());
        }
        Ok(system)
    }

    fn add(&mut self, action: &str, label: &str) {
        let action = match action {
            "1" => Action::Begin,
            "2" => Action::In,
            "3" => Action::Last,
            "4" => Action::Unit,
            "5" => Action::Out,
            _ => return,
        };
        let label = (!label.is_empty()).then(|| {
            self.labels.iter().position(|known| **known == *label).unwrap_or_else(|| {
                self.labels.push(label.into());
                self.labels.len() - 1
            })
        });
        let refused = action == Action::Out && label.is_some();
        if !refused && !self.moves.contains(&(action, label)) {
            self.moves.push((action, label));
        }
    }

    /// Number of moves.
    pub(super) fn len(&self) -> usize {
        self.moves.len()
    }

    /// The number of a move.
    pub(super) fn find(&self, action: Action, label: Option<&str>) -> Option<usize> {
        self.moves.iter().position(|&(known, number)| {
            known == action && number.map(|number| &*self.labels[number]) == label
        })
    }

    /// What a move does, and the label that it gives.
    pub(super) fn get(&self, index: usize) -> (Action, Option<&str>) {
        let (action, label) = self.moves[index];
        (action, label.map(|label| &*self.labels[label]))
    }

    /// The number of a label.
    pub(super) fn label(&self, label: &str) -> Option<usize> {
        self.labels.iter().position(|known| &**known == label)
    }

    /// Whether a move may be made at a token: `open` is the label of the entity that is not closed
    /// yet, `last` says that the text ends with this token, `space` that it is white space.
    pub(super) fn is_valid(
        &self,
        index: usize,
        open: Option<usize>,
        last: bool,
        space: bool,
    ) -> bool {
        match self.moves[index] {
            (Action::Begin, Some(_)) => open.is_none() && !last && !space,
            (Action::Unit, Some(_)) => open.is_none() && !space,
            (Action::In, Some(label)) => open == Some(label) && !last,
            (Action::Last, Some(label)) => open == Some(label),
            (Action::Out, _) => open.is_none(),
            (_, None) => false,
        }
    }

    /// The moves that may be made at some token, by the label that is open there: none, then each.
    pub(super) fn choices(&self, scorer: &Scorer) -> Vec<Choice> {
        let open = std::iter::once(None).chain((0..self.labels.len()).map(Some));
        let choices = open.map(|open| {
            let may = |&index: &usize| {
                self.is_valid(index, open, false, false) || self.is_valid(index, open, true, false)
            };
            scorer.choice((0..self.moves.len()).filter(may).collect())
        });
        choices.collect()
    }

    /// The entities of one text by the best valid move at each token. `choices` are [`Self::choices`],
    /// `features` is the batch's, `first` the text's first row in it, `is_space` tells whether a token is
    /// white space.
    pub(super) fn parse(
        &self,
        scorer: &Scorer,
        choices: &[Choice],
        features: &mut Features<'_>,
        first: usize,
        length: usize,
        is_space: impl Fn(usize) -> bool,
    ) -> Vec<Entity> {
        let (mut scores, mut scratch) = (Vec::new(), Vec::new());
        let mut entities = Vec::new();
        let mut open: Option<(usize, usize)> = None;
        // Features of the open entity's first word, which may lie far back.
        let mut begun = Vec::new();
        for token in 0..length {
            let row = first + token;
            features.prepare(row);
            let words = [
                Some(features.of(row, Position::Current)),
                open.map(|_| begun.as_slice()),
                open.map(|_| features.of(row - 1, Position::Previous)),
            ];
            let choice = &choices[open.map_or(0, |(_, label)| 1 + label)];
            scorer.score(&mut scores, &mut scratch, words, choice);
            let last = token + 1 == length;
            let space = is_space(token);
            let mut best: Option<(usize, f32)> = None;
            for (&index, &score) in choice.moves.iter().zip(&scores) {
                let better = best.is_none_or(|(_, best)| score > best);
                if better && self.is_valid(index, open.map(|(_, label)| label), last, space) {
                    best = Some((index, score));
                }
            }
            let entity = |start: usize, label: usize| Entity {
                start,
                end: token + 1,
                label: Arc::clone(&self.labels[label]),
            };
            match best.map(|(best, _)| self.moves[best]) {
                Some((Action::Begin, Some(label))) => {
                    open = Some((token, label));
                    begun.clear();
                    begun.extend_from_slice(features.of(row, Position::EntityStart));
                }
                Some((Action::Unit, Some(label))) => entities.push(entity(token, label)),
                Some((Action::Last, _)) => {
                    if let Some((start, label)) = open.take() {
                        entities.push(entity(start, label));
                    }
                }
                _ => {}
            }
        }
        entities
    }
}
