//! Cuts texts into sentences by segtok's rules, which Flair's models expect.
//!
//! A sentence ends behind a terminal (with quotes and brackets) and white space, or at line breaks; not behind
//! abbreviations, initials and dates, not inside brackets that hold little, and not before a word
//! that hardly ever starts a sentence.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

/// Characters that end a sentence.
pub(super) const TERMINALS: &str = ".!?‼‽⁇⁈⁉。﹒﹗！．？｡";
/// A class of hyphens that join words.
const HYPHENS: &str =
    r"\x{AD}\x{58A}\x{5BE}\x{F0C}\x{1400}\x{1806}\x{2010}-\x{2012}\x{2E17}\x{30A0}\-";
/// Characters; of two parts where one is shorter, the bracket between them holds little.
const SHORT: usize = 55;

/// Which line breaks end a sentence.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum LineBreaks {
    /// Every one.
    Single,
    /// Two or more in a row.
    Double,
}

/// The sentences of a text, without white space around them; some may be empty.
pub(super) fn split(text: &str, breaks: LineBreaks) -> Vec<Range<usize>> {
    let spans = spans(text, breaks);
    let mut sentences = Vec::new();
    let mut last: Option<Part> = None;
    for range in join_abbreviations(text, &spans) {
        let current = Part::new(text, range);
        last = Some(match last {
            Some(part) if part.goes_on(text, &current) => part.with(&current),
            Some(part) => {
                sentences.push(strip(text, part.range));
                current
            }
            None => current,
        });
    }
    sentences.extend(last.map(|part| strip(text, part.range)));
    if breaks == LineBreaks::Double {
        return sentences;
    }
    let mut lines = Vec::new();
    for sentence in sentences {
        let mut at = sentence.start;
        for line in text[sentence].split('\n') {
            lines.push(at..at + line.len());
            at += line.len() + 1;
        }
    }
    lines
}

fn strip(text: &str, range: Range<usize>) -> Range<usize> {
    let space = |c: char| c.is_whitespace() || ('\x1c'..='\x1f').contains(&c);
    let inner = &text[range.clone()];
    let start = range.start + inner.len() - inner.trim_start_matches(space).len();
    start..start + inner.trim_matches(space).len()
}

