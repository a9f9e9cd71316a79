//! `privacy.json`: what a model's user is told about its privacy.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::accounting::{Accountant, AccountingError, Epsilon, pld};
use crate::clipping::Clipping;
use crate::ledger::{LedgerContents, LedgerError, software};
use crate::secret::Randomness;

/// Which data sets are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Adjacency {
    /// One unit is added or removed, with everything that belongs to it.
    AddOrRemoveOneUnit,
}

/// ε by one accountant.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AccountedEpsilon {
    /// The accountant.
    pub accountant: Accountant,
    /// ε with its bounds.
    #[serde(flatten)]
    pub epsilon: Epsilon,
    /// Whether the value bounds the privacy loss; if not, it is an approximation.
    pub is_bound: bool,
}

/// ε for someone whose data are spread over several units.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GroupEpsilon {
    /// Units of the group.
    pub units: u32,
    /// ε for all of them together.
    pub epsilon: f64,
}

/// The contents of `privacy.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrivacyReport {
    /// One sentence for people.
    pub statement: String,
    /// Whether the model may be published as private. False with a fixed seed, and where units
    /// decided about each other (`couplings`).
    pub fit_for_release: bool,
    /// What a unit is: case, author, document.
    pub unit: String,
    /// Number of units as declared, N₀.
    pub declared_units: u64,
    /// How neighbouring data sets differ.
    pub adjacency: Adjacency,
    /// How units come into a step.
    pub sampling: String,
    /// Probability with which each unit takes part in a step.
    pub sample_rate: f64,
    /// Steps taken, as recorded in the ledger.
    pub steps: u64,
    /// Steps that were planned.
    pub planned_steps: u64,
    /// q·N₀, the constant by which sums are divided.
    pub expected_batch_size: f64,
    /// How each unit's gradient is bounded.
    pub clipping: Clipping,
    /// Examples of a unit that take part in a step, at most.
    pub max_examples_per_unit: u32,
    /// σ.
    pub noise_multiplier: f64,
    /// Normal draws summed for each element of noise.
    pub noise_draws: u32,
    /// δ.
    pub delta: f64,
    /// ε by each accountant; the first is the one to quote.
    pub epsilon: Vec<AccountedEpsilon>,
    /// ε for groups of units.
    pub groups: Vec<GroupEpsilon>,
    /// Where sampling and noise came from.
    pub randomness: Randomness,
    /// BLAKE3 commitment to the secret of sampling and noise.
    pub commitment: String,
    /// How units decided about each other before training, which ε does not cover.
    #[serde(default)]
    pub couplings: Vec<String>,
    /// Hash of each input, by name. Empty in what is published: whoever guesses a whole corpus could
    /// tell by it whether the guess is right.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, String>,
    /// What else touched the private data, and is not covered by ε.
    pub other_uses: Vec<String>,
    /// Version of the software.
    pub software: String,
}

/// The contents of `privacy.json` of a model that was trained without differential privacy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoPrivacy {
    /// One sentence for people.
    pub statement: String,
    /// Never true.
    pub fit_for_release: bool,
    /// Empty: no bound holds.
    pub epsilon: [AccountedEpsilon; 0],
    /// Version of the software.
    pub software: String,
}

impl Default for NoPrivacy {
    fn default() -> Self {
        Self {
            statement: "The model was trained without differential privacy: no bound holds on \
                        what it reveals of its training data."
                .into(),
            fit_for_release: false,
            epsilon: [],
            software: software(),
        }
    }
}

/// What `privacy.json` may hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(title = "privacy.json")]
pub enum PrivacyStatement {
    /// A model trained with differential privacy.
    Private(Box<PrivacyReport>),
    /// A model trained without.
    NotPrivate(NoPrivacy),
}

/// Group sizes that every report states.
const GROUPS: [u32; 3] = [2, 4, 8];

