//! The loop: sample, forward, backward, clip, noise, step, account.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use pft_dp::rounded_up;
use pft_lm::model::LanguageModel;
use pft_lm::optimizer::Optimizer;
use pft_stage::{Context, StageError};

use crate::announce::{announce, announce_privacy, note_scores};
use crate::config::Config;
use crate::data::{Sequence, spread};
use crate::evaluate::{Scores, evaluate};
use crate::finish::{Left, diverged, finish};
use crate::plain::PlainSteps;
use crate::prepare::{Begun, Corpus, Footing, prepare};
use crate::private::PrivateSteps;
use crate::processor::{Cpu, OnDevice, Processor};
use crate::state::Row;
use crate::steps::Steps;

pub use crate::finish::Trained;

/// Steps for which the ε spent is written down.
const SPENT_POINTS: u64 = 20;

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
    let (corpus, footing, begun) = prepare(config, context)?;
    announce(&begun.model, footing.planned, context);
    let mut run = Run::begin(config, context, &corpus, &footing, begun, processor)?;
    run.score_base()?;
    let bar = context.progress().start("training", Some(footing.planned), "steps");
    bar.advance(run.done);
    while run.done < footing.planned {
        run.stop_if_asked()?;
        let row = run.step()?;
        bar.message(row.message(run.spent()));
        run.keep(row)?;
        run.evaluate_if_due()?;
        run.save_if_due()?;
        bar.advance(1);
    }
    bar.finish();
    let left = run.end()?;
    finish(config, corpus, footing, left)
}

/// A run between two steps.
struct Run<'a, P: Processor> {
    config: &'a Config,
    context: &'a Context,
    footing: &'a Footing,
    processor: P,
    steps: Steps<'a, P>,
    held_out: Vec<&'a Sequence>,
    train_sample: Vec<&'a Sequence>,
    rows: Vec<Row>,
    /// Steps done.
    done: u64,
    accounting: Accounting,
}

/// ε spent so far, asked now and then.
struct Accounting {
    spent: Option<f64>,
    asking: Duration,
    begun: Instant,
}

impl<'a, P: Processor> Run<'a, P> {
    fn begin(
        config: &'a Config,
        context: &'a Context,
        corpus: &'a Corpus,
        footing: &'a Footing,
        begun: Begun,
        processor: impl FnOnce(LanguageModel, Optimizer) -> Result<P, StageError>,
    ) -> Result<Self, StageError> {
        let done = begun.optimizer.steps();
        let processor = processor(begun.model, begun.optimizer)?;
        let steps = match (&config.privacy, &footing.protection) {
            (Some(privacy), Some(protection)) => {
                let data = &footing.training_data;
                let units = &corpus.train;
                let steps =
                    PrivateSteps::new(privacy, context, protection, data, units, &processor)?;
                Steps::Private(Box::new(steps))
            }
            _ => {
                let examples = corpus.train.iter().flat_map(|unit| &unit.examples).collect();
                Steps::Plain(Box::new(PlainSteps::new(examples, config, &processor)))
            }
        };
        if done > 0 {
            context.progress().note(format!("going on after step {done}"));
        }
        if let Some(protection) = &footing.protection {
            announce_privacy(config, corpus, protection, steps.ledger(), context);
        }
        Ok(Self {
            config,
            context,
            footing,
            processor,
            steps,
            held_out: corpus.held_out.iter().collect(),
            train_sample: spread(&corpus.train, config.evaluation.max_train_examples as usize),
            rows: begun.rows,
            done,
            accounting: Accounting { spent: None, asking: Duration::ZERO, begun: Instant::now() },
        })
    }

