//! The consistency pass: a name found once in a unit is found everywhere in that unit.
//!
//! Of a person's name the pass looks for the full form, the surname alone, each half of a double one, the given
//! names alone, the initial with the surname (`J. Kowalski`), each also in capitals and letter-spaced as scans
//! have it (`K o w a l s k i`); a possessive `'s` may follow. Of other entities it looks for the same text
//! and its capitals. Letters with marks, apostrophes and hyphens may be written in any of their ways. Matches are whole words. A single word of everyday language never counts as a name,
//! nor do several as that of an institution (`Supreme Court`).
//!
//! Names are collected from one unit and applied to that unit only: nothing that one unit says may
//! change another's tags.

mod names;
mod words;

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use unicode_normalization::char::is_combining_mark;

use crate::Span;
use names::Labels;
use words::{PARTICLES, STOP_WORDS, TITLES};

pub use names::{NameFinder, UnitNames};

const PERSON: &str = "PERSON";

/// The `source` of spans that the pass adds.
pub const SOURCE: &str = "consistency";

/// Settings of the pass.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ConsistencyConfig {
    /// Whether the pass runs.
    pub enabled: bool,
    /// Labels whose entities are looked for in all of their unit.
    pub labels: Vec<String>,
    /// The score that an entity needs to be looked for elsewhere.
    pub min_score: f32,
    /// Characters that a name, or a part of one, needs.
    pub min_chars: usize,
    /// Words that are never looked for, in addition to the built-in list.
    pub stop_words: Vec<String>,
}

impl Default for ConsistencyConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            labels: ["PERSON", "ORG", "GPE", "LOC", "FAC"].map(String::from).to_vec(),
            min_score: 0.5,
            min_chars: 3,
            stop_words: Vec::new(),
        }
    }
}

/// What the pass looks for, made from its settings.
#[derive(Clone, Debug)]
pub struct Consistency {
    labels: BTreeSet<String>,
    min_score: f32,
    min_chars: usize,
    stop_words: BTreeSet<String>,
}

impl Consistency {
    /// The pass with these settings.
    pub fn new(config: &ConsistencyConfig) -> Self {
        Self {
            labels: config.labels.iter().cloned().collect(),
            min_score: config.min_score,
            min_chars: config.min_chars.max(2),
            stop_words: STOP_WORDS
                .split_whitespace()
                .map(String::from)
                .chain(config.stop_words.iter().map(|word| word.to_lowercase()))
                .collect(),
        }
    }

    /// Adds the names among a document's spans to its unit's.
    pub fn collect(&self, text: &str, spans: &[Span], names: &mut UnitNames) {
        for span in spans {
            if span.score < self.min_score || !self.labels.contains(&*span.label) {
                continue;
            }
            let entity = &text[span.start..span.end];
            let labels = Labels::of(span);
            if *span.label == *PERSON {
                self.collect_person(entity, &labels, names);
            } else {
                self.collect_other(entity, &labels, names);
            }
        }
    }

    fn collect_person(&self, entity: &str, labels: &Labels, names: &mut UnitNames) {
        let words: Vec<&str> = entity
            .split(|c: char| c.is_whitespace() || c == ',')
            .map(|word| without_possessive(word.trim_matches(['(', ')', '“', '”', '"', ';', ':'])))
            .filter(|word| {
                !word.is_empty()
                    && !TITLES.contains(&word.trim_end_matches('.').to_lowercase().as_str())
            })
            .collect();
        if words.is_empty() || words.len() > 8 {
            return;
        }
        let is_name = |word: &&str| {
            word.starts_with(char::is_uppercase)
                && !word.contains('.')
                && word.chars().all(|c| {
                    c.is_alphabetic() || is_combining_mark(c) || "-’'\u{2010}\u{2011}".contains(c)
                })
        };
        if words.len() > 1 {
            self.add_forms(&words.join(" "), labels, names);
        }
        let name_words: Vec<&str> = words.iter().copied().filter(|word| is_name(word)).collect();
        for word in &name_words {
            self.add_forms(word, labels, names);
            // Of a double name people may use one half.
            let halves = word.split(['-', '\u{2010}', '\u{2011}']);
            for half in halves.filter(|half| half.len() < word.len() && is_name(half)) {
                self.add_forms(half, labels, names);
            }
        }
        let Some(surname) = name_words.last() else {
            return;
        };
        if let Some(initial) = words[0].chars().next().filter(|c| c.is_uppercase()) {
            let form = format!("{initial} {surname}");
            if self.is_distinctive(&form) {
                names.add(format!("{initial}. {surname}"), labels);
                names.add(format!("{initial}.{surname}"), labels);
                names.add(form, labels);
            }
        }
    }

