//! One rule: a pattern's automaton, and which of its matches count.

use std::ops::Range;
use std::sync::Arc;

use regex::Regex;

use super::patterns::{Check, Edge, Pattern};
use super::{CERTAIN, LIKELY};
use crate::{LoadError, Span};

/// Bytes that a thread's automaton of a pattern may take: of one that reads whole texts, and of one
/// that is only tried in places.
pub(super) const SEARCH_CACHE: usize = 16 << 20;
const TRIED_CACHE: usize = 2 << 20;

/// A compiled pattern.
pub(super) struct Rule {
    pub(super) label: Arc<str>,
    pub(super) regex: Regex,
    pub(super) group: Option<usize>,
    pub(super) edge: Option<Edge>,
    pub(super) check: Check,
    pub(super) needs: Option<u8>,
    pub(super) score: f32,
}

impl Rule {
    /// The rule of a built-in pattern, which matches anywhere or, `anchored`, where a text begins.
    pub(super) fn built_in(pattern: Pattern, anchored: bool) -> Result<Self, LoadError> {
        let regex = if anchored { format!("^(?:{})", pattern.regex) } else { pattern.regex };
        let regex = compile(&regex, if anchored { TRIED_CACHE } else { SEARCH_CACHE }).map_err(
            |error| LoadError::Config(format!("built-in {} pattern: {error}", pattern.label)),
        )?;
        let score = match pattern.label {
            "EMAIL" | "URL" | "IP_ADDRESS" | "IBAN" | "CREDIT_CARD" => CERTAIN,
            _ => LIKELY,
        };
        Ok(Self {
            label: pattern.label.into(),
            group: named_group(&regex),
            regex,
            edge: Some(pattern.edge),
            check: pattern.check,
            needs: pattern.needs,
            score,
        })
    }

    /// The rule of an anchored one's pattern, matching anywhere.
    pub(super) fn without_anchor(&self) -> Self {
        let anchored = self.regex.as_str();
        let pattern = anchored.strip_prefix('^').unwrap_or(anchored);
        let regex = compile(pattern, SEARCH_CACHE).expect("it was compiled with an anchor");
        Self { label: Arc::clone(&self.label), regex, ..*self }
    }

    pub(super) fn find(&self, text: &str, source: &Arc<str>, spans: &mut Vec<Span>) {
        let mut at = 0;
        while let Some(whole) = self.regex.find_at(text, at) {
            // Where a match is refused the search goes on right behind its first character.
            let next =
                whole.start() + text[whole.start()..].chars().next().map_or(1, char::len_utf8);
            let entity = |group| Some(self.regex.captures_at(text, at)?.get(group)?.range());
            match self.accept(text, whole.range(), entity) {
                Some(range) => {
                    at = range.end.max(next);
                    spans.push(Span::new(range.start, range.end, &self.label, self.score, source));
                }
                None => at = next,
            }
        }
    }

    /// The entity where an anchored rule matches at a place.
    pub(super) fn accept_at(&self, text: &str, start: usize) -> Option<Range<usize>> {
        let rest = &text[start..];
        let moved = |range: Range<usize>| start + range.start..start + range.end;
        let whole = self.regex.find(rest)?.range();
        let entity = |group| Some(moved(self.regex.captures(rest)?.get(group)?.range()));
        self.accept(text, moved(whole), entity)
    }

    /// The entity in a match, if it counts; `entity` says where a group matched.
    fn accept(
        &self,
        text: &str,
        whole: Range<usize>,
        entity: impl FnOnce(usize) -> Option<Range<usize>>,
    ) -> Option<Range<usize>> {
        if self.edge.is_some_and(|edge| !is_start(text, whole.clone(), edge)) {
            return None;
        }
        let range = match self.group {
            Some(group) => entity(group)?,
            None => whole,
        };
        let Range { start, mut end } = range;
        loop {
            let kept = (self.check)(&text[start..end])?;
            let trimmed = text[start..start + kept].trim_end().len();
            let range = start..start + trimmed;
            if range.is_empty() {
                return None;
            }
            if self.edge.is_none_or(|edge| is_whole(text, range.clone(), edge)) {
                return Some(range);
            }
            if self.edge != Some(Edge::Prefix) {
                return None;
            }
            // Without its last group of digits.
            end = start + text[range].trim_end_matches(|c: char| c.is_ascii_digit()).len();
        }
    }
}

pub(super) fn compile(pattern: &str, cache: usize) -> Result<Regex, regex::Error> {
    regex::RegexBuilder::new(pattern).size_limit(64 << 20).dfa_size_limit(cache).build()
}

pub(super) fn named_group(regex: &Regex) -> Option<usize> {
    regex.capture_names().position(|name| name == Some("e"))
}

/// Whether a digit beyond `separator` makes a match a part of a longer number.
fn joins(separator: char, edge: Edge, matched: &str) -> bool {
    let separates = matches!(separator, '.' | ',' | '/' | '-' | ':');
    match edge {
        Edge::Word => false,
        Edge::Number => separates,
        Edge::Format | Edge::Prefix => {
            let is_plain = matched.bytes().all(|byte| byte.is_ascii_digit());
            separates && (matched.contains(separator) || (is_plain && separator == '.'))
        }
    }
}

fn is_start(text: &str, range: Range<usize>, edge: Edge) -> bool {
    let mut before = text[..range.start].chars().rev();
    match before.next() {
        Some(c) if c.is_alphanumeric() => false,
        Some(c) if joins(c, edge, &text[range]) => {
            !before.next().is_some_and(|c| c.is_ascii_digit())
        }
        _ => true,
    }
}

pub(super) fn is_whole(text: &str, range: Range<usize>, edge: Edge) -> bool {
    let mut after = text[range.end..].chars();
    let matched = &text[range.clone()];
    let ends = match after.next() {
        // A symbol that ends a match (%, €, a full stop) may touch the next word.
        Some(c) if c.is_alphanumeric() => !matched.ends_with(|c: char| c.is_alphanumeric()),
        Some(c) if joins(c, edge, matched) => !after.next().is_some_and(|c| c.is_ascii_digit()),
        _ => true,
    };
    ends && is_start(text, range, edge)
}
