//! What a stage knows from its config alone, before any work: the answer to `STAGE --check`.
//!
//! The runner compares what one stage gives at a port with what the next one takes there, without
//! knowing either. The names of facts that the shipped stages use:
//!
//! | name | what it is |
//! |---|---|
//! | `sequence_length` | tokens of the longest example |

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Named facts by port.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// What will hold of each output.
    pub gives: BTreeMap<String, BTreeMap<String, f64>>,
    /// What must hold of each input.
    pub takes: BTreeMap<String, BTreeMap<String, Limit>>,
}

/// The largest value of a fact that a stage can work with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// The largest value.
    pub at_most: f64,
    /// Why, as the end of a sentence: `the base model has 1024 positions`.
    pub because: String,
}

impl Facts {
    /// Says that an output will have this value.
    #[must_use]
    pub fn give(mut self, port: &str, fact: &str, value: f64) -> Self {
        self.gives.entry(port.into()).or_default().insert(fact.into(), value);
        self
    }

    /// Says that an input must not go beyond this value.
    #[must_use]
    pub fn take_at_most(
        mut self,
        port: &str,
        fact: &str,
        at_most: f64,
        because: impl Into<String>,
    ) -> Self {
        let limit = Limit { at_most, because: because.into() };
        self.takes.entry(port.into()).or_default().insert(fact.into(), limit);
        self
    }
}
