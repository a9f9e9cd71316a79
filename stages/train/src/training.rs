//! The loop: sample, forward, backward, clip, noise, step, account.

use std::time::{Duration, Instant};

use pft_artifact::Manifest;
use pft_dp::accounting::Accountant;
use pft_dp::{Ledger, NoPrivacy, Reason, TrainingData, delta_rounded_up, rounded_up};
use pft_lm::model::LanguageModel;
use pft_lm::optimizer::Optimizer;
use pft_lm::schedule::Schedule;
use pft_stage::{Context, StageError};

use crate::base::{self, Start};
use crate::claim::claim;
use crate::config::Config;
use crate::data::{Data, Sequence, spread};
use crate::evaluate::{Scores, evaluate};
use crate::plain::PlainSteps;
use crate::private::PrivateSteps;
use crate::processor::{Cpu, OnDevice, Processor};
use crate::state::{Row, States};

/// A trained model and what was seen on the way.
#[derive(Debug)]
pub struct Trained {
    /// The model.
    pub model: LanguageModel,
    /// One row a step, and one for each evaluation.
    pub rows: Vec<Row>,
    /// The privacy ledger, with privacy.
    pub ledger: Option<Ledger>,
    /// Whether the number of units was counted in the data.
    pub counted_units: bool,
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

/// Where steps come from.
enum Steps<'a, P: Processor> {
    Plain(Box<PlainSteps<'a, P>>),
    Private(Box<PrivateSteps<'a, P>>),
}

impl<P: Processor> Steps<'_, P> {
    /// ε spent after `steps` steps, and by the weights before, where a bound holds.
    fn epsilon(&self, config: &Config, steps: u64) -> Option<f64> {
        match (self, &config.privacy) {
            (Self::Private(private), Some(privacy)) => private.epsilon(privacy.accountant, steps),
            _ => None,
        }
    }
}

/// Trains as config says, on the device that it names.
///
/// # Errors
/// When model and tokens do not go together, the settings are not private, or the disk or the
/// device refuses.
pub fn train(config: &Config, context: &Context) -> Result<Trained, StageError> {
    match config.device.open()? {
        None => train_on(config, context, |model, optimizer| Ok(Cpu::new(model, optimizer))),
        Some(device) => train_on(config, context, |model, optimizer| {
            OnDevice::new(model, optimizer, &device, config.dtype.into())
        }),
    }
}

fn train_on<P: Processor>(
    config: &Config,
    context: &Context,
    processor: impl FnOnce(LanguageModel, Optimizer) -> Result<P, StageError>,
) -> Result<Trained, StageError> {
    let mut model = base::load(config)?;
    let start = Start::of(config)?;
    let limits = (model.config().vocab_size, model.config().max_position_embeddings);
    let data = Data::read(context.input("tokens")?, limits.0, limits.1)?;
    let held_out = match context.input_optional("evaluation") {
        Some(path) => Data::read(path, limits.0, limits.1)?.validation,
        None => data.validation.clone(),
    };
    if data.train.is_empty() {
        return Err(StageError::input("the tokens hold no example of split train")
            .with_help("check the splits of ingest, and `splits` of tokenize"));
    }
    let held_out: Vec<Sequence> =
        spread(&held_out, config.evaluation.max_examples as usize).into_iter().cloned().collect();
    let train_sample = spread(&data.train, config.evaluation.max_train_examples as usize);
    let examples: usize = data.train.iter().map(|unit| unit.examples.len()).sum();

    let planned = planned_steps(config, data.train.len() as u64, examples as u64);
    let mut optimizer = Optimizer::new(config.optimizer, model.parameters());
    let schedule = Schedule {
        kind: config.schedule,
        learning_rate: config.learning_rate,
        warmup_steps: config.warmup_steps.min(planned),
        total_steps: planned,
    };
    let mut notes = Manifest::open(context.input("tokens")?)?.lineage()?.units();
    if notes.unit.is_none() {
        notes.uses.push(
            "What was done to the data before is not recorded: whether units decided about each other is \
             not known"
                .to_string(),
        );
    }
    let training_data = TrainingData {
        unit: notes.unit.unwrap_or_else(|| TrainingData::default().unit),
        couplings: notes.couplings,
        inputs: claim(config, context, &start.hashes())?,
        base: start.base.clone(),
        earlier: start.earlier.clone(),
    };
    let states = States::new(context.scratch(), config.checkpoints.save_total_limit);
    let mut rows = states.resume(&mut model, &mut optimizer)?;
    let first = optimizer.steps();
    announce(&model, planned, context);
    let mut processor = processor(model, optimizer)?;
    let mut steps = match &config.privacy {
        Some(privacy) => Steps::Private(Box::new(PrivateSteps::new(
            config,
            privacy,
            context,
            training_data,
            &data.train,
            &processor,
            planned,
        )?)),
        None => {
            let examples = data.train.iter().flat_map(|unit| &unit.examples).collect();
            Steps::Plain(Box::new(PlainSteps::new(examples, config, &processor)))
        }
    };
    if first > 0 {
        context.progress().note(format!("going on after step {first}"));
    }
    announce_privacy(&steps, planned, context);

    let tokens = config.micro_batch_tokens as usize;
    let score = |processor: &mut P, step: u64| -> Result<Row, StageError> {
        let held_out: Vec<&Sequence> = held_out.iter().collect();
        let held_out = evaluate(processor, &held_out, tokens)?;
        let seen = evaluate(processor, &train_sample, tokens)?;
        note_scores(context, step, &held_out, &seen);
        Ok(Row::evaluation(step, held_out, seen))
    };
    if first == 0 && rows.is_empty() {
        let scored = score(&mut processor, 0)?;
        if scored.scores.iter().flatten().any(Scores::are_lost) {
            return Err(StageError::input("the base model gives no numbers, before any training")
                .with_help(
                    "its weights hold NaN or infinities, or its file is damaged: fetch it again",
                ));
        }
        rows.push(scored);
    }
    let bar = context.progress().start("training", Some(planned), "steps");
    bar.advance(first);
    let (mut spent, mut accounting, begun) = (None, Duration::ZERO, Instant::now());
    for step in first..planned {
        if context.interrupted()
            && let Some(epsilon) = steps.epsilon(config, step)
        {
            let spent = rounded_up(epsilon);
            context.progress().note(format!("stopped after step {step}, ε {spent} spent"));
        }
        context.check_interrupted()?;
        let started = Instant::now();
        let rate = schedule.rate(step);
        let mut row = match &mut steps {
            Steps::Plain(steps) => steps.step(config, &mut processor, step, rate)?,
            Steps::Private(steps) => steps.step(config, &mut processor, step, rate)?,
        };
        row.seconds = started.elapsed().as_secs_f64();
        let done = step + 1;
        // The accountant may take a hundredth of the time.
        if accounting * 100 <= begun.elapsed() {
            let asked = Instant::now();
            spent = steps.epsilon(config, done);
            accounting += asked.elapsed();
        }
        bar.message(row.message(spent));
        if row.may_have_diverged() && !processor.state()?.0.parameters().trained_are_finite() {
            return Err(diverged(done, planned));
        }
        rows.push(row);
        let is_due = |every: Option<u64>| every.is_some_and(|n| n > 0 && done % n == 0);
        if is_due(config.evaluation.every_steps) || done == planned {
            rows.push(score(&mut processor, done)?);
        }
        if is_due(config.checkpoints.every_steps) && done < planned {
            let (model, optimizer) = processor.state()?;
            states.save(model, optimizer, &rows)?;
        }
        bar.advance(1);
    }
    bar.finish();
    let counted_units = config.privacy.as_ref().is_some_and(|privacy| privacy.units.is_none());
    let ledger = match steps {
        Steps::Private(steps) => Some(steps.into_ledger()),
        Steps::Plain(_) => None,
    };
    let model = processor.into_model()?;
    let scored = rows.iter().rev().find_map(|row| row.scores);
    let lost = scored.iter().flatten().any(Scores::are_lost);
    if lost || !model.parameters().trained_are_finite() {
        return Err(diverged(planned, planned));
    }
    Ok(Trained {
        model,
        rows,
        ledger,
        counted_units,
        earlier_uses: notes.uses,
        start,
        held_out,
        units: data.train.len(),
        examples,
    })
}

fn diverged(step: u64, planned: u64) -> StageError {
    StageError::config(format!(
        "training diverged: after step {step} of {planned} the model gives no numbers"
    ))
    .with_help("lower learning_rate, or warm up for more steps")
}

/// With privacy the number of steps is part of the mechanism, so that it follows from the units that
/// were declared and not from those that are there.
fn planned_steps(config: &Config, units: u64, examples: u64) -> u64 {
    if config.dry_run {
        return 2;
    }
    let passes_over = match &config.privacy {
        Some(privacy) => privacy.units.unwrap_or(units),
        None => examples,
    };
    config.max_steps.unwrap_or_else(|| {
        let steps = config.epochs * passes_over as f64 / config.batch_size as f64;
        steps.ceil().max(1.0) as u64
    })
}

fn announce(model: &LanguageModel, planned: u64, context: &Context) {
    let (all, trainable) = model.parameters().count();
    context.progress().note(format!("{trainable} of {all} parameters train for {planned} steps"));
}

/// What the statement will say, before the first step.
fn announce_privacy<P: Processor>(steps: &Steps<'_, P>, planned: u64, context: &Context) {
    let Steps::Private(steps) = steps else { return };
    let say = |text: String| context.progress().note(text);
    let plan = steps.mechanism().plan();
    if plan.sample_rate >= 1.0 {
        say(
            "warning: batch_size is not below the number of units: every unit takes part in every \
             step, and sampling adds no privacy"
                .into(),
        );
    }
    let mechanism = format!(
        "DP-SGD: noise multiplier {:.4}, sample rate {:.5}, {} units declared",
        plan.noise_multiplier, plan.sample_rate, plan.declared_units
    );
    if let Some(none) = NoPrivacy::from_ledger(steps.ledger().contents()) {
        say(mechanism);
        return say(format!("warning: the model will not be private. {}", none.statement));
    }
    let Some(epsilon) = steps.epsilon(Accountant::Pld, planned) else { return };
    let header = &steps.ledger().contents().header;
    let with = match header.earlier.trainings.len() {
        0 => "",
        _ => " together with what its base model had spent",
    };
    say(format!(
        "{mechanism}; ε will be {}{with} at δ = {}",
        rounded_up(epsilon),
        delta_rounded_up(plan.delta)
    ));
    for reason in header.not_for_release() {
        let help = match reason {
            Reason::BaseUnknown => {
                " If you know that it did not, say so with `base_has_seen: nothing`."
            }
            _ => "",
        };
        say(format!(
            "warning: the model will not be for release. {}{help}",
            reason.sentence(&header.unit)
        ));
    }
}

fn note_scores(context: &Context, step: u64, held_out: &Scores, seen: &Scores) {
    let show = |value: Option<f64>| match value {
        None => "–".to_string(),
        Some(value) if value >= 1e6 => format!("{value:.3e}"),
        Some(value) => format!("{value:.3}"),
    };
    context.progress().note(format!(
        "step {step}: perplexity held out {} (personal data {}, other {}), in training {} \
         (personal data {}, other {})",
        show(held_out.perplexity()),
        show(held_out.pii_perplexity()),
        show(held_out.other_perplexity()),
        show(seen.perplexity()),
        show(seen.pii_perplexity()),
        show(seen.other_perplexity()),
    ));
}

/// Dropout masks differ from micro-batch to micro-batch and are the same after a resume.
pub(crate) fn dropout_seed(config: &Config, step: u64, first_unit: u64) -> u64 {
    let mut bytes = [0; 24];
    for (chunk, value) in bytes.chunks_exact_mut(8).zip([config.seed, step, first_unit]) {
        chunk.copy_from_slice(&value.to_le_bytes());
    }
    let hash = blake3::hash(&bytes);
    let mut first = [0; 8];
    first.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(first)
}