/// Text and possible ends of sentences by turns.
fn spans(text: &str, breaks: LineBreaks) -> Vec<Range<usize>> {
    static SINGLE: LazyLock<Regex> =
        LazyLock::new(|| regex(&format!(r#"[{TERMINALS}]['’"”]?[\])]*\s+|\n+"#)));
    static DOUBLE: LazyLock<Regex> =
        LazyLock::new(|| regex(&format!(r#"[{TERMINALS}]['’"”]?[\])]*\s+|\n{{2,}}"#)));
    let ends: &Regex = if breaks == LineBreaks::Single { &SINGLE } else { &DOUBLE };
    let mut spans = Vec::new();
    let mut at = 0;
    for end in ends.find_iter(text) {
        spans.extend([at..end.start(), end.range()]);
        at = end.end();
    }
    spans.push(at..text.len());
    spans
}

fn regex(pattern: &str) -> Regex {
    match Regex::new(pattern) {
        Ok(regex) => regex,
        Err(error) => panic!("{error}"),
    }
}

/// Joins spans over ends that are none.
fn join_abbreviations(text: &str, spans: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut start = 0;
    for pair in (1..spans.len()).step_by(2) {
        let (before, after) = (&text[spans[pair - 1].clone()], spans.get(pair + 1));
        let after = after.map_or("", |range| &text[range.clone()]);
        let is_dot = text[spans[pair].start..].starts_with('.');
        let joined = before.ends_with(char::is_whitespace)
            || is_dot && (ends_in_abbreviation(before) || goes_on_behind_dot(before, after));
        if !joined {
            parts.push(start..spans[pair].end);
            start = spans[pair].end;
        }
    }
    parts.push(start..text.len());
    parts
}

/// Whether what stands before a dot is an abbreviation, an initial, or too little to be a sentence.
fn ends_in_abbreviation(before: &str) -> bool {
    static ABBREVIATION: LazyLock<fancy_regex::Regex> = LazyLock::new(|| {
        const KNOWN: &str = r"[Aa]pprox|Capt|[Cc]f|Col|Dr|[Ff]\.?e|[Ff]igs?|Gen|[Ee]\.?g|[Ii]\.?e|[Ii]\.?v|Mag|[Mm]ed|Mr|Mrs|Mt|[Nn]at|No|[Nn]r|[Pp]\.e|[Pp]hil|[Pp]rof|[Rr]er|[Ss]ci|Sgt|Sr|Sra|Srta|St|[Uu]niv|[Vv]ol|[Vv]s|z\.B|Z\.b|Jän|Jan|Ene|Feb|Mär|Mar|Apr|Abr|May|Jun|Jul|Aug|Sep|Sept|Oct|Okt|Nov|Dic|Dez|Dec|E\.U|U\.K|U\.S";
        // Titles, enumerated authors, and opened brackets come before initials.
        const TITLE: &str = r"\b(?:[Bb]y|[Cc](?:aptain|ommander)|[Dd]o[ck]tor|[Gg]eneral|[Mm](?:ag)?is(?:ter|s)|[Pp]rofessor|[Ss]eñor(?:it)?a?)\s";
        const AUTHOR: &str = r"(?:(?<!\b\p{Lu})(?<!\b\p{Lu}\p{Lm}),(?:\sand)?|(?<!\b[\p{Lu},])(?<!\b[\p{Lu},]\p{Lm})\sand)\s";
        const UPPER: &str = r"[\p{Lu}\p{Lt}]\p{Lm}?";
        let pattern = format!(
            r"(?:\b(?:{KNOWN})|(?:{TITLE}|{AUTHOR}|[\[(])(?:{UPPER}\.[{HYPHENS}]?)?{UPPER})$"
        );
        match fancy_regex::Regex::new(&pattern) {
            Ok(regex) => regex,
            Err(error) => panic!("{error}"),
        }
    });
    let mut characters = before.chars();
    let single =
        characters.next().is_some_and(|c| !c.is_whitespace()) && characters.next().is_none();
    let digits = !before.is_empty() && before.chars().all(char::is_numeric);
    single || digits || ABBREVIATION.is_match(tail(before)).unwrap_or(false)
}

/// Whether a dot belongs to a date or a name, or a lone lower-case word follows.
fn goes_on_behind_dot(before: &str, after: &str) -> bool {
    static LONE_WORD: LazyLock<Regex> =
        LazyLock::new(|| regex(&format!(r"^\p{{Ll}}+[\p{{Ll}}\p{{Nd}}{HYPHENS}]*\n?$")));
    static DAY: LazyLock<Regex> = LazyLock::new(|| regex(r"\b[0123]?[0-9]$"));
    static MONTH: LazyLock<Regex> = LazyLock::new(|| {
        regex(
            r"^(?:J[äa]n|Ene|Feb|M[äa]r|A[pb]r|May|Jun|Jul|Aug|Sep|O[ck]t|Nov|D[ei][cz]|0?[1-9]|1[012])",
        )
    });
    static INITIAL: LazyLock<Regex> = LazyLock::new(|| regex(r"\b\p{Lu}\p{Ll}+\W+\p{Lu}$"));
    static UPPER_WORD: LazyLock<Regex> = LazyLock::new(|| regex(r"^\p{Lu}\p{Ll}+\b"));
    !after.is_empty()
        && (LONE_WORD.is_match(after)
            || DAY.is_match(tail(before)) && MONTH.is_match(after)
            || INITIAL.is_match(tail(before)) && UPPER_WORD.is_match(after))
}

/// The last characters, where every pattern that looks at an end is decided.
fn tail(text: &str) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(256))..]
}

/// A part of a sentence, with what of it decides whether the sentence goes on.
struct Part {
    range: Range<usize>,
    characters: usize,
    /// Round and square brackets.
    brackets: [Brackets; 2],
}

/// Counts from the first opening bracket on, and up to the last closing one.
#[derive(Clone, Copy, Default)]
struct Brackets {
    /// Opened less closed since the first opened one.
    open: Option<i64>,
    /// Closed less opened until the last closed one.
    unopened: i64,
    /// Opened less closed.
    total: i64,
}

impl Part {
    fn new(text: &str, range: Range<usize>) -> Self {
        let mut brackets = [Brackets::default(); 2];
        let mut characters = 0;
        for c in text[range.clone()].chars() {
            characters += 1;
            let (kind, opens) = match c {
                '(' => (0, true),
                ')' => (0, false),
                '[' => (1, true),
                ']' => (1, false),
                _ => continue,
            };
            let change = if opens { 1 } else { -1 };
            let brackets: &mut Brackets = &mut brackets[kind];
            brackets.total += change;
            brackets.open = match brackets.open {
                Some(open) => Some(open + change),
                None => opens.then_some(1),
            };
            if !opens {
                brackets.unopened = -brackets.total;
            }
        }
        Self { range, characters, brackets }
    }

    /// Both parts as one.
    fn with(mut self, next: &Part) -> Self {
        for (mine, more) in self.brackets.iter_mut().zip(next.brackets) {
            mine.open = mine.open.map(|open| open + more.total).or(more.open);
        }
        self.range.end = next.range.end;
        self.characters += next.characters;
        self
    }

    /// Whether the sentence goes on with `next`.
    fn goes_on(&self, text: &str, next: &Part) -> bool {
        static BEFORE_LOWER: LazyLock<Regex> = LazyLock::new(|| {
            regex(&format!(
                r#"(?:[{TERMINALS}]"[)\]]*|[{TERMINALS}][)\]]+|\bspp\.|\b\p{{L}}\p{{Ll}}?\.)\s+$"#
            ))
        });
        static LOWER_WORD: LazyLock<Regex> =
            LazyLock::new(|| regex(&format!(r"^\p{{Ll}}+[{HYPHENS}]?\p{{Ll}}*\b")));
        static UPPER_END: LazyLock<Regex> =
            LazyLock::new(|| regex(r"\b[\p{Lu}\p{Lt}]\p{L}*\.\s+$"));
        static UPPER_START: LazyLock<Regex> =
            LazyLock::new(|| regex(r"^(?:(?:\(\d{4}\)\s)?[\p{Lu}\p{Lt}]\p{L}*|\d+)[.,:]\s+"));
        static CONTINUATION: LazyLock<Regex> = LazyLock::new(|| {
            regex(
                r"^(?:and|are|between|by|from|has|into|is|of|or|than|that|through|via|was|were|whether|with)\b",
            )
        });
        let (mine, theirs) = (&text[self.range.clone()], &text[next.range.clone()]);
        if BEFORE_LOWER.is_match(tail(mine)) && LOWER_WORD.is_match(theirs) {
            return true;
        }
        let in_brackets = |kind: usize| {
            self.brackets[kind].open.is_some_and(|open| open > 0)
                && (next.brackets[kind].unopened > 0
                    || mine.ends_with(" et al. ")
                    || UPPER_END.is_match(tail(mine)) && UPPER_START.is_match(theirs))
        };
        let short = self.characters < SHORT || next.characters < SHORT;
        short && (in_brackets(0) || in_brackets(1)) || CONTINUATION.is_match(theirs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentences(text: &str) -> Vec<&str> {
        split(text, LineBreaks::Double).into_iter().map(|range| &text[range]).collect()
    }

    // What segtok 1.5.11 says.
    #[test]
    fn sentences_end_where_segtok_ends_them() {
        for (text, expected) in [
            ("One. Two! Three?", &["One.", "Two!", "Three?"][..]),
            ("Mr. Smith came. He left.", &["Mr. Smith came.", "He left."]),
            (
                "By J. R. Smith et al. (see U.S. law). Yes!",
                &["By J. R. Smith et al.", "(see U.S. law).", "Yes!"],
            ),
            ("On 12. May it was. and so on.", &["On 12. May it was. and so on."]),
            ("\"Really?\" he said.", &["\"Really?\" he said."]),
            ("A line\nbreak.\n\nA paragraph", &["A line\nbreak.", "A paragraph"]),
            ("Ends with a space. ", &["Ends with a space.", ""]),
        ] {
            assert_eq!(sentences(text), expected, "{text}");
        }
        let text = "A line\nbreak. End";
        let single: Vec<&str> =
            split(text, LineBreaks::Single).into_iter().map(|range| &text[range]).collect();
        assert_eq!(single, ["A line", "break.", "End"]);
    }
}
