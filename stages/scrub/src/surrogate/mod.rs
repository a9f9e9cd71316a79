//! Fictional values of the same kind.
//!
//! Names, places and organisations come from short lists of invented or very common values; all
//! else keeps its shape: digits become other digits, names of months and days others of them, letters
//! other letters of their case, and punctuation stays. Of words only those of a short list stay that name
//! a kind and nobody (`5 million euros`, `no. 123/45`), and only where the label is of things that have
//! such words and nothing else was found among them. The choice depends on the key alone.

mod lists;

use lists::{GIVEN_NAMES, MONTHS, ORGANISATIONS, PLACES, SURNAMES, WEEKDAYS, kind_words};

/// A stream of small numbers from a key.
struct Choices {
    stream: blake3::OutputReader,
}

impl Choices {
    fn new(key: [u8; 32]) -> Self {
        Self { stream: blake3::Hasher::new_keyed(&key).finalize_xof() }
    }

    fn below(&mut self, bound: usize) -> usize {
        let mut bytes = [0; 8];
        self.stream.fill(&mut bytes);
        // The bias of a 64-bit remainder is far below anything that a list of names could show.
        (u64::from_le_bytes(bytes) % bound as u64) as usize
    }

    fn pick<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }
}

/// A fictional value for `text`, never `text` itself. Where it is not all of one kind, no word of it
/// stays, whatever its label.
pub(crate) fn surrogate(label: &str, is_one_kind: bool, text: &str, key: [u8; 32]) -> String {
    let mut choices = Choices::new(key);
    for _ in 0..64 {
        let value = propose(label, is_one_kind, text, &mut choices);
        // In other capitals it would be the same to a reader.
        if value.to_lowercase() != text.to_lowercase() {
            return value;
        }
    }
    // Only text without letters and digits keeps its shape exactly.
    format!("[{label}]")
}

fn propose(label: &str, is_one_kind: bool, text: &str, choices: &mut Choices) -> String {
    match label {
        "PERSON" | "PER" | "TITLE_NAME" => person(text, choices),
        "GPE" | "LOC" | "FAC" | "LOCATION" => choices.pick(PLACES).to_string(),
        "ORG" | "ORGANIZATION" | "NORP" => choices.pick(ORGANISATIONS).to_string(),
        "EMAIL" | "EMAIL_ADDRESS" => format!(
            "{}.{}@example.org",
            choices.pick(GIVEN_NAMES).to_lowercase(),
            choices.pick(SURNAMES).to_lowercase()
        ),
        "URL" => format!("https://example.org/{}", choices.pick(PLACES).to_lowercase()),
        label => same_shape(text, if is_one_kind { kind_words(label) } else { &[] }, choices),
    }
}

/// As many name parts as the original has, initials staying initials.
fn person(text: &str, choices: &mut Choices) -> String {
    let parts: Vec<&str> = text.split_whitespace().collect();
    let last = parts.len().saturating_sub(1);
    let named: Vec<String> = parts
        .iter()
        .enumerate()
        .map(|(index, part)| {
            let name = choices.pick(if index == last { SURNAMES } else { GIVEN_NAMES });
            let letters = part.chars().filter(|c| c.is_alphabetic()).count();
            let first = name.chars().next().unwrap_or('A');
            match (letters, part.ends_with('.')) {
                (1, true) => format!("{first}."),
                (1, false) => first.to_string(),
                _ if letters > 1 && !part.chars().any(char::is_lowercase) => name.to_uppercase(),
                _ => name.to_string(),
            }
        })
        .collect();
    named.join(" ")
}

fn same_shape(text: &str, kind_words: &[&str], choices: &mut Choices) -> String {
    let mut out = String::with_capacity(text.len());
    let mut word = String::new();
    for c in text.chars().chain(std::iter::once('\0')) {
        // Some numbers are letters too: Ⅷ.
        if c.is_alphabetic() && !c.is_numeric() {
            word.push(c);
            continue;
        }
        flush_word(&mut word, &mut out, kind_words, choices);
        match c {
            '\0' => {}
            number if number.is_numeric() => {
                // A leading digit stays other than zero, so that the number keeps its length.
                let low = usize::from(number != '0');
                let digit = low + choices.below(10 - low);
                out.push(char::from(b'0' + digit as u8));
            }
            other => out.push(other),
        }
    }
    out
}

/// Names of months and days become others of them, and short ones short; those of `kind_words`
/// stay; all else gets other letters, capitals for capitals.
fn flush_word(word: &mut String, out: &mut String, kind_words: &[&str], choices: &mut Choices) {
    if word.is_empty() {
        return;
    }
    let names =
        [MONTHS, WEEKDAYS].into_iter().find(|names| names.iter().any(|name| is_name(word, name)));
    if let Some(names) = names {
        let others: Vec<&str> = names.iter().copied().filter(|name| !is_name(word, name)).collect();
        let new = choices.pick(&others);
        let in_full = names.iter().any(|name| name.eq_ignore_ascii_case(word));
        out.push_str(if in_full { new } else { &new[..3] });
    } else if kind_words.contains(&word.to_lowercase().as_str()) {
        out.push_str(word);
    } else {
        for c in word.chars() {
            let first = if c.is_uppercase() { b'A' } else { b'a' };
            out.push(char::from(first + choices.below(26) as u8));
        }
    }
    word.clear();
}

