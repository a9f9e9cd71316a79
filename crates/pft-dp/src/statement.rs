//! What `privacy.json` may hold: a bound with all that it follows from, or that there is none.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::accounting::Phase;
use crate::base::Base;
use crate::history::{PrivateTraining, Record, RecordError, Training};
use crate::ledger::{LedgerContents, software};
use crate::reason::Reason;
use crate::report::{AccountedEpsilon, PrivacyReport, ReportError};
use crate::spent::MAX_RELEASE_EPSILON;
use crate::wording;

/// The contents of `privacy.json` of a model that no bound holds for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoPrivacy {
    /// A few sentences for people.
    pub statement: String,
    /// Never true.
    pub fit_for_release: bool,
    /// Why no bound holds; never empty.
    pub not_for_release: Vec<Reason>,
    /// Empty: no bound holds.
    pub epsilon: [AccountedEpsilon; 0],
    /// What this training began from.
    pub base: Base,
    /// Every training that the weights went through, this one last: what every file of them carries.
    pub history: Record,
    /// Version of the software.
    pub software: String,
}

impl NoPrivacy {
    /// After a training without differential privacy, on weights that went through `earlier`.
    pub fn of_plain_training(base: Base, earlier: &Record) -> Self {
        Self::without_noise(vec![Reason::NotPrivate], base, earlier)
    }

    /// After a training whose gradients were sampled and clipped, and got no noise.
    pub fn of_clip_only_training(base: Base, earlier: &Record) -> Self {
        Self::without_noise(vec![Reason::NotPrivate, Reason::WithoutNoise], base, earlier)
    }

    fn without_noise(mut reasons: Vec<Reason>, base: Base, earlier: &Record) -> Self {
        // Which unit an earlier training protected makes no difference here.
        let without_bound = earlier.without_bound("").into_iter();
        reasons.extend(without_bound.filter(|r| !matches!(r, Reason::EarlierOtherUnit(_))));
        let history = earlier.followed_by(Training::NotPrivate);
        Self::new(reasons, base, history, "unit")
    }

    /// After a private training, where the history of the weights lets no bound hold; none where
    /// one does.
    pub fn from_ledger(ledger: &LedgerContents) -> Option<Self> {
        let header = &ledger.header;
        let reasons = header.earlier.without_bound(&header.unit);
        if reasons.is_empty() {
            return None;
        }
        let history = header.earlier.followed_by(Training::Private(ledger.training()));
        Some(Self::new(reasons, header.base.clone(), history, &header.unit))
    }

    fn new(reasons: Vec<Reason>, base: Base, history: Record, unit: &str) -> Self {
        Self {
            statement: wording::not_private(&reasons, &base, unit),
            fit_for_release: false,
            not_for_release: reasons,
            epsilon: [],
            base,
            history,
            software: software(),
        }
    }
}

/// What `privacy.json` may hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(title = "privacy.json")]
pub enum PrivacyStatement {
    /// A bound holds.
    Private(Box<PrivacyReport>),
    /// No bound holds.
    NotPrivate(NoPrivacy),
}

