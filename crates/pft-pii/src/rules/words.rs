//! Lists of words.

use std::sync::Arc;

use aho_corasick::AhoCorasick;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::patterns::Edge;
use super::rule::is_whole;
use crate::{Span, matches};

/// Words and phrases of the user's own, found as whole words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WordList {
    /// The label of what it finds.
    pub label: String,
    /// The words and phrases.
    #[serde(default)]
    pub words: Vec<String>,
    /// Whether `smith` also finds `SMITH` (ASCII letters only).
    #[serde(default)]
    pub ignore_case: bool,
}

/// Finds a list's words.
pub(super) struct Words {
    label: Arc<str>,
    automaton: AhoCorasick,
}

impl Words {
    /// The list's finder; the error says what is wrong with the list.
    pub(super) fn new(list: &WordList) -> Result<Self, String> {
        if list.words.iter().any(|word| word.trim().is_empty()) {
            return Err("a word is empty".to_string());
        }
        let automaton = AhoCorasick::builder()
            .ascii_case_insensitive(list.ignore_case)
            .build(&list.words)
            .map_err(|error| error.to_string())?;
        Ok(Self { label: list.label.as_str().into(), automaton })
    }

    /// The words and phrases of a text, but for those within another; sorted. They may overlap.
    pub(super) fn find(&self, text: &str, score: f32, source: &Arc<str>) -> Vec<Span> {
        let mut spans = Vec::new();
        for found in self.automaton.find_overlapping_iter(text) {
            if is_whole(text, found.range(), Edge::Word) {
                let span = Span::new(found.start(), found.end(), &self.label, score, source);
                matches::add(&mut spans, span);
            }
        }
        spans
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found<'t>(words: &[&str], text: &'t str) -> Vec<&'t str> {
        let words = words.iter().map(ToString::to_string).collect();
        let list = WordList { label: "ORG".into(), words, ignore_case: true };
        let spans = Words::new(&list).unwrap().find(text, 1.0, &"test".into());
        spans.iter().map(|span| &text[span.start..span.end]).collect()
    }

    #[test]
    fn phrases_that_share_a_word_are_all_found() {
        let words = ["Alpha Bank", "Bank Kowalski Ltd", "Bank"];
        assert_eq!(
            found(&words, "the ALPHA BANK Kowalski Ltd"),
            ["ALPHA BANK", "BANK Kowalski Ltd"]
        );
        assert_eq!(found(&words, "a bank, Alpha Banks"), ["bank"]);
    }

    #[test]
    fn a_longer_phrase_that_is_no_whole_word_hides_no_shorter_one() {
        assert_eq!(found(&["Blue Moon", "Blue"], "Blue Moonlight"), ["Blue"]);
    }
}
