//! What is the same for all sources: text that is fit to keep, filters, duplicates, ids.
//!
//! Nothing here lets one unit change what becomes of another, except `deduplicate: across_units`
//! and `limit`, which say so. Memory is a few dozen bytes a document.

use std::collections::{HashMap, HashSet};

use pft_artifact::{Quoted, Span, Turn};
use pft_stage::StageError;

use crate::config::{Config, Deduplicate, InvalidText};
use crate::document::{Omission, RawDocument};
use crate::fingerprint::fingerprint;

/// A document that is kept.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Accepted {
    pub(crate) doc_id: String,
    pub(crate) unit_id: String,
    pub(crate) text: String,
    pub(crate) turns: Vec<Turn>,
    pub(crate) spans: Option<Vec<Span>>,
}

/// How many documents were left out, and why.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LeftOut {
    pub(crate) too_short: u64,
    pub(crate) too_long: u64,
    pub(crate) duplicates: u64,
    pub(crate) without_text: u64,
    pub(crate) broken: u64,
}

/// Decides on documents one by one.
pub(crate) struct Intake {
    min_chars: u64,
    max_chars: Option<u64>,
    deduplicate: Deduplicate,
    repair: bool,
    ids: HashSet<u128>,
    texts: HashSet<u128>,
    /// The next number of a unit's documents that have no id of their own.
    numbers: HashMap<u128, u64>,
    /// How often a text occurred, for those that occurred more than once.
    repeats: HashMap<u128, u64>,
    pub(crate) left_out: LeftOut,
}

impl Intake {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            min_chars: config.min_chars,
            max_chars: config.max_chars,
            deduplicate: config.deduplicate,
            repair: config.invalid_text == InvalidText::Repair,
            ids: HashSet::new(),
            texts: HashSet::new(),
            numbers: HashMap::new(),
            repeats: HashMap::new(),
            left_out: LeftOut::default(),
        }
    }

    /// The document with its ids settled, or `None` if it is left out.
    pub(crate) fn accept(&mut self, raw: RawDocument) -> Result<Option<Accepted>, StageError> {
        let RawDocument { doc_id, unit_id, mut text, mut turns, mut spans, origin, .. } = raw;
        if let Some(omission) = raw.left_out {
            match omission {
                Omission::NoText => self.left_out.without_text += 1,
                Omission::Broken => self.left_out.broken += 1,
            }
            return Ok(None);
        }
        if text.as_bytes().contains(&0) {
            if !self.repair {
                let name = doc_id.map(|id| format!(" (document {})", Quoted(&id)));
                let name = name.unwrap_or_default();
                return Err(StageError::input(format!(
                    "{origin}{name}: the text has a NUL character"
                ))
                .with_help(
                    "NUL mostly means damaged or binary data; set `invalid_text: repair` to drop \
                     NUL characters",
                ));
            }
            if turns.is_empty() {
                text.retain(|character| character != '\0');
            } else {
                let contents = turns.iter().map(|turn| {
                    let content = text[turn.range()].replace('\0', "");
                    (turn.role, content)
                });
                (text, turns) = Turn::join(contents).map_err(|_| too_long(&origin))?;
            }
            // Offsets no longer fit. No source that knows spans makes NUL characters.
            spans = None;
        }
        if !self.has_right_length(&text) {
            return Ok(None);
        }
        for (name, id) in [("document", &doc_id), ("unit", &unit_id)] {
            if id.as_ref().is_some_and(|id| id.is_empty() || id.contains('\0')) {
                return Err(StageError::input(format!(
                    "{origin}: the {name}'s id is empty or has a NUL character"
                ))
                .with_help("give the row an id"));
            }
        }
        if self.is_duplicate(unit_id.as_deref(), &text) {
            self.left_out.duplicates += 1;
            return Ok(None);
        }
        let doc_id = match doc_id {
            Some(doc_id) => {
                self.claim(&doc_id, &origin)?;
                doc_id
            }
            None => self.make_id(unit_id.as_deref(), &text, &origin)?,
        };
        let unit_id = unit_id.unwrap_or_else(|| doc_id.clone());
        Ok(Some(Accepted { doc_id, unit_id, text, turns, spans }))
    }

    fn has_right_length(&mut self, text: &str) -> bool {
        let chars = text.chars().count() as u64;
        if chars < self.min_chars {
            self.left_out.too_short += 1;
            return false;
        }
        if self.max_chars.is_some_and(|max| chars > max) {
            self.left_out.too_long += 1;
            return false;
        }
        true
    }

    fn is_duplicate(&mut self, unit_id: Option<&str>, text: &str) -> bool {
        match (self.deduplicate, unit_id) {
            (Deduplicate::Off, _) => false,
            // A document that is its own unit has no other beside it.
            (Deduplicate::WithinUnit, None) => false,
            (Deduplicate::WithinUnit, Some(unit)) => !self.texts.insert(fingerprint(&[unit, text])),
            (Deduplicate::AcrossUnits, _) => !self.texts.insert(fingerprint(&[text])),
        }
    }

    /// Takes an id, which must be new.
    pub(crate) fn claim(&mut self, doc_id: &str, origin: &str) -> Result<(), StageError> {
        if self.ids.insert(fingerprint(&[doc_id])) {
            return Ok(());
        }
        Err(StageError::input(format!(
            "{origin}: the id {} occurred before; ids must be unique",
            Quoted(doc_id)
        ))
        .with_help(
            "choose another id_column, or leave it out: documents are then numbered within their \
             unit, or called by a hash of their text",
        ))
    }

    /// An id that other units do not change: the number within the unit, or the text's hash.
    fn make_id(
        &mut self,
        unit_id: Option<&str>,
        text: &str,
        origin: &str,
    ) -> Result<String, StageError> {
        let doc_id = match unit_id {
            Some(unit) => {
                let number = self.numbers.entry(fingerprint(&[unit])).or_default();
                *number += 1;
                format!("{unit}/{}", *number - 1)
            }
            None => {
                let hash = format!("{:032x}", fingerprint(&[text]));
                if self.ids.contains(&fingerprint(&[&hash])) {
                    // Which of two equal texts is called the second makes no difference.
                    let count = self.repeats.entry(fingerprint(&[text])).or_insert(1);
                    *count += 1;
                    format!("{hash}-{count}")
                } else {
                    hash
                }
            }
        };
        self.claim(&doc_id, origin)?;
        Ok(doc_id)
    }
}

