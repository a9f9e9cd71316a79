//! Widens names that were found in part.
//!
//! Taggers often stop at the small words inside the name of an institution: they find `Ministry` or
//! `Social Affairs` in `Ministry of Labour and Social Affairs`. What is left in the clear still tells which it
//! is. So a span of a chosen label grows over capitalised words that touch it and over those that `of`, `for`, `de` …
//! link to it, never past punctuation.

use std::sync::LazyLock;

use regex::Regex;

use crate::Span;

/// A capitalised word, or one of capitals and digits.
const WORD: &str = r"\p{Lu}[\p{L}\p{M}\p{N}’'‑-]*";
/// What links the words of a name.
const LINK: &str = r"(?:of|for|de|du|des|di|del|della|der|für|van)(?: the| la| l’)?";

/// Words that begin a sentence or stand before a name without being part of it.
const NOT_NAMES: [&str; 36] = [
    "A", "After", "Although", "An", "And", "As", "At", "Before", "But", "By", "During", "For",
    "From", "He", "However", "If", "In", "It", "Its", "Mr", "Mrs", "Ms", "No", "On", "She",
    "Since", "That", "The", "Their", "They", "This", "To", "Under", "When", "Where", "While",
];

static AFTER: LazyLock<Regex> = LazyLock::new(|| {
    pattern(&format!(r"^(?: {LINK} {WORD}(?: {WORD})*(?: and {WORD})?|(?: {WORD})+)"))
});
static BEFORE: LazyLock<Regex> =
    LazyLock::new(|| pattern(&format!(r"({WORD})(?: {LINK}(?: the)?)? $")));

fn pattern(text: &str) -> Regex {
    Regex::new(text).unwrap_or_else(|error| panic!("{error}"))
}

/// Bytes of text that are looked at on either side of a span at once.
const REACH: usize = 120;

/// Widens the spans with one of `labels`; sorted spans without overlaps stay so. Where a span
/// grows into others it takes them in, with their labels and scores.
pub fn widen(text: &str, mut spans: Vec<Span>, labels: &[String]) -> Vec<Span> {
    // The first `kept` spans are done.
    let mut kept = 0;
    for next in 0..spans.len() {
        let mut span = spans[next].clone();
        if labels.iter().any(|label| **label == *span.label) {
            span.start = first(text, span.start);
            span.end = last(text, span.end);
        }
        while kept > 0 && span.start < spans[kept - 1].end {
            kept -= 1;
            let before = &spans[kept];
            let (start, end) = (before.start.min(span.start), before.end.max(span.end));
            let (mut keep, other) = if before.len() > span.len() {
                (before.clone(), span)
            } else {
                (span, before.clone())
            };
            keep.absorb(&other);
            span = Span { start, end, ..keep };
        }
        spans[kept] = span;
        kept += 1;
    }
    spans.truncate(kept);
    spans
}

/// Where the name begins that goes on at `start`.
fn first(text: &str, mut start: usize) -> usize {
    loop {
        let from = text.floor_char_boundary(start.saturating_sub(REACH));
        let Some(word) = BEFORE.captures(&text[from..start]).and_then(|found| found.get(1)) else {
            return start;
        };
        // A word that is cut off on the left is not looked at.
        let cut =
            text[..from + word.start()].chars().next_back().is_some_and(char::is_alphanumeric);
        if cut || NOT_NAMES.contains(&word.as_str()) {
            return start;
        }
        start = from + word.start();
    }
}

/// Where the name ends that has come to `end`.
fn last(text: &str, mut end: usize) -> usize {
    loop {
        let to = text.floor_char_boundary((end + REACH).min(text.len()));
        match AFTER.find(&text[end..to]) {
            Some(found) => end += found.end(),
            None => return end,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, parts: &[(&str, &str)]) -> Vec<String> {
        let spans = parts
            .iter()
            .map(|(part, label)| {
                let start = text.find(part).expect("the part is in the text");
                Span::new(start, start + part.len(), &(*label).into(), 1.0, &"test".into())
            })
            .collect();
        widen(text, spans, &["ORG".to_owned()])
            .iter()
            .map(|span| {
                let labels: Vec<&str> = span.labels().map(|label| &**label).collect();
                format!("{} {}", labels.join("+"), &text[span.start..span.end])
            })
            .collect()
    }

    #[test]
    fn names_grow_over_their_links_and_no_further() {
        let text =
            "In the Ministry of Labour and Social Affairs, Oslo Office for the Elderly said no.";
        // `and` alone may as well stand between two names.
        assert_eq!(found(text, &[("Labour", "ORG")]), ["ORG Ministry of Labour"]);
        assert_eq!(
            found(text, &[("Ministry", "ORG")]),
            ["ORG Ministry of Labour and Social Affairs"]
        );
        assert_eq!(found(text, &[("Office", "ORG")]), ["ORG Oslo Office for the Elderly"]);
        assert_eq!(found(text, &[("Labour", "LOC")]), ["LOC Labour"]);
        let text =
            "The Karlstad Bank lent. However Éditions de l’Étoile and he did not; Mr Bank of X did";
        assert_eq!(found(text, &[("Bank", "ORG")]), ["ORG Karlstad Bank"]);
        assert_eq!(found(text, &[("Étoile", "ORG")]), ["ORG Étoile"]);
        assert_eq!(found(text, &[("X", "ORG")]), ["ORG Bank of X"]);
    }

    #[test]
    fn what_a_name_grows_into_becomes_part_of_it() {
        let text = "the University of Łódź Press and more";
        let parts = [("University", "ORG"), ("Łódź", "LOC"), ("more", "MISC")];
        assert_eq!(found(text, &parts), ["ORG+LOC University of Łódź Press", "MISC more"]);
        let parts = [("Łódź", "LOC"), ("Press", "ORG")];
        assert_eq!(found(text, &parts), ["ORG+LOC University of Łódź Press"]);
    }
}
