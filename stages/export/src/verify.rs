//! Reads back what was written and compares: a model that came out broken is told at once.

use pft_lm::batch::Batch;
use pft_lm::model::LanguageModel;
use pft_stage::StageError;

use crate::trained::Trained;

/// Tokens that a model without held-out sequences is compared on: spread over the vocabulary.
const TOKENS: u32 = 24;

/// How far the reloaded model is from the trained one.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reference {
    /// Training reported this mean negative log-likelihood on the held-out sequences.
    HeldOut { mean_nll: f64 },
    /// Nothing was reported; this is the trained model's own on fixed tokens.
    FixedTokens { mean_nll: f64 },
}

impl Reference {
    /// What a reloaded model must reach.
    pub(crate) fn of(trained: &Trained, model: &mut LanguageModel) -> Result<Self, StageError> {
        match &trained.probe {
            Some(probe) => Ok(Self::HeldOut { mean_nll: probe.mean_nll }),
            None => Ok(Self::FixedTokens { mean_nll: fixed_tokens(model)? }),
        }
    }

    /// The relative difference of the reloaded model's perplexity.
    pub(crate) fn difference(
        self,
        trained: &Trained,
        reloaded: &mut LanguageModel,
    ) -> Result<f64, StageError> {
        let (expected, found) = match (self, &trained.probe) {
            (Self::HeldOut { mean_nll }, Some(probe)) => {
                let found = probe.mean_nll_of(reloaded).map_err(|error| {
                    StageError::input(format!("the model's evaluation probe: {error}"))
                })?;
                (mean_nll, found)
            }
            (Self::HeldOut { mean_nll } | Self::FixedTokens { mean_nll }, _) => {
                (mean_nll, fixed_tokens(reloaded)?)
            }
        };
        Ok(((found - expected).exp() - 1.0).abs())
    }

    /// Fails unless the reloaded model's perplexity is the expected one.
    pub(crate) fn check(
        self,
        trained: &Trained,
        reloaded: &mut LanguageModel,
        what: &str,
        tolerance: f64,
    ) -> Result<f64, StageError> {
        let difference = self.difference(trained, reloaded)?;
        // Not a number is not within any tolerance.
        if difference <= tolerance {
            return Ok(difference);
        }
        let expected = match self {
            Self::HeldOut { .. } => "the held-out perplexity that training reported",
            Self::FixedTokens { .. } => "the trained model's",
        };
        Err(StageError::input(format!(
            "{what} does not reproduce the trained model: read back, its perplexity differs from \
             {expected} by {:.3} %, more than perplexity_tolerance ({:.3} %)",
            100.0 * difference,
            100.0 * tolerance
        ))
        .with_help(
            "check that base_model is the one that training used; a wider dtype, or a larger \
             perplexity_tolerance, if the difference is only rounding",
        ))
    }
}

fn fixed_tokens(model: &mut LanguageModel) -> Result<f64, StageError> {
    let vocabulary = model.config().vocab_size as u64;
    let length = TOKENS.min(model.config().max_position_embeddings as u32);
    let ids: Vec<u32> = (0..u64::from(length))
        .map(|at| (at * at * 7919 + 11 * at) % vocabulary)
        .map(|id| id as u32)
        .collect();
    let failed = |error: pft_lm::batch::BatchError| StageError::bug(error.to_string());
    let losses = model.evaluate(&Batch::new(&[ids]).map_err(failed)?).map_err(failed)?;
    Ok(losses.total())
}
