//! Countries, and the adjectives of peoples and faiths, from a word list.
//!
//! Next to a word of state (`Turkish Government`, `Republic of Poland`) a nation names a party to
//! the case or a currency rather than anybody's origin, and is left alone.

use std::sync::Arc;

use aho_corasick::{AhoCorasick, MatchKind};

use crate::{LoadError, Span};

/// Words after an adjective or country that make it a part of a public name.
const STATE_AFTER: &[&str] = &[
    "Government",
    "Constitution",
    "Constitutional",
    "Republic",
    "State",
    "Agent",
    "Code",
    "Criminal",
    "Civil",
    "Penal",
    "Law",
    "law",
    "laws",
    "Act",
    "courts",
    "court",
    "authorities",
    "Parliament",
    "legislation",
    "legal",
    "domestic",
    "Supreme",
    "Federal",
    "Bill",
    "Court",
    "Delegation",
    "lira",
    "liras",
    "Liras",
    "Lira",
    "zlotys",
    "kronor",
    "schillings",
    "marks",
    "francs",
    "pounds",
    "Unification",
    "National",
    "Grand",
];

/// Phrases before a country that make it a part of a public name.
const STATE_BEFORE: &[&str] =
    &["Republic of ", "Kingdom of ", "Government of ", "v. ", "against ", "Principality of "];

/// Finds nations in texts.
pub(super) struct Nations {
    automaton: AhoCorasick,
    labels: Vec<Arc<str>>,
}

impl Nations {
    /// The list that pft comes with, without the labels in `disable`.
    pub(super) fn new(disable: &[String]) -> Result<Self, LoadError> {
        let (gpe, norp): (Arc<str>, Arc<str>) = ("GPE".into(), "NORP".into());
        let mut words = Vec::new();
        let mut labels = Vec::new();
        for line in
            include_str!("../../data/nations.txt").lines().filter(|line| !line.starts_with('#'))
        {
            let (country, adjective) = line.split_once('\t').unwrap_or((line, ""));
            for (word, label) in [(country, &gpe), (adjective, &norp)] {
                if !word.is_empty() && !disable.iter().any(|disabled| **disabled == **label) {
                    words.push(word);
                    labels.push(Arc::clone(label));
                }
            }
        }
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(words)
            .map_err(|error| LoadError::Config(format!("built-in list of nations: {error}")))?;
        Ok(Self { automaton, labels })
    }

    /// Adds the nations of a text.
    pub(super) fn find(&self, text: &str, score: f32, source: &Arc<str>, spans: &mut Vec<Span>) {
        for found in self.automaton.find_iter(text) {
            let (before, after) = (&text[..found.start()], &text[found.end()..]);
            let joined = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
            // A plural of people (`Germans`) is one of them too.
            let plural = after.strip_prefix('s').filter(|rest| !joined(rest.chars().next()));
            if joined(before.chars().next_back())
                || (joined(after.chars().next()) && plural.is_none())
            {
                continue;
            }
            let end = found.end() + usize::from(plural.is_some());
            let next = text[end..].strip_prefix([' ', '\u{a0}']).unwrap_or_default();
            let next: &str = next.split(|c: char| !c.is_alphabetic()).next().unwrap_or_default();
            if STATE_AFTER.contains(&next)
                || STATE_BEFORE.iter().any(|phrase| before.ends_with(phrase))
            {
                continue;
            }
            let label = &self.labels[found.pattern().as_usize()];
            spans.push(Span::new(found.start(), end, label, score, source));
        }
    }
}
