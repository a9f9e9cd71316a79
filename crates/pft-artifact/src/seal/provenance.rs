//! Where an artifact came from: the stages that led to it, and what each said of the units of the data.
//!
//! A guarantee for one unit holds for the training set that a private run is given. What happened to
//! the data before that is not covered by it, so every stage says so itself, in the language of a
//! privacy statement; nobody needs to know its settings.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::{ArtifactError, MANIFEST, Manifest};

/// The stage that makes models.
const TRAINING: &str = "train";

/// Notes on the units of an artifact.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
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
    fn add(&mut self, other: &Self) {
        self.unit = self.unit.take().or_else(|| other.unit.clone());
        let new = |known: &mut Vec<String>, sentences: &[String]| {
            for sentence in sentences {
                if !known.contains(sentence) {
                    known.push(sentence.clone());
                }
            }
        };
        new(&mut self.couplings, &other.couplings);
        new(&mut self.uses, &other.uses);
    }
}

/// One stage's part in what led to an artifact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The stage.
    pub stage: String,
    /// Its revision.
    #[serde(default)]
    pub revision: u32,
    /// Its settings, defaults filled in; null where they stay behind.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub config: Value,
    /// Content hashes of its inputs, by port.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, String>,
    /// What it said of units.
    #[serde(default, deserialize_with = "said", skip_serializing_if = "is_silent")]
    pub units: UnitNotes,
    /// Content hash of what it made; none in the manifest of that artifact itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_hash: Option<String>,
    /// What else a stage in another language wrote.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// Null is what a stage writes that has nothing to say.
fn said<'de, D: Deserializer<'de>>(deserializer: D) -> Result<UnitNotes, D::Error> {
    Option::<UnitNotes>::deserialize(deserializer).map(Option::unwrap_or_default)
}

fn is_silent(notes: &UnitNotes) -> bool {
    *notes == UnitNotes::default()
}

impl Step {
    /// The step as it may be published: without settings and hashes.
    pub fn published(&self) -> Self {
        Self {
            stage: self.stage.clone(),
            revision: self.revision,
            config: Value::Null,
            inputs: BTreeMap::new(),
            units: UnitNotes::default(),
            content_hash: None,
            other: Map::new(),
        }
    }
}

/// Every step that led to an artifact, the last one its own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Lineage(Vec<Step>);

impl Lineage {
    /// The lineage in a manifest's provenance; empty where it has none.
    ///
    /// # Errors
    /// When it is there and is no lineage: what a stage said of units would be lost.
    pub(crate) fn of(provenance: &Value) -> Result<Self, serde_json::Error> {
        match &provenance["lineage"] {
            Value::Null => Ok(Self::default()),
            steps => Self::deserialize(steps),
        }
    }

    /// Every step that led to the inputs, then `own`; each step once.
    ///
    /// # Errors
    /// When the lineage of an input cannot be read.
    pub fn following(
        inputs: &BTreeMap<String, Manifest>,
        own: Step,
    ) -> Result<Self, ArtifactError> {
        let mut steps: Vec<Step> = Vec::new();
        let mut add = |step: Step| {
            if !steps.contains(&step) {
                steps.push(step);
            }
        };
        for manifest in inputs.values() {
            let mut earlier = manifest.lineage()?.0;
            if let Some(last) = earlier.last_mut() {
                last.content_hash = Some(manifest.content_hash.clone());
            }
            earlier.into_iter().for_each(&mut add);
        }
        add(own);
        Ok(Self(steps))
    }

    /// Whether a step is among these, whatever is known of what it made: the last one of a manifest
    /// does not have its own content hash.
    pub fn holds(&self, step: &Step) -> bool {
        let same =
            |own: &Step| Step { content_hash: step.content_hash.clone(), ..own.clone() } == *step;
        self.0.iter().any(same)
    }

