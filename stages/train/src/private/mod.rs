//! Steps of DP-SGD: what connects the model's backward pass to the mechanisms of `pft-dp`.

mod device_sink;
mod kept;
mod protection;
mod sink;

use pft_artifact::kinds::model::LEDGER;
use pft_dp::accounting::Accountant;
use pft_dp::{
    Ledger, LedgerHeader, PoissonSampler, Randomness, RunSecret, TrainingData, UnitOutcome,
};
use pft_stage::{Context, StageError};

use self::kept::{refuse_ledger, run_secret};
use crate::config::{Config, Privacy};
use crate::data::{Sequence, Unit, batch_of, micro_batches};
use crate::order::dropout_seed;
use crate::processor::Processor;
use crate::state::Row;

pub(crate) use protection::Protection;

pub use device_sink::DeviceUnitGradients;
pub use sink::{Noised, UnitGradients};

/// Tokens of a private pass. Where the model's weights train, it keeps what the gradients of all
/// its units are made of until their norms are known, about as much again as a plain pass, and so
/// takes half as many tokens; adapters' pieces are small.
pub fn pass_tokens(micro_batch_tokens: usize, lora: bool) -> usize {
    if lora { micro_batch_tokens } else { micro_batch_tokens.div_ceil(2) }
}

/// Poisson-sampled units, and all that makes their gradients private.
pub(crate) struct PrivateSteps<'a, P: Processor> {
    context: &'a Context,
    units: &'a [Unit],
    protection: &'a Protection,
    secret: RunSecret,
    sampler: PoissonSampler,
    /// With noise.
    ledger: Option<Ledger>,
    gradients: P::Units,
}

impl<'a, P: Processor> PrivateSteps<'a, P> {
    /// Steps over `units`; the ledger and the secret of a killed attempt are taken up again.
    /// `training_data` is for the ledger.
    pub(crate) fn new(
        privacy: &Privacy,
        context: &'a Context,
        protection: &'a Protection,
        training_data: &TrainingData,
        units: &'a [Unit],
        processor: &P,
    ) -> Result<Self, StageError> {
        let randomness = match privacy.fixed_seed_not_for_release {
            Some(seed) => Randomness::FixedSeed(seed),
            None => Randomness::OperatingSystem,
        };
        let secret = run_secret(context, randomness)?;
        let ledger = match protection {
            Protection::Noise { mechanism, .. } => {
                let data = training_data.clone();
                let header = LedgerHeader::new(mechanism, randomness, secret.commitment(), data);
                let ledger = Ledger::open(&context.scratch().join(LEDGER.name), &header);
                Some(ledger.map_err(|error| refuse_ledger(error, context))?)
            }
            Protection::ClipOnly { .. } => None,
        };
        let names: Vec<&str> = units.iter().map(|unit| unit.unit_id.as_str()).collect();
        let sampler = protection
            .sampler(&secret, &names)
            .map_err(|error| StageError::config(format!("privacy: {error}")))?;
        let gradients = processor.units(protection.clipping());
        Ok(Self { context, units, protection, secret, sampler, ledger, gradients })
    }

    /// ε after `steps` steps, with what the weights had spent before; none without noise, or where no
    /// bound holds.
    pub(crate) fn epsilon(&self, accountant: Accountant, steps: u64) -> Option<f64> {
        let Protection::Noise { mechanism, earlier, spent: Some(_) } = self.protection else {
            return None;
        };
        let phases = [&earlier[..], &[mechanism.phase(steps)]].concat();
        let epsilon = accountant.epsilon(&phases, mechanism.plan().delta);
        epsilon.ok().map(|epsilon| epsilon.epsilon)
    }

    /// What the ledger says so far; none without noise.
    pub(crate) fn ledger(&self) -> Option<&Ledger> {
        self.ledger.as_ref()
    }

    /// The ledger, at the end; none without noise.
    pub(crate) fn into_ledger(self) -> Option<Ledger> {
        self.ledger
    }

    /// Step number `step`, from 0: the optimizer follows the noised mean over a Poisson sample of
    /// units. The step is in the ledger, on disk, before noise is added.
    pub(crate) fn step(
        &mut self,
        config: &Config,
        processor: &mut P,
        step: u64,
        learning_rate: f64,
    ) -> Result<Row, StageError> {
        let mut row = Row::step(step + 1);
        let units = self.draw(step);
        let tokens = pass_tokens(config.micro_batch_tokens as usize, config.lora.is_some());
        let seed = |first_unit| dropout_seed(config.seed, step, first_unit);
        add_units(processor, &mut self.gradients, units, tokens, seed, &mut row)?;
        row.loss /= row.units.max(1) as f64;
        row.gradient_norm /= row.units.max(1) as f64;
        row.gradient_scale = 1.0;
        row.learning_rate = learning_rate;

        let sum = processor.take(&mut self.gradients)?;
        let mean = match (self.protection, &mut self.ledger) {
            (Protection::Noise { mechanism, .. }, Some(ledger)) => {
                let receipt = ledger
                    .record(mechanism, step)
                    .map_err(|error| refuse_ledger(error, self.context))?;
                sum.privatize(mechanism, &mechanism.noise(&self.secret), &receipt)
            }
            (Protection::ClipOnly { run, .. }, None) => sum.without_noise(run),
            _ => return Err(StageError::bug("a ledger goes with noise, and noise with a ledger")),
        };
        processor.step_private(mean, learning_rate, &mut self.gradients)?;
        Ok(row)
    }

    /// The examples of the units that take part in a step.
    fn draw(&mut self, step: u64) -> Vec<Vec<&'a Sequence>> {
        let units = self.units;
        let sampled = self.sampler.sample(step);
        sampled
            .into_iter()
            .map(|index| {
                let examples = &units[index].examples;
                let chosen = self.sampler.examples(step, index, examples.len());
                chosen.into_iter().map(|example| &examples[example]).collect()
            })
            .collect()
    }
}

/// Adds the clipped gradients of units to a step's sum, a micro-batch at a time. `row` counts what
/// was seen; its loss and its gradient norm become sums over the units.
///
/// # Errors
/// When a sequence does not fit the model, or a parameter's gradient cannot be clipped.
pub(crate) fn add_units<P: Processor>(
    processor: &mut P,
    gradients: &mut P::Units,
    units: Vec<Vec<&Sequence>>,
    micro_batch_tokens: usize,
    dropout_seed: impl Fn(u64) -> u64,
    row: &mut Row,
) -> Result<(), StageError> {
    for units in micro_batches(units, micro_batch_tokens) {
        let batch = batch_of(&units)?;
        let sequences: Vec<usize> = units.iter().map(Vec::len).collect();
        let pass = processor.add_units(&batch, &sequences, dropout_seed(row.units), gradients)?;
        row.gradient_norm += pass.unit_norms.iter().sum::<f64>();
        row.not_finite +=
            pass.outcomes.iter().filter(|&&o| o == UnitOutcome::NotFinite).count() as u64;
        row.loss += pass.losses.total();
        row.units += units.len() as u64;
        row.tokens += batch.rows() as u64;
    }
    Ok(())
}
