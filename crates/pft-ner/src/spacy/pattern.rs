//! Python's regular expressions, in two engines.
//!
//! Look-around needs a backtracking engine, which is slow. So a pattern is taken apart at its top
//! level: alternatives without look-around go to a linear engine, and those with it are tried
//! only where they match once their look-around is left out, which can only make them match more.

use std::ops::Range;

/// A pattern of Python's `re`.
pub(super) struct Pattern {
    /// Neighbouring alternatives, in their order.
    runs: Vec<Run>,
}

enum Run {
    Plain(regex::Regex),
    Looking {
        /// Matches wherever `exact` does, and maybe elsewhere.
        relaxed: Option<regex::Regex>,
        exact: fancy_regex::Regex,
    },
}

impl Pattern {
    /// Compiles a pattern of Python's `re`. Only what differs in syntax is rewritten: an opening
    /// bracket inside a character class, which here would start a nested class.
    ///
    /// # Errors
    /// When it is not understood.
    pub(super) fn compile(pattern: &str) -> Result<Self, String> {
        let pattern = rewrite(pattern.strip_prefix("(?u)").unwrap_or(pattern));
        let mut runs: Vec<(bool, String)> = Vec::new();
        for alternative in alternatives(&pattern) {
            let looks = has_look_around(alternative);
            match runs.last_mut() {
                Some((last, run)) if *last == looks => {
                    run.push('|');
                    run.push_str(alternative);
                }
                _ => runs.push((looks, alternative.to_owned())),
            }
        }
        let runs = runs.into_iter().map(|(looks, run)| Run::compile(looks, &run));
        Ok(Self { runs: runs.collect::<Result<_, _>>()? })
    }

    /// The first match at or after `from`. An alternative that gives up after too many steps does
    /// not match.
    pub(super) fn find_at(&self, text: &str, from: usize) -> Option<Range<usize>> {
        // The leftmost match, and at one place that of the first alternative.
        let mut first: Option<Range<usize>> = None;
        for run in &self.runs {
            if let Some(found) = run.find_at(text, from)
                && first.as_ref().is_none_or(|first| found.start < first.start)
            {
                first = Some(found);
            }
        }
        first
    }

    /// All matches, one behind the other; a match of the empty text does not touch the one before.
    pub(super) fn find_iter<'t>(&'t self, text: &'t str) -> impl Iterator<Item = Range<usize>> {
        let (mut at, mut last_end) = (0, None);
        std::iter::from_fn(move || {
            loop {
                let found = (at <= text.len()).then(|| self.find_at(text, at)).flatten()?;
                at = found.end;
                if found.is_empty() {
                    at += text[at..].chars().next().map_or(1, char::len_utf8);
                    if last_end == Some(found.end) {
                        continue;
                    }
                }
                last_end = Some(found.end);
                return Some(found);
            }
        })
    }
}

impl Run {
    fn compile(looks: bool, pattern: &str) -> Result<Self, String> {
        if !looks && let Ok(regex) = regex::Regex::new(pattern) {
            return Ok(Self::Plain(regex));
        }
        let exact = fancy_regex::Regex::new(pattern).map_err(|error| error.to_string())?;
        let relaxed = regex::Regex::new(&without_look_around(pattern)).ok();
        Ok(Self::Looking { relaxed, exact })
    }

    fn find_at(&self, text: &str, from: usize) -> Option<Range<usize>> {
        match self {
            Self::Plain(regex) => regex.find_at(text, from).map(|found| found.range()),
            Self::Looking { relaxed, exact } => {
                let from = match relaxed {
                    Some(relaxed) => relaxed.find_at(text, from)?.start(),
                    None => from,
                };
                let found = exact.find_from_pos(text, from).ok().flatten()?;
                Some(found.range())
            }
        }
    }
}

/// Escapes what would start a nested class.
fn rewrite(pattern: &str) -> String {
    let mut rewritten = String::with_capacity(pattern.len());
    let mut in_class = false;
    let mut characters = pattern.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\\' => {
                rewritten.push(c);
                rewritten.extend(characters.next());
            }
            '[' if in_class => rewritten.push_str(r"\["),
            '[' => {
                in_class = true;
                rewritten.push(c);
                if characters.next_if_eq(&'^').is_some() {
                    rewritten.push('^');
                }
                if characters.next_if_eq(&']').is_some() {
                    rewritten.push_str(r"\]");
                }
            }
            ']' => {
                in_class = false;
                rewritten.push(c);
            }
            '&' | '~' if in_class => {
                rewritten.push('\\');
                rewritten.push(c);
            }
            _ => rewritten.push(c),
        }
    }
    rewritten
}

