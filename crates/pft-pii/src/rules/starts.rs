//! Patterns that are tried only where one of them can start.
//!
//! Nearly every built-in pattern starts where a word, a number or one of a few signs does. One
//! automaton over all patterns says at each such place which of them may match there, and mostly gives up
//! after a few bytes; only those that may match are asked whether they do, and where they end. A search for each pattern
//! through the whole text would read it as often as there are patterns.

use std::sync::{Arc, OnceLock};

use regex::{RegexSet, RegexSetBuilder};

use super::rule::Rule;
use crate::{LoadError, Span};

/// Signs that a pattern may start with, besides letters, digits and whatever is not ASCII.
const SIGNS: &[u8] = b"+(:$";

/// Bytes without white space from which on a text is searched for each pattern: in a chain such as
/// `A-A-A-…` a pattern would read on to its end from every start.
const LONGEST_WORD: usize = 2048;

/// Rules whose matches start at the places of [`starts`], and whose patterns are anchored.
pub(super) struct Starts {
    rules: Vec<Rule>,
    /// Matches where a rule does, and maybe elsewhere.
    all: RegexSet,
    /// The rules without their anchors.
    searched: OnceLock<Vec<Rule>>,
}

impl Starts {
    /// Puts the patterns of anchored rules into one automaton.
    pub(super) fn new(rules: Vec<Rule>) -> Result<Self, LoadError> {
        let all = RegexSetBuilder::new(rules.iter().map(|rule| relaxed(rule.regex.as_str())))
            .size_limit(64 << 20)
            .dfa_size_limit(super::SEARCH_CACHE)
            .build()
            .map_err(|error| LoadError::Config(format!("built-in patterns: {error}")))?;
        Ok(Self { rules, all, searched: OnceLock::new() })
    }

    /// Adds what the rules find.
    pub(super) fn find(&self, text: &str, source: &Arc<str>, spans: &mut Vec<Span>) {
        if text.split_ascii_whitespace().any(|word| word.len() > LONGEST_WORD) {
            let searched = || self.rules.iter().map(Rule::without_anchor).collect();
            for rule in self.searched.get_or_init(searched) {
                rule.find(text, source, spans);
            }
            return;
        }
        // Where each rule's search goes on: a rule's spans do not overlap.
        let mut resume = vec![0; self.rules.len()];
        for start in starts(text) {
            for index in &self.all.matches(&text[start..]) {
                if start < resume[index] {
                    continue;
                }
                let rule = &self.rules[index];
                if let Some(range) = rule.accept_at(text, start) {
                    resume[index] = range.end.max(start + 1);
                    spans.push(Span::new(range.start, range.end, &rule.label, rule.score, source));
                }
            }
        }
    }
}

/// The pattern with everything beyond ASCII in its classes of Unicode: those make up most of an
/// automaton, and few texts have much to tell apart there.
fn relaxed(pattern: &str) -> String {
    const BEYOND: &str = r"\x{80}-\x{10FFFF}]";
    [(r"\p{Lu}", "[A-Z"), (r"\p{Ll}", "[a-z"), (r"\p{L}", "[A-Za-z"), (r"\p{M}", "[")]
        .into_iter()
        .fold(pattern.to_owned(), |pattern, (class, ascii)| {
            pattern.replace(class, &format!("{ascii}{BEYOND}"))
        })
}

/// Places in a text where a letter, digit or sign follows something that is no letter or digit.
fn starts(text: &str) -> impl Iterator<Item = usize> {
    let bytes = text.as_bytes();
    (0..bytes.len()).filter(move |&at| {
        let byte = bytes[at];
        let may_start = byte.is_ascii_alphanumeric()
            || (!byte.is_ascii() && text.is_char_boundary(at))
            || SIGNS.contains(&byte);
        may_start
            && match at.checked_sub(1).map(|before| bytes[before]) {
                None => true,
                Some(before) if before.is_ascii() => !before.is_ascii_alphanumeric(),
                Some(_) => !text[..at].ends_with(char::is_alphanumeric),
            }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::patterns::built_in;
    use crate::rules::{RulesConfig, RulesTagger};
    use proptest::prelude::*;

    /// The same rules, each searched for through the whole text.
    fn searched() -> Vec<Rule> {
        built_in().into_iter().map(|pattern| Rule::built_in(pattern, false).unwrap()).collect()
    }

    #[test]
    fn endless_words_are_searched() {
        let tagger = RulesTagger::new(&RulesConfig::default()).unwrap();
        let text = format!("{} on 12 March 1999", "A-".repeat(LONGEST_WORD));
        let mut found = Vec::new();
        tagger.find_patterns(&text, &mut found);
        let expected = text.len() - "12 March 1999".len()..text.len();
        assert!(found.iter().any(|s| (s.start..s.end) == expected && &*s.label == "DATE"));
        assert!(tagger.starts.searched.get().is_some());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn rules_find_what_a_search_for_each_finds(
            text in "([A-Z][a-zé]{0,6}|[0-9]{1,5}|Mr|Dr|Court|County|of|in|and|born|June|Monday|per cent|EUR|euros|€|Şük|no\\.|aged|years|Street|nationals?|[ ./@:,+(_é漢\u{a0}\n-]|  ){0,60}"
        ) {
            static TAGGER: std::sync::LazyLock<(RulesTagger, Vec<Rule>)> =
                std::sync::LazyLock::new(|| (RulesTagger::new(&RulesConfig::default()).unwrap(), searched()));
            let (tagger, searched) = &*TAGGER;
            let source: Arc<str> = "rules".into();
            let (mut found, mut expected) = (Vec::new(), Vec::new());
            tagger.find_patterns(&text, &mut found);
            for rule in searched {
                rule.find(&text, &source, &mut expected);
            }
            let order = |a: &Span, b: &Span| (a.start, a.end, &a.label).cmp(&(b.start, b.end, &b.label));
            found.sort_by(order);
            expected.sort_by(order);
            prop_assert_eq!(found, expected);
        }
    }
}
