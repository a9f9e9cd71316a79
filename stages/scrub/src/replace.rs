//! What takes the place of each span.

use std::borrow::Cow;
use std::collections::HashMap;

use pft_artifact::{DocumentRow, SpanRow};
use pft_stage::StageError;

use crate::config::{Config, Mode};
use crate::secret::Secret;
use crate::surrogate::surrogate;

/// What takes a span's place; `None` for a span that stays.
pub type Replacement<'a> = Option<Cow<'a, str>>;

/// Chooses replacements, and remembers the placeholders that each unit has been given.
///
/// The memory holds hashes, never text: one entry for each distinct value of each unit.
#[derive(Debug)]
pub struct Replacer<'a> {
    config: &'a Config,
    secret: Secret,
    numbers: HashMap<[u8; 16], u32>,
    counts: HashMap<[u8; 16], u32>,
}

impl<'a> Replacer<'a> {
    /// A replacer that has seen no document yet. Each chooses surrogates of its own, unless config
    /// fixes them.
    ///
    /// # Errors
    /// When the operating system gives no random numbers.
    pub fn new(config: &'a Config) -> Result<Self, StageError> {
        let secret = Secret::new(config.fixed_seed_not_for_release)?;
        Ok(Self { config, secret, numbers: HashMap::new(), counts: HashMap::new() })
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
                let (label, mode) = self.config.treatment(span);
                match mode {
                    Mode::Keep => None,
                    Mode::Mask => Some(Cow::Borrowed(self.config.mask_token.as_str())),
                    Mode::Label => Some(Cow::Owned(format!("[{label}]"))),
                    Mode::Remove => Some(Cow::Borrowed("")),
                    Mode::Pseudonym => {
                        let number = self.number(document.unit_id, label, text);
                        Some(Cow::Owned(format!("{label}_{number}")))
                    }
                    Mode::Surrogate => {
                        let key = self.secret.hash(&[document.unit_id, label, text]);
                        let is_one_kind = span.other_labels.is_none();
                        Some(Cow::Owned(surrogate(label, is_one_kind, text, key)))
                    }
                }
            })
            .collect()
    }

    fn number(&mut self, unit_id: &str, label: &str, text: &str) -> u32 {
        let Self { secret, numbers, counts, .. } = self;
        *numbers.entry(secret.short_hash(&[unit_id, label, text])).or_insert_with(|| {
            let count = counts.entry(secret.short_hash(&[unit_id, label])).or_insert(0);
            *count += 1;
            *count
        })
    }
}
