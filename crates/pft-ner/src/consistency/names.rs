//! A unit's names, and where they stand in its texts.

use std::collections::btree_map::{BTreeMap, Entry};
use std::sync::Arc;

use aho_corasick::AhoCorasick;

use super::{PERSON, SOURCE};
use crate::{LoadError, OtherLabels, Span, matches};

/// The names of one unit, collected from the spans of its documents.
#[derive(Clone, Debug, Default)]
pub struct UnitNames {
    /// Text to look for → what it was taken for.
    names: BTreeMap<String, Labels>,
}

/// What a name was taken for.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Labels {
    label: Arc<str>,
    others: OtherLabels,
}

impl Labels {
    pub(super) fn of(span: &Span) -> Self {
        Self { label: Arc::clone(&span.label), others: span.other_labels.clone() }
    }

    /// Adds what it was taken for elsewhere. A person's name stays one, whatever else carries it.
    fn merge(&mut self, other: &Self) {
        let is_person = *other.label == *PERSON && *self.label != *PERSON;
        let label = Arc::clone(if is_person { &other.label } else { &self.label });
        let mut others = OtherLabels::default();
        for labels in [&*self, other] {
            for other in std::iter::once(&labels.label).chain(labels.others.iter()) {
                if *other != label {
                    others.insert(other);
                }
            }
        }
        *self = Self { label, others };
    }
}

impl UnitNames {
    /// Adds a text to look for.
    pub(super) fn add(&mut self, form: String, labels: &Labels) {
        match self.names.entry(form) {
            Entry::Vacant(entry) => drop(entry.insert(labels.clone())),
            Entry::Occupied(entry) if entry.get() == labels => {}
            Entry::Occupied(mut entry) => entry.get_mut().merge(labels),
        }
    }

    /// Number of forms to look for.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Adds another collection of the same unit.
    pub fn merge(&mut self, other: UnitNames) {
        for (form, labels) in other.names {
            self.add(form, &labels);
        }
    }

    /// An automaton that finds all forms at once.
    ///
    /// # Errors
    /// When the names are too many for one automaton.
    pub fn finder(&self) -> Result<NameFinder, LoadError> {
        let automaton = AhoCorasick::builder()
            .build(self.names.keys())
            .map_err(|error| LoadError::Model(format!("names of a unit: {error}")))?;
        Ok(NameFinder {
            automaton,
            labels: self.names.values().cloned().collect(),
            source: SOURCE.into(),
        })
    }
}

/// Finds a unit's names in its documents.
pub struct NameFinder {
    automaton: AhoCorasick,
    labels: Vec<Labels>,
    source: Arc<str>,
}

impl NameFinder {
    /// Every whole-word occurrence of a name, but for those within another; sorted. They may
    /// overlap.
    pub fn find(&self, text: &str) -> Vec<Span> {
        let mut spans = Vec::new();
        for found in self.automaton.find_overlapping_iter(text) {
            let before = text[..found.start()].chars().next_back();
            let after = text[found.end()..].chars().next();
            if [before, after].into_iter().flatten().any(char::is_alphanumeric) {
                continue;
            }
            let Labels { label, others } = &self.labels[found.pattern()];
            let mut span = Span::new(found.start(), found.end(), label, 1.0, &self.source);
            span.other_labels = others.clone();
            matches::add(&mut spans, span);
        }
        spans
    }
}