/// The brackets and bars of a rewritten pattern that are no literals, with their places.
fn structure(pattern: &str) -> impl Iterator<Item = (usize, u8)> {
    let (mut escaped, mut in_class) = (false, false);
    pattern.bytes().enumerate().filter(move |&(_, byte)| {
        if std::mem::take(&mut escaped) {
            return false;
        }
        match byte {
            b'\\' => escaped = true,
            b'[' => in_class = true,
            b']' => in_class = false,
            b'(' | b')' | b'|' => return !in_class,
            _ => {}
        }
        false
    })
}

/// The alternatives of a rewritten pattern at its top level; the pattern itself where a flag would
/// reach from one into the next.
fn alternatives(pattern: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0usize);
    for (at, byte) in structure(pattern) {
        match byte {
            b'(' => {
                depth += 1;
                if let Some(flags) = pattern[at..].strip_prefix("(?")
                    && flags
                        .trim_start_matches(|c: char| c.is_ascii_lowercase() || c == '-')
                        .starts_with(')')
                {
                    return vec![pattern];
                }
            }
            b')' => depth = depth.saturating_sub(1),
            _ if depth == 0 => {
                parts.push(&pattern[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&pattern[start..]);
    parts
}

fn is_look_around(group: &str) -> bool {
    ["(?=", "(?!", "(?<=", "(?<!"].iter().any(|opening| group.starts_with(opening))
}

fn has_look_around(pattern: &str) -> bool {
    structure(pattern).any(|(at, _)| is_look_around(&pattern[at..]))
}

/// A rewritten pattern whose look-around always holds.
fn without_look_around(pattern: &str) -> String {
    let mut relaxed = String::with_capacity(pattern.len());
    // Where the text starts that is not copied yet, and how deep in a look-around this is.
    let (mut from, mut depth) = (0, 0usize);
    for (at, byte) in structure(pattern) {
        match byte {
            b'(' if depth > 0 => depth += 1,
            b'(' if is_look_around(&pattern[at..]) => {
                relaxed.push_str(&pattern[from..at]);
                relaxed.push_str("(?:)");
                depth = 1;
            }
            b')' if depth > 0 => {
                depth -= 1;
                from = at + 1;
            }
            _ => {}
        }
    }
    relaxed.push_str(&pattern[from..]);
    relaxed
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn classes_keep_pythons_meaning() {
        let pattern = Pattern::compile(r"(?<=[a[&&])[]x]+$").unwrap();
        assert_eq!(pattern.find_at("[]x", 0), Some(1..3));
        assert_eq!(pattern.find_at("a]", 0), Some(1..2));
        assert_eq!(pattern.find_at("b]", 0), None);
    }

    #[test]
    fn patterns_are_taken_apart_at_their_top_level_only() {
        assert_eq!(alternatives(r"a\||[|(]|(?:b|c)|\(|d"), [r"a\|", "[|(]", "(?:b|c)", r"\(", "d"]);
        assert_eq!(alternatives("(?i)a|b"), ["(?i)a|b"]);
        assert_eq!(without_look_around(r"a(?!(?:1|[)])x)b(?<=[(])c"), "a(?:)b(?:)c");
    }

    proptest! {
        #[test]
        fn matches_are_those_of_the_whole_pattern(text in "[a-c.,+x0-2é]{0,12}") {
            for pattern in [
                r"^\+(?![0-9])|^[.,]+|^a(?=b)|^é",
                r"(?<=[0-9])\+$|,$|(?<=[a-cé])\.$|(?<!a)x$|\.\.+$",
                r"\.\.+|(?<=[a-c])[.,](?=[a-cé])|é|(?<=[0-9])x*(?=[0-9])|(?<=b),",
                r"^(?:(?!0)[0-2]+|[a-c]+)(?:\.[a-c]+)+$",
            ] {
                let whole = fancy_regex::Regex::new(pattern).unwrap();
                let expected: Vec<Range<usize>> =
                    whole.find_iter(&text).map(|found| found.unwrap().range()).collect();
                let found: Vec<Range<usize>> =
                    Pattern::compile(pattern).unwrap().find_iter(&text).collect();
                prop_assert_eq!(found, expected, "{} in {}", pattern, text);
            }
        }
    }
}