    /// A word with its capitals and letter-spaced forms.
    fn add_forms(&self, form: &str, labels: &Labels, names: &mut UnitNames) {
        if !self.is_distinctive(form) {
            return;
        }
        let upper = form.to_uppercase();
        for form in [form, upper.as_str()] {
            if !form.contains(' ') && form.chars().count() >= 4 {
                let spaced: Vec<String> = form.chars().map(String::from).collect();
                names.add(spaced.join(" "), labels);
            }
            names.add(form.to_string(), labels);
        }
    }

    fn collect_other(&self, entity: &str, labels: &Labels, names: &mut UnitNames) {
        let entity = without_possessive(entity.trim());
        if !entity.starts_with(char::is_uppercase)
            || !self.is_long_enough(entity)
            // Offices and institutions are called by everyday words, in each of their mentions.
            || entity.split([' ', '\u{a0}']).all(|word| self.is_everyday(word))
            || entity.contains('\n')
        {
            return;
        }
        names.add(entity.to_string(), labels);
        // Capitals of a short word would be somebody's abbreviation.
        if entity.chars().count() >= 5 {
            names.add(entity.to_uppercase(), labels);
        }
    }

    /// Whether a form of a person's name is long enough, and no everyday word. Several words are a
    /// name even where each of them is an everyday one: `Mark Brown`.
    fn is_distinctive(&self, form: &str) -> bool {
        self.is_long_enough(form) && (form.contains(' ') || !self.is_everyday(form))
    }

    fn is_long_enough(&self, form: &str) -> bool {
        form.chars().filter(|c| c.is_alphabetic()).count() >= self.min_chars
    }

    fn is_everyday(&self, word: &str) -> bool {
        let word = word.trim_end_matches(['.', ',']).to_lowercase();
        self.stop_words.contains(&word) || PARTICLES.contains(&word.as_str())
    }
}

