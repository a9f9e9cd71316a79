//! `privacy.json`: what a model's user is told about its privacy.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::accounting::{Accountant, AccountingError};
use crate::base::Base;
use crate::clipping::Clipping;
use crate::figures::{AccountedEpsilon, GroupEpsilon};
use crate::history::{Record, Training};
use crate::ledger::LedgerContents;
use crate::no_privacy::NoPrivacy;
use crate::reason::Reason;
use crate::secret::Randomness;
use crate::spent::{MAX_RELEASE_EPSILON, Spent};
use crate::wording::{self, Claim};

/// Which data sets are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Adjacency {
    /// One unit is added or removed, with everything that belongs to it.
    AddOrRemoveOneUnit,
}

/// The contents of `privacy.json` of a model that a bound holds for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PrivacyReport {
    /// One sentence for people.
    pub statement: String,
    /// Whether the model may be published as private: whether `not_for_release` is empty.
    pub fit_for_release: bool,
    /// Why the model may not be published as private.
    pub not_for_release: Vec<Reason>,
    /// What a unit is: case, author, document.
    pub unit: String,
    /// N₀, the largest number of units as declared: the guarantee is over data sets with at most so
    /// many. Counted in the data where `not_for_release` says so.
    pub declared_units: u64,
    /// How neighbouring data sets differ.
    pub adjacency: Adjacency,
    /// How units come into a step.
    pub sampling: String,
    /// Probability with which each unit takes part in a step.
    pub sample_rate: f64,
    /// Steps taken in this training, as recorded in the ledger.
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
    /// ε of all private trainings that the weights went through, this one among them, by each
    /// accountant; the first is the one to quote.
    pub epsilon: Vec<AccountedEpsilon>,
    /// ε of this training alone, where the weights went through others before.
    pub own_epsilon: Option<AccountedEpsilon>,
    /// ε for groups of units, as `epsilon` of all trainings.
    pub groups: Vec<GroupEpsilon>,
    /// ε where neighbouring data sets differ in that one unit is replaced by another, as `epsilon` of
    /// all trainings: for those who ask for this relation.
    pub replace_one_epsilon: f64,
    /// Where sampling and noise came from.
    pub randomness: Randomness,
    /// BLAKE3 commitment to the secret of sampling and noise.
    pub commitment: String,
    /// How units decided about each other before training, which ε does not cover.
    #[serde(default)]
    pub couplings: Vec<String>,
    /// What this training began from.
    pub base: Base,
    /// Every training that the weights went through, this one last: what every file of them carries.
    pub history: Record,
    /// Hash of each input, by name. Empty in what is published: whoever guesses a whole corpus could
    /// tell by it whether the guess is right.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub inputs: BTreeMap<String, String>,
    /// What else touched the private data, and is not covered by ε.
    pub other_uses: Vec<String>,
    /// Version of the software.
    pub software: String,
}

/// A ledger that no report can be made from.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ReportError {
    /// What the weights went through before lets no bound hold: what is to be said instead.
    #[error("{}", .0.statement)]
    NoBound(Box<NoPrivacy>),
    /// The steps cannot be accounted for.
    #[error(transparent)]
    Accounting(#[from] AccountingError),
}

impl PrivacyReport {
    /// The report of a run from its ledger: what was spent, not what was planned, together with what
    /// its weights had spent before.
    ///
    /// # Errors
    /// When no bound holds, or the steps cannot be accounted for.
    pub fn from_ledger(
        ledger: &LedgerContents,
        other_uses: Vec<String>,
    ) -> Result<Self, ReportError> {
        if let Some(none) = NoPrivacy::from_ledger(ledger) {
            return Err(ReportError::NoBound(Box::new(none)));
        }
        let (header, plan) = (&ledger.header, &ledger.header.plan);
        let own = ledger.phases();
        let mut phases = header.earlier.phases();
        phases.extend(&own);
        let own_epsilon = match header.earlier.trainings.is_empty() {
            true => None,
            false => Some(AccountedEpsilon::by(Accountant::Pld, &own, plan.delta)?),
        };
        let spent = Spent::of(&phases, plan.delta)?;
        let training = ledger.training();
        let mut not_for_release = header.not_for_release();
        if spent.quoted() > MAX_RELEASE_EPSILON {
            not_for_release.push(Reason::LargeEpsilon);
        }
        let mut report = Self {
            statement: String::new(),
            fit_for_release: not_for_release.is_empty(),
            not_for_release,
            unit: header.unit.clone(),
            declared_units: plan.declared_units,
            adjacency: Adjacency::AddOrRemoveOneUnit,
            sampling: "poisson".into(),
            sample_rate: plan.phase.sample_rate,
            steps: ledger.steps.len() as u64,
            planned_steps: plan.phase.steps,
            expected_batch_size: plan.expected_batch_size(),
            clipping: plan.clipping,
            max_examples_per_unit: plan.max_examples_per_unit,
            noise_multiplier: plan.phase.noise_multiplier,
            noise_draws: plan.noise_draws,
            delta: plan.delta,
            epsilon: spent.epsilon,
            own_epsilon,
            groups: spent.groups,
            replace_one_epsilon: spent.replace_one,
            randomness: header.randomness,
            commitment: header.commitment.clone(),
            couplings: header.couplings.clone(),
            base: header.base.clone(),
            history: header.earlier.followed_by(Training::Private(training)),
            inputs: header.inputs.clone(),
            other_uses,
            software: header.software.clone(),
        };
        report.statement = wording::private(&Claim {
            unit: &report.unit,
            epsilon: report.quoted(),
            own_epsilon: report.own_epsilon.map(|own| own.epsilon.epsilon),
            delta: report.delta,
            steps: report.steps,
            has_seen: report.history.base_has_seen(),
            history: &report.history,
            not_for_release: &report.not_for_release,
        });
        Ok(report)
    }
}
