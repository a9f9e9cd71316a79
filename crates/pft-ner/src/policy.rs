//! Which of the backends' spans count.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use regex::{RegexSet, RegexSetBuilder};

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
    pub ignore: RegexSet,
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
        }
    }

    /// Adds a pattern of texts that are never personal information; it must match the whole span.
    ///
    /// # Errors
    /// When it is not a regular expression.
    pub fn ignore(&mut self, pattern: &str) -> Result<(), LoadError> {
        let mut patterns = self.ignore.patterns().to_vec();
        patterns.push(format!("^(?:{pattern})$"));
        // As much as each would have alone.
        let limit = patterns.len() * (10 << 20);
        self.ignore = RegexSetBuilder::new(patterns)
            .size_limit(limit)
            .build()
            .map_err(|error| LoadError::Config(format!("ignore: {error}")))?;
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
        if self.ignore.is_match(&text[start..end]) {
            return None;
        }
        Some((start, end))
    }
}

/// The range without white space around it; nothing where only white space is left.
fn trim(text: &str, range: Range<usize>) -> Option<(usize, usize)> {
    let inner = &text[range.clone()];
    let start = range.start + (inner.len() - inner.trim_start().len());
    let end = start + inner.trim().len();
    (start < end).then_some((start, end))
}
