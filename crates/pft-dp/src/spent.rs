//! Everything that a statement says of ε, asked in one place: before the first step of what is planned,
//! and at the end of what was done, so that nothing can be asked then that had no answer before.

use rayon::prelude::*;

use crate::accounting::{Accountant, AccountingError, Phase, pld};
use crate::figures::{AccountedEpsilon, GroupEpsilon};

/// The largest ε with which a model is for release. A test of a unit's presence may then be right e²⁰
/// times as often as it is wrong; no smaller number would be less arbitrary than about the
/// largest ε of a major release of statistics, the 19.61 of the redistricting files of the US census
/// of 2020.
pub const MAX_RELEASE_EPSILON: f64 = 20.0;

/// Group sizes that every report states.
const GROUPS: [u32; 3] = [2, 4, 8];

/// What phases spend.
#[derive(Debug, Clone, PartialEq)]
pub struct Spent {
    /// ε by each accountant; the first is the one to quote.
    pub epsilon: Vec<AccountedEpsilon>,
    /// ε for groups of units.
    pub groups: Vec<GroupEpsilon>,
    /// ε where one unit is replaced by another.
    pub replace_one: f64,
}

impl Spent {
    /// What `phases`, one after the other, spend at `delta`.
    ///
    /// # Errors
    /// When a parameter is outside its range.
    pub fn of(phases: &[Phase], delta: f64) -> Result<Self, AccountingError> {
        let by = |accountant| AccountedEpsilon::by(accountant, phases, delta);
        let group = |units| {
            let epsilon = pld::group_epsilon(phases, delta, units)?.epsilon;
            Ok(GroupEpsilon { units, epsilon })
        };
        let mut groups: Vec<GroupEpsilon> =
            GROUPS.into_par_iter().map(group).collect::<Result<_, _>>()?;
        // What bounds more units bounds fewer; with next to no noise bounds are loose, and that of a
        // larger group may be the better one.
        for smaller in (1..groups.len()).rev() {
            groups[smaller - 1].epsilon = groups[smaller - 1].epsilon.min(groups[smaller].epsilon);
        }
        Ok(Self {
            epsilon: Accountant::ALL.into_par_iter().map(by).collect::<Result<_, _>>()?,
            groups,
            replace_one: pld::replace_one_epsilon(phases, delta)?.epsilon,
        })
    }

    /// The ε to quote.
    pub fn quoted(&self) -> f64 {
        self.epsilon[0].epsilon.epsilon
    }
}
