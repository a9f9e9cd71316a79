//! Measures tags against gold annotations.
//!
//! Privacy is lost by a mention that stays readable, so the first figures are those of the mentions
//! that must be masked: a mention counts as found when each of its letters and digits is covered,
//! whatever the label; an entity counts when all its mentions do; precision is the share of covered
//! characters that had to be. Label by label follow exact spans, as in CoNLL's scoring, and characters.

mod gold;
mod plot;
mod report;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

pub use gold::{GoldDocument, GoldError, Identifier, Mention, parse_iob2, parse_tab};
pub use plot::svg;

use crate::Span;
use crate::labels::LabelMap;

/// Precision, recall and their harmonic mean, with the counts behind them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Score {
    /// Share of what was predicted that is gold.
    pub precision: f64,
    /// Share of the gold that was predicted.
    pub recall: f64,
    /// Harmonic mean of the two.
    pub f1: f64,
    /// Gold items.
    pub gold: u64,
    /// Predicted items.
    pub predicted: u64,
    /// Items that are both.
    pub correct: u64,
}

impl Score {
    fn of(correct: u64, predicted: u64, gold: u64) -> Self {
        let (precision, recall) = (ratio(correct, predicted), ratio(correct, gold));
        let f1 = if precision + recall > 0.0 {
            2.0 * precision * recall / (precision + recall)
        } else {
            0.0
        };
        Self { precision, recall, f1, gold, predicted, correct }
    }
}

/// A share of things found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Recall {
    /// The share; 1 where there was nothing to find.
    pub recall: f64,
    /// Things to find.
    pub gold: u64,
    /// Things found.
    pub found: u64,
}

impl Default for Recall {
    fn default() -> Self {
        Self { recall: 1.0, gold: 0, found: 0 }
    }
}

impl Recall {
    fn add(&mut self, found: bool) {
        self.gold += 1;
        self.found += u64::from(found);
        self.recall = ratio(self.found, self.gold);
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 1.0 } else { part as f64 / whole as f64 }
}

/// What was measured.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Documents compared.
    pub documents: u64,
    /// Mentions that must be masked, and those with every letter and digit covered.
    pub mentions: Recall,
    /// Characters that must be masked against characters covered.
    pub characters: Score,
    /// Entities that identify a person directly, all of whose mentions are covered.
    pub direct_entities: Recall,
    /// Entities that identify in combination, all of whose mentions are covered. Entities that are to
    /// be masked and identify nobody by the gold's own word are in neither of these two.
    pub quasi_entities: Recall,
    /// Exact spans with the right label, over all labels.
    pub exact: Score,
    /// Exact spans by label, in the gold's label set.
    pub exact_by_label: BTreeMap<String, Score>,
    /// Characters by label, in the gold's label set.
    pub characters_by_label: BTreeMap<String, Score>,
    /// Must-mask mentions found, by gold label.
    pub mentions_by_label: BTreeMap<String, Recall>,
    /// Characters by gold label and predicted label (`-` for none).
    pub confusion: BTreeMap<String, BTreeMap<String, u64>>,
    /// Kinds of must-mask mentions that were missed, most frequent first.
    pub misses: Vec<Miss>,
    /// Predicted labels that the gold's label set has no name for; they are left out of the
    /// figures by label.
    pub unmapped_labels: BTreeSet<String>,
}

/// A kind of miss.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Miss {
    /// The gold label.
    pub label: String,
    /// What the mention looks like.
    pub shape: &'static str,
    /// Whether a part of it was covered.
    pub partly: bool,
    /// How many mentions.
    pub count: u64,
    /// The mentions' texts, where they were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<String>,
}

/// Compares predictions with gold, document by document. `set` names the gold's label set for the
/// figures by label (see [`LabelMap::sets`]); `None` compares labels as they are.
pub fn evaluate(
    pairs: &[(&GoldDocument, &[Span])],
    map: &LabelMap,
    set: Option<&str>,
    show_text: bool,
) -> Report {
    let mut report = Report::default();
    let mut totals = Totals::default();
    for (gold, predicted) in pairs {
        totals.add(gold, predicted, map, set, &mut report, show_text);
    }
    report.documents = pairs.len() as u64;
    report.characters = totals.characters.score();
    report.exact =
        totals.exact.values().fold(Counts::default(), |sum, counts| sum.plus(counts)).score();
    report.exact_by_label =
        totals.exact.iter().map(|(label, counts)| (label.clone(), counts.score())).collect();
    report.characters_by_label =
        totals.by_label.iter().map(|(label, counts)| (label.clone(), counts.score())).collect();
    report.misses = totals
        .misses
        .into_iter()
        .map(|((label, shape, partly), (count, texts))| Miss { label, shape, partly, count, texts })
        .collect();
    report.misses.sort_by_key(|miss| std::cmp::Reverse(miss.count));
    report
}

#[derive(Clone, Copy, Default)]
struct Counts {
    correct: u64,
    predicted: u64,
    gold: u64,
}

impl Counts {
    fn plus(self, other: &Self) -> Self {
        Self {
            correct: self.correct + other.correct,
            predicted: self.predicted + other.predicted,
            gold: self.gold + other.gold,
        }
    }

    fn score(&self) -> Score {
        Score::of(self.correct, self.predicted, self.gold)
    }
}

