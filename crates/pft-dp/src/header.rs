//! What a run is, as the first line of its ledger says it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::{Base, BaseHasSeen, BaseUnits};
use crate::history::{Origin, Record};
use crate::mechanism::{Mechanism, Plan};
use crate::reason::Reason;
use crate::secret::Randomness;

/// Name and version of a ledger's format.
pub(crate) const FORMAT: &str = "pft-privacy-ledger/3";

/// What a run trains on and begins from, as its ledger records it.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingData {
    /// What a unit is: case, sender, document.
    pub unit: String,
    /// How units decided about each other before training, a sentence each. ε does not cover it,
    /// and a model with any such line is not fit for release.
    pub couplings: Vec<String>,
    /// Hash of each input, by name.
    pub inputs: BTreeMap<String, String>,
    /// What the run begins from.
    pub base: Base,
    /// What the weights that it begins from went through before.
    pub earlier: Record,
}

impl Default for TrainingData {
    /// Units of no special kind that know nothing of each other, and weights drawn at random.
    fn default() -> Self {
        Self {
            unit: "unit".into(),
            couplings: Vec::new(),
            inputs: BTreeMap::new(),
            base: Base::Random,
            earlier: Record::default(),
        }
    }
}

/// The first line of a ledger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LedgerHeader {
    /// Name and version of the format.
    pub format: String,
    /// The mechanism.
    pub plan: Plan,
    /// Where the secret came from.
    pub randomness: Randomness,
    /// BLAKE3 commitment to the secret of sampling and noise.
    pub commitment: String,
    /// What a unit is: case, sender, document.
    pub unit: String,
    /// How units decided about each other before training, which ε does not cover.
    pub couplings: Vec<String>,
    /// Hash of each input, by name.
    pub inputs: BTreeMap<String, String>,
    /// What the run began from.
    pub base: Base,
    /// What the weights that it began from had gone through before.
    pub earlier: Record,
    /// Version of the software.
    pub software: String,
}

impl LedgerHeader {
    /// The header of a run.
    pub fn new(
        mechanism: &Mechanism,
        randomness: Randomness,
        commitment: String,
        data: TrainingData,
    ) -> Self {
        Self {
            format: FORMAT.into(),
            plan: *mechanism.plan(),
            randomness,
            commitment,
            unit: data.unit,
            couplings: data.couplings,
            inputs: data.inputs,
            base: data.base,
            earlier: data.earlier,
            software: software(),
        }
    }

    /// Why what the run makes is not for release as private, as far as a bound holds for it: by itself,
    /// and by what its weights went through before.
    pub fn not_for_release(&self) -> Vec<Reason> {
        let mut reasons = self.own_reasons();
        reasons.extend(self.earlier.carried_over());
        reasons
    }

    /// Why the run's own result is not for release, whatever its weights went through before.
    pub(crate) fn own_reasons(&self) -> Vec<Reason> {
        let began_from_a_stranger = matches!(self.earlier.origin, Origin::Checkpoint(_));
        let undeclared = self.base.has_seen() == BaseHasSeen::Unknown;
        [
            (began_from_a_stranger && undeclared, Reason::BaseUnknown),
            (
                self.earlier.private().next().is_some() && self.base.units() == BaseUnits::Unknown,
                Reason::EarlierUnitsUnknown,
            ),
            (self.plan.units_were_counted, Reason::UnitsCounted),
            (self.plan.delta_is_large(), Reason::LargeDelta),
            (!self.randomness.fit_for_release(), Reason::FixedSeed),
            (!self.couplings.is_empty(), Reason::UnitsCoupled),
        ]
        .into_iter()
        .filter_map(|(holds, reason)| holds.then_some(reason))
        .collect()
    }
}

/// Name and version of this software.
pub fn software() -> String {
    format!("pft {}", env!("CARGO_PKG_VERSION"))
}
