//! What a model's user is told where no bound holds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::base::Base;
use crate::figures::AccountedEpsilon;
use crate::header::software;
use crate::history::{Record, Training};
use crate::ledger::LedgerContents;
use crate::reason::Reason;
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
