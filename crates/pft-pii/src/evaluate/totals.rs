//! Counts of one document after another: mentions, entities, characters and exact spans.

use std::collections::{BTreeMap, BTreeSet};

use super::{GoldDocument, Identifier, Report, Score};
use crate::Span;
use crate::labels::LabelMap;

/// What a [`Score`] is made of.
#[derive(Clone, Copy, Default)]
pub(super) struct Counts {
    correct: u64,
    predicted: u64,
    gold: u64,
}

impl Counts {
    pub(super) fn plus(self, other: &Self) -> Self {
        Self {
            correct: self.correct + other.correct,
            predicted: self.predicted + other.predicted,
            gold: self.gold + other.gold,
        }
    }

    pub(super) fn score(&self) -> Score {
        Score::of(self.correct, self.predicted, self.gold)
    }
}

/// The gold label, the shape, and whether a part was covered.
type MissKey = (String, &'static str, bool);

/// Counts of all documents, from which a report is made.
#[derive(Default)]
pub(super) struct Totals {
    pub(super) characters: Counts,
    pub(super) exact: BTreeMap<String, Counts>,
    pub(super) by_label: BTreeMap<String, Counts>,
    pub(super) misses: BTreeMap<MissKey, (u64, Vec<String>)>,
}

/// What one side, gold or prediction, says of a text.
struct Marks<'a> {
    /// By byte: whether it must be masked, or is covered.
    inside: Vec<bool>,
    /// By byte.
    labels: Vec<Option<&'a str>>,
    exact: BTreeSet<(usize, usize, &'a str)>,
}

impl<'a> Marks<'a> {
    fn new(length: usize) -> Self {
        Self { inside: vec![false; length], labels: vec![None; length], exact: BTreeSet::new() }
    }

    fn label(&mut self, start: usize, end: usize, label: &'a str) {
        self.labels[start..end].fill(Some(label));
        self.exact.insert((start, end, label));
    }

    /// `unmapped` gets the labels that the gold's label set has no name for.
    fn of_predicted(
        length: usize,
        predicted: &'a [Span],
        map: &'a LabelMap,
        set: Option<&str>,
        unmapped: &mut BTreeSet<String>,
    ) -> Self {
        let mut marks = Self::new(length);
        for span in predicted {
            marks.inside[span.start..span.end].fill(true);
            let label = match set {
                Some(set) => map.translate(set, &span.label),
                None => Some(&*span.label),
            };
            match label {
                Some(label) => marks.label(span.start, span.end, label),
                None => {
                    unmapped.insert(span.label.to_string());
                }
            }
        }
        marks
    }

    fn of_gold(document: &'a GoldDocument) -> Self {
        let mut marks = Self::new(document.text.len());
        for mention in &document.mentions {
            marks.label(mention.start, mention.end, &mention.label);
            if mention.must_mask {
                marks.inside[mention.start..mention.end].fill(true);
            }
        }
        marks
    }
}

impl Totals {
    pub(super) fn add(
        &mut self,
        document: &GoldDocument,
        predicted: &[Span],
        map: &LabelMap,
        set: Option<&str>,
        report: &mut Report,
        show_text: bool,
    ) {
        let length = document.text.len();
        let predicted =
            Marks::of_predicted(length, predicted, map, set, &mut report.unmapped_labels);
        let gold = Marks::of_gold(document);
        self.add_mentions(document, &predicted.inside, report, show_text);
        self.add_characters(&document.text, &gold, &predicted, report);
        self.add_exact(&gold.exact, &predicted.exact);
    }

    fn add_mentions(
        &mut self,
        document: &GoldDocument,
        covered: &[bool],
        report: &mut Report,
        show_text: bool,
    ) {
        let mut entities: BTreeMap<&str, (Option<Identifier>, bool)> = BTreeMap::new();
        for mention in document.mentions.iter().filter(|mention| mention.must_mask) {
            let content = &document.text[mention.start..mention.end];
            let readable = content
                .char_indices()
                .any(|(at, c)| c.is_alphanumeric() && !covered[mention.start + at]);
            let found = !readable;
            report.mentions.add(found);
            report.mentions_by_label.entry(mention.label.clone()).or_default().add(found);
            if !found {
                let partly = covered[mention.start..mention.end].contains(&true);
                let miss =
                    self.misses.entry((mention.label.clone(), shape(content), partly)).or_default();
                miss.0 += 1;
                if show_text {
                    miss.1.push(content.to_string());
                }
            }
            if let Some(entity) = &mention.entity {
                let (gives_away, all) = entities.entry(entity).or_insert((None, true));
                // The worst that any mention of it gives away.
                *gives_away = match (*gives_away, mention.identifier) {
                    (None, identifier) => identifier,
                    (known, Some(Identifier::NoMask) | None) => known,
                    (Some(Identifier::Direct), _) => Some(Identifier::Direct),
                    (_, identifier) => identifier,
                };
                *all &= found;
            }
        }
        for (gives_away, found) in entities.into_values() {
            match gives_away {
                Some(Identifier::Direct) => report.direct_entities.add(found),
                Some(Identifier::Quasi) => report.quasi_entities.add(found),
                // Annotators wanted it masked, and yet say that it identifies nobody.
                Some(Identifier::NoMask) | None => {}
            }
        }
    }

    fn add_characters(
        &mut self,
        text: &str,
        gold: &Marks<'_>,
        predicted: &Marks<'_>,
        report: &mut Report,
    ) {
        for (at, _) in text.char_indices() {
            let (covered, must_mask) = (predicted.inside[at], gold.inside[at]);
            self.characters.predicted += u64::from(covered);
            self.characters.gold += u64::from(must_mask);
            self.characters.correct += u64::from(covered && must_mask);
            let (gold, predicted) = (gold.labels[at], predicted.labels[at]);
            if let Some(label) = gold {
                self.by_label.entry(label.to_string()).or_default().gold += 1;
            }
            if let Some(label) = predicted {
                let counts = self.by_label.entry(label.to_string()).or_default();
                counts.predicted += 1;
                counts.correct += u64::from(gold == predicted);
            }
            if gold.is_some() || predicted.is_some() {
                let row = report.confusion.entry(gold.unwrap_or("-").to_string()).or_default();
                *row.entry(predicted.unwrap_or("-").to_string()).or_default() += 1;
            }
        }
    }

    fn add_exact(
        &mut self,
        gold: &BTreeSet<(usize, usize, &str)>,
        predicted: &BTreeSet<(usize, usize, &str)>,
    ) {
        for (_, _, label) in gold {
            self.exact.entry((*label).to_string()).or_default().gold += 1;
        }
        for span in predicted {
            let counts = self.exact.entry(span.2.to_string()).or_default();
            counts.predicted += 1;
            counts.correct += u64::from(gold.contains(span));
        }
    }
}

/// What a mention looks like, in words that give none of its text away.
fn shape(text: &str) -> &'static str {
    let words: Vec<&str> = text.split_whitespace().collect();
    let capitalised = words.iter().filter(|word| word.starts_with(char::is_uppercase)).count();
    let digits = text.chars().any(|c| c.is_ascii_digit());
    match (digits, words.len(), capitalised) {
        (true, _, 0) => "with digits",
        (true, _, _) => "words and digits",
        (false, 1, 1) => "one capitalised word",
        (false, 1, _) => "one lower-case word",
        (false, words, capitalised) if words == capitalised => "capitalised words",
        (false, _, 0) => "lower-case words",
        _ => "mixed words",
    }
}