type MissKey = (String, &'static str, bool);

#[derive(Default)]
struct Totals {
    characters: Counts,
    exact: BTreeMap<String, Counts>,
    by_label: BTreeMap<String, Counts>,
    misses: BTreeMap<MissKey, (u64, Vec<String>)>,
}

impl Totals {
    fn add(
        &mut self,
        document: &GoldDocument,
        predicted: &[Span],
        map: &LabelMap,
        set: Option<&str>,
        report: &mut Report,
        show_text: bool,
    ) {
        let text = &document.text;
        let mut covered = vec![false; text.len()];
        let mut predicted_label: Vec<Option<&str>> = vec![None; text.len()];
        let mut exact_predicted: BTreeSet<(usize, usize, &str)> = BTreeSet::new();
        for span in predicted {
            covered[span.start..span.end].fill(true);
            let label = match set {
                Some(set) => map.translate(set, &span.label),
                None => Some(&*span.label),
            };
            match label {
                Some(label) => {
                    predicted_label[span.start..span.end].fill(Some(label));
                    exact_predicted.insert((span.start, span.end, label));
                }
                None => {
                    report.unmapped_labels.insert(span.label.to_string());
                }
            }
        }
        let mut must_mask = vec![false; text.len()];
        let mut gold_label: Vec<Option<&str>> = vec![None; text.len()];
        let mut exact_gold: BTreeSet<(usize, usize, &str)> = BTreeSet::new();
        let mut entities: BTreeMap<&str, (Option<Identifier>, bool)> = BTreeMap::new();
        for mention in &document.mentions {
            gold_label[mention.start..mention.end].fill(Some(&mention.label));
            exact_gold.insert((mention.start, mention.end, &mention.label));
            if !mention.must_mask {
                continue;
            }
            must_mask[mention.start..mention.end].fill(true);
            let content = &text[mention.start..mention.end];
            let readable = |covered: &[bool]| {
                content
                    .char_indices()
                    .any(|(at, c)| c.is_alphanumeric() && !covered[mention.start + at])
            };
            let found = !readable(&covered);
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
        for (at, _) in text.char_indices() {
            self.characters.predicted += u64::from(covered[at]);
            self.characters.gold += u64::from(must_mask[at]);
            self.characters.correct += u64::from(covered[at] && must_mask[at]);
            let (gold, predicted) = (gold_label[at], predicted_label[at]);
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
        for (_, _, label) in &exact_gold {
            self.exact.entry((*label).to_string()).or_default().gold += 1;
        }
        for span in &exact_predicted {
            let counts = self.exact.entry(span.2.to_string()).or_default();
            counts.predicted += 1;
            counts.correct += u64::from(exact_gold.contains(span));
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn mention(
        start: usize,
        end: usize,
        label: &str,
        entity: &str,
        identifier: Identifier,
    ) -> Mention {
        Mention {
            start,
            end,
            label: label.into(),
            must_mask: identifier != Identifier::NoMask,
            identifier: Some(identifier),
            entity: Some(entity.into()),
        }
    }

    fn span(start: usize, end: usize, label: &str) -> Span {
        let source: Arc<str> = "test".into();
        Span::new(start, end, &label.into(), 1.0, &source)
    }

    #[test]
    fn figures_of_a_small_example_are_those_counted_by_hand() {
        let gold = GoldDocument {
            id: "d".into(),
            //     0         1         2         3
            //     0123456789012345678901234567890123
            text: "Jane Roe, Oslo; J. Roe; in 1999; X".into(),
            mentions: vec![
                mention(0, 8, "PERSON", "e1", Identifier::Direct),
                mention(10, 14, "LOC", "e2", Identifier::Quasi),
                mention(16, 22, "PERSON", "e1", Identifier::Direct),
                mention(27, 31, "DATETIME", "e3", Identifier::NoMask),
            ],
        };
        // J. Roe is covered in two parts that leave out only the full stop and the space.
        let predicted = [
            span(0, 8, "PERSON"),
            span(10, 14, "PERSON"),
            span(16, 17, "PERSON"),
            span(19, 22, "PERSON"),
            span(33, 34, "EMAIL"),
        ];
        let report = evaluate(&[(&gold, &predicted)], &LabelMap::built_in(), Some("tab"), false);
        assert_eq!((report.mentions.found, report.mentions.gold), (3, 3));
        assert_eq!(report.characters, Score::of(16, 17, 18));
        assert_eq!((report.direct_entities.found, report.quasi_entities.found), (1, 1));
        assert_eq!(report.exact_by_label["PERSON"], Score::of(1, 4, 2));
        assert_eq!(report.exact_by_label["CODE"], Score::of(0, 1, 0));
        assert_eq!(report.characters_by_label["LOC"], Score::of(0, 0, 4));
        assert_eq!(report.confusion["LOC"]["PERSON"], 4);
        assert_eq!(report.confusion["DATETIME"]["-"], 4);
        assert!(report.misses.is_empty());

        let report =
            evaluate(&[(&gold, &predicted[1..])], &LabelMap::built_in(), Some("tab"), false);
        assert_eq!(
            (report.direct_entities.found, report.direct_entities.gold),
            (0, 1),
            "one mention is readable"
        );
        assert_eq!((report.misses[0].label.as_str(), report.misses[0].count), ("PERSON", 1));
        assert!(report.misses[0].texts.is_empty(), "no text unless asked for");
        assert!(!report.table().contains("Jane"));
    }

    #[test]
    fn the_picture_is_well_formed() {
        let gold = GoldDocument {
            id: "d".into(),
            text: "Jane".into(),
            mentions: vec![mention(0, 4, "A<B", "e", Identifier::Direct)],
        };
        let report =
            evaluate(&[(&gold, &[span(0, 4, "PERSON")])], &LabelMap::built_in(), None, false);
        let picture = svg(&report);
        assert!(picture.starts_with("<svg") && picture.trim_end().ends_with("</svg>"));
        assert!(picture.contains("A&lt;B") && !picture.contains("A<B"));
        assert_eq!(picture.matches("<text").count(), picture.matches("</text>").count());
    }
}
