//! The consistency pass: a name found once in a unit is found everywhere in that unit.
//!
//! Of a person's name the pass looks for the full form, the surname alone, the given names alone, the initial
//! with the surname (`J. Kowalski`), each also in capitals and letter-spaced as scans have it
//! (`K o w a l s k i`); a possessive `'s` may follow. Of other entities it looks for the same text
//! and its capitals. Matches are whole words, and words of everyday language never count as names.
//!
//! Names are collected from one unit and applied to that unit only: nothing that one unit says may
//! change another's tags.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aho_corasick::AhoCorasick;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{LoadError, Span};

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

/// Words that begin sentences, name offices, or are as common as they are surnames.
const STOP_WORDS: &str = "\
a an and are as at be been but by can did do for from had has have he her his i if in is it its may me more most \
mr mrs ms miss dr prof sir lord lady judge justice no not of on one or our she so than that the their them there they \
this those to us was we were what when where which who will with would you your also any both each few many other same some such \
january february march april may june july august september october november december jan feb mar apr jun jul aug sep oct nov dec \
monday tuesday wednesday thursday friday saturday sunday north south east west northern southern eastern western \
court courts supreme district regional administrative constitutional appeal appeals high federal state public prosecutor \
government governor minister ministry police president chairman director manager secretary agent counsel lawyer \
applicant applicants company convention article section chapter law act code protocol rule rules paragraph facts case judgment \
national international european general special central local civil criminal military social security office officer commission committee council \
city town village street road university school college hospital prison bank church house village union party press \
best brown black white green gray grey young long short small little good new old big king bush hill wood woods field price rich day may june \
grant mark bill will art rose hope faith grace joy page ward stone rock bell cook baker smart sharp strong power energy gas oil market trade \
turkish polish austrian german french swedish norwegian swiss english british american russian italian greek spanish dutch irish \
date subject from sent cc bcc re fw fwd please thanks regards sincerely dear hello hi call meeting group team report time today tomorrow yesterday";

const TITLES: &[&str] = &[
    "mr",
    "mrs",
    "ms",
    "miss",
    "messrs",
    "mister",
    "dr",
    "prof",
    "professor",
    "doctor",
    "sir",
    "dame",
    "lady",
    "lord",
    "judge",
    "justice",
    "mme",
    "mlle",
    "maître",
    "herr",
    "frau",
    "and",
    "captain",
    "capt",
    "lieutenant",
    "sergeant",
    "colonel",
    "major",
    "general",
    "father",
    "sister",
    "brother",
    "rev",
    "reverend",
    "bishop",
    "imam",
    "sheikh",
];

const PARTICLES: &[&str] = &[
    "van", "von", "der", "den", "de", "du", "des", "la", "le", "di", "da", "del", "della", "dos",
    "das", "el", "al", "bin", "ibn", "ter", "ten", "zu", "zum", "zur", "af", "av", "y", "e", "i",
    "do",
];

/// The names of one unit, collected from the spans of its documents.
#[derive(Clone, Debug, Default)]
pub struct UnitNames {
    /// Text to look for → its label.
    names: BTreeMap<String, Arc<str>>,
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
            if &*span.label == "PERSON" {
                self.collect_person(entity, &span.label, names);
            } else {
                self.collect_other(entity, &span.label, names);
            }
        }
    }

    fn collect_person(&self, entity: &str, label: &Arc<str>, names: &mut UnitNames) {
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
                && word.chars().all(|c| c.is_alphabetic() || "-’'\u{2010}\u{2011}".contains(c))
        };
        if words.len() > 1 {
            self.add_forms(&words.join(" "), label, names);
        }
        let name_words: Vec<&str> = words.iter().copied().filter(|word| is_name(word)).collect();
        for word in &name_words {
            self.add_forms(word, label, names);
        }
        let Some(surname) = name_words.last() else {
            return;
        };
        if !self.is_distinctive(surname) {
            return;
        }
        if let Some(initial) = words[0].chars().next().filter(|c| c.is_uppercase()) {
            for form in [
                format!("{initial}. {surname}"),
                format!("{initial}.{surname}"),
                format!("{initial} {surname}"),
            ] {
                names.add(form, label);
            }
        }
    }

    /// A word with its capitals and letter-spaced forms.
    fn add_forms(&self, form: &str, label: &Arc<str>, names: &mut UnitNames) {
        if !self.is_distinctive(form) {
            return;
        }
        let upper = form.to_uppercase();
        for form in [form, upper.as_str()] {
            if !form.contains(' ') && form.chars().count() >= 4 {
                let spaced: Vec<String> = form.chars().map(String::from).collect();
                names.add(spaced.join(" "), label);
            }
            names.add(form.to_string(), label);
        }
    }

    fn collect_other(&self, entity: &str, label: &Arc<str>, names: &mut UnitNames) {
        let entity = without_possessive(entity.trim());
        if !entity.starts_with(char::is_uppercase)
            || !self.is_distinctive(entity)
            || entity.contains('\n')
        {
            return;
        }
        names.add(entity.to_string(), label);
        // Capitals of a short word would be somebody's abbreviation.
        if entity.chars().count() >= 5 {
            names.add(entity.to_uppercase(), label);
        }
    }

    /// Long enough, and not made of everyday words alone.
    fn is_distinctive(&self, form: &str) -> bool {
        let letters = form.chars().filter(|c| c.is_alphabetic()).count();
        let everyday = form.split([' ', '\u{a0}']).all(|word| {
            let word = word.trim_end_matches(['.', ',']).to_lowercase();
            self.stop_words.contains(&word) || PARTICLES.contains(&word.as_str())
        });
        letters >= self.min_chars && !everyday
    }
}

