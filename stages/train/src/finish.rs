//! What is left when the last step is done.

use pft_dp::Ledger;
use pft_lm::model::LanguageModel;
use pft_stage::StageError;

use crate::base::Start;
use crate::config::Config;
use crate::data::Sequence;
use crate::evaluate::Scores;
use crate::prepare::{Corpus, Footing};
use crate::state::Row;

/// A trained model and what was seen on the way.
#[derive(Debug)]
pub struct Trained {
    /// The model.
    pub model: LanguageModel,
    /// One row a step, and one for each evaluation.
    pub rows: Vec<Row>,
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
    (model, rows, ledger): (LanguageModel, Vec<Row>, Option<Ledger>),
) -> Result<Trained, StageError> {
    let scored = rows.iter().rev().find_map(|row| row.scores);
    let lost = scored.iter().flatten().any(Scores::are_lost);
    if lost || !model.parameters().trained_are_finite() {
        return Err(diverged(footing.planned, footing.planned));
    }
    Ok(Trained {
        model,
        rows,
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
