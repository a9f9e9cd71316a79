//! Steps of DP-SGD: what connects the model's backward pass to the mechanisms of `pft-dp`.

mod device_sink;
mod sink;

use std::path::Path;

use pft_dp::accounting::{Accountant, Phase};
use pft_dp::{
    Ledger, LedgerError, LedgerHeader, Mechanism, Plan, PoissonSampler, RELEASE_DRAWS, Randomness,
    Record, RunSecret, TrainingData, UnitOutcome, default_delta,
};
use pft_stage::{Context, StageError};

use crate::config::{Config, Privacy};
use crate::data::{Sequence, Unit, batch_of, micro_batches};
use crate::processor::Processor;
use crate::state::Row;
use crate::training::dropout_seed;

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
    units: &'a [Unit],
    mechanism: Mechanism,
    secret: RunSecret,
    sampler: PoissonSampler,
    ledger: Ledger,
    gradients: P::Units,
    /// What the weights had spent before; none where no bound holds.
    earlier: Option<Vec<Phase>>,
}

impl<'a, P: Processor> PrivateSteps<'a, P> {
    /// `planned` private steps over `units`; the ledger and the secret of a killed attempt are
    /// taken up again. `training_data` is for the ledger.
    pub(crate) fn new(
        config: &Config,
        privacy: &Privacy,
        context: &Context,
        training_data: TrainingData,
        units: &'a [Unit],
        processor: &P,
        planned: u64,
    ) -> Result<Self, StageError> {
        let refuse =
            |error: &dyn std::fmt::Display| StageError::config(format!("privacy: {error}"));
        let randomness = match privacy.fixed_seed_not_for_release {
            Some(seed) => Randomness::FixedSeed(seed),
            None => Randomness::OperatingSystem,
        };
        let record = &training_data.earlier;
        let bounded = record.without_bound(&training_data.unit).is_empty();
        let earlier = bounded.then(|| record.phases());
        let plan = plan(config, privacy, units.len() as u64, planned, record)?;
        let force = privacy.force_delta;
        let mechanism = match privacy.target_epsilon {
            Some(target) => {
                let earlier = earlier.as_deref().unwrap_or_default();
                Mechanism::calibrated_after(earlier, plan, privacy.accountant, target, force)
            }
            None => Mechanism::new(plan, force),
        }
        .map_err(|error| refuse(&error))?;
        let secret = run_secret(&context.scratch().join("secret"), randomness)?;
        let header = LedgerHeader::new(&mechanism, randomness, secret.commitment(), training_data);
        let ledger = Ledger::open(&context.scratch().join("ledger.jsonl"), &header)
            .map_err(|error| refuse_ledger(&error))?;
        let names: Vec<&str> = units.iter().map(|unit| unit.unit_id.as_str()).collect();
        let sampler = mechanism.sampler(&secret, &names).map_err(|error| refuse(&error))?;
        let gradients = processor.units(&mechanism);
        Ok(Self { units, mechanism, secret, sampler, ledger, gradients, earlier })
    }

    /// ε after `steps` steps, with what the weights had spent before; none where no bound holds.
    pub(crate) fn epsilon(&self, accountant: Accountant, steps: u64) -> Option<f64> {
        let mut phases = self.earlier.clone()?;
        phases.push(self.mechanism.phase(steps));
        let epsilon = accountant.epsilon(&phases, self.mechanism.plan().delta);
        epsilon.ok().map(|epsilon| epsilon.epsilon)
    }

    /// What the ledger says so far.
    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The mechanism.
    pub(crate) fn mechanism(&self) -> &Mechanism {
        &self.mechanism
    }

    /// The ledger, at the end.
    pub(crate) fn into_ledger(self) -> Ledger {
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
        let seed = |first_unit| dropout_seed(config, step, first_unit);
        add_units(processor, &mut self.gradients, units, tokens, seed, &mut row)?;
        row.loss /= row.units.max(1) as f64;
        row.gradient_norm /= row.units.max(1) as f64;
        row.gradient_scale = 1.0;
        row.learning_rate = learning_rate;

        let receipt = self
            .ledger
            .record(&self.mechanism, step)
            .map_err(|error| StageError::bug(error.to_string()))?;
        let noise = self.mechanism.noise(&self.secret);
        let sum = processor.take(&mut self.gradients)?;
        let mean = sum.privatize(&self.mechanism, &noise, &receipt);
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

/// What the settings ask for; the noise multiplier is still to be calibrated where an ε is set.
/// δ is for all that the weights went through, and so for the largest number of units that any
/// training declared.
fn plan(
    config: &Config,
    privacy: &Privacy,
    units: u64,
    planned: u64,
    earlier: &Record,
) -> Result<Plan, StageError> {
    let declared_units = privacy.units.unwrap_or(units);
    let most_units = declared_units.max(earlier.most_declared_units());
    let delta = privacy.target_delta.unwrap_or_else(|| default_delta(most_units));
    if most_units > declared_units && delta >= 1.0 / most_units as f64 {
        return Err(StageError::config(format!(
            "privacy.target_delta: is {delta:e}, but the base model went through a private training on \
             {most_units} units, and must be below 1 / {most_units}"
        ))
        .with_help("leave it out for a default that fits"));
    }
    Ok(Plan {
        declared_units,
        sample_rate: (config.batch_size as f64 / declared_units as f64).min(1.0),
        noise_multiplier: privacy.noise_multiplier.unwrap_or(1.0),
        steps: planned,
        delta,
        clipping: privacy.clipping(),
        max_examples_per_unit: privacy.max_examples_per_unit,
        noise_draws: RELEASE_DRAWS,
    })
}

fn refuse_ledger(error: &LedgerError) -> StageError {
    match error {
        LedgerError::OtherRun { .. } | LedgerError::Broken { .. } => {
            StageError::config(error.to_string())
                .with_help("give the run another --scratch folder to start anew")
        }
        _ => StageError::bug(error.to_string()),
    }
}

/// The secret of this run: the one that a killed attempt left, so that a step done again draws
/// the same bits, or a new one.
fn run_secret(path: &Path, randomness: Randomness) -> Result<RunSecret, StageError> {
    let failed = |error: std::io::Error| StageError::bug(format!("{}: {error}", path.display()));
    match std::fs::read_to_string(path) {
        Ok(hex) => {
            return RunSecret::from_hex(&hex)
                .map_err(|error| StageError::bug(format!("{}: {error}", path.display())));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let secret = RunSecret::new(randomness).map_err(|error| StageError::bug(error.to_string()))?;
    crate::state::write_private(path, secret.expose_hex().as_bytes()).map_err(failed)?;
    Ok(secret)
}
