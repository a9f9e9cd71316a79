//! Which split a unit belongs to, and LLM-PFT's order and positions.

use pft_artifact::Split;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::mersenne_twister::MersenneTwister;

/// What decides the split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SplitBy {
    /// A keyed hash of the unit's id. Removing a unit never moves another.
    #[default]
    Unit,
    /// The column `split.column`. A unit in two splits is an error.
    Column,
    /// The word train, validation or test in the file's name. A unit in two splits is an error.
    File,
    /// LLM-PFT's order and positions, to compare with published runs: documents shuffled as by
    /// CPython's `random.Random(42)`, the first 45 % train, to 55 % test, the rest validation.
    /// Documents of one unit fall in different splits.
    LlmPft,
}

/// How units are divided into train, validation and test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SplitConfig {
    /// What decides the split.
    pub by: SplitBy,
    /// The share of units in train.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub train: f64,
    /// The share of units in validation.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub validation: f64,
    /// The share of units in test.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub test: f64,
    /// Another seed is another division.
    pub seed: u64,
    /// The column that says the split.
    pub column: String,
}

impl Default for SplitConfig {
    fn default() -> Self {
        Self {
            by: SplitBy::Unit,
            train: 0.45,
            validation: 0.10,
            test: 0.45,
            seed: 0,
            column: "split".to_string(),
        }
    }
}

/// Divides units by a keyed hash of their ids: each unit's split depends on nothing but its own id,
/// the shares and the seed, so that adding or removing a unit never moves another.
#[derive(Debug, Clone)]
pub struct UnitSplitter {
    key: [u8; 32],
    train: f64,
    train_or_validation: f64,
}

impl UnitSplitter {
    /// A splitter with the config's shares and seed.
    pub fn new(config: &SplitConfig) -> Self {
        Self {
            key: blake3::derive_key("pft ingest split of units v1", &config.seed.to_le_bytes()),
            train: config.train,
            // With no share for test, rounding must not leave one.
            train_or_validation: if config.test == 0.0 {
                1.0
            } else {
                config.train + config.validation
            },
        }
    }

    /// The split of a unit.
    pub fn split(&self, unit_id: &str) -> Split {
        let hash = blake3::keyed_hash(&self.key, unit_id.as_bytes());
        let mut word = [0; 8];
        word.copy_from_slice(&hash.as_bytes()[..8]);
        // 53 bits: a uniform number in [0, 1) that an f64 holds exactly.
        let share = (u64::from_le_bytes(word) >> 11) as f64 / (1u64 << 53) as f64;
        if share < self.train {
            Split::Train
        } else if share < self.train_or_validation {
            Split::Validation
        } else {
            Split::Test
        }
    }
}

/// The order in which LLM-PFT takes `count` documents:
/// `[x for x in shuffled(range(max(250_000, count))) if x < count]`, shuffled by
/// `random.Random(42)`.
pub fn llm_pft_order(count: u32) -> Vec<u32> {
    let mut order: Vec<u32> = (0..count.max(250_000)).collect();
    MersenneTwister::new(42).shuffle(&mut order);
    order.retain(|&index| index < count);
    order
}

/// The split of a position in that order: `int(count * 0.45)` documents train, up to
/// `int(count * 0.55)` test, the rest validation. The products are Python's, rounding included.
pub fn llm_pft_split(position: u32, count: u32) -> Split {
    let border = |share: f64| (f64::from(count) * share) as u32;
    if position < border(0.45) {
        Split::Train
    } else if position < border(0.55) {
        Split::Test
    } else {
        Split::Validation
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn splitter(train: f64, validation: f64, test: f64, seed: u64) -> UnitSplitter {
        UnitSplitter::new(&SplitConfig { train, validation, test, seed, ..SplitConfig::default() })
    }

    #[test]
    fn shares_are_met() {
        let splitter = splitter(0.45, 0.10, 0.45, 0);
        let mut counts = [0; 3];
        for unit in 0..100_000 {
            counts[splitter.split(&format!("unit-{unit}")) as usize] += 1;
        }
        // Four standard deviations of a binomial are about 630.
        for (count, expected) in counts.into_iter().zip([45_000i32, 10_000, 45_000]) {
            assert!((count - expected).abs() < 630, "{counts:?}");
        }
    }

    #[test]
    fn a_share_of_nothing_gets_nothing_and_seeds_differ() {
        let all = splitter(0.7, 0.3, 0.0, 0);
        let none = splitter(0.0, 0.0, 1.0, 0);
        let other = splitter(0.7, 0.3, 0.0, 1);
        let mut moved = 0;
        for unit in 0..1000 {
            let unit = unit.to_string();
            assert_ne!(all.split(&unit), Split::Test);
            assert_eq!(none.split(&unit), Split::Test);
            moved += u32::from(all.split(&unit) != other.split(&unit));
        }
        assert!(moved > 300);
    }
}
