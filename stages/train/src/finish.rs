//! What is left when the last step is done.

use std::collections::BTreeMap;

use pft_dp::Ledger;
use pft_lm::model::LanguageModel;
use pft_stage::StageError;

use crate::base::Start;
use crate::config::Config;
use crate::data::Sequence;
use crate::evaluate::Scores;
use crate::prepare::{Corpus, Footing};
use crate::state::Row;

/// What the last step leaves.
pub(crate) struct Left {
    pub(crate) model: LanguageModel,
    pub(crate) rows: Vec<Row>,
    /// With noise.
    pub(crate) ledger: Option<Ledger>,
    /// ε spent after some of the steps, where a bound holds.
    pub(crate) spent: BTreeMap<u64, f64>,
}

/// A trained model and what was seen on the way.
#[derive(Debug)]
pub struct Trained {
    /// The model.
    pub model: LanguageModel,
    /// One row a step, and one for each evaluation.
    pub rows: Vec<Row>,
    /// ε spent after some of the steps, with what the weights had spent before; empty where no bound
    /// holds.
    pub spent: BTreeMap<u64, f64>,
    /// The privacy ledger, with noise.
    pub ledger: Option<Ledger>,
    /// Whether units were sampled and clipped without noise.
    pub clip_only: bool,
    /// What earlier stages did with the data.
    pub earlier_uses: Vec<String>,
    /// What training began from.
    pub(crate) start: Start,
    /// Held-out sequences.
    pub held_out: Vec<Sequence>,
    /// Units trained on.
    pub units: usize,
    /// Examples trained on.
    pub examples: usize,
}

/// Puts together what a run leaves.
///
/// # Errors
/// When the model gives no numbers.
pub(crate) fn finish(
    config: &Config,
    corpus: Corpus,
    footing: Footing,
    Left { model, rows, ledger, spent }: Left,
) -> Result<Trained, StageError> {
    let scored = rows.iter().rev().find_map(|row| row.scores);
    let lost = scored.iter().flatten().any(Scores::are_lost);
    if lost || !model.parameters().trained_are_finite() {
        return Err(diverged(footing.planned, footing.planned));
    }
    Ok(Trained {
        model,
        rows,
        spent,
        clip_only: config.privacy.is_some() && ledger.is_none(),
        ledger,
        earlier_uses: footing.earlier_uses,
        start: footing.start,
        held_out: corpus.held_out,
        units: corpus.train.len(),
        examples: corpus.examples,
    })
}

/// The training whose model gives no numbers after `step` steps.
pub(crate) fn diverged(step: u64, planned: u64) -> StageError {
    StageError::config(format!(
        "training diverged: after step {step} of {planned} the model gives no numbers"
    ))
    .with_help("lower learning_rate, or warm up for more steps")
}
