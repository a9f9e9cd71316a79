//! Planted secrets: sentences with a random number, whose exposure tells what a model remembers.

use pft_artifact::Split;
use pft_stage::StageError;
use serde::Serialize;

use super::config::{CanaryConfig, SyntheticConfig};
use super::page::Page;
use crate::split::UnitSplitter;

/// Where the number goes.
const SLOT: &str = "{digits}";

/// A planted secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Canary {
    /// The sentence as it stands in the documents.
    pub text: String,
    /// The number.
    pub secret: String,
    /// How often it stands in each of the units.
    pub repetitions: u32,
    /// The units, in order.
    pub units: Vec<String>,
    /// Their numbers.
    #[serde(skip)]
    pub(super) numbers: Vec<u64>,
}

/// The secrets that a config plants. The number depends on the seed and the entry's place in the
/// list; the units are the train units with the smallest keyed hashes, so that another unit more
/// or less changes the choice by one unit at most.
///
/// # Errors
/// When a text has no place for the number or there are too few train units.
pub fn canaries(
    config: &SyntheticConfig,
    splitter: Option<&UnitSplitter>,
) -> Result<Vec<Canary>, StageError> {
    (0..)
        .zip(&config.canaries)
        .map(|(index, canary)| plant(config, splitter, index, canary))
        .collect()
}

fn plant(
    config: &SyntheticConfig,
    splitter: Option<&UnitSplitter>,
    index: u64,
    canary: &CanaryConfig,
) -> Result<Canary, StageError> {
    let place = format!("synthetic.canaries[{index}]");
    if canary.text.matches(SLOT).count() != 1 || canary.digits == 0 || canary.digits > 32 {
        return Err(StageError::config(format!(
            "{place}: text must hold {SLOT} once, and digits be from 1 to 32"
        )));
    }
    let key = blake3::derive_key(
        "pft synthetic canaries v1",
        &[config.seed.to_le_bytes(), index.to_le_bytes()].concat(),
    );
    let secret: String = blake3::keyed_hash(&key, b"secret").as_bytes()[..canary.digits as usize]
        .iter()
        .map(|byte| (b'0' + byte % 10) as char)
        .collect();
    let mut ranked: Vec<(u64, u64)> = (0..config.units)
        .filter(|&unit| {
            splitter.is_none_or(|splitter| splitter.split(&config.unit_id(unit)) == Split::Train)
        })
        .map(|unit| {
            let hash = blake3::keyed_hash(&key, &unit.to_le_bytes());
            let mut word = [0; 8];
            word.copy_from_slice(&hash.as_bytes()[..8]);
            (u64::from_le_bytes(word), unit)
        })
        .collect();
    ranked.sort_unstable();
    let wanted = usize::try_from(canary.units).unwrap_or(usize::MAX);
    if ranked.len() < wanted {
        return Err(StageError::config(format!(
            "{place}.units: is {wanted}, but the train split has {} units",
            ranked.len()
        )));
    }
    let mut numbers: Vec<u64> = ranked[..wanted].iter().map(|&(_, unit)| unit).collect();
    numbers.sort_unstable();
    Ok(Canary {
        text: canary.text.replace(SLOT, &secret),
        secret,
        repetitions: canary.repetitions,
        units: numbers.iter().map(|&unit| config.unit_id(unit)).collect(),
        numbers,
    })
}

impl Canary {
    /// Appends the sentence to documents of a unit, in turn, as often as it is to stand there.
    pub(super) fn append_to(&self, unit: u64, separator: &str, documents: &mut [Page]) {
        if documents.is_empty() || self.numbers.binary_search(&unit).is_err() {
            return;
        }
        let (before, after) = self.text.split_once(&self.secret).unwrap_or((&self.text, ""));
        let count = documents.len();
        for repetition in 0..self.repetitions as usize {
            let page = &mut documents[repetition % count];
            page.push(separator);
            page.push(before);
            page.push_labelled(&self.secret, "CANARY");
            page.push(after);
        }
    }
}
