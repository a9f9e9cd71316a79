//! Units whose ids differ in nothing that a reader sees: one person may stand there twice, and a guarantee
//! for one unit is then no guarantee for the person.

use std::collections::HashSet;

use unicode_normalization::UnicodeNormalization;

use crate::fingerprint::fingerprint;

/// Units by what is seen of their ids.
#[derive(Debug, Default)]
pub(crate) struct Spellings(HashSet<u128>);

impl Spellings {
    /// Takes the id of a unit that was not here before; whether another one looks the same.
    pub(crate) fn is_repeated(&mut self, unit_id: &str) -> bool {
        !self.0.insert(fingerprint(&[&as_seen(unit_id)]))
    }
}

/// Without capitals, signs that nobody sees, and spaces but single ones between words; letters and their
/// marks in one form (Unicode's NFC).
fn as_seen(id: &str) -> String {
    let visible: String = id.chars().filter(|sign| !is_invisible(*sign)).nfc().collect();
    let words: Vec<String> = visible.split_whitespace().map(str::to_lowercase).collect();
    words.join(" ")
}

fn is_invisible(sign: char) -> bool {
    matches!(sign, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_id_are_counted_once_each() {
        let mut spellings = Spellings::default();
        let ids = [
            "Ann Lee",
            "ann lee",
            " Ann  Lee\u{200b}",
            "Annlee",
            "7",
            "8",
            "Zo\u{eb}",
            "Zoe\u{308}",
            "Zoe\u{200b}\u{308}",
            "plot m2",
            "plot m\u{b2}",
        ];
        let repeated = ids.map(|id| spellings.is_repeated(id));
        assert_eq!(
            repeated,
            [false, true, true, false, false, false, false, true, true, false, false]
        );
    }
}
