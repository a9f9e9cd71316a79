//! The loop: sample, forward, backward, clip, noise, step, account.

use std::collections::BTreeMap;
use std::time::Instant;

use pft_artifact::TokensReader;
use pft_dp::accounting::Accountant;
use pft_dp::{
    ClippedSum, Ledger, LedgerHeader, Mechanism, Plan, PoissonSampler, RELEASE_DRAWS, Randomness,
    RunSecret, default_delta,
};
use pft_lm::gradient::GradientSum;
use pft_lm::model::LanguageModel;
use pft_lm::optimizer::{Optimizer, clip_factor, global_norm};
use pft_lm::schedule::Schedule;
use pft_stage::{Context, StageError};

use crate::base;
use crate::config::{Config, Privacy};
use crate::data::{Data, Sequence, Unit, batch_of, micro_batches, spread};
use crate::evaluate::{Scores, evaluate};
use crate::order::Order;
use crate::private::UnitGradients;
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
    /// Held-out sequences.
    pub held_out: Vec<Sequence>,
    /// Units trained on.
    pub units: usize,
    /// Examples trained on.
    pub examples: usize,
}

/// Where a step's gradient comes from.
enum Source<'a> {
    Plain { examples: Vec<&'a Sequence>, order: Order },
    Private(Box<PrivateSource<'a>>),
}

struct PrivateSource<'a> {
    units: &'a [Unit],
    mechanism: Mechanism,
    secret: RunSecret,
    sampler: PoissonSampler,
    ledger: Ledger,
    gradients: UnitGradients,
}

/// Trains as config says.
///
/// # Errors
/// When model and tokens do not go together, the settings are not private, or the disk refuses.
pub fn train(config: &Config, context: &Context) -> Result<Trained, StageError> {
    let mut model = base::load(config)?;
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

    let planned = planned_steps(config, data.train.len(), examples);
    let mut sum = GradientSum::new(model.parameters());
    let mut optimizer = Optimizer::new(config.optimizer, model.parameters());
    let schedule = Schedule {
        kind: config.schedule,
        learning_rate: config.learning_rate,
        warmup_steps: config.warmup_steps.min(planned),
        total_steps: planned,
    };
    let mut source = match &config.privacy {
        Some(privacy) => private_source(config, privacy, context, &data.train, &model, planned)?,
        None => Source::Plain {
            examples: data.train.iter().flat_map(|unit| &unit.examples).collect(),
            order: Order::new(examples, config.seed),
        },
    };
    let states = States::new(context.scratch(), config.checkpoints.save_total_limit);
    let mut rows = states.resume(&mut model, &mut optimizer)?;
    let first = optimizer.steps();
    if first > 0 {
        context.progress().note(format!("going on after step {first}"));
    }
    announce(&source, &model, planned, context);

    let tokens = config.micro_batch_tokens as usize;
    let score = |model: &mut LanguageModel, step: u64| -> Result<Row, StageError> {
        let held_out: Vec<&Sequence> = held_out.iter().collect();
        let held_out = evaluate(model, &held_out, tokens)?;
        let seen = evaluate(model, &train_sample, tokens)?;
        note_scores(context, step, &held_out, &seen);
        Ok(Row::evaluation(step, held_out, seen))
    };
    if first == 0 && rows.is_empty() {
        rows.push(score(&mut model, 0)?);
    }
    let bar = context.progress().start("training", Some(planned), "steps");
    bar.advance(first);
    for step in first..planned {
        context.check_interrupted()?;
        let started = Instant::now();
        sum.clear();
        let mut row = match &mut source {
            Source::Plain { examples, order } => {
                plain_gradient(config, &mut model, &mut sum, examples, order, step)?
            }
            Source::Private(source) => {
                private_gradient(config, &mut model, &mut sum, source, step)?
            }
        };
        row.learning_rate = schedule.rate(step);
        let scale = row.gradient_scale as f32;
        optimizer.step(model.parameters_mut(), &mut sum, row.learning_rate, scale);
        row.seconds = started.elapsed().as_secs_f64();
        bar.message(row.message());
        rows.push(row);
        let done = step + 1;
        let is_due = |every: Option<u64>| every.is_some_and(|n| n > 0 && done % n == 0);
        if is_due(config.evaluation.every_steps) || done == planned {
            rows.push(score(&mut model, done)?);
        }
        if is_due(config.checkpoints.every_steps) && done < planned {
            states.save(&model, &optimizer, &rows)?;
        }
        bar.advance(1);
    }
    bar.finish();
    let counted_units = config.privacy.as_ref().is_some_and(|privacy| privacy.units.is_none());
    let ledger = match source {
        Source::Private(source) => Some(source.ledger),
        Source::Plain { .. } => None,
    };
    Ok(Trained { model, rows, ledger, counted_units, held_out, units: data.train.len(), examples })
}