impl UnitNames {
    fn add(&mut self, form: String, label: &Arc<str>) {
        // A person's name stays one, whatever else carries it.
        let kept = self.names.entry(form).or_insert_with(|| Arc::clone(label));
        if &**label == "PERSON" {
            *kept = Arc::clone(label);
        }
    }

    /// Number of forms to look for.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is nothing to look for.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Adds another collection of the same unit.
    pub fn merge(&mut self, other: UnitNames) {
        for (form, label) in other.names {
            self.add(form, &label);
        }
    }

    /// An automaton that finds all forms at once.
    ///
    /// # Errors
    /// When the names are too many for one automaton.
    pub fn finder(&self) -> Result<NameFinder, LoadError> {
        let automaton = AhoCorasick::builder()
            .build(self.names.keys())
            .map_err(|error| LoadError::Model(format!("names of a unit: {error}")))?;
        Ok(NameFinder {
            automaton,
            labels: self.names.values().cloned().collect(),
            source: SOURCE.into(),
        })
    }
}

/// Finds a unit's names in its documents.
pub struct NameFinder {
    automaton: AhoCorasick,
    labels: Vec<Arc<str>>,
    source: Arc<str>,
}

impl NameFinder {
    /// Every whole-word occurrence of a name, the longest first where they overlap; sorted.
    pub fn find(&self, text: &str) -> Vec<Span> {
        let mut whole: Vec<(usize, usize, usize)> = self
            .automaton
            .find_overlapping_iter(text)
            .filter(|found| {
                let before = text[..found.start()].chars().next_back();
                let after = text[found.end()..].chars().next();
                !before.is_some_and(char::is_alphanumeric)
                    && !after.is_some_and(char::is_alphanumeric)
            })
            .map(|found| (found.start(), found.end(), found.pattern().as_usize()))
            .collect();
        whole.sort_by_key(|&(start, end, _)| (start, std::cmp::Reverse(end)));
        let mut spans: Vec<Span> = Vec::new();
        for (start, end, name) in whole {
            if spans.last().is_none_or(|last| last.end <= start) {
                spans.push(Span::new(start, end, &self.labels[name], 1.0, &self.source));
            }
        }
        spans
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
    fn everyday_words_are_no_names() {
        let names =
            unit("Ms May Court and the Bank", &[("Ms May Court", "PERSON"), ("Bank", "ORG")]);
        assert!(found(&names, "In May the Court found that the Bank was").is_empty());
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
            for pair in spans.windows(2) {
                prop_assert!(pair[0].end <= pair[1].start);
            }
            // The oracle: splitting at everything that is no letter finds every single word.
            for (start, word) in text.match_indices("Révész") {
                let alone = !text[..start].ends_with(char::is_alphanumeric)
                    && !text[start + word.len()..].starts_with(char::is_alphanumeric);
                prop_assert_eq!(alone, spans.iter().any(|s| s.start <= start && start + word.len() <= s.end));
            }
        }
    }
}
