//! The figures of a statement: ε by each accountant and for groups of units.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::accounting::{Accountant, AccountingError, Epsilon, Phase, pld};

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

/// Group sizes that every report states.
const GROUPS: [u32; 3] = [2, 4, 8];

/// ε of phases by one accountant.
pub(crate) fn accounted(
    accountant: Accountant,
    phases: &[Phase],
    delta: f64,
) -> Result<AccountedEpsilon, AccountingError> {
    Ok(AccountedEpsilon {
        accountant,
        epsilon: accountant.epsilon(phases, delta)?,
        is_bound: accountant != Accountant::Gdp,
    })
}

/// ε of phases for groups of units.
pub(crate) fn groups(phases: &[Phase], delta: f64) -> Result<Vec<GroupEpsilon>, AccountingError> {
    let of = |units| {
        let epsilon = pld::group_epsilon(phases, delta, units)?.epsilon;
        Ok(GroupEpsilon { units, epsilon })
    };
    GROUPS.into_iter().map(of).collect()
}