fn planned_steps(config: &Config, units: usize, examples: usize) -> u64 {
    if config.dry_run {
        return 2;
    }
    let passes_over = if config.privacy.is_some() { units } else { examples };
    config.max_steps.unwrap_or_else(|| {
        let steps = config.epochs * passes_over as f64 / config.batch_size as f64;
        steps.ceil().max(1.0) as u64
    })
}

fn private_source<'a>(
    config: &Config,
    privacy: &Privacy,
    context: &Context,
    units: &'a [Unit],
    model: &LanguageModel,
    planned: u64,
) -> Result<Source<'a>, StageError> {
    let refuse = |error: &dyn std::fmt::Display| StageError::config(format!("privacy: {error}"));
    let declared_units = privacy.units.unwrap_or(units.len() as u64);
    let randomness = match privacy.fixed_seed_not_for_release {
        Some(seed) => Randomness::FixedSeed(seed),
        None => Randomness::OperatingSystem,
    };
    let plan = Plan {
        declared_units,
        sample_rate: (config.batch_size as f64 / declared_units as f64).min(1.0),
        noise_multiplier: privacy.noise_multiplier.unwrap_or(1.0),
        steps: planned,
        delta: privacy.target_delta.unwrap_or_else(|| default_delta(declared_units)),
        clipping: privacy.clipping(),
        max_examples_per_unit: privacy.max_examples_per_unit,
        noise_draws: RELEASE_DRAWS,
    };
    let force = privacy.force_delta;
    let mechanism = match privacy.target_epsilon {
        Some(target) => Mechanism::calibrated(plan, privacy.accountant, target, force),
        None => Mechanism::new(plan, force),
    }
    .map_err(|error| refuse(&error))?;
    let secret = run_secret(context, randomness)?;
    let mut inputs = BTreeMap::new();
    for port in ["tokens", "evaluation"] {
        if let Some(path) = context.input_optional(port) {
            let manifest = TokensReader::open(path)?.manifest().content_hash.clone();
            inputs.insert(port.to_string(), manifest);
        }
    }
    // The same noise must never meet another gradient: a run whose settings changed is another
    // run, and its ledger refuses to go on.
    let settings =
        serde_json::to_vec(config).map_err(|error| StageError::bug(error.to_string()))?;
    inputs.insert("settings".to_string(), blake3::hash(&settings).to_hex().to_string());
    let header = LedgerHeader::new(&mechanism, randomness, secret.commitment(), inputs);
    let ledger = Ledger::open(&context.scratch().join("ledger.jsonl"), &header)
        .map_err(|error| StageError::bug(error.to_string()))?;
    let names: Vec<&str> = units.iter().map(|unit| unit.unit_id.as_str()).collect();
    let sampler = mechanism.sampler(&secret, &names).map_err(|error| refuse(&error))?;
    let gradients = UnitGradients::new(model.parameters(), mechanism.plan().clipping);
    Ok(Source::Private(Box::new(PrivateSource {
        units,
        mechanism,
        secret,
        sampler,
        ledger,
        gradients,
    })))
}

