//! Which of the backends' spans count.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use regex::{Regex, RegexSet, RegexSetBuilder};

use crate::labels::LabelMap;
use crate::{LoadError, Span};

/// Which spans count, and as what.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Maps the backends' labels to canonical ones.
    pub labels: LabelMap,
    /// The canonical labels that count as personal information.
    pub pii: BTreeSet<String>,
    /// The score that a span needs.
    pub min_score: f32,
    /// The score that a span of a label needs, instead of `min_score`.
    pub thresholds: BTreeMap<String, f32>,
    /// Spans whose whole text matches one of these are left out.
    ignore: RegexSet,
    /// The canonical labels of the spans that each of them is for; all spans where it names none.
    ignored_labels: Vec<BTreeSet<String>>,
}

impl Policy {
    /// Everything in `pii` counts, whatever its score.
    pub fn new(pii: impl IntoIterator<Item = String>) -> Self {
        Self {
            labels: LabelMap::built_in(),
            pii: pii.into_iter().collect(),
            min_score: 0.0,
            thresholds: BTreeMap::new(),
            ignore: RegexSet::empty(),
            ignored_labels: Vec::new(),
        }
    }

    /// Adds a pattern of texts that are never personal information; it must match the whole span, and
    /// is for spans of these canonical labels only, where there are any.
    ///
    /// # Errors
    /// When it is not a regular expression, or matches whatever it meets.
    pub fn ignore(&mut self, pattern: &str, labels: &[String]) -> Result<(), LoadError> {
        let config = |error: &dyn std::fmt::Display| LoadError::Config(format!("ignore: {error}"));
        let whole = format!("^(?:{pattern})$");
        let alone = Regex::new(&whole).map_err(|error| config(&error))?;
        let of_all = labels.is_empty();
        if of_all
            && ["x", "Jan Kowalski", "+44 20 7946 0958"].iter().all(|text| alone.is_match(text))
        {
            return Err(config(&format!(
                "{pattern:?} matches any text, and nothing would be found"
            )));
        }
        let mut patterns = self.ignore.patterns().to_vec();
        patterns.push(whole);
        // As much as each would have alone.
        let limit = patterns.len() * (10 << 20);
        self.ignore = RegexSetBuilder::new(patterns)
            .size_limit(limit)
            .build()
            .map_err(|error| config(&error))?;
        self.ignored_labels.push(labels.iter().cloned().collect());
        Ok(())
    }

    /// The range of the span that counts, or nothing.
    pub(crate) fn admit(&self, text: &str, span: &Span) -> Option<(usize, usize)> {
        let label = self.labels.canonical(&span.label);
        let threshold = self.thresholds.get(&*label).copied().unwrap_or(self.min_score);
        if span.score < threshold || !self.pii.contains(&*label) {
            return None;
        }
        let (start, end) = trim(text, span.start..span.end)?;
        if self.is_ignored(&text[start..end], &label) {
            return None;
        }
        Some((start, end))
    }

    fn is_ignored(&self, text: &str, label: &str) -> bool {
        let is_for = |pattern: usize| {
            let labels = &self.ignored_labels[pattern];
            labels.is_empty() || labels.contains(label)
        };
        self.ignore.is_match(text) && self.ignore.matches(text).iter().any(is_for)
    }
}

/// The range without white space around it; nothing where only white space is left.
fn trim(text: &str, range: Range<usize>) -> Option<(usize, usize)> {
    let inner = &text[range.clone()];
    let start = range.start + (inner.len() - inner.trim_start().len());
    let end = start + inner.trim().len();
    (start < end).then_some((start, end))
}