/// Whether a word is a month's or day's name, or its first three or four letters.
fn is_name(word: &str, name: &str) -> bool {
    let short = (3..=4).contains(&word.len()) && word.len() <= name.len();
    let short = short && word.is_ascii() && name[..word.len()].eq_ignore_ascii_case(word);
    short || name.eq_ignore_ascii_case(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(label: &str, text: &str) -> String {
        surrogate(label, true, text, *blake3::hash(text.as_bytes()).as_bytes())
    }

    #[test]
    fn shapes_are_kept() {
        let date = of("DATE", "12 May 1998");
        let parts: Vec<&str> = date.split(' ').collect();
        assert_eq!(parts.len(), 3);
        assert!(MONTHS.contains(&parts[1]), "{date}");
        assert!(parts[2].len() == 4 && parts[2].chars().all(|c| c.is_ascii_digit()), "{date}");
        let number = of("CASE_NUMBER", "no. 12345/67");
        assert!(number.starts_with("no. ") && number.as_bytes()[9] == b'/', "{number}");
        assert_eq!(of("PERSON", "J. SMITH").len(), of("PERSON", "J. SMITH").trim().len());
        assert!(of("PERSON", "J. Smith").as_bytes()[1] == b'.');
    }

    #[test]
    fn no_word_of_a_name_stays() {
        for (label, text) in [
            ("ADDRESS", "12 Baker Street"),
            ("USERNAME", "jsmith42"),
            ("EVENT", "Smith Memorial 1998"),
            ("PERSON", "Éva Nagy-Kovács"),
            ("FAC", "Fleury-Mérogis Prison"),
            ("X", "Ærøskøbing"),
        ] {
            let value = of(label, text).to_lowercase();
            for word in text.split(|c: char| !c.is_alphabetic()).filter(|word| word.len() > 3) {
                assert!(!value.contains(&word.to_lowercase()), "{label}: {value}");
            }
        }
        assert_eq!(of("MONEY", "EUR 5 million").split(' ').nth(2), Some("million"));
    }

    /// What others call a user name, a password or a wallet is a CASE_NUMBER here.
    #[test]
    fn of_words_only_those_of_a_kind_stay() {
        for seed in 0..100u32 {
            let key = *blake3::hash(&seed.to_le_bytes()).as_bytes();
            for (label, text) in [
                ("CASE_NUMBER", "jsmith77"),
                ("CASE_NUMBER", "hunter2"),
                ("CASE_NUMBER", "miles85"),
                ("X", "Wednesday Addams"),
                ("CASE_NUMBER", "Account number Kowalski77X"),
                ("CASE_NUMBER", "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2"),
                ("DATE", "Christmas Eve, Monday the twelfth of Sept 1998"),
                ("MONEY", "EUR five hundred thousand"),
            ] {
                let value = surrogate(label, true, text, key);
                for word in text.split(|c: char| !c.is_alphabetic()).filter(|word| word.len() > 3) {
                    let may_stay = kind_words(label).contains(&word.to_lowercase().as_str());
                    assert!(may_stay || !value.contains(word), "{label}: {value}");
                }
            }
            assert!(!surrogate("DATE", true, "Sept 1998", key).contains("Sept"));
            assert_ne!(surrogate("GPE", true, "NORVIK", key), "Norvik");
        }
        assert_eq!(of("MONEY", "EUR five hundred thousand")[..4], *"EUR ");
    }

    /// A date that was found together with a name must not let the name through.
    #[test]
    fn no_word_stays_where_something_else_was_found_too() {
        for seed in 0..100u32 {
            let key = *blake3::hash(&seed.to_le_bytes()).as_bytes();
            for label in ["AGE", "CASE_NUMBER", "DATE", "MONEY", "PHONE", "X"] {
                let value = surrogate(label, false, "12 May Kowalski", key);
                assert!(!value.contains("Kowalski"), "{label}: {value}");
            }
        }
    }

    #[test]
    fn no_digit_of_any_script_stays() {
        for text in ["AB-١٢٣٤٥٦", "१२ May १९९८", "１２３", "Ⅷ/Ⅻ", "②③ ½"]
        {
            for label in ["CASE_NUMBER", "DATE", "X"] {
                let value = of(label, text);
                assert!(
                    !value.chars().any(|c| c.is_numeric() && !c.is_ascii()),
                    "{label}: {value}"
                );
            }
        }
        assert!(of("CASE_NUMBER", "AB-١٢").as_bytes()[3..].iter().all(u8::is_ascii_digit));
    }

    #[test]
    fn a_surrogate_is_never_the_original() {
        for seed in 0..500u32 {
            let key = *blake3::hash(&seed.to_le_bytes()).as_bytes();
            for (label, text) in [
                ("CARDINAL", "5"),
                ("PERSON", "Alma Janda"),
                ("GPE", "Norvik"),
                ("X", "…"),
                ("X", "abc"),
            ] {
                assert_ne!(surrogate(label, true, text, key), text);
            }
        }
    }
}
