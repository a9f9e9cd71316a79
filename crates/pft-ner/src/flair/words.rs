//! Cuts sentences into words by segtok's rules, which Flair's models expect.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::sentences::TERMINALS;

/// The words of one sentence, as byte ranges.
pub(super) fn words(sentence: &str) -> Vec<Range<usize>> {
    let mut words: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    for span in sentence.split(char::is_whitespace) {
        split_span(span, at, &mut words);
        at += span.len();
        at += sentence[at..].chars().next().map_or(0, char::len_utf8);
    }
    split_terminal(sentence, &mut words);
    words
        .into_iter()
        .flat_map(|word| split_commas(sentence, word))
        .flat_map(|word| split_contraction(sentence, word))
        .collect()
}

/// Words and what lies between them, in a text without white space.
fn split_span(span: &str, offset: usize, words: &mut Vec<Range<usize>>) {
    let characters: Vec<char> = span.chars().collect();
    let mut starts: Vec<usize> = span.char_indices().map(|(at, _)| offset + at).collect();
    starts.push(offset + span.len());
    let mut at = 0;
    while at < characters.len() {
        let start = at;
        let inside = unit(&characters, at).is_some();
        while at < characters.len() {
            match unit(&characters, at) {
                Some(length) if inside => at += length,
                None if !inside => at += 1,
                _ => break,
            }
        }
        words.push(starts[start]..starts[at]);
    }
}

/// Characters from `at` on that cannot be parted from the word they are in.
fn unit(characters: &[char], at: usize) -> Option<usize> {
    let get = |index: usize| characters.get(index).copied();
    let is = |index: usize, class: fn(char) -> bool| get(index).is_some_and(class);
    let c = get(at)?;
    let next = get(at + 1);
    let alphanumeric = is_alphanumeric(c);
    // A dot, unless an ellipsis; a comma, colon, hyphen, apostrophe between letters or digits.
    if alphanumeric {
        match next {
            Some('.') if !(get(at + 2) == Some('.') && get(at + 3) == Some('.')) => return Some(2),
            Some(',') if is(at + 2, is_alphanumeric) => return Some(2),
            Some(':') if is_number(c) && is(at + 2, is_number) => return Some(2),
            _ => {}
        }
        if is(at + 1, is_apostrophe) && is(at + 2, is_hyphen) && is(at + 3, is_alphanumeric) {
            return Some(3);
        }
        if is(at + 1, is_hyphen) && is(at + 2, is_alphanumeric) {
            return Some(2);
        }
    }
    if is_apostrophe(c) && !is(at + 1, is_apostrophe) {
        return Some(1);
    }
    if next == Some('\'')
        && (alphanumeric && is(at + 2, is_alphanumeric) || c == 's' && get(at + 2).is_none())
    {
        return Some(2);
    }
    measure(characters, at)
        .or_else(|| formula(characters, at))
        .or_else(|| alphanumeric.then_some(1))
}

/// A unit of measure with its power, at the end: `m²`.
fn measure(characters: &[char], at: usize) -> Option<usize> {
    if !starts_at_border(characters, at) {
        return None;
    }
    let end = characters.len();
    let last = characters[end - 1];
    if !matches!(last, '¹' | '²' | '³') {
        return None;
    }
    let power = if end - at > 1 && characters[end - 2] == '⁻' { 2 } else { 1 };
    let letters = &characters[at..end - power];
    let prefixed = letters.first().is_some_and(|&c| "yzafpnµmcdhkMGTPEZY".contains(c));
    let fits = (1..=if prefixed { 4 } else { 3 }).contains(&letters.len());
    (fits && letters.iter().all(|&c| is_letter(c))).then_some(end - at)
}

/// A part of a chemical formula with its count: `H₂`.
fn formula(characters: &[char], at: usize) -> Option<usize> {
    if !starts_at_border(characters, at) {
        return None;
    }
    let is = |index: usize, wanted: fn(&char) -> bool| characters.get(index).is_some_and(wanted);
    let mut end = at;
    loop {
        if is(end, |c| matches!(c, ')' | ']')) {
            end += 1;
        } else if is(end, char::is_ascii_uppercase) {
            end += if is(end + 1, char::is_ascii_lowercase) { 2 } else { 1 };
        } else {
            break;
        }
    }
    let atoms = end;
    while is(end, |c| ('₀'..='₉').contains(c)) {
        end += 1;
    }
    if atoms == at || end == atoms {
        return None;
    }
    let sign = |index: usize| is(index, |c| matches!(c, '⁺' | '⁻'));
    if is(end, |c| matches!(c, '²' | '³')) && sign(end + 1) {
        end += 2;
    } else if sign(end) {
        end += 1;
    }
    Some(end - at)
}

/// Whether a word's border lies before a character.
fn starts_at_border(characters: &[char], at: usize) -> bool {
    static WORD: LazyLock<Regex> = LazyLock::new(|| class(r"\w"));
    let in_word = |c: &char| match c {
        c if c.is_ascii() => c.is_ascii_alphanumeric() || *c == '_',
        c => holds(&WORD, *c),
    };
    let before = at.checked_sub(1).and_then(|before| characters.get(before));
    before.is_some_and(in_word) != characters.get(at).is_some_and(in_word)
}

