//! Lexical attributes, as spaCy and Python define them.

use std::collections::HashMap;
use std::sync::LazyLock;

use pft_pii::LoadError;
use regex::Regex;

use super::hash::string_id;
use super::msgpack::Packed;

/// Norms that spaCy gives every language (`spacy.lang.norm_exceptions.BASE_NORMS` of 3.8).
const BASE_NORMS: [(&str, &str); 44] = [
    ("'s", "'s"),
    ("'S", "'s"),
    ("’s", "'s"),
    ("’S", "'s"),
    ("’", "'"),
    ("‘", "'"),
    ("´", "'"),
    ("`", "'"),
    ("”", "\""),
    ("“", "\""),
    ("''", "\""),
    ("``", "\""),
    ("´´", "\""),
    ("„", "\""),
    ("»", "\""),
    ("«", "\""),
    ("‘‘", "\""),
    ("’’", "\""),
    ("？", "?"),
    ("！", "!"),
    ("，", ","),
    ("；", ";"),
    ("：", ":"),
    ("。", "."),
    ("।", "."),
    ("…", "..."),
    ("—", "-"),
    ("–", "-"),
    ("--", "-"),
    ("---", "-"),
    ("——", "-"),
    ("€", "$"),
    ("£", "$"),
    ("¥", "$"),
    ("฿", "$"),
    ("US$", "$"),
    ("C$", "$"),
    ("A$", "$"),
    ("₺", "$"),
    ("₹", "$"),
    ("৳", "$"),
    ("₩", "$"),
    ("Mex$", "$"),
    ("₣", "$"),
];

/// An attribute that a hash embedding reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attribute {
    Norm,
    Lower,
    Orth,
    Prefix,
    Suffix,
    Shape,
    IsSpace,
}

impl Attribute {
    /// By spaCy's name or number.
    pub(super) fn parse(value: &rmpv::Value) -> Option<Self> {
        let name = value.as_str().unwrap_or_default();
        Some(match (name, value.as_u64()) {
            ("NORM", _) | (_, Some(67)) => Self::Norm,
            ("LOWER", _) | (_, Some(66)) => Self::Lower,
            ("ORTH", _) | (_, Some(65)) => Self::Orth,
            ("SHAPE", _) | (_, Some(68)) => Self::Shape,
            ("PREFIX", _) | (_, Some(69)) => Self::Prefix,
            ("SUFFIX", _) | (_, Some(70)) => Self::Suffix,
            ("IS_SPACE", _) | (_, Some(6)) => Self::IsSpace,
            _ => return None,
        })
    }
}

/// The norm exceptions of a model's vocabulary.
pub(super) struct Norms {
    exceptions: HashMap<u64, String>,
}

impl Norms {
    /// Reads the table `lexeme_norm` of `vocab/lookups.bin`, if it has one.
    pub(super) fn read(lookups: Packed<'_>) -> Result<Self, LoadError> {
        let mut exceptions: HashMap<u64, String> =
            BASE_NORMS.iter().map(|(text, norm)| (string_id(text), (*norm).to_owned())).collect();
        exceptions.insert(string_id("E£"), "$".to_owned());
        if let Some(table) = lookups.find("lexeme_norm") {
            for (key, norm) in table.entries()? {
                exceptions.insert(key.number()?, norm.text()?.to_owned());
            }
        }
        Ok(Self { exceptions })
    }

    fn of(&self, text: &str) -> String {
        match self.exceptions.get(&string_id(text)) {
            Some(norm) => norm.clone(),
            None => text.to_lowercase(),
        }
    }

    /// The id that an attribute of a word has; `norm` is what a tokenizer exception says.
    pub(super) fn attribute(&self, attribute: Attribute, text: &str, norm: Option<&str>) -> u64 {
        match attribute {
            Attribute::Norm => match norm {
                Some(norm) => string_id(norm),
                None => string_id(&self.of(text)),
            },
            Attribute::Lower => string_id(&text.to_lowercase()),
            Attribute::Orth => string_id(text),
            Attribute::Prefix => string_id(&text[..text.chars().next().map_or(0, char::len_utf8)]),
            Attribute::Suffix => {
                let start = text.char_indices().rev().nth(2).map_or(0, |(index, _)| index);
                string_id(&text[start..])
            }
            Attribute::Shape => string_id(&shape(text)),
            Attribute::IsSpace => u64::from(text.chars().all(is_space)),
        }
    }
}

/// `str.isspace` of one character: Python also counts the four information separators.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// The word's shape: `Xxxxx`, `dd.dd`, with runs cut after four.
fn shape(text: &str) -> String {
    if text.chars().nth(99).is_some() {
        return "LONG".to_owned();
    }
    let (mut shape, mut last, mut run) = (String::new(), None, 0);
    for c in text.chars() {
        let kind = if is_letter(c) {
            if c.is_uppercase() { 'X' } else { 'x' }
        } else if is_digit(c) {
            'd'
        } else {
            c
        };
        run = if last == Some(kind) { run + 1 } else { 0 };
        last = Some(kind);
        if run < 4 {
            shape.push(kind);
        }
    }
    shape
}

/// `str.isalpha`: the categories of letters, which are fewer than `char::is_alphabetic`.
fn is_letter(c: char) -> bool {
    static LETTER: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^\p{L}").expect("a constant pattern"));
    c.is_ascii_alphabetic() || (!c.is_ascii() && LETTER.is_match(c.encode_utf8(&mut [0; 4])))
}

/// `str.isdigit`: decimal digits, and those with the numeric type Digit such as superscripts.
fn is_digit(c: char) -> bool {
    static DECIMAL: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"^\p{Nd}").expect("a constant pattern"));
    c.is_ascii_digit()
        || (!c.is_ascii()
            && (matches!(c as u32,
                0xb2 | 0xb3 | 0xb9 | 0x1369..=0x1371 | 0x19da | 0x2070 | 0x2074..=0x2079
                | 0x2080..=0x2089 | 0x2460..=0x2468 | 0x2474..=0x247c | 0x2488..=0x2490 | 0x24ea
                | 0x24f5..=0x24fd | 0x24ff | 0x2776..=0x277e | 0x2780..=0x2788 | 0x278a..=0x2792
                | 0x10a40..=0x10a43 | 0x10e60..=0x10e68 | 0x11052..=0x1105a | 0x1f100..=0x1f10a)
                || DECIMAL.is_match(c.encode_utf8(&mut [0; 4]))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_pythons() {
        for (text, expected) in [
            ("Strasbourg", "Xxxxx"),
            ("12345/67", "dddd/dd"),
            ("Łódź", "Xxxx"),
            ("x²", "xd"),
            ("Ⅳ", "Ⅳ"),
            ("!!!!!!", "!!!!"),
            ("東京", "xx"),
        ] {
            assert_eq!(shape(text), expected, "{text}");
        }
        assert_eq!(shape(&"a".repeat(100)), "LONG");
    }
}