    /// These steps, with those of `other` that are not among them before the last.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        let mut steps = self.0;
        let own = steps.pop();
        let missing: Vec<Step> = {
            let known = Self(steps.clone());
            other.0.into_iter().filter(|step| !known.holds(step)).collect()
        };
        steps.extend(missing.into_iter().chain(own));
        Self(steps)
    }

    /// The steps, the first one first.
    pub fn steps(&self) -> &[Step] {
        &self.0
    }

    /// The stage that came after the last training, if one did: what it did to the model is not known.
    pub fn after_training(&self) -> Option<&Step> {
        let trained = self.0.iter().rposition(|step| step.stage == TRAINING)?;
        self.0.get(trained + 1)
    }

    /// What all stages said of units, each sentence once.
    pub fn units(&self) -> UnitNotes {
        let mut notes = UnitNotes::default();
        for step in &self.0 {
            if let (Some(before), Some(after)) = (&notes.unit, &step.units.unit)
                && before != after
            {
                let said = format!(
                    "The stage {} made units of another kind, {after}, of what was one {before}",
                    step.stage
                );
                notes.add(&UnitNotes { couplings: vec![said], ..UnitNotes::default() });
            }
            notes.add(&step.units);
        }
        notes
    }

    /// The lineage as it may be published.
    pub fn published(&self) -> Self {
        Self(self.0.iter().map(Step::published).collect())
    }
}

impl Manifest {
    /// The steps that led to the artifact.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn lineage(&self) -> Result<Lineage, ArtifactError> {
        Lineage::of(&self.provenance).map_err(|error| {
            ArtifactError::invalid(
                MANIFEST,
                format!("its lineage cannot be read: {error}; make the artifact again"),
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lineage(steps: &Value) -> Result<Lineage, serde_json::Error> {
        Lineage::of(&json!({ "lineage": steps }))
    }

    #[test]
    fn notes_of_all_stages_are_gathered_once() {
        let said = json!({ "unit": "case", "couplings": ["Copies went"], "uses": [] });
        let steps = json!([
            { "stage": "ingest", "units": said },
            { "stage": "tag-pii" },
            { "stage": "scrub", "units": { "uses": ["Scrubbed"], "couplings": ["Copies went"] } },
        ]);
        let notes = lineage(&steps).unwrap().units();
        assert_eq!(notes.unit.as_deref(), Some("case"));
        assert_eq!(notes.couplings, ["Copies went"]);
        assert_eq!(notes.uses, ["Scrubbed"]);
    }

    #[test]
    fn a_step_is_known_by_all_but_what_it_made() {
        let kept =
            lineage(&json!([{ "stage": "ingest", "content_hash": "ab" }, { "stage": "copy" }]));
        let kept = kept.unwrap();
        let step = |value: Value| serde_json::from_value::<Step>(value).unwrap();
        assert!(kept.holds(&step(json!({ "stage": "ingest" }))));
        assert!(!kept.holds(&step(json!({ "stage": "ingest", "revision": 2 }))));
        let other = lineage(&json!([{ "stage": "ingest" }, { "stage": "ingest", "revision": 2 }]));
        let both = kept.with(other.unwrap());
        let names: Vec<(&str, u32)> =
            both.steps().iter().map(|step| (&step.stage[..], step.revision)).collect();
        assert_eq!(names, [("ingest", 0), ("ingest", 2), ("copy", 0)]);
    }

    #[test]
    fn what_comes_after_training_is_told() {
        let after = |stages: &[&str]| {
            let steps: Vec<Value> = stages.iter().map(|stage| json!({ "stage": stage })).collect();
            let lineage = lineage(&Value::Array(steps)).unwrap();
            lineage.after_training().map(|step| step.stage.clone())
        };
        assert_eq!(after(&["ingest", "train"]), None);
        assert_eq!(after(&["ingest"]), None);
        assert_eq!(after(&["train", "quantize", "prune"]).as_deref(), Some("quantize"));
        assert_eq!(after(&["train", "quantize", "train"]), None);
    }

    #[test]
    fn what_does_not_parse_is_no_silence() {
        for steps in [
            json!("ingest"),
            json!([{ "revision": 1 }]),
            json!([{ "stage": "ingest", "units": "coupled" }]),
            json!([{ "stage": "ingest", "units": { "coupling": ["Copies went"] } }]),
            json!([{ "stage": "ingest", "units": { "couplings": "Copies went" } }]),
        ] {
            assert!(lineage(&steps).is_err(), "{steps}");
        }
        assert_eq!(lineage(&Value::Null).unwrap().steps(), []);
    }

    #[test]
    fn what_is_published_has_no_settings_and_no_hashes() {
        let steps = json!([{ "stage": "ingest", "revision": 3, "config": { "path": "x" },
            "inputs": { "a": "00" }, "content_hash": "11", "units": { "unit": "case" }, "host": "h" }]);
        let whole = lineage(&steps).unwrap();
        assert_eq!(serde_json::to_value(&whole).unwrap()[0]["host"], "h");
        let published = serde_json::to_value(whole.published()).unwrap();
        assert_eq!(published, json!([{ "stage": "ingest", "revision": 3 }]));
    }
}
