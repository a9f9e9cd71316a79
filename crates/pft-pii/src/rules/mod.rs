//! The `rules` backend: regular expressions, validated where the format has a checksum, and word
//! lists. All automata are shared by all threads.

mod checksum;
mod nations;
mod patterns;
mod rule;
mod starts;
#[cfg(test)]
mod tests;
mod words;

use std::sync::Arc;

use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{LoadError, Span, TagError, Tagger};
use nations::Nations;
use patterns::Pattern;
use rule::{Rule, SEARCH_CACHE, compile, named_group};
use starts::Starts;
use words::Words;

pub use words::WordList;

/// Bumped when what the rules find in a text changes.
const REVISION: u32 = 4;

/// Score of a match whose format carries a checksum, or of the user's own pattern.
const CERTAIN: f32 = 1.0;
/// Score of any other match.
const LIKELY: f32 = 0.85;

/// Settings of the rules.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RulesConfig {
    /// Labels whose built-in patterns are left out.
    pub disable: Vec<String>,
    /// Further patterns.
    pub patterns: Vec<UserPattern>,
    /// Further words and phrases.
    pub words: Vec<WordList>,
}

/// A pattern of the user's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserPattern {
    /// The label of what it finds.
    pub label: String,
    /// A regular expression in the syntax of Rust's regex crate; a group named `e` narrows the
    /// entity to a part of the match.
    pub regex: String,
}

/// Labels that the built-in patterns use and OntoNotes does not know.
pub const OWN_LABELS: &[&str] =
    &["EMAIL", "URL", "IP_ADDRESS", "IBAN", "CREDIT_CARD", "US_SSN", "PHONE", "CASE_NUMBER", "AGE"];

/// The `rules` backend.
pub struct RulesTagger {
    source: Arc<str>,
    /// Searched for through the whole text: the user's patterns, and built-in ones that hold a byte
    /// or begin with letters that most texts lack.
    searched: Vec<Rule>,
    /// The other built-in patterns.
    starts: Starts,
    words: Vec<Words>,
    nations: Nations,
    fingerprint: String,
}

impl RulesTagger {
    /// Compiles the built-in patterns and the user's.
    ///
    /// # Errors
    /// When a pattern is not a regular expression or matches the empty text, or a word is empty.
    pub fn new(config: &RulesConfig) -> Result<Self, LoadError> {
        let wanted = |pattern: &Pattern| !config.disable.iter().any(|label| label == pattern.label);
        let (searched, starting): (Vec<Pattern>, Vec<Pattern>) = patterns::built_in()
            .into_iter()
            .filter(wanted)
            .partition(|pattern| pattern.needs.is_some());
        let rules = |patterns: Vec<Pattern>, anchored| {
            let rules = patterns.into_par_iter().map(|pattern| Rule::built_in(pattern, anchored));
            rules.collect::<Result<Vec<Rule>, LoadError>>()
        };
        let mut searched = rules(searched, false)?;
        let starting = rules(starting, true)?;
        let starts = Starts::new(starting)?;
        for (number, pattern) in config.patterns.iter().enumerate() {
            let at = |message: String| {
                LoadError::Config(format!("rules.patterns.{number}.regex: {message}"))
            };
            let regex =
                compile(&pattern.regex, SEARCH_CACHE).map_err(|error| at(error.to_string()))?;
            if regex.is_match("") {
                return Err(at("the pattern matches the empty text".into()));
            }
            let group = named_group(&regex);
            searched.push(Rule {
                label: pattern.label.as_str().into(),
                regex,
                group,
                edge: None,
                check: |text| Some(text.len()),
                needs: None,
                score: CERTAIN,
            });
        }
        let words = config.words.iter().enumerate().map(|(number, list)| {
            Words::new(list)
                .map_err(|message| LoadError::Config(format!("rules.words.{number}: {message}")))
        });
        let words = words.collect::<Result<Vec<_>, _>>()?;
        let settings =
            serde_json::to_string(config).map_err(|error| LoadError::Config(error.to_string()))?;
        let fingerprint =
            format!("rules/{REVISION}/{}", blake3::hash(settings.as_bytes()).to_hex());
        let nations = Nations::new(&config.disable)?;
        Ok(Self { source: "rules".into(), searched, starts, words, nations, fingerprint })
    }

    /// All matches in a text, sorted; they may overlap.
    pub fn tag(&self, text: &str) -> Vec<Span> {
        let mut spans = Vec::new();
        self.find_patterns(text, &mut spans);
        for list in &self.words {
            spans.append(&mut list.find(text, CERTAIN, &self.source));
        }
        self.nations.find(text, LIKELY, &self.source, &mut spans);
        spans.sort_by(|a, b| (a.start, b.end, &a.label).cmp(&(b.start, a.end, &b.label)));
        spans
    }

    fn find_patterns(&self, text: &str, spans: &mut Vec<Span>) {
        self.starts.find(text, &self.source, spans);
        for rule in &self.searched {
            if rule.needs.is_none_or(|byte| memchr(byte, text)) {
                rule.find(text, &self.source, spans);
            }
        }
    }
}

impl Tagger for RulesTagger {
    fn name(&self) -> &str {
        &self.source
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    fn tag_batch(&self, texts: &[&str]) -> Vec<Result<Vec<Span>, TagError>> {
        texts.iter().map(|text| Ok(self.tag(text))).collect()
    }
}

fn memchr(byte: u8, text: &str) -> bool {
    text.as_bytes().contains(&byte)
}
