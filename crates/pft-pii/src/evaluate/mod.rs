//! Measures tags against gold annotations.
//!
//! Privacy is lost by a mention that stays readable, so the first figures are those of the mentions
//! that must be masked: a mention counts as found when each of its letters and digits is covered,
//! whatever the label; an entity counts when all its mentions do; precision is the share of covered
//! characters that had to be. Label by label follow exact spans, as in CoNLL's scoring, and characters.

mod gold;
mod plot;
mod report;
mod totals;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

pub use gold::{GoldDocument, GoldError, Identifier, Mention, parse_iob2, parse_tab};
pub use plot::svg;

use crate::Span;
use crate::labels::LabelMap;
use totals::{Counts, Totals};

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
