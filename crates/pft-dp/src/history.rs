//! What a model's weights went through, and the record of it that travels in every file of them.
//!
//! A guarantee is about weights, and weights remember every training that they went through. A
//! [`Record`] lists them all, from what the first one began from. Training copies its base model's
//! record, adds itself, and writes the result beside and into the weights, so that whoever trains
//! on them later knows what they may hold. A record names no data: a private training is told from
//! others by the commitment to its secret, which is random.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::accounting::{Phase, check};
use crate::base::BaseHasSeen;
use crate::reason::Reason;
use crate::secret::Randomness;

const FORMAT: &str = "pft-privacy-record/1";

/// The name of a record among the metadata of a weights file: an entry of a safetensors file's
/// `__metadata__`, a key of a GGUF file.
pub const RECORD_KEY: &str = "pft.privacy_record";

/// What the first recorded training of weights began from.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Weights drawn at random.
    #[default]
    Random,
    /// Weights that carry no record, by name: what they have seen is not known.
    Checkpoint(String),
}

/// A training with differential privacy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrivateTraining {
    /// BLAKE3 commitment to the secret of its sampling and noise: a random number that tells it
    /// from other trainings, unless its seed was fixed.
    pub commitment: String,
    /// What a unit was: case, author, document.
    pub unit: String,
    /// Number of units as declared, N₀.
    pub declared_units: u64,
    /// Its steps.
    pub phases: Vec<Phase>,
    /// The δ that it was planned for.
    pub delta: f64,
    /// Where sampling and noise came from.
    pub randomness: Randomness,
    /// What was declared that the weights had seen of its units, where they began from a
    /// checkpoint without a record.
    pub base_has_seen: BaseHasSeen,
    /// How units decided about each other before it.
    #[serde(default)]
    pub couplings: Vec<String>,
    /// Why its own result is not for release.
    #[serde(default)]
    pub not_for_release: Vec<Reason>,
}

/// One training of a model's weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Training {
    /// With differential privacy.
    Private(PrivateTraining),
    /// Without: no bound holds on what the weights reveal of its data.
    NotPrivate,
    /// A manifest says that the weights were trained, and nothing says how.
    NotRecorded,
}

/// What a model's weights went through.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Name and version of the format.
    pub format: String,
    /// What the first training began from.
    pub origin: Origin,
    /// Every training, the first one first.
    pub trainings: Vec<Training>,
}

/// A record that cannot be trusted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RecordError {
    /// It cannot be read.
    #[error("not a record of a model's trainings that this version reads: {0}")]
    Unreadable(String),
    /// Two records tell one training differently.
    #[error(
        "the files of the model tell training {commitment} differently: one of them was changed, or \
         is another model's"
    )]
    Contradiction {
        /// The beginning of the training's commitment.
        commitment: String,
    },
}

impl Default for Record {
    /// Of weights drawn at random.
    fn default() -> Self {
        Self::of(Origin::Random)
    }
}

impl Record {
    /// Of weights that no training recorded here has touched.
    pub fn of(origin: Origin) -> Self {
        Self { format: FORMAT.into(), origin, trainings: Vec::new() }
    }

    /// With one more training at the end.
    pub fn followed_by(&self, training: Training) -> Self {
        let mut record = self.clone();
        record.trainings.push(training);
        record
    }

    /// Reads what [`Record::to_json`] wrote.
    ///
    /// # Errors
    /// When it is something else, or speaks of steps that nobody can account for.
    pub fn from_json(text: &str) -> Result<Self, RecordError> {
        let unreadable = |error: String| RecordError::Unreadable(error);
        let record: Self =
            serde_json::from_str(text).map_err(|error| unreadable(error.to_string()))?;
        record.validate()?;
        if record.trainings.is_empty() {
            return Err(unreadable("it names no training".into()));
        }
        Ok(record)
    }

    /// Refuses another format, and steps that nobody can account for.
    pub(crate) fn validate(&self) -> Result<(), RecordError> {
        if self.format != FORMAT {
            return Err(RecordError::Unreadable(format!(
                "its format is `{}`, not `{FORMAT}`",
                self.format
            )));
        }
        for training in self.private() {
            check(&training.phases, training.delta)
                .map_err(|error| RecordError::Unreadable(error.to_string()))?;
        }
        Ok(())
    }

