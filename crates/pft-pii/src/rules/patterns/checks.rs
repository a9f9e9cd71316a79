//! What the patterns' matches must hold beyond their form, and how much of them is kept.

use std::sync::LazyLock;

use regex::Regex;

use super::fragments::docket_pattern;
use super::words::{COURTESY, GENERIC, INSTITUTION_HEADS, NO_PLACE, TITLES, is_month};
use crate::rules::checksum;

pub(super) fn keep(text: &str) -> Option<usize> {
    Some(text.len())
}

pub(super) fn when(accepted: bool, text: &str) -> Option<usize> {
    accepted.then_some(text.len())
}

/// A URL ends before punctuation that belongs to the sentence.
pub(super) fn url(text: &str) -> Option<usize> {
    let trimmed = text
        .trim_end_matches(['.', ',', ';', ':', '!', '?', ')', ']', '}', '\'', '"', '’', '”', '»']);
    // A closing bracket stays where the URL opens it.
    let kept = if trimmed.contains('(') && text[trimmed.len()..].starts_with(')') {
        trimmed.len() + 1
    } else {
        trimmed.len()
    };
    Some(kept)
}

/// An institution counts only where a word of its name is not general.
pub(super) fn institution(text: &str) -> Option<usize> {
    let mut words =
        text.split([' ', '\u{a0}', '-']).filter(|word| word.starts_with(char::is_uppercase));
    let own = words.any(|word| {
        !GENERIC.contains(&word) && !INSTITUTION_HEADS.contains(&word) && word.chars().count() > 1
    });
    own.then_some(text.len())
}

/// Shorter numbers with a slash are fractions or section numbers more often than cases.
pub(super) fn case_number(text: &str) -> Option<usize> {
    let (number, year) = text.split_once('/')?;
    let long = number.len() >= 3 || year.len() >= 4;
    long.then_some(text.len())
}

/// The number and the year of a docket are as long as [`case_number`] wants them.
pub(super) fn docket(text: &str) -> Option<usize> {
    let slash = text.find('/')?;
    let is_digit = |byte: &u8| byte.is_ascii_digit();
    let number = text.as_bytes()[..slash].iter().rev().take_while(|byte| is_digit(byte)).count();
    let year = text.as_bytes()[slash + 1..].iter().take_while(|byte| is_digit(byte)).count();
    (number >= 3 || year >= 4).then_some(text.len())
}

/// A number behind a word that more than telephones have (`office`, `home`, `cell`) may be a docket.
pub(super) fn phone_or_docket(text: &str) -> Option<usize> {
    static DOCKET: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(&format!("^(?:{})$", docket_pattern())).unwrap_or_else(|error| panic!("{error}"))
    });
    if DOCKET.is_match(text) && docket(text).is_some() {
        return None;
    }
    checksum::phone_prefix(text)
}

/// A reference holds a digit and does not end in punctuation.
pub(super) fn with_digit(text: &str) -> Option<usize> {
    let text = text.trim_end_matches(['.', ':', '-', '/']);
    text.bytes().any(|byte| byte.is_ascii_digit()).then_some(text.len())
}

/// `May` and `March` alone are a verb and a noun.
pub(super) fn month_date(text: &str) -> Option<usize> {
    let digits = text.bytes().any(|byte| byte.is_ascii_digit());
    let ambiguous = matches!(
        text,
        "May" | "March" | "MAY" | "MARCH" | "Mar" | "Mar." | "Jan" | "Dec" | "Sep" | "Nov" | "Oct"
    );
    (digits || !ambiguous).then_some(text.len())
}

/// A heading's number and its first word (`I. THE FACTS`, `B. Criminal proceedings`) are no name.
pub(super) fn initial_and_surname(text: &str) -> Option<usize> {
    let text = text.strip_suffix("’s").or_else(|| text.strip_suffix("'s")).unwrap_or(text);
    let surname = text.rsplit([' ', '\u{a0}', '.']).next().unwrap_or_default();
    let in_capitals = !surname.chars().any(char::is_lowercase);
    let heading = GENERIC.contains(&surname)
        || INSTITUTION_HEADS.contains(&surname)
        || NO_PLACE.contains(&surname);
    (!in_capitals && !heading).then_some(text.len())
}

/// Abbreviations that look like initials and are nobody's. `S.A.` or `P.M.` may be a person in a case
/// whose parties have initials only.
pub(super) fn initials(text: &str) -> Option<usize> {
    let text = text.trim_end();
    let known = matches!(
        text,
        "U.S." | "U.K." | "E.U." | "U.N." | "P.O." | "U.S.A." | "U.S.S.R." | "S.A.R.L."
    );
    (!known).then_some(text.len())
}

pub(super) fn place(text: &str) -> Option<usize> {
    let text = text.trim_end_matches('.');
    let first = text.split([' ', '\u{a0}', ',']).next().unwrap_or_default();
    let month = is_month(first);
    let general =
        GENERIC.contains(&first) || NO_PLACE.contains(&first) || first.chars().count() < 3;
    // Another rule's: that of a name behind its title.
    let word = first.trim_end_matches('.');
    let title = COURTESY.contains(&word) || TITLES.contains(&word);
    let person = title && !text[first.len()..].starts_with(',');
    (!month && !general && !person).then_some(text.len())
}

pub(super) fn nationality(text: &str) -> Option<usize> {
    let first = text.split([' ', '\u{a0}']).next().unwrap_or_default();
    (!GENERIC.contains(&first) && !first.ends_with('.')).then_some(text.len())
}