fn without_possessive(word: &str) -> &str {
    for ending in ["'s", "’s", "'S", "’S"] {
        if let Some(word) = word.strip_suffix(ending) {
            return word;
        }
    }
    word.trim_end_matches(['\'', '’'])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use proptest::prelude::*;

    fn unit(text: &str, entities: &[(&str, &str)]) -> UnitNames {
        let source: Arc<str> = "test".into();
        let spans: Vec<Span> = entities
            .iter()
            .map(|(entity, label)| {
                let start = text.find(entity).unwrap();
                Span::new(start, start + entity.len(), &(*label).into(), 1.0, &source)
            })
            .collect();
        let mut names = UnitNames::default();
        Consistency::new(&ConsistencyConfig::default()).collect(text, &spans, &mut names);
        names
    }

    fn found<'t>(names: &UnitNames, text: &'t str) -> Vec<&'t str> {
        names.finder().unwrap().find(text).iter().map(|s| &text[s.start..s.end]).collect()
    }

    #[test]
    fn a_name_is_found_in_all_its_forms() {
        let names = unit("Mr Zbigniew Żółkiewski lodged", &[("Mr Zbigniew Żółkiewski", "PERSON")]);
        for form in [
            "Żółkiewski",
            "Z. Żółkiewski",
            "Z.Żółkiewski",
            "ŻÓŁKIEWSKI",
            "Ż ó ł k i e w s k i",
            "Ż Ó Ł K I E W S K I",
            "Zbigniew",
            "Zbigniew Żółkiewski",
        ] {
            let text = format!("then {form}’s brother");
            assert_eq!(found(&names, &text), vec![form], "{form}");
        }
        assert!(found(&names, "Żółkiewskiego and preŻółkiewski").is_empty(), "only whole words");
    }

    #[test]
    fn a_name_is_found_in_all_its_spellings() {
        let names = unit("Mr José O’Connor-Ñandú lodged", &[("Mr José O’Connor-Ñandú", "PERSON")]);
        for form in [
            "O'Connor-Ñandú",
            "O’Connor‑Ñandú",
            "O'Connor",
            "O’CONNOR",
            "Ñandú",
            "N\u{303}andu\u{301}",
            "Jose\u{301}",
            "Jose\u{301} O'Connor\u{2010}N\u{303}andu\u{301}",
            "J. O'Connor-N\u{303}andu\u{301}",
        ] {
            assert_eq!(found(&names, &format!("then {form}, too")), [form]);
        }
        let names = unit("Mr Jose Kowalski lodged", &[("Mr Jose Kowalski", "PERSON")]);
        assert!(found(&names, "Jose\u{301} is José").is_empty(), "other letters");
    }

    #[test]
    fn everyday_words_are_no_names() {
        let names =
            unit("Ms May Court and the Bank", &[("Ms May Court", "PERSON"), ("Bank", "ORG")]);
        assert!(found(&names, "In May the Court found that the Bank was").is_empty());
        let names = unit("the Supreme Court", &[("Supreme Court", "ORG")]);
        assert!(found(&names, "The Supreme Court, the SUPREME COURT").is_empty());
    }

    #[test]
    fn everyday_words_together_are_a_name() {
        let names = unit("Mr Mark Brown lodged", &[("Mr Mark Brown", "PERSON")]);
        for form in ["Mark Brown", "MARK BROWN", "M. Brown", "M.Brown", "M Brown"] {
            assert_eq!(found(&names, &format!("then {form} said")), [form]);
        }
        assert!(found(&names, "a brown mark, Mark and Brown").is_empty(), "not one by one");
        let names = unit("Ms Ann Li", &[("Ms Ann Li", "PERSON")]);
        assert_eq!(found(&names, "A. Li, Li"), ["A. Li"], "what is too short is so alone");
    }

    #[test]
    fn names_that_share_a_part_are_all_found() {
        let text = "Alpha Bank and Bank Kowalski Ltd";
        let names = unit(text, &[("Alpha Bank", "ORG"), ("Bank Kowalski Ltd", "ORG")]);
        assert_eq!(found(&names, "Alpha Bank Kowalski Ltd"), ["Alpha Bank", "Bank Kowalski Ltd"]);
        // However many names lie within each other, each place is reported once.
        let nested: Vec<String> = (1..200).map(|n| vec!["Abba"; n].join(" ")).collect();
        let longest = nested.last().unwrap().clone();
        let entities: Vec<(&str, &str)> = nested.iter().map(|n| (n.as_str(), "ORG")).collect();
        let names = unit(&longest, &entities);
        assert_eq!(found(&names, &longest), [longest.as_str()]);
    }

    #[test]
    fn a_name_carries_what_else_it_was_taken_for() {
        let text = "Alpha Kowalski and Beta";
        let mut names = unit(text, &[("Alpha Kowalski", "ORG"), ("Beta", "GPE")]);
        names.merge(unit(text, &[("Alpha Kowalski", "PERSON"), ("Beta", "ORG")]));
        let mut dated = Span::new(0, 14, &"ORG".into(), 1.0, &"test".into());
        dated.add_label(&"DATE".into());
        Consistency::new(&ConsistencyConfig::default()).collect(text, &[dated], &mut names);
        let labels: Vec<Vec<String>> = names
            .finder()
            .unwrap()
            .find("Beta met Alpha Kowalski")
            .iter()
            .map(|span| span.labels().map(ToString::to_string).collect())
            .collect();
        assert_eq!(labels, [vec!["GPE", "ORG"], vec!["PERSON", "DATE", "ORG"]]);
    }

    #[test]
    fn other_entities_are_found_as_they_are_written() {
        let names = unit("in Nowhereville the", &[("Nowhereville", "GPE")]);
        assert_eq!(
            found(&names, "Nowhereville, NOWHEREVILLE, nowhereville"),
            ["Nowhereville", "NOWHEREVILLE"]
        );
    }

    #[test]
    fn entities_below_the_score_are_not_spread() {
        let mut names = UnitNames::default();
        let span = Span::new(0, 8, &"PERSON".into(), 0.2, &"test".into());
        Consistency::new(&ConsistencyConfig::default()).collect("Kowalski", &[span], &mut names);
        assert!(names.is_empty());
    }

    proptest! {
        #[test]
        fn matches_are_whole_words(text in "([A-Z][a-zé]{2,6}|[a-z]{1,3}|[ .,’\n]){0,40}") {
            let names = unit("Mr Jan Révész", &[("Mr Jan Révész", "PERSON")]);
            let spans = names.finder().unwrap().find(&text);
            // The oracle: splitting at everything that is no letter finds every single word.
            for (start, word) in text.match_indices("Révész") {
                let alone = !text[..start].ends_with(char::is_alphanumeric)
                    && !text[start + word.len()..].starts_with(char::is_alphanumeric);
                prop_assert_eq!(alone, spans.iter().any(|s| s.start <= start && start + word.len() <= s.end));
            }
        }
    }
}
