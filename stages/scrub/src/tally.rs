//! What was found and replaced, by label.

use std::collections::BTreeMap;

use pft_stage::StageError;
use serde_json::{Value, json};

use crate::config::Config;

/// Spans by label: how many there were, and how many of them were replaced.
#[derive(Debug, Default)]
pub(crate) struct Tally<'a>(Vec<(&'a str, u64, u64)>);

impl<'a> Tally<'a> {
    /// Adds spans of a label.
    pub(crate) fn add(&mut self, label: &'a str, found: u64, replaced: u64) {
        // A handful of labels, mostly the same string: a map would cost more.
        match self.0.iter_mut().find(|(known, _, _)| std::ptr::eq(*known, label) || *known == label)
        {
            Some((_, all, of_them)) => {
                *all += found;
                *of_them += replaced;
            }
            None => self.0.push((label, found, replaced)),
        }
    }
}

/// The tally of a whole corpus.
#[derive(Debug, Default)]
pub(crate) struct Total(BTreeMap<String, (u64, u64)>);

impl Total {
    /// Adds a document's.
    pub(crate) fn add(&mut self, tally: &Tally<'_>) {
        for &(label, found, replaced) in &tally.0 {
            match self.0.get_mut(label) {
                Some(total) => *total = (total.0 + found, total.1 + replaced),
                None => drop(self.0.insert(label.to_string(), (found, replaced))),
            }
        }
    }

    /// Spans, and how many of them were replaced.
    pub(crate) fn spans(&self) -> (u64, u64) {
        self.0.values().fold((0, 0), |sum, spans| (sum.0 + spans.0, sum.1 + spans.1))
    }

    /// The labels with spans that stay readable, and how many those are: `DATE 12`.
    pub(crate) fn left(&self) -> Vec<String> {
        let left = self.0.iter().filter(|(_, (found, replaced))| found > replaced);
        left.map(|(label, (found, replaced))| format!("{label} {}", found - replaced)).collect()
    }

    /// For the metrics.
    pub(crate) fn to_json(&self) -> Value {
        let by_label = self.0.iter();
        by_label
            .map(|(label, (found, replaced))| {
                (label.clone(), json!({ "found": found, "replaced": replaced }))
            })
            .collect()
    }

    /// Refuses settings for labels that no span has where one that spans do have was meant; gives back
    /// those that may be right in another corpus.
    pub(crate) fn check<'c>(&self, config: &'c Config) -> Result<Vec<&'c str>, StageError> {
        if self.0.is_empty() {
            return Ok(Vec::new());
        }
        let has = |label: &str| self.0.contains_key(label);
        let labels = || self.0.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let is_named = |label: &str| {
            config.labels.iter().flatten().any(|named| named == label)
                || config.label_modes.contains_key(label)
        };
        let named = config.labels.iter().flatten().map(|label| ("labels", label));
        let named = named.chain(config.label_modes.keys().map(|label| ("label_modes", label)));
        let mut unseen = Vec::new();
        for (key, label) in named.filter(|(_, label)| !has(label)) {
            let meant = self.0.keys().find(|known| !is_named(known) && are_alike(known, label));
            if let Some(meant) = meant {
                return Err(StageError::config(format!(
                    "{key}: no span has the label {label:?}; did you mean {meant:?}?"
                ))
                .with_help(format!("the tags have the labels {}", labels())));
            }
            unseen.push(label.as_str());
        }
        Ok(unseen)
    }
}

/// Whether one label may have been written for the other: `Person` or `PER` for PERSON, `SSN` for US_SSN.
fn are_alike(one: &str, other: &str) -> bool {
    let (one, other) = (one.to_ascii_uppercase(), other.to_ascii_uppercase());
    let words_within = |short: &str, long: &str| {
        short.split('_').all(|word| long.split('_').any(|other| other == word))
    };
    one.starts_with(&other)
        || other.starts_with(&one)
        || words_within(&one, &other)
        || words_within(&other, &one)
}