    /// Scores the model that training begins from, and refuses one that gives no numbers.
    fn score_base(&mut self) -> Result<(), StageError> {
        if self.done > 0 || !self.rows.is_empty() {
            return Ok(());
        }
        let scored = self.score()?;
        if scored.scores.iter().flatten().any(Scores::are_lost) {
            return Err(StageError::input("the base model gives no numbers, before any training")
                .with_help(
                    "its weights hold NaN or infinities, or its file is damaged: fetch it again",
                ));
        }
        self.rows.push(scored);
        Ok(())
    }

    fn score(&mut self) -> Result<Row, StageError> {
        let tokens = self.config.micro_batch_tokens as usize;
        let held_out = evaluate(&mut self.processor, &self.held_out, tokens)?;
        let seen = evaluate(&mut self.processor, &self.train_sample, tokens)?;
        note_scores(self.context, self.done, &held_out, &seen);
        Ok(Row::evaluation(self.done, held_out, seen))
    }

    fn stop_if_asked(&self) -> Result<(), StageError> {
        if self.context.interrupted()
            && let Some(epsilon) = self.steps.epsilon(self.config, self.done)
        {
            let (done, spent) = (self.done, rounded_up(epsilon));
            self.context.progress().note(format!("stopped after step {done}, ε {spent} spent"));
        }
        self.context.check_interrupted()
    }

    fn step(&mut self) -> Result<Row, StageError> {
        let started = Instant::now();
        let rate = self.footing.schedule.rate(self.done);
        let mut row = self.steps.step(self.config, &mut self.processor, self.done, rate)?;
        row.seconds = started.elapsed().as_secs_f64();
        self.done += 1;
        Ok(row)
    }

    /// ε spent so far, or a little while ago: the accountant may take a hundredth of the time before the
    /// last step.
    fn spent(&mut self) -> Option<f64> {
        let accounting = &mut self.accounting;
        let is_last = self.done == self.footing.planned;
        if is_last || accounting.asking * 100 <= accounting.begun.elapsed() {
            let asked = Instant::now();
            accounting.spent = self.steps.epsilon(self.config, self.done);
            accounting.asking += asked.elapsed();
        }
        accounting.spent
    }

    fn keep(&mut self, row: Row) -> Result<(), StageError> {
        let diverges = row.may_have_diverged();
        self.rows.push(row);
        if diverges && !self.processor.state()?.0.parameters().trained_are_finite() {
            return Err(diverged(self.done, self.footing.planned));
        }
        Ok(())
    }

    fn evaluate_if_due(&mut self) -> Result<(), StageError> {
        if self.is_due(self.config.evaluation.every_steps) || self.done == self.footing.planned {
            let scored = self.score()?;
            if scored.scores.iter().flatten().any(Scores::are_lost) {
                return Err(diverged(self.done, self.footing.planned));
            }
            self.rows.push(scored);
        }
        Ok(())
    }

    fn save_if_due(&mut self) -> Result<(), StageError> {
        if self.is_due(self.config.checkpoints.every_steps) && self.done < self.footing.planned {
            let (model, optimizer) = self.processor.state()?;
            self.footing.states.save(model, optimizer, &self.rows)?;
        }
        Ok(())
    }

    fn is_due(&self, every: Option<u64>) -> bool {
        every.is_some_and(|every| self.done.is_multiple_of(every))
    }

    /// ε after each of some steps, evenly along the way and after the last: what is asked during
    /// training depends on the clock, and is not written down.
    fn spent_along(&self) -> BTreeMap<u64, f64> {
        let planned = self.footing.planned;
        let points = 1..=SPENT_POINTS;
        let steps: BTreeSet<u64> =
            points.map(|point| (point * planned).div_ceil(SPENT_POINTS)).collect();
        let spent = |step| Some((step, self.steps.epsilon(self.config, step)?));
        steps.into_iter().filter_map(spent).collect()
    }

    fn end(self) -> Result<Left, StageError> {
        let spent = self.spent_along();
        let ledger = self.steps.into_ledger();
        Ok(Left { model: self.processor.into_model()?, rows: self.rows, ledger, spent })
    }
}
