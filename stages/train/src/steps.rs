//! Where steps come from.

use pft_dp::Ledger;
use pft_stage::StageError;

use crate::config::Config;
use crate::plain::PlainSteps;
use crate::private::PrivateSteps;
use crate::processor::Processor;
use crate::state::Row;

/// Steps without privacy, or those that sample and clip units.
pub(crate) enum Steps<'a, P: Processor> {
    Plain(Box<PlainSteps<'a, P>>),
    Private(Box<PrivateSteps<'a, P>>),
}

impl<P: Processor> Steps<'_, P> {
    /// Step number `step`, from 0: sample, forward, backward, clip, noise, step, account.
    pub(crate) fn step(
        &mut self,
        config: &Config,
        processor: &mut P,
        step: u64,
        learning_rate: f64,
    ) -> Result<Row, StageError> {
        match self {
            Self::Plain(steps) => steps.step(config, processor, step, learning_rate),
            Self::Private(steps) => steps.step(config, processor, step, learning_rate),
        }
    }

    /// ε spent after `steps` steps, where a bound holds.
    pub(crate) fn epsilon(&self, config: &Config, steps: u64) -> Option<f64> {
        match (self, &config.privacy) {
            (Self::Private(private), Some(privacy)) => private.epsilon(privacy.accountant, steps),
            _ => None,
        }
    }

    /// The ledger so far, with noise.
    pub(crate) fn ledger(&self) -> Option<&Ledger> {
        match self {
            Self::Private(steps) => steps.ledger(),
            Self::Plain(_) => None,
        }
    }

    /// The ledger at the end, with noise.
    pub(crate) fn into_ledger(self) -> Option<Ledger> {
        match self {
            Self::Private(steps) => steps.into_ledger(),
            Self::Plain(_) => None,
        }
    }
}
