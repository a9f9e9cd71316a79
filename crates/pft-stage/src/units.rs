//! What a stage did to the units of the data, for whoever trains privately on its output.
//!
//! A guarantee for one unit holds for the training set that a private run is given. What happened to
//! the data before that is not covered by it, so every stage says so itself, in the language of a
//! privacy statement; nobody needs to know its settings.

use pft_artifact::Manifest;
use serde::{Deserialize, Serialize};

/// Notes on the units of an artifact.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UnitNotes {
    /// What a unit is: case, sender, document.
    pub unit: Option<String>,
    /// How units decided about each other, a sentence each: a guarantee for one unit does not cover
    /// what its presence did to others.
    pub couplings: Vec<String>,
    /// What else was done with the data, a sentence each.
    pub uses: Vec<String>,
}

impl UnitNotes {
    /// What the stages said that led to an artifact, each sentence once.
    pub fn of(manifest: &Manifest) -> Self {
        let mut notes = Self::default();
        for step in manifest.provenance["lineage"].as_array().into_iter().flatten() {
            if let Ok(earlier) = Self::deserialize(&step["units"]) {
                notes.add(earlier);
            }
        }
        notes
    }

    fn add(&mut self, other: Self) {
        self.unit = self.unit.take().or(other.unit);
        let new = |known: &mut Vec<String>, sentences: Vec<String>| {
            for sentence in sentences {
                if !known.contains(&sentence) {
                    known.push(sentence);
                }
            }
        };
        new(&mut self.couplings, other.couplings);
        new(&mut self.uses, other.uses);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn notes_of_all_stages_are_gathered_once() {
        let said = json!({ "unit": "case", "couplings": ["Copies went"], "uses": [] });
        let provenance = json!({ "lineage": [
            { "stage": "ingest", "units": said },
            { "stage": "tag-pii" },
            { "stage": "scrub", "units": { "uses": ["Scrubbed"], "couplings": ["Copies went"] } },
        ]});
        let folder = tempfile::tempdir().unwrap();
        let manifest =
            Manifest::seal(folder.path(), pft_artifact::Kind::Bundle, 0, provenance).unwrap();
        let notes = UnitNotes::of(&manifest);
        assert_eq!(notes.unit.as_deref(), Some("case"));
        assert_eq!(notes.couplings, ["Copies went"]);
        assert_eq!(notes.uses, ["Scrubbed"]);
    }
}