/// Parts the terminal of the sentence from its last word.
fn split_terminal(sentence: &str, words: &mut Vec<Range<usize>>) {
    for index in (words.len().saturating_sub(3)..words.len()).rev() {
        let word = &sentence[words[index].clone()];
        let characters: Vec<char> = word.chars().collect();
        let is_word = unit(&characters, 0).is_some() && !is_apostrophe(characters[0]);
        if !is_word && !word.contains(is_terminal) {
            continue;
        }
        let Range { start, end } = words[index];
        let (first, last) = (characters[0], characters[characters.len() - 1]);
        let cut = if characters.len() == 1 || word == "..." {
            None
        } else if is_terminal(last) {
            Some(end - last.len_utf8())
        } else {
            is_terminal(first).then_some(start + first.len_utf8())
        };
        if let Some(cut) = cut {
            words.splice(index..=index, [start..cut, cut..end]);
        }
        return;
    }
}

/// Parts commas, semicolons and colons at its end from a word.
fn split_commas(sentence: &str, word: Range<usize>) -> Vec<Range<usize>> {
    let text = &sentence[word.clone()];
    let first = text.chars().next().map_or(0, char::len_utf8);
    let kept = text[first..].trim_end_matches([',', ';', ':']).len() + first;
    let end = word.start + kept;
    std::iter::once(word.start..end).chain((end..word.end).map(|at| at..at + 1)).collect()
}

/// Parts `'s`, `n't`, `'ll` and their like from a word.
fn split_contraction(sentence: &str, word: Range<usize>) -> Vec<Range<usize>> {
    static CONTRACTION: LazyLock<Regex> = LazyLock::new(|| {
        const ALPHANUMERIC: &str = r"[\p{Ll}\p{Lm}\p{Lt}\p{Lu}\p{Nd}\p{Nl}]";
        const HYPHEN: &str =
            r"[\x{AD}\x{58A}\x{5BE}\x{F0C}\x{1400}\x{1806}\x{2010}-\x{2012}\x{2E17}\x{30A0}\-]";
        let pattern =
            format!("^{ALPHANUMERIC}+(?:{HYPHEN}{ALPHANUMERIC}+)*['´ʹʼ’′](?:d|ll|m|re|s|t|ve)$");
        match Regex::new(&pattern) {
            Ok(regex) => regex,
            Err(error) => panic!("{error}"),
        }
    });
    let text = &sentence[word.clone()];
    let apostrophe = text.rfind(|c| c == '\'' || is_apostrophe(c));
    match apostrophe {
        Some(at) if CONTRACTION.is_match(text) => {
            let not = text.len() > 2
                && text[..at].ends_with('n')
                && text[at..].ends_with('t')
                && text[at..].chars().count() == 2;
            let cut = word.start + if not { at - 1 } else { at };
            [word.start..cut, cut..word.end].into_iter().filter(|part| !part.is_empty()).collect()
        }
        _ => vec![word],
    }
}

fn is_terminal(c: char) -> bool {
    TERMINALS.contains(c)
}

fn is_apostrophe(c: char) -> bool {
    matches!(c, '´' | 'ʹ' | 'ʼ' | '’' | '′')
}

fn is_hyphen(c: char) -> bool {
    matches!(
        c,
        '-' | '\u{AD}' | '\u{58A}' | '\u{5BE}' | '\u{F0C}' | '\u{1400}' | '\u{1806}' | '\u{2010}'
            ..='\u{2012}' | '\u{2E17}' | '\u{30A0}'
    )
}

fn is_alphanumeric(c: char) -> bool {
    is_letter(c) || is_number(c)
}

/// A cased or modifier letter.
fn is_letter(c: char) -> bool {
    static LETTER: LazyLock<Regex> = LazyLock::new(|| class(r"[\p{Ll}\p{Lm}\p{Lt}\p{Lu}]"));
    if c.is_ascii() { c.is_ascii_alphabetic() } else { holds(&LETTER, c) }
}

/// A digit, or a letter that is a number.
fn is_number(c: char) -> bool {
    static NUMBER: LazyLock<Regex> = LazyLock::new(|| class(r"[\p{Nd}\p{Nl}]"));
    if c.is_ascii() { c.is_ascii_digit() } else { holds(&NUMBER, c) }
}

fn class(pattern: &str) -> Regex {
    match Regex::new(pattern) {
        Ok(regex) => regex,
        Err(error) => panic!("{error}"),
    }
}

fn holds(class: &Regex, c: char) -> bool {
    class.is_match(c.encode_utf8(&mut [0; 4]))
}

#[cfg(test)]
mod tests {
    use super::*;

    // What segtok 1.5.11 says.
    #[test]
    fn words_are_cut_where_segtok_cuts_them() {
        for (sentence, expected) in [
            ("She didn't reply!", &["She", "did", "n't", "reply", "!"][..]),
            (
                "no. 12345/67, at 12:30 p.m.",
                &["no.", "12345", "/", "67", ",", "at", "12:30", "p.m", "."],
            ),
            (
                "Fred's and the applicants' case",
                &["Fred", "'s", "and", "the", "applicants'", "case"],
            ),
            ("J.-P. Costa-Dubois.", &["J.", "-", "P.", "Costa-Dubois", "."]),
            ("(born 12.5.1961) €1,250.00…", &["(", "born", "12.5.1961", ")", "€", "1,250.00", "…"]),
            ("H₂O₂ is 5 m² [Fig. 3].", &["H₂O₂", "is", "5", "m²", "[", "Fig.", "3", "]", "."]),
            ("Wait... \"Really?\"", &["Wait", "...", "\"", "Really", "?", "\""]),
            ("one two, three; four:", &["one", "two", ",", "three", ";", "four", ":"]),
            ("漢字 and 'quoted'", &["漢字", "and", "'", "quoted", "'"]),
            ("we’ll can’t", &["we", "’ll", "ca", "n’t"]),
        ] {
            let found: Vec<&str> =
                words(sentence).into_iter().map(|word| &sentence[word]).collect();
            assert_eq!(found, expected, "{sentence}");
        }
    }
}
