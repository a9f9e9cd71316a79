//! What `privacy.json` may hold: a bound with all that it follows from, or that there is none.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::accounting::{AccountingError, Phase};
use crate::base::Base;
use crate::history::{PrivateTraining, Record, RecordError, Training};
use crate::ledger::LedgerContents;
use crate::no_privacy::NoPrivacy;
use crate::reason::Reason;
use crate::report::{PrivacyReport, ReportError};
use crate::spent::MAX_RELEASE_EPSILON;

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
    ) -> Result<Self, AccountingError> {
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
        let was_trained_before = self.history().trainings.len() > 1;
        let base = match was_trained_before {
            true => self.base().without_files(),
            false => self.base().clone(),
        };
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