impl PrivacyReport {
    /// The report of a run from its ledger: what was spent, not what was planned.
    ///
    /// # Errors
    /// When the steps cannot be accounted for.
    pub fn from_ledger(
        ledger: &LedgerContents,
        other_uses: Vec<String>,
    ) -> Result<Self, AccountingError> {
        let (header, plan) = (&ledger.header, &ledger.header.plan);
        let phases = ledger.phases();
        let epsilon = Accountant::ALL
            .into_iter()
            .map(|accountant| {
                Ok(AccountedEpsilon {
                    accountant,
                    epsilon: accountant.epsilon(&phases, plan.delta)?,
                    is_bound: accountant != Accountant::Gdp,
                })
            })
            .collect::<Result<Vec<_>, AccountingError>>()?;
        let groups = GROUPS
            .into_iter()
            .map(|units| {
                let epsilon = pld::group_epsilon(&phases, plan.delta, units)?.epsilon;
                Ok(GroupEpsilon { units, epsilon })
            })
            .collect::<Result<Vec<_>, AccountingError>>()?;
        let fit_for_release = header.randomness.fit_for_release() && header.couplings.is_empty();
        let mut statement = format!(
            "The model is ({}, {})-differentially private for adding or removing one {} of its \
             training set, by {} steps of Poisson-sampled, clipped and noised gradients.",
            rounded_up(epsilon[0].epsilon.epsilon),
            delta_rounded_up(plan.delta),
            header.unit,
            ledger.steps.len()
        );
        if !header.randomness.fit_for_release() {
            statement += " Its randomness came from a fixed seed: it is NOT FOR RELEASE.";
        }
        if !header.couplings.is_empty() {
            statement += " Which units its training set holds depended on other units, which this \
                          does not cover: it is NOT FOR RELEASE.";
        }
        Ok(Self {
            statement,
            fit_for_release,
            unit: header.unit.clone(),
            declared_units: plan.declared_units,
            adjacency: Adjacency::AddOrRemoveOneUnit,
            sampling: "poisson".into(),
            sample_rate: plan.sample_rate,
            steps: ledger.steps.len() as u64,
            planned_steps: plan.steps,
            expected_batch_size: plan.sample_rate * plan.declared_units as f64,
            clipping: plan.clipping,
            max_examples_per_unit: plan.max_examples_per_unit,
            noise_multiplier: plan.noise_multiplier,
            noise_draws: plan.noise_draws,
            delta: plan.delta,
            epsilon,
            groups,
            randomness: header.randomness,
            commitment: header.commitment.clone(),
            couplings: header.couplings.clone(),
            inputs: header.inputs.clone(),
            other_uses,
            software: header.software.clone(),
        })
    }

    /// Recomputes everything from the ledger and compares. `other_uses` are not the ledger's to know,
    /// and hashes of inputs that were left out are not missed.
    ///
    /// # Errors
    /// When something reported is not what the ledger gives.
    pub fn verify(&self, ledger: &LedgerContents) -> Result<(), LedgerError> {
        let mut again = Self::from_ledger(ledger, self.other_uses.clone())?;
        if self.inputs.is_empty() {
            again.inputs.clear();
        }
        for (reported, found) in self.epsilon.iter().zip(&again.epsilon) {
            if reported.accountant != found.accountant
                || !close(reported.epsilon.epsilon, found.epsilon.epsilon)
            {
                return Err(LedgerError::Mismatch {
                    accountant: found.accountant,
                    reported: reported.epsilon.epsilon,
                    found: found.epsilon.epsilon,
                    steps: again.steps,
                });
            }
        }
        let (reported, recorded) = (fields(self)?, fields(&again)?);
        for name in reported.keys().chain(recorded.keys()) {
            let value = |fields: &Fields| fields.get(name).cloned().unwrap_or_default();
            let (reported, recorded) = (value(&reported), value(&recorded));
            // What was computed may differ in its last digits, what was planned may not.
            let computed = matches!(&name[..], "epsilon" | "groups");
            if reported != recorded && !(computed && alike(&reported, &recorded)) {
                return Err(LedgerError::Differs {
                    what: name.clone(),
                    reported: reported.to_string(),
                    recorded: recorded.to_string(),
                });
            }
        }
        Ok(())
    }
}

type Fields = serde_json::Map<String, Value>;

fn fields(report: &PrivacyReport) -> Result<Fields, AccountingError> {
    match serde_json::to_value(report) {
        Ok(Value::Object(fields)) => Ok(fields),
        other => Err(AccountingError::Numerical(format!("a report is not an object: {other:?}"))),
    }
}

/// Whether two ε are the same: processors round logarithms differently.
fn close(one: f64, other: f64) -> bool {
    (one - other).abs() <= 1e-6 * other.abs().max(1e-6)
}

/// Whether two values are the same, numbers as [`close`] has it.
fn alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| alike(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one
                    .iter()
                    .all(|(key, one)| other.get(key).is_some_and(|other| alike(one, other)))
        }
        (Value::Number(one), Value::Number(other)) => {
            one == other
                || one.as_f64().zip(other.as_f64()).is_some_and(|(one, other)| close(one, other))
        }
        (one, other) => one == other,
    }
}

/// An ε with four digits after the point, rounded up: a promise may be understated, never overstated.
pub fn rounded_up(epsilon: f64) -> String {
    up(epsilon, 0.5e-4, |value| format!("{value:.4}"))
}

/// A δ with four digits, rounded up.
fn delta_rounded_up(delta: f64) -> String {
    up(delta, 0.5 * 10_f64.powf(delta.log10().floor() - 3.0), |value| format!("{value:.3e}"))
}

/// `show` rounds to the nearest; `half` of its last digit more, where that is less than the value.
fn up(value: f64, half: f64, show: impl Fn(f64) -> String) -> String {
    let nearest = show(value);
    match nearest.parse::<f64>() {
        Ok(shown) if shown < value => show(value + half),
        _ => nearest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promises_are_rounded_up() {
        for (epsilon, shown) in [(7.9975322, "7.9976"), (8.0, "8.0000"), (0.00001, "0.0001")] {
            assert_eq!(rounded_up(epsilon), shown);
        }
        for (delta, shown) in
            [(1e-5, "1.000e-5"), (4.66512e-1, "4.666e-1"), (9.9999e-6, "1.000e-5")]
        {
            assert_eq!(delta_rounded_up(delta), shown);
        }
    }
}
