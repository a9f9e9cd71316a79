//! A statement held against the ledger that it was made from.

use serde::Serialize;
use serde_json::Value;

use crate::accounting::AccountingError;
use crate::ledger::{LedgerContents, LedgerError};
use crate::no_privacy::NoPrivacy;
use crate::report::{PrivacyReport, ReportError};
use crate::statement::PrivacyStatement;

impl PrivacyStatement {
    /// Recomputes everything from the ledger and compares. `other_uses` are not the ledger's to know,
    /// and hashes that are left out of what is published are not missed.
    ///
    /// # Errors
    /// When something stated is not what the ledger gives.
    pub fn verify(&self, ledger: &LedgerContents) -> Result<(), LedgerError> {
        match self {
            Self::Private(report) => report.verify(ledger),
            Self::NotPrivate(none) => none.verify(ledger),
        }
    }
}

impl NoPrivacy {
    /// Holds a statement of a private training that gave no bound against its ledger.
    fn verify(&self, ledger: &LedgerContents) -> Result<(), LedgerError> {
        let Some(mut again) = Self::from_ledger(ledger) else {
            return Err(LedgerError::Differs {
                what: "a bound".into(),
                reported: "missing".into(),
                recorded: "that one holds".into(),
            });
        };
        again.base.leave_out_like(&self.base);
        compare(self, &again)
    }
}

impl PrivacyReport {
    /// Recomputes everything from the ledger and compares. `other_uses` are not the ledger's to know,
    /// and hashes that are left out of what is published are not missed.
    ///
    /// # Errors
    /// When something reported is not what the ledger gives.
    pub fn verify(&self, ledger: &LedgerContents) -> Result<(), LedgerError> {
        let mut again = match Self::from_ledger(ledger, self.other_uses.clone()) {
            Ok(again) => again,
            Err(ReportError::Accounting(error)) => return Err(error.into()),
            Err(ReportError::NoBound(none)) => {
                return Err(LedgerError::Differs {
                    what: "privacy".into(),
                    reported: self.statement.clone(),
                    recorded: none.statement,
                });
            }
        };
        if self.inputs.is_empty() {
            again.inputs.clear();
        }
        again.base.leave_out_like(&self.base);
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
        compare(self, &again)
    }
}

/// Compares two statements field by field.
fn compare<S: Serialize>(reported: &S, recorded: &S) -> Result<(), LedgerError> {
    let (reported, recorded) = (fields(reported)?, fields(recorded)?);
    for name in reported.keys().chain(recorded.keys()) {
        let value = |fields: &Fields| fields.get(name).cloned().unwrap_or_default();
        let (reported, recorded) = (value(&reported), value(&recorded));
        // What was computed may differ in its last digits, what was planned may not.
        let computed =
            matches!(&name[..], "epsilon" | "own_epsilon" | "groups" | "replace_one_epsilon");
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

type Fields = serde_json::Map<String, Value>;

fn fields<S: Serialize>(statement: &S) -> Result<Fields, AccountingError> {
    match serde_json::to_value(statement) {
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
