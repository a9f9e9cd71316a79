//! What takes the place of each span.

use std::borrow::Cow;
use std::collections::HashMap;

use pft_artifact::{DocumentRow, SpanRow};

use crate::config::{Config, Mode};
use crate::surrogate::surrogate;

/// What takes a span's place; `None` for a span that stays.
pub type Replacement<'a> = Option<Cow<'a, str>>;

/// Chooses replacements, and remembers the placeholders that each unit has been given.
///
/// The memory holds hashes, never text: one entry for each distinct value of each unit.
#[derive(Debug)]
pub struct Replacer<'a> {
    config: &'a Config,
    numbers: HashMap<[u8; 16], u32>,
    counts: HashMap<[u8; 16], u32>,
}

impl<'a> Replacer<'a> {
    /// A replacer that has seen no document yet.
    pub fn new(config: &'a Config) -> Self {
        Self { config, numbers: HashMap::new(), counts: HashMap::new() }
    }

    /// The replacement of each span, `None` for spans that stay. Documents of a unit must come in
    /// the order of the corpus; other units may stand between them.
    pub fn plan(
        &mut self,
        document: DocumentRow<'_>,
        spans: &[SpanRow<'_>],
    ) -> Vec<Replacement<'a>> {
        spans
            .iter()
            .map(|span| {
                let text = &document.text[span.start as usize..span.end as usize];
                match self.config.mode_of(span.label, span.score) {
                    Mode::Keep => None,
                    Mode::Mask => Some(Cow::Borrowed(self.config.mask_token.as_str())),
                    Mode::Label => Some(Cow::Owned(format!("[{}]", span.label))),
                    Mode::Remove => Some(Cow::Borrowed("")),
                    Mode::Pseudonym => {
                        let number = self.number(document.unit_id, span.label, text);
                        Some(Cow::Owned(format!("{}_{number}", span.label)))
                    }
                    Mode::Surrogate => {
                        let key = keyed(&[
                            &self.config.seed.to_string(),
                            document.unit_id,
                            span.label,
                            text,
                        ]);
                        Some(Cow::Owned(surrogate(span.label, text, key)))
                    }
                }
            })
            .collect()
    }

    fn number(&mut self, unit_id: &str, label: &str, text: &str) -> u32 {
        let counts = &mut self.counts;
        *self.numbers.entry(short(keyed(&[unit_id, label, text]))).or_insert_with(|| {
            let count = counts.entry(short(keyed(&[unit_id, label]))).or_insert(0);
            *count += 1;
            *count
        })
    }
}

fn short(hash: [u8; 32]) -> [u8; 16] {
    let mut short = [0; 16];
    short.copy_from_slice(&hash[..16]);
    short
}

/// A hash of several strings that no other list of strings has.
fn keyed(parts: &[&str]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    *hasher.finalize().as_bytes()
}
