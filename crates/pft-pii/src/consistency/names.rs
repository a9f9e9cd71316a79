//! A unit's names, and where they stand in its texts.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::sync::Arc;

use aho_corasick::AhoCorasick;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

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
    /// Adds a text to look for, in all its spellings.
    pub(super) fn add(&mut self, form: String, labels: &Labels) {
        for spelling in other_spellings(&form) {
            self.insert(spelling, labels);
        }
        self.insert(form, labels);
    }

    fn insert(&mut self, form: String, labels: &Labels) {
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
            self.insert(form, &labels);
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

/// The same text with its marks in characters of their own or not, and with other apostrophes and hyphens:
/// one document may have come out of a scan and the next out of a form.
fn other_spellings(form: &str) -> BTreeSet<String> {
    const APOSTROPHES: [&str; 2] = ["'", "’"];
    const HYPHENS: [&str; 3] = ["-", "\u{2010}", "\u{2011}"];
    let mut spellings = BTreeSet::new();
    if form.is_ascii() && !form.contains(['\'', '-']) {
        return spellings;
    }
    for composed in [form.nfc().collect::<String>(), form.nfd().collect()] {
        for apostrophe in APOSTROPHES {
            let form = composed.replace(['\'', '’'], apostrophe);
            let hyphens = HYPHENS.into_iter();
            spellings
                .extend(hyphens.map(|hyphen| form.replace(['-', '\u{2010}', '\u{2011}'], hyphen)));
        }
    }
    spellings.remove(form);
    spellings
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
            // With a mark behind it the last letter is another one.
            if [before, after].into_iter().flatten().any(char::is_alphanumeric)
                || after.is_some_and(is_combining_mark)
            {
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