/// The error for a conversation that byte offsets cannot address.
pub(crate) fn too_long(origin: &str) -> StageError {
    StageError::input(format!("{origin}: the conversation is longer than 4 GiB"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(id: Option<&str>, unit: Option<&str>, text: &str) -> RawDocument {
        RawDocument {
            doc_id: id.map(str::to_string),
            unit_id: unit.map(str::to_string),
            text: text.to_string(),
            origin: "here:1".to_string(),
            ..Default::default()
        }
    }

    fn ids(intake: &mut Intake, raws: &[RawDocument]) -> Vec<String> {
        raws.iter()
            .filter_map(|raw| intake.accept(raw.clone()).unwrap())
            .map(|accepted| accepted.doc_id)
            .collect()
    }

    #[test]
    fn made_ids_do_not_depend_on_other_units() {
        let all = [
            raw(None, Some("a"), "x"),
            raw(None, Some("b"), "y"),
            raw(None, Some("a"), "z"),
            raw(None, None, "same"),
            raw(None, None, "same"),
            raw(None, None, "same"),
        ];
        let config = Config::default();
        let with = ids(&mut Intake::new(&config), &all);
        assert_eq!(with[..3], ["a/0", "b/0", "a/1"]);
        assert!(with[4] == format!("{}-2", with[3]) && with[5] == format!("{}-3", with[3]));
        let without = ids(&mut Intake::new(&config), &[all[0].clone(), all[2].clone()]);
        assert_eq!(without, ["a/0", "a/1"]);
    }

    #[test]
    fn duplicates_are_removed_within_units_or_everywhere() {
        let all = [
            raw(Some("1"), Some("a"), "x"),
            raw(Some("2"), Some("b"), "x"),
            raw(Some("3"), Some("a"), "x"),
            raw(Some("4"), None, "x"),
        ];
        let kept = |deduplicate| {
            let config = Config { deduplicate, ..Config::default() };
            ids(&mut Intake::new(&config), &all)
        };
        assert_eq!(kept(Deduplicate::Off), ["1", "2", "3", "4"]);
        assert_eq!(kept(Deduplicate::WithinUnit), ["1", "2", "4"]);
        assert_eq!(kept(Deduplicate::AcrossUnits), ["1"]);
    }

    #[test]
    fn lengths_are_in_characters() {
        let config = Config { min_chars: 2, max_chars: Some(3), ..Config::default() };
        let mut intake = Intake::new(&config);
        let all = ["é", "éé", "ééé", "éééé", ""].map(|text| raw(Some(text), None, text));
        let kept: Vec<String> = ids(&mut intake, &all);
        assert_eq!(kept, ["éé", "ééé"]);
        assert_eq!((intake.left_out.too_short, intake.left_out.too_long), (2, 1));
    }

    #[test]
    fn bad_ids_and_nul_are_refused_with_their_place() {
        let mut intake = Intake::new(&Config::default());
        intake.accept(raw(Some("1"), None, "x")).unwrap();
        let second = intake.accept(raw(Some("1"), None, "y")).unwrap_err();
        assert!(second.message().contains("here:1: the id \"1\" occurred before"));
        let nul = intake.accept(raw(Some("2"), None, "a\0b")).unwrap_err();
        assert!(nul.message().contains("(document \"2\"): the text has a NUL"));
        assert_eq!(nul.exit_code(), 3);
        assert!(intake.accept(raw(Some(""), None, "x")).is_err());
        let config = Config { invalid_text: InvalidText::Repair, ..Config::default() };
        let repaired = Intake::new(&config).accept(raw(Some("2"), None, "a\0b"));
        assert_eq!(repaired.unwrap().unwrap().text, "ab");
    }
}
