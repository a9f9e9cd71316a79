//! The settings of `scrub`.

use std::collections::BTreeMap;

use pft_artifact::SpanRow;
use pft_stage::StageError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What takes the place of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// One token for every span, `mask_token`.
    Mask,
    /// The label in brackets: `[PERSON]`.
    Label,
    /// The same placeholder for the same text within a unit: `PERSON_1`.
    Pseudonym,
    /// A fictional value of the same kind, the same for the same text within a unit; another in each
    /// run.
    Surrogate,
    /// Nothing.
    Remove,
    /// The text itself: the label is left alone.
    Keep,
}

/// What to do with a document that the tags leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Untagged {
    /// Stop: the document is not known to be clean.
    Stop,
    /// Leave the document out and count it.
    Drop,
}

/// What documents and units are called in the outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Ids {
    /// By numbers in the order of the corpus: `document-1`, `unit-1`. Ids are often names of people,
    /// addresses or paths.
    Number,
    /// As in the corpus.
    Keep,
}

/// Settings of the stage.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What takes the place of a span.
    pub mode: Mode,
    /// Other modes for some labels: `{ DATE: surrogate, PERSON: pseudonym }`.
    pub label_modes: BTreeMap<String, Mode>,
    /// The token of mode `mask`.
    pub mask_token: String,
    /// Scrub these labels only; all labels without it.
    pub labels: Option<Vec<String>>,
    /// Leave spans alone whose score is lower.
    pub min_score: f32,
    /// What to do with a document that the tags leave out.
    pub untagged: Untagged,
    /// What documents and units are called in the outputs.
    pub ids: Ids,
    /// Chooses surrogates by this seed instead of a key that is drawn for each run and forgotten: for
    /// experiments that must be repeatable. Whoever knows the seed finds out, by trying, which texts a
    /// surrogate can stand for, so the result is not for release.
    pub fixed_seed_not_for_release: Option<u64>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mode: Mode::Mask,
            label_modes: BTreeMap::new(),
            mask_token: "<MASK>".to_string(),
            labels: None,
            min_score: 0.0,
            untagged: Untagged::Stop,
            ids: Ids::Number,
            fixed_seed_not_for_release: None,
        }
    }
}

impl Config {
    pub(crate) fn validate(&self) -> Result<(), StageError> {
        if self.mask_token.is_empty() {
            return Err(StageError::config("mask_token: it is empty")
                .with_help("use `mode: remove` to put nothing in a span's place"));
        }
        if self.labels.as_ref().is_some_and(Vec::is_empty) {
            return Err(StageError::config(
                "labels: the list is empty, and nothing would be replaced",
            )
            .with_help("leave `labels` out for all of them"));
        }
        if !(0.0..=1.0).contains(&self.min_score) {
            return Err(StageError::config(format!(
                "min_score: is {}, but scores lie between 0 and 1",
                self.min_score
            )));
        }
        Ok(())
    }

    /// What a privacy statement says of the stage. It follows from the settings alone: how much was
    /// found is private.
    pub(crate) fn statement(&self) -> String {
        let all_kept = match &self.labels {
            Some(labels) => labels.iter().all(|label| self.mode_of(label, 1.0) == Mode::Keep),
            None => self.label_modes.values().chain([&self.mode]).all(|mode| *mode == Mode::Keep),
        };
        if all_kept {
            return "Personal data were looked for in the texts and left in them, as scrub was told \
                    (tag-pii, scrub)"
                .to_string();
        }
        let mut limits = Vec::new();
        if let Some(labels) = &self.labels {
            limits.push(format!("only what has one of the labels {}", labels.join(", ")));
        }
        if self.mode == Mode::Keep {
            let changed = self.label_modes.iter().filter(|(_, mode)| **mode != Mode::Keep);
            let changed: Vec<&str> = changed.map(|(label, _)| label.as_str()).collect();
            limits.push(format!("only what is {}", changed.join(", ")));
        } else {
            let kept = self.label_modes.iter().filter(|(_, mode)| **mode == Mode::Keep);
            let kept: Vec<&str> = kept.map(|(label, _)| label.as_str()).collect();
            if !kept.is_empty() {
                limits.push(format!("not what is {}", kept.join(", ")));
            }
        }
        if self.min_score > 0.0 {
            limits.push(format!("nothing with a score below {}", self.min_score));
        }
        let limits = if limits.is_empty() {
            "what was found was replaced".to_string()
        } else {
            format!("a part of what was found was replaced, {}", limits.join(", "))
        };
        format!(
            "Personal data were looked for in the texts, and {limits}, unit by unit (tag-pii, scrub)"
        )
    }

    /// How a span is treated, and as what: by its label, or where that says to keep it by the first
    /// of its other labels that does not. It stays only if every label says so.
    pub fn treatment<'s>(&self, span: &SpanRow<'s>) -> (&'s str, Mode) {
        let mode = self.mode_of(span.label, span.score);
        if mode != Mode::Keep || span.other_labels.is_none() {
            return (span.label, mode);
        }
        span.labels()
            .map(|label| (label, self.mode_of(label, span.score)))
            .find(|&(_, mode)| mode != Mode::Keep)
            .unwrap_or((span.label, mode))
    }

    fn mode_of(&self, label: &str, score: f32) -> Mode {
        let listed = self.labels.as_ref().is_none_or(|labels| labels.iter().any(|l| l == label));
        if !listed || score < self.min_score {
            return Mode::Keep;
        }
        self.label_modes.get(label).copied().unwrap_or(self.mode)
    }
}