/// The secret of this run: the one that a killed attempt left, so that a step done again draws
/// the same bits, or a new one.
fn run_secret(context: &Context, randomness: Randomness) -> Result<RunSecret, StageError> {
    let path = context.scratch().join("secret");
    let failed = |error: std::io::Error| StageError::bug(format!("{}: {error}", path.display()));
    match std::fs::read_to_string(&path) {
        Ok(hex) => {
            return RunSecret::from_hex(&hex)
                .map_err(|error| StageError::bug(format!("{}: {error}", path.display())));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let secret = RunSecret::new(randomness).map_err(|error| StageError::bug(error.to_string()))?;
    crate::state::write_private(&path, secret.expose_hex().as_bytes()).map_err(failed)?;
    Ok(secret)
}

fn announce(source: &Source<'_>, model: &LanguageModel, planned: u64, context: &Context) {
    let (all, trainable) = model.parameters().count();
    context.progress().note(format!("{trainable} of {all} parameters train for {planned} steps"));
    if let Source::Private(source) = source {
        let plan = source.mechanism.plan();
        if let Ok(epsilon) = source.mechanism.epsilon(Accountant::Pld, planned) {
            context.progress().note(format!(
                "DP-SGD: noise multiplier {:.4}, sample rate {:.5}, {} units declared; ε will be \
                 {:.4} at δ = {:.3e}",
                plan.noise_multiplier,
                plan.sample_rate,
                plan.declared_units,
                epsilon.epsilon,
                plan.delta
            ));
        }
    }
}

fn note_scores(context: &Context, step: u64, held_out: &Scores, seen: &Scores) {
    let show = |value: Option<f64>| value.map_or("–".to_string(), |v| format!("{v:.3}"));
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

/// The sum over a batch of shuffled examples; the row says how to scale it.
fn plain_gradient(
    config: &Config,
    model: &mut LanguageModel,
    sum: &mut GradientSum,
    examples: &[&Sequence],
    order: &mut Order,
    step: u64,
) -> Result<Row, StageError> {
    let size = config.batch_size;
    let groups = (0..size).map(|i| vec![examples[order.at(step * size + i)]]).collect();
    let mut row = Row::step(step + 1);
    for groups in micro_batches(groups, config.micro_batch_tokens as usize) {
        let batch = batch_of(&groups)?;
        let losses = model
            .forward_backward(&batch, dropout_seed(config, step, row.units), sum)
            .map_err(|error| StageError::input(error.to_string()))?;
        row.loss += losses.total();
        row.units += groups.len() as u64;
        row.tokens += batch.rows() as u64;
    }
    let mean = 1.0 / size as f64;
    row.loss *= mean;
    row.gradient_norm = global_norm(sum) * mean;
    let clip = if config.max_grad_norm > 0.0 {
        f64::from(clip_factor(row.gradient_norm, config.max_grad_norm))
    } else {
        1.0
    };
    row.gradient_scale = clip * mean;
    Ok(row)
}

/// The noised mean over a Poisson sample of units. The step is in the ledger, on disk, before
/// noise is added.
fn private_gradient(
    config: &Config,
    model: &mut LanguageModel,
    sum: &mut GradientSum,
    source: &mut PrivateSource<'_>,
    step: u64,
) -> Result<Row, StageError> {
    let mut row = Row::step(step + 1);
    let mut norms = Vec::new();
    let groups: Vec<Vec<&Sequence>> = source
        .sampler
        .sample(step)
        .into_iter()
        .map(|index| {
            let examples = &source.units[index].examples;
            let chosen = source.sampler.examples(step, index, examples.len());
            chosen.into_iter().map(|example| &examples[example]).collect()
        })
        .collect();
    for groups in micro_batches(groups, config.micro_batch_tokens as usize) {
        let batch = batch_of(&groups)?;
        let losses = model
            .forward_backward(&batch, dropout_seed(config, step, row.units), &mut source.gradients)
            .map_err(|error| StageError::input(error.to_string()))?;
        let sequences: Vec<usize> = groups.iter().map(Vec::len).collect();
        let clipped = source.gradients.clip_into(sum, &sequences);
        norms.extend(clipped.norms);
        row.not_finite += clipped.not_finite;
        row.loss += losses.total();
        row.units += groups.len() as u64;
        row.tokens += batch.rows() as u64;
    }
    row.loss /= row.units.max(1) as f64;
    row.gradient_norm = norms.iter().sum::<f64>() / norms.len().max(1) as f64;
    row.gradient_scale = 1.0;

    let receipt = source
        .ledger
        .record(&source.mechanism, step)
        .map_err(|error| StageError::bug(error.to_string()))?;
    let tensors = sum.iter_mut().map(|(_, gradient)| gradient.to_vec()).collect();
    let clipping = &source.mechanism.plan().clipping;
    let noise = source.mechanism.noise(&source.secret);
    let mean =
        ClippedSum::from_clipped(tensors, clipping).privatize(&source.mechanism, &noise, &receipt);
    for ((_, gradient), noised) in sum.iter_mut().zip(mean.tensors()) {
        gradient.copy_from_slice(noised);
    }
    Ok(row)
}

/// Dropout masks differ from micro-batch to micro-batch and are the same after a resume.
fn dropout_seed(config: &Config, step: u64, first_unit: u64) -> u64 {
    let mut bytes = [0; 24];
    for (chunk, value) in bytes.chunks_exact_mut(8).zip([config.seed, step, first_unit]) {
        chunk.copy_from_slice(&value.to_le_bytes());
    }
    let hash = blake3::hash(&bytes);
    let mut first = [0; 8];
    first.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(first)
}
