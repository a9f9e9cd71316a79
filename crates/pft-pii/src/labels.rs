//! Label sets and the maps between them.
//!
//! Inside pft every span carries a canonical label: OntoNotes' 18, or one of the rules' own
//! ([`crate::rules::OWN_LABELS`]), or a user's. `data/labels.json` says which foreign labels mean the same (`canonical`), and how canonical
//! labels are called elsewhere (`sets`); users extend it with a file of the same form.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use crate::LoadError;

/// OntoNotes 5's entity labels.
pub const ONTONOTES: &[&str] = &[
    "CARDINAL",
    "DATE",
    "EVENT",
    "FAC",
    "GPE",
    "LANGUAGE",
    "LAW",
    "LOC",
    "MONEY",
    "NORP",
    "ORDINAL",
    "ORG",
    "PERCENT",
    "PERSON",
    "PRODUCT",
    "QUANTITY",
    "TIME",
    "WORK_OF_ART",
];

/// The labels that count as personal information where config says nothing: OntoNotes' 18, CoNLL's
/// MISC, and the rules' own.
pub fn default_pii() -> Vec<String> {
    let mut labels: Vec<String> =
        ONTONOTES.iter().chain(crate::rules::OWN_LABELS).map(ToString::to_string).collect();
    labels.push("MISC".to_string());
    labels.sort_unstable();
    labels
}

/// Maps between label sets.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct LabelMap {
    /// Foreign label → canonical label.
    #[serde(default)]
    canonical: BTreeMap<String, Arc<str>>,
    /// Label set → canonical label → its label there.
    #[serde(default)]
    sets: BTreeMap<String, BTreeMap<String, String>>,
}

impl LabelMap {
    /// The maps that pft comes with.
    pub fn built_in() -> Self {
        match Self::parse(include_str!("../data/labels.json")) {
            Ok(map) => map,
            Err(error) => panic!("data/labels.json: {error}"),
        }
    }

    /// Reads maps from JSON.
    ///
    /// # Errors
    /// When the text is not JSON of the expected form.
    pub fn parse(json: &str) -> Result<Self, LoadError> {
        serde_json::from_str(json).map_err(|error| LoadError::Config(format!("label map: {error}")))
    }

    /// Adds another map's entries; they win over entries already here.
    pub fn extend(&mut self, other: Self) {
        self.canonical.extend(other.canonical);
        for (set, labels) in other.sets {
            self.sets.entry(set).or_default().extend(labels);
        }
    }

    /// Says that a foreign label means a canonical one.
    pub fn alias(&mut self, foreign: &str, canonical: &str) {
        self.canonical.insert(foreign.to_string(), canonical.into());
    }

    /// The canonical label of a backend's label; an unknown label stays what it is.
    pub fn canonical(&self, label: &Arc<str>) -> Arc<str> {
        self.canonical.get(&**label).unwrap_or(label).clone()
    }

    /// What a label set calls a canonical label: none where it has no such kind. `None` for a set
    /// that is not known.
    pub fn translate(&self, set: &str, label: &str) -> Option<&str> {
        self.sets.get(set)?.get(label).map(String::as_str)
    }

    /// Whether a label means the same as a canonical one, or is what a label set calls it.
    pub fn alike(&self, canonical: &str, label: &str) -> bool {
        let meaning = self.canonical.get(label).map_or(label, |meaning| &**meaning);
        meaning == canonical
            || self.sets.values().any(|set| set.get(canonical).is_some_and(|name| name == label))
    }

    /// The names of the known label sets.
    pub fn sets(&self) -> impl Iterator<Item = &str> {
        self.sets.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_labels_meet_in_the_canonical_set() {
        let map = LabelMap::built_in();
        assert_eq!(&*map.canonical(&"PER".into()), "PERSON");
        assert_eq!(&*map.canonical(&"PHONE_NUMBER".into()), "PHONE");
        assert_eq!(&*map.canonical(&"GPE".into()), "GPE");
        assert_eq!(map.translate("tab", "GPE"), Some("LOC"));
        assert_eq!(map.translate("conll", "MONEY"), None);
    }

    #[test]
    fn every_alias_leads_to_a_default_label_and_every_set_starts_from_one() {
        let (map, known) = (LabelMap::built_in(), default_pii());
        for canonical in map.canonical.values() {
            assert!(known.iter().any(|label| **label == **canonical), "{canonical}");
        }
        for label in map.sets.values().flat_map(BTreeMap::keys) {
            assert!(known.contains(label), "{label}");
        }
    }

    #[test]
    fn labels_of_services_count_by_default() {
        let (map, known) = (LabelMap::built_in(), default_pii());
        let presidio = "PERSON LOCATION ORGANIZATION NRP DATE_TIME EMAIL_ADDRESS PHONE_NUMBER URL \
            IP_ADDRESS MAC_ADDRESS IBAN_CODE CREDIT_CARD CRYPTO MEDICAL_LICENSE US_SSN US_ITIN \
            US_PASSPORT US_DRIVER_LICENSE US_BANK_NUMBER UK_NHS UK_NINO ES_NIF IT_FISCAL_CODE \
            PL_PESEL SG_NRIC_FIN AU_TFN IN_AADHAAR DE_TAX_ID KR_RRN ZA_ID_NUMBER UUID";
        let private_ai = "NAME NAME_GIVEN NAME_FAMILY NAME_MEDICAL_PROFESSIONAL ACCOUNT_NUMBER AGE \
            BANK_ACCOUNT CONDITION CVV DATE DATE_INTERVAL DOB DRIVER_LICENSE DRUG EMAIL_ADDRESS \
            GENDER HEALTHCARE_NUMBER IP_ADDRESS LOCATION LOCATION_ADDRESS LOCATION_ZIP MONEY \
            NUMERICAL_PII OCCUPATION ORGANIZATION ORIGIN PASSPORT_NUMBER PASSWORD PHONE_NUMBER \
            RELIGION SEXUALITY SSN URL USERNAME VEHICLE_ID";
        for label in presidio.split_whitespace().chain(private_ai.split_whitespace()) {
            assert!(known.iter().any(|known| **known == *map.canonical(&label.into())), "{label}");
        }
    }

    #[test]
    fn users_extend_the_map() {
        let mut map = LabelMap::built_in();
        map.extend(
            LabelMap::parse(
                r#"{"canonical": {"PER": "ACTOR"}, "sets": {"mine": {"PERSON": "P"}}}"#,
            )
            .unwrap(),
        );
        assert_eq!(&*map.canonical(&"PER".into()), "ACTOR");
        assert_eq!(map.translate("mine", "PERSON"), Some("P"));
        assert!(LabelMap::parse(r#"{"cannonical": {}}"#).is_err());
    }
}
