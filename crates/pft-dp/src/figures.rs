//! The figures of a statement: ε by an accountant and for a group of units.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::accounting::{Accountant, AccountingError, Epsilon, Phase};

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

impl AccountedEpsilon {
    /// ε of `phases` at `delta`.
    ///
    /// # Errors
    /// When a parameter is outside its range.
    pub fn by(
        accountant: Accountant,
        phases: &[Phase],
        delta: f64,
    ) -> Result<Self, AccountingError> {
        Ok(Self {
            accountant,
            epsilon: accountant.epsilon(phases, delta)?,
            is_bound: accountant != Accountant::Gdp,
        })
    }
}

/// ε for someone whose data are spread over several units.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GroupEpsilon {
    /// Units of the group.
    pub units: u32,
    /// ε for all of them together.
    pub epsilon: f64,
}