/// A `privacy.json` that cannot be trusted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum StatementError {
    /// It cannot be read.
    #[error("not a privacy statement that this version reads: {0}")]
    Unreadable(String),
    /// One part of it does not go with another.
    #[error("{0} does not go with the rest of the statement; it was changed")]
    Inconsistent(&'static str),
    /// Its history.
    #[error(transparent)]
    Record(#[from] RecordError),
}

impl PrivacyStatement {
    /// The statement of a private training, from its ledger.
    ///
    /// # Errors
    /// When the steps cannot be accounted for.
    pub fn from_ledger(
        ledger: &LedgerContents,
        other_uses: Vec<String>,
    ) -> Result<Self, crate::accounting::AccountingError> {
        match PrivacyReport::from_ledger(ledger, other_uses) {
            Ok(report) => Ok(Self::Private(Box::new(report))),
            Err(ReportError::NoBound(none)) => Ok(Self::NotPrivate(*none)),
            Err(ReportError::Accounting(error)) => Err(error),
        }
    }

    /// Reads `privacy.json`, and checks that its parts go together. Whether they are true, only the
    /// ledger can say.
    ///
    /// # Errors
    /// When it is something else, or contradicts itself.
    pub fn from_json(text: &str) -> Result<Self, StatementError> {
        let unreadable = |error: serde_json::Error| StatementError::Unreadable(error.to_string());
        let value: serde_json::Value = serde_json::from_str(text).map_err(unreadable)?;
        // Which of the two it wants to be, so that what is wrong can be named.
        let has_bound = value["epsilon"].as_array().is_none_or(|bounds| !bounds.is_empty());
        let statement = if has_bound {
            Self::Private(serde_json::from_value(value).map_err(unreadable)?)
        } else {
            Self::NotPrivate(serde_json::from_value(value).map_err(unreadable)?)
        };
        statement.check()?;
        Ok(statement)
    }

    fn check(&self) -> Result<(), StatementError> {
        let inconsistent = |part| Err(StatementError::Inconsistent(part));
        self.history().validate()?;
        if self.fit_for_release() != self.not_for_release().is_empty() {
            return inconsistent("fit_for_release");
        }
        let Some((own, earlier)) = self.history().trainings.split_last() else {
            return inconsistent("history");
        };
        let earlier = Record { trainings: earlier.to_vec(), ..self.history().clone() };
        match self {
            Self::NotPrivate(none) => {
                let plain = none.not_for_release.contains(&Reason::NotPrivate);
                let bound_fails = match own {
                    Training::NotPrivate => plain,
                    Training::Private(own) => {
                        !plain && !earlier.without_bound(&own.unit).is_empty()
                    }
                    Training::NotRecorded => false,
                };
                if bound_fails { Ok(()) } else { inconsistent("history") }
            }
            Self::Private(report) => {
                if *own != Training::Private(report.training())
                    || !earlier.without_bound(&report.unit).is_empty()
                {
                    return inconsistent("history");
                }
                let carried = |r: &&Reason| matches!(r, Reason::Earlier(_));
                if !report.not_for_release.iter().filter(carried).eq(&earlier.carried_over()) {
                    return inconsistent("not_for_release");
                }
                let is_large = report.quoted() > MAX_RELEASE_EPSILON;
                if report.not_for_release.contains(&Reason::LargeEpsilon) != is_large {
                    return inconsistent("not_for_release");
                }
                if report.own_epsilon.is_some() == earlier.trainings.is_empty() {
                    return inconsistent("own_epsilon");
                }
                Ok(())
            }
        }
    }

    /// A few sentences for people.
    pub fn statement(&self) -> &str {
        match self {
            Self::Private(report) => &report.statement,
            Self::NotPrivate(none) => &none.statement,
        }
    }

    /// Whether the model may be published as private.
    pub fn fit_for_release(&self) -> bool {
        match self {
            Self::Private(report) => report.fit_for_release,
            Self::NotPrivate(none) => none.fit_for_release,
        }
    }

    /// Why not.
    pub fn not_for_release(&self) -> &[Reason] {
        match self {
            Self::Private(report) => &report.not_for_release,
            Self::NotPrivate(none) => &none.not_for_release,
        }
    }

    /// What the training began from.
    pub fn base(&self) -> &Base {
        match self {
            Self::Private(report) => &report.base,
            Self::NotPrivate(none) => &none.base,
        }
    }

    /// Every training of the weights: what every file of them carries.
    pub fn history(&self) -> &Record {
        match self {
            Self::Private(report) => &report.history,
            Self::NotPrivate(none) => &none.history,
        }
    }

    /// The statement without hashes by which a guess of private data could be tested: those of the
    /// inputs, and of the files of a base that was trained before.
    pub fn published(&self) -> Self {
        let trainings = &self.history().trainings;
        let earlier = Record {
            trainings: trainings[..trainings.len().saturating_sub(1)].to_vec(),
            ..self.history().clone()
        };
        let base = self.base().published(&earlier);
        match self.clone() {
            Self::Private(report) => {
                let inputs = Default::default();
                Self::Private(Box::new(PrivacyReport { inputs, base, ..*report }))
            }
            Self::NotPrivate(none) => Self::NotPrivate(NoPrivacy { base, ..none }),
        }
    }
}

impl PrivacyReport {
    /// The ε to quote.
    pub(crate) fn quoted(&self) -> f64 {
        self.epsilon.first().map_or(f64::INFINITY, |first| first.epsilon.epsilon)
    }

    /// The training that the report is of, as its fields have it.
    fn training(&self) -> PrivateTraining {
        let phase = Phase {
            sample_rate: self.sample_rate,
            noise_multiplier: self.noise_multiplier,
            steps: self.steps,
        };
        // What is said of all trainings together is not this one's.
        let own = |r: &&Reason| !matches!(r, Reason::Earlier(_) | Reason::LargeEpsilon);
        PrivateTraining {
            commitment: self.commitment.clone(),
            unit: self.unit.clone(),
            declared_units: self.declared_units,
            phases: if self.steps == 0 { Vec::new() } else { vec![phase] },
            delta: self.delta,
            randomness: self.randomness,
            base_has_seen: self.base.has_seen(),
            couplings: self.couplings.clone(),
            not_for_release: self.not_for_release.iter().filter(own).cloned().collect(),
        }
    }
}
