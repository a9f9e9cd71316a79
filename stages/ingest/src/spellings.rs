//! Units whose ids differ in nothing that a reader sees: one person may stand there twice, and a guarantee
//! for one unit is then no guarantee for the person.

use std::collections::{HashMap, HashSet};

use crate::fingerprint::fingerprint;

/// Ids of units by what is seen of them.
#[derive(Debug, Default)]
pub(crate) struct Spellings {
    ids: HashSet<u128>,
    seen: HashMap<u128, u32>,
}

impl Spellings {
    pub(crate) fn add(&mut self, unit_id: &str) {
        if self.ids.insert(fingerprint(&[unit_id])) {
            *self.seen.entry(fingerprint(&[&as_seen(unit_id)])).or_default() += 1;
        }
    }

    /// How many units there are beside the first of each spelling.
    pub(crate) fn repeated(&self) -> u64 {
        self.seen.values().map(|count| u64::from(count - 1)).sum()
    }
}

/// Without capitals, signs that nobody sees, and spaces but single ones between words.
fn as_seen(id: &str) -> String {
    let visible: String = id.chars().filter(|sign| !is_invisible(*sign)).collect();
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
        for id in ["Ann Lee", "ann lee", " Ann  Lee\u{200b}", "Ann Lee", "Annlee", "7", "8"] {
            spellings.add(id);
        }
        assert_eq!(spellings.repeated(), 2);
    }
}
