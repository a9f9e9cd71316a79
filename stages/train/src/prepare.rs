//! What stands before the first step: data, mechanism, model, and the state of a killed attempt.

use std::collections::HashSet;

use pft_artifact::{Manifest, UnitNotes};
use pft_dp::TrainingData;
use pft_lm::model::LanguageModel;
use pft_lm::optimizer::Optimizer;
use pft_lm::schedule::Schedule;
use pft_stage::{Context, StageError};

use crate::base::{self, Start};
use crate::claim::claim;
use crate::config::Config;
use crate::data::{Data, Sequence, Unit, spread};
use crate::private::Protection;
use crate::state::{Row, States};

/// What is trained on and looked at.
#[derive(Debug)]
pub(crate) struct Corpus {
    /// Units to train on.
    pub(crate) train: Vec<Unit>,
    /// Their examples.
    pub(crate) examples: usize,
    /// Held-out sequences.
    pub(crate) held_out: Vec<Sequence>,
}

/// What a run stands on.
#[derive(Debug)]
pub(crate) struct Footing {
    /// How units are protected, with `privacy`.
    pub(crate) protection: Option<Protection>,
    /// For the privacy ledger.
    pub(crate) training_data: TrainingData,
    /// What earlier stages did with the data.
    pub(crate) earlier_uses: Vec<String>,
    /// What training begins from.
    pub(crate) start: Start,
    /// Where the state of training is kept.
    pub(crate) states: States,
    /// The learning rate of each step.
    pub(crate) schedule: Schedule,
    /// Steps planned.
    pub(crate) planned: u64,
}

/// Model and optimizer as the base model or a checkpoint has them, and what was measured so far.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) model: LanguageModel,
    pub(crate) optimizer: Optimizer,
    pub(crate) rows: Vec<Row>,
}

/// Reads what config and inputs name. Where the number of units is declared, all that a private run
/// will be asked to account for is tried before the model is loaded; else before the first step.
///
/// # Errors
/// When settings, data and model do not go together, or a file cannot be read.
pub(crate) fn prepare(
    config: &Config,
    context: &Context,
) -> Result<(Corpus, Footing, Begun), StageError> {
    let start = Start::of(config)?;
    let (unit, couplings, earlier_uses) = said_of_units(context)?;
    let declared = config.privacy.as_ref().and_then(|privacy| privacy.units);
    let protection =
        |units: u64, planned: u64| Protection::of(config, units, planned, &start.earlier, &unit);
    let mut protected = match declared {
        Some(units) => protection(units, config.planned_steps(units, 0)?)?,
        None => None,
    };
    let mut model = base::load(config)?;
    let corpus = read_corpus(config, context, &model)?;
    let units = corpus.train.len() as u64;
    refuse_undeclared_units(declared, units)?;
    let planned = config.planned_steps(units, corpus.examples as u64)?;
    if protected.is_none() {
        protected = protection(units, planned)?;
    }
    let mut optimizer = Optimizer::new(config.optimizer, model.parameters());
    let training_data = TrainingData {
        unit,
        couplings,
        inputs: claim(config, context, &start.hashes())?,
        base: start.base.clone(),
        earlier: start.earlier.clone(),
    };
    let states = States::new(context, config.checkpoints.save_total_limit, &training_data.inputs);
    let rows = states.resume(&mut model, &mut optimizer)?;
    let schedule = Schedule {
        kind: config.schedule,
        learning_rate: config.learning_rate,
        warmup_steps: config.warmup_steps.min(planned),
        total_steps: planned,
    };
    let footing = Footing {
        protection: protected,
        training_data,
        earlier_uses,
        start,
        states,
        schedule,
        planned,
    };
    Ok((corpus, footing, Begun { model, optimizer, rows }))
}

/// Stages that treat each unit by itself unless they say otherwise.
const SETTLED_STAGES: [&str; 4] = ["ingest", "tag-pii", "scrub", "tokenize"];

/// What earlier stages said: what a unit is, how units decided about each other, and what else was
/// done with the data.
fn said_of_units(context: &Context) -> Result<(String, Vec<String>, Vec<String>), StageError> {
    let lineage = Manifest::open(context.input("tokens")?)?.lineage()?;
    let notes = lineage.units();
    let mut couplings = notes.couplings;
    for step in lineage.steps() {
        let silent = step.units == UnitNotes::default();
        if silent && !SETTLED_STAGES.contains(&step.stage.as_str()) {
            couplings.push(format!(
                "The stage {} does not say what it did to the data: if it mixed units with each other, \
                 or made other units of them, the guarantee does not hold",
                step.stage
            ));
        }
    }
    let unit = notes.unit.unwrap_or_else(|| {
        couplings.push(
            "What a unit is, and what was done to the data before, is not recorded: if units were mixed \
             with each other, the guarantee does not hold"
                .to_string(),
        );
        TrainingData::default().unit
    });
    Ok((unit, couplings, notes.uses))
}

fn read_corpus(
    config: &Config,
    context: &Context,
    model: &LanguageModel,
) -> Result<Corpus, StageError> {
    let (vocabulary, positions) =
        (model.config().vocab_size, model.config().max_position_embeddings);
    let data = Data::read(context.input("tokens")?, vocabulary, positions)?;
    let held_out = match context.input_optional("evaluation") {
        Some(path) => {
            let held_out = Data::read(path, vocabulary, positions)?.validation;
            warn_of_trained_units(&data.train, &held_out, context);
            held_out
        }
        None => data.validation,
    };
    if data.train.is_empty() {
        return Err(StageError::input("the tokens hold no example of split train")
            .with_help("check the splits of ingest, and `splits` of tokenize"));
    }
    let most = config.evaluation.max_examples as usize;
    Ok(Corpus {
        examples: data.train.iter().map(|unit| unit.examples.len()).sum(),
        held_out: spread(&held_out, most).into_iter().cloned().collect(),
        train: data.train,
    })
}

/// What is held out of one corpus may be trained on in another, by another split. Scrubbing may have
/// given units new ids, so this is no proof that they are others.
fn warn_of_trained_units(train: &[Unit], held_out: &[Unit], context: &Context) {
    let known: HashSet<&str> = train.iter().map(|unit| &unit.unit_id[..]).collect();
    let both = held_out.iter().filter(|unit| known.contains(&unit.unit_id[..])).count();
    if both > 0 {
        context.progress().note(format!(
            "warning: {both} of {} units to evaluate on have the ids of units that are trained on: if they \
             are the same, what is called held out is not",
            held_out.len()
        ));
    }
}

/// The guarantee is over data sets with at most as many units as are declared, and δ is small for so
/// many.
fn refuse_undeclared_units(declared: Option<u64>, units: u64) -> Result<(), StageError> {
    match declared {
        Some(declared) if units > declared => Err(StageError::config(format!(
            "privacy.units: {declared} is declared as the largest number of units, but the tokens hold \
             {units} to train on"
        ))
        .with_help(
            "declare an upper bound that you would give without counting, or keep fewer units with \
             ingest's split",
        )),
        _ => Ok(()),
    }
}
