//! Why a model is not for release as a private one, as a list that programs read and as sentences.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::spent::MAX_RELEASE_EPSILON;

/// Why a model is not for release as a private one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It was trained without differential privacy.
    NotPrivate,
    /// Its weights went through a training without differential privacy before.
    EarlierNotPrivate,
    /// Its weights were trained or changed before, and nothing that can be trusted says how.
    EarlierNotRecorded,
    /// Its weights were trained privately before, but for units of another kind, which is named.
    EarlierOtherUnit(String),
    /// It began from weights without a record, and nobody declared that they have seen none of its
    /// units.
    BaseUnknown,
    /// Its weights were trained privately before, and nobody declared that what was a unit there is
    /// one here.
    EarlierUnitsUnknown,
    /// Its units were sampled and clipped as in a private training, and no noise was added.
    WithoutNoise,
    /// The number of its units was counted in the data.
    UnitsCounted,
    /// Its δ is too large to promise anything.
    LargeDelta,
    /// The ε of all trainings together is too large to promise anything.
    LargeEpsilon,
    /// Its randomness came from a fixed seed.
    FixedSeed,
    /// Units decided about each other before training.
    UnitsCoupled,
    /// The same was true of an earlier training of its weights.
    Earlier(Box<Reason>),
}

impl Reason {
    /// The reason, as one of a training before this one.
    pub(crate) fn of_an_earlier_training(self) -> Self {
        match self {
            Self::Earlier(_) => self,
            own => Self::Earlier(Box::new(own)),
        }
    }

    /// A sentence for people; `unit` is what this training protects.
    pub fn sentence(&self, unit: &str) -> String {
        match self {
            Self::NotPrivate => "It was trained without differential privacy.".into(),
            Self::EarlierNotPrivate => {
                "Before this training its weights were trained without differential privacy, perhaps \
                 on the same data."
                    .into()
            }
            Self::EarlierNotRecorded => {
                "Before this training its weights were trained or changed, perhaps with the same data, \
                 and nothing that can be trusted records how."
                    .into()
            }
            Self::EarlierOtherUnit(other) => format!(
                "Before this training its weights were trained with a guarantee for each {other}, which \
                 promises nothing for a whole {unit}."
            ),
            Self::BaseUnknown => format!(
                "Nobody has declared that its base model never saw any {unit} of its training set."
            ),
            Self::EarlierUnitsUnknown => format!(
                "Nobody has declared that what an earlier training called one {unit} is one {unit} in this \
                 one."
            ),
            Self::WithoutNoise => "Gradients were sampled and clipped as in a private training, but no \
                                   noise was added to them: ε is infinite."
                .into(),
            Self::UnitsCounted => "The number of its units was counted in the data, and shows in what is \
                                   published here."
                .into(),
            Self::LargeDelta => {
                "With so large a δ, the chance that the guarantee does not hold at all, it promises \
                 nothing."
                    .into()
            }
            Self::LargeEpsilon => format!(
                "With an ε above {MAX_RELEASE_EPSILON} the guarantee promises next to nothing."
            ),
            Self::FixedSeed => {
                "Its randomness came from a fixed seed, and whoever knows the seed can take the noise \
                 away."
                    .into()
            }
            Self::UnitsCoupled => format!(
                "Which data of a {unit} its training set holds depended on others, or may have, and the \
                 guarantee does not cover that."
            ),
            Self::Earlier(reason) => {
                let sentence = reason.sentence(unit);
                let mut letters = sentence.chars();
                let first = letters.next().map(|first| first.to_lowercase().to_string());
                let first = first.unwrap_or_default();
                format!("In an earlier training of its weights: {first}{}", letters.as_str())
            }
        }
    }
}
