//! `privacy.json`: what a model's user is told about its privacy.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// Whether the model may be published as private. False with a fixed seed.
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
    /// Content hash of each input artifact, by port.
    pub inputs: std::collections::BTreeMap<String, String>,
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
        unit: &str,
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
        let fit_for_release = header.randomness.fit_for_release();
        let mut statement = format!(
            "The model is ({:.4}, {:.3e})-differentially private for adding or removing one \
             {unit}, by {} steps of Poisson-sampled, clipped and noised gradients.",
            epsilon[0].epsilon.epsilon,
            plan.delta,
            ledger.steps.len()
        );
        if !fit_for_release {
            statement += " Its randomness came from a fixed seed: it is NOT FOR RELEASE.";
        }
        Ok(Self {
            statement,
            fit_for_release,
            unit: unit.to_owned(),
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
            inputs: header.inputs.clone(),
            other_uses,
            software: software(),
        })
    }

    /// Recomputes every number from the ledger and compares.
    ///
    /// # Errors
    /// When something reported is not what the ledger gives.
    pub fn verify(&self, ledger: &LedgerContents) -> Result<(), LedgerError> {
        let again = Self::from_ledger(ledger, &self.unit, self.other_uses.clone())?;
        for (reported, found) in self.epsilon.iter().zip(&again.epsilon) {
            let tolerance = 1e-6 * found.epsilon.epsilon.max(1e-6);
            let apart = (reported.epsilon.epsilon - found.epsilon.epsilon).abs();
            if reported.accountant != found.accountant || apart.is_nan() || apart > tolerance {
                return Err(LedgerError::Mismatch {
                    accountant: found.accountant,
                    reported: reported.epsilon.epsilon,
                    found: found.epsilon.epsilon,
                    steps: again.steps,
                });
            }
        }
        let fields = |report: &Self| {
            [
                ("number of accountants", report.epsilon.len().to_string()),
                ("statement", report.statement.clone()),
                ("steps", report.steps.to_string()),
                ("planned_steps", report.planned_steps.to_string()),
                ("max_examples_per_unit", report.max_examples_per_unit.to_string()),
                ("sample_rate", report.sample_rate.to_string()),
                ("noise_multiplier", report.noise_multiplier.to_string()),
                ("delta", report.delta.to_string()),
                ("declared_units", report.declared_units.to_string()),
                ("clipping", format!("{:?}", report.clipping)),
                ("commitment", report.commitment.clone()),
                ("inputs", format!("{:?}", report.inputs)),
                ("randomness", format!("{:?}", report.randomness)),
                ("fit_for_release", report.fit_for_release.to_string()),
            ]
        };
        for ((what, reported), (_, recorded)) in fields(self).into_iter().zip(fields(&again)) {
            if reported != recorded {
                return Err(LedgerError::Differs { what, reported, recorded });
            }
        }
        Ok(())
    }
}