    /// One line of JSON, the same for the same record.
    pub fn to_json(&self) -> String {
        // Strings, numbers and lists: nothing that JSON lacks.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The trainings with differential privacy.
    pub fn private(&self) -> impl Iterator<Item = &PrivateTraining> {
        self.trainings.iter().filter_map(|training| match training {
            Training::Private(private) => Some(private),
            Training::NotPrivate | Training::NotRecorded => None,
        })
    }

    /// The private steps, as an accountant takes them.
    pub fn phases(&self) -> Vec<Phase> {
        self.private().flat_map(|training| training.phases.iter().copied()).collect()
    }

    /// What was declared of what the trainings began from: nothing seen, if each of them says so.
    pub fn base_has_seen(&self) -> BaseHasSeen {
        let unknown = |training: &PrivateTraining| training.base_has_seen == BaseHasSeen::Unknown;
        if self.private().any(unknown) { BaseHasSeen::Unknown } else { BaseHasSeen::Nothing }
    }

    /// The largest number of units that a private training declared; 0 without any.
    pub fn most_declared_units(&self) -> u64 {
        self.private().map(|training| training.declared_units).max().unwrap_or(0)
    }

    /// Why no bound holds for a `unit` on weights with this record, whatever training follows: an
    /// earlier training without privacy may have seen the same unit, and one that protects units
    /// of another kind protects none of this kind. Empty where a bound can hold.
    pub fn without_bound(&self, unit: &str) -> Vec<Reason> {
        let mut reasons = Vec::new();
        for training in &self.trainings {
            let reason = match training {
                Training::NotPrivate => Reason::EarlierNotPrivate,
                Training::NotRecorded => Reason::EarlierNotRecorded,
                Training::Private(earlier) if earlier.unit != unit => {
                    Reason::EarlierOtherUnit(earlier.unit.clone())
                }
                Training::Private(_) => continue,
            };
            if !reasons.contains(&reason) {
                reasons.push(reason);
            }
        }
        reasons
    }

    /// Why weights with this record are not for release as they are, so that what is made of them
    /// is not either. What [`Record::without_bound`] says is not repeated.
    pub fn carried_over(&self) -> Vec<Reason> {
        let mut reasons = Vec::new();
        for reason in self.private().flat_map(|training| &training.not_for_release) {
            let earlier = reason.clone().of_an_earlier_training();
            if !reasons.contains(&earlier) {
                reasons.push(earlier);
            }
        }
        reasons
    }

    /// What several marks of the same weights say together: every training that any of them knows
    /// of. Whoever deletes or shortens one mark gains nothing as long as another is there.
    ///
    /// # Errors
    /// When two of them tell one training differently.
    pub fn united(records: &[Self]) -> Result<Option<Self>, RecordError> {
        let mut longest_first: Vec<&Self> = records.iter().collect();
        longest_first.sort_by_key(|record| std::cmp::Reverse(record.trainings.len()));
        let Some((&first, others)) = longest_first.split_first() else { return Ok(None) };
        let mut united = first.clone();
        for other in others {
            united.add(other);
        }
        united.refuse_contradictions()?;
        Ok(Some(united))
    }

    /// Adds what `other` knows more. The same training may stand in a record twice, where its seed
    /// was fixed: as often as in the record that has it most often.
    fn add(&mut self, other: &Self) {
        let mut known = self.trainings.clone();
        for training in &other.trainings {
            match known.iter().position(|known| known == training) {
                Some(at) => drop(known.swap_remove(at)),
                None => self.trainings.push(training.clone()),
            }
        }
        if let (Origin::Random, Origin::Checkpoint(_)) = (&self.origin, &other.origin) {
            self.origin = other.origin.clone();
        }
    }

    fn refuse_contradictions(&self) -> Result<(), RecordError> {
        let secrets = self.private().filter(|training| training.randomness.fit_for_release());
        let mut seen: Vec<&str> = Vec::new();
        for training in secrets {
            if seen.contains(&training.commitment.as_str()) {
                let commitment = training.commitment.chars().take(12).collect();
                return Err(RecordError::Contradiction { commitment });
            }
            seen.push(&training.commitment);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn training(commitment: &str, steps: u64) -> PrivateTraining {
        PrivateTraining {
            commitment: commitment.into(),
            unit: "case".into(),
            declared_units: 1000,
            phases: vec![Phase { sample_rate: 0.01, noise_multiplier: 1.0, steps }],
            delta: 1e-5,
            randomness: Randomness::OperatingSystem,
            base_has_seen: BaseHasSeen::Nothing,
            couplings: Vec::new(),
            not_for_release: Vec::new(),
        }
    }

    fn record(trainings: &[Training]) -> Record {
        Record { trainings: trainings.to_vec(), ..Record::default() }
    }

    fn private(commitment: &str, steps: u64) -> Training {
        Training::Private(training(commitment, steps))
    }

    #[test]
    fn a_record_survives_json_and_nothing_else_passes_for_one() {
        let whole = record(&[private("a", 5), Training::NotPrivate, Training::NotRecorded]);
        assert_eq!(Record::from_json(&whole.to_json()), Ok(whole.clone()));
        let json = whole.to_json();
        for (from, to) in [
            ("record/1", "record/9"),
            ("\"steps\":5", "\"steps\":-5"),
            ("\"noise_multiplier\":1.0", "\"noise_multiplier\":0.0"),
            ("\"sample_rate\":0.01", "\"sample_rate\":7.0"),
            ("not_private", "quite_private"),
            ("\"origin\"", "\"source\""),
            ("{", "["),
        ] {
            let changed = json.replacen(from, to, 1);
            assert_ne!(changed, json);
            assert!(Record::from_json(&changed).is_err(), "{changed}");
        }
        for text in ["", "{}", "null", "\"random\""] {
            assert!(Record::from_json(text).is_err(), "{text}");
        }
    }

    #[test]
    fn marks_are_united_so_that_the_worst_counts() {
        let (a, b) = (private("a", 5), private("b", 7));
        let whole = record(&[a.clone(), b.clone()]);
        for other in [
            record(std::slice::from_ref(&a)),
            record(std::slice::from_ref(&b)),
            record(&[]),
            whole.clone(),
        ] {
            for marks in [[whole.clone(), other.clone()], [other, whole.clone()]] {
                assert_eq!(Record::united(&marks), Ok(Some(whole.clone())));
            }
        }
        let united =
            Record::united(&[record(std::slice::from_ref(&a)), record(&[b])]).unwrap().unwrap();
        assert_eq!(united.phases().len(), 2);
        let with_plain = record(&[Training::NotPrivate]);
        let united = Record::united(&[record(&[a]), with_plain]).unwrap().unwrap();
        assert_eq!(united.without_bound("case"), [Reason::EarlierNotPrivate]);
        assert_eq!(Record::united(&[]), Ok(None));
        let stranger = Record::of(Origin::Checkpoint("gpt2".into()));
        let united = Record::united(&[Record::default(), stranger.clone()]).unwrap();
        assert_eq!(united, Some(stranger));
    }

    #[test]
    fn one_training_told_in_two_ways_is_refused() {
        let marks = [record(&[private("a", 5)]), record(&[private("a", 4)])];
        let error = Record::united(&marks).unwrap_err();
        assert!(error.to_string().contains("training a differently"), "{error}");
    }

    /// A fixed seed has one commitment, whatever is trained with it: two such trainings in a row are two.
    #[test]
    fn trainings_with_one_fixed_seed_are_counted_one_by_one() {
        let seeded = |steps| {
            let seed = Randomness::FixedSeed(3);
            Training::Private(PrivateTraining { randomness: seed, ..training("a", steps) })
        };
        let twice = record(&[seeded(5), seeded(5), seeded(9)]);
        let united = Record::united(&[twice.clone(), twice.clone(), record(&[seeded(5)])]);
        assert_eq!(united, Ok(Some(twice)));
    }

    #[test]
    fn another_unit_has_no_bound_and_reasons_carry_over() {
        let seeded =
            PrivateTraining { not_for_release: vec![Reason::FixedSeed], ..training("a", 5) };
        let once = record(&[Training::Private(seeded)]);
        assert_eq!(once.without_bound("case"), []);
        assert_eq!(once.without_bound("sender"), [Reason::EarlierOtherUnit("case".into())]);
        let carried = once.carried_over();
        assert_eq!(carried, [Reason::Earlier(Box::new(Reason::FixedSeed))]);
        let again = PrivateTraining { not_for_release: carried.clone(), ..training("b", 5) };
        assert_eq!(record(&[Training::Private(again)]).carried_over(), carried);
    }
}
