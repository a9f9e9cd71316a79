//! The training loop: batches, AdamW, early stopping.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use pft_pii::Span;
use pft_pii::combine::tag_texts;
use pft_pii::evaluate::{GoldDocument, Report, evaluate};
use pft_pii::labels::LabelMap;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::scratch::Scratch;
use super::{Dropout, Epoch, Learner, Outcome, TrainError, TrainOptions, Training, report};

/// Refuses settings that cannot be meant.
pub(super) fn check(options: &TrainOptions) -> Result<(), TrainError> {
    let wrong = |what: &str| Err(TrainError::Options(what.to_owned()));
    if options.epochs == 0 || options.patience == 0 || options.batch_tokens == 0 {
        return wrong("epochs, patience and batch_tokens must be at least 1");
    }
    if !(options.learning_rate > 0.0 && options.learning_rate.is_finite()) {
        return wrong("learning_rate must be above 0");
    }
    if !(0.0..0.9).contains(&options.dropout) {
        return wrong("dropout must be in 0..0.9");
    }
    if options.weight_decay.is_nan() || options.weight_decay < 0.0 {
        return wrong("weight_decay must not be below 0");
    }
    if options.max_grad_norm.is_nan() || options.max_grad_norm <= 0.0 {
        return wrong("max_grad_norm must be above 0");
    }
    if !(options.recall_weight > 0.0 && options.recall_weight.is_finite()) {
        return wrong("recall_weight must be above 0");
    }
    if !(options.held_out > 0.0 && options.held_out < 1.0) {
        return wrong("held_out must be between 0 and 1");
    }
    Ok(())
}

/// Documents to learn from and documents to measure on.
pub(super) type Parts<'a> = (Vec<&'a GoldDocument>, Vec<&'a GoldDocument>);

/// Holds out a random share of the documents, where no others are given.
pub(super) fn split<'a>(
    gold: &'a [GoldDocument],
    held_out: &'a [GoldDocument],
    options: &TrainOptions,
) -> Result<Parts<'a>, TrainError> {
    if !held_out.is_empty() {
        return Ok((gold.iter().collect(), held_out.iter().collect()));
    }
    if gold.len() < 2 {
        return Err(TrainError::Gold(format!(
            "{} document(s): one to learn from and one to measure on are needed",
            gold.len()
        )));
    }
    let mut order: Vec<usize> = (0..gold.len()).collect();
    order.shuffle(&mut ChaCha8Rng::seed_from_u64(options.seed));
    let count = ((gold.len() as f64 * options.held_out).round() as usize).clamp(1, gold.len() - 1);
    let mut measured = order.split_off(gold.len() - count);
    measured.sort_unstable();
    order.sort_unstable();
    let pick = |places: Vec<usize>| places.into_iter().map(|at| &gold[at]).collect();
    Ok((pick(order), pick(measured)))
}

/// What is tried as [`Outcome::lean`].
const LEANS: [f32; 8] = [0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0];

/// The best model so far.
struct Best {
    epoch: usize,
    score: f64,
    weights: Vec<Tensor>,
    report: Report,
    lean: f32,
}

/// Takes an amount from the score of "no mention".
fn lean_by<L: Learner>(learner: &L, amount: f32) -> Result<(), TrainError> {
    let (biases, outside) = learner.outside();
    let mut values: Vec<f32> = biases.flatten_all()?.to_vec1()?;
    values[outside] -= amount;
    biases.set(&Tensor::from_vec(values, biases.shape(), biases.device())?)?;
    Ok(())
}

/// A training whose documents are parted.
pub(super) struct Plan<'a> {
    pub(super) training: Training<'a>,
    pub(super) learned: Vec<&'a GoldDocument>,
    pub(super) measured: Vec<&'a GoldDocument>,
}

impl Plan<'_> {
    /// Trains for these labels.
    pub(super) fn run<L: Learner>(
        &self,
        labels: Vec<String>,
        progress: &mut dyn FnMut(&Epoch),
    ) -> Result<Outcome, TrainError> {
        if self.training.output.exists() {
            return Err(TrainError::Options(format!(
                "{} exists already; name a new folder",
                self.training.output.display()
            )));
        }
        let learner = || L::start(self.training.base, &labels, self.training.options);
        let scratch = Scratch::create(self.training.output)?;
        let folder = scratch.folder.join("model");
        let mut epochs: Vec<Epoch> = Vec::new();
        let mut best: Option<Best> = None;
        let mut course = Course::start(learner()?, &self.learned, self)?;
        for epoch in 1..=self.training.options.epochs {
            let loss = course.epoch()?;
            let report = self.measure(&course.learner, &folder)?;
            let score = self.score(&report);
            let better = best.as_ref().is_none_or(|best| score > best.score);
            epochs.push(Epoch { epoch, loss, held_out: Some(report.clone()), best: better });
            progress(&epochs[epochs.len() - 1]);
            if better {
                let weights = course.weights()?;
                best = Some(Best { epoch, score, weights, report, lean: 0.0 });
            }
            if best
                .as_ref()
                .is_some_and(|best| epoch - best.epoch >= self.training.options.patience)
            {
                break;
            }
        }
        let Some(mut best) = best else {
            return Err(TrainError::Options("epochs must be at least 1".to_owned()));
        };
        course.restore(&best.weights)?;
        self.lean(&course.learner, &folder, &mut best)?;
        if self.training.options.refit {
            let all: Vec<&GoldDocument> = self.training.gold.iter().collect();
            course = Course::start(learner()?, &all, self)?;
            for epoch in 1..=best.epoch {
                let loss = course.epoch()?;
                epochs.push(Epoch { epoch, loss, held_out: None, best: epoch == best.epoch });
                progress(&epochs[epochs.len() - 1]);
            }
        }
        lean_by(&course.learner, best.lean)?;
        remove(&folder)?;
        course.learner.save(&folder)?;
        let outcome = Outcome {
            epochs,
            best: best.epoch,
            lean: best.lean,
            held_out: best.report,
            labels: labels.clone(),
            documents: if self.training.options.refit {
                self.training.gold.len()
            } else {
                self.learned.len()
            },
            held_out_documents: self.measured.len(),
        };
        report::write(&folder, &outcome, self.training.options)?;
        go_on(self.training.interrupted)?;
        std::fs::rename(&folder, self.training.output)
            .map_err(TrainError::write(self.training.output))?;
        Ok(outcome)
    }

    /// Finds how far the model should lean towards mentions, and leaves it upright.
    fn lean<L: Learner>(
        &self,
        learner: &L,
        folder: &Path,
        best: &mut Best,
    ) -> Result<(), TrainError> {
        for lean in LEANS {
            lean_by(learner, lean)?;
            let report = self.measure(learner, folder)?;
            lean_by(learner, -lean)?;
            let score = self.score(&report);
            if score > best.score {
                (best.score, best.report, best.lean) = (score, report, lean);
            }
        }
        Ok(())
    }

    /// F measure of the characters, with the weight that recall has.
    fn score(&self, report: &Report) -> f64 {
        let (precision, recall) = (report.characters.precision, report.characters.recall);
        let weight = self.training.options.recall_weight.powi(2);
        let sum = weight * precision + recall;
        if sum > 0.0 { (1.0 + weight) * precision * recall / sum } else { 0.0 }
    }

    /// Measures a model, saved and loaded again, on the documents held out.
    fn measure<L: Learner>(&self, learner: &L, folder: &Path) -> Result<Report, TrainError> {
        go_on(self.training.interrupted)?;
        remove(folder)?;
        learner.save(folder)?;
        let tagger = L::load(folder)?;
        let texts: Vec<&str> = self.measured.iter().map(|document| &*document.text).collect();
        let found = tag_texts(&*tagger, &texts).into_iter().collect::<Result<Vec<_>, _>>()?;
        let pairs: Vec<(&GoldDocument, &[Span])> =
            self.measured.iter().copied().zip(found.iter().map(Vec::as_slice)).collect();
        Ok(evaluate(&pairs, &LabelMap::built_in(), None, false))
    }
}

/// A model on its way.
struct Course<'a, L: Learner> {
    learner: L,
    samples: Vec<L::Sample>,
    variables: Vec<Var>,
    optimizer: AdamW,
    dropout: Dropout,
    random: ChaCha8Rng,
    steps: usize,
    options: &'a TrainOptions,
    interrupted: &'a AtomicBool,
}

impl<'a, L: Learner> Course<'a, L> {
    fn start(
        mut learner: L,
        documents: &[&GoldDocument],
        plan: &Plan<'a>,
    ) -> Result<Self, TrainError> {
        let options = plan.training.options;
        let mut samples = Vec::new();
        for document in documents {
            samples.extend(learner.samples(document)?);
        }
        if samples.is_empty() {
            return Err(TrainError::Gold("the gold's texts have no tokens".to_owned()));
        }
        let variables = learner.variables();
        let settings = ParamsAdamW {
            lr: options.learning_rate,
            weight_decay: options.weight_decay,
            ..ParamsAdamW::default()
        };
        let optimizer = AdamW::new(variables.clone(), settings)?;
        Ok(Self {
            learner,
            samples,
            variables,
            optimizer,
            dropout: Dropout::new(options.dropout, options.seed),
            random: ChaCha8Rng::seed_from_u64(options.seed),
            steps: 0,
            options,
            interrupted: plan.training.interrupted,
        })
    }

    /// One pass over all samples in a new order; returns the mean loss of its batches.
    fn epoch(&mut self) -> Result<f64, TrainError> {
        let mut order: Vec<usize> = (0..self.samples.len()).collect();
        order.shuffle(&mut self.random);
        let mut batches: Vec<Vec<usize>> = vec![Vec::new()];
        let mut tokens = 0;
        for at in order {
            let cost = L::tokens(&self.samples[at]);
            if tokens + cost > self.options.batch_tokens && tokens > 0 {
                batches.push(Vec::new());
                tokens = 0;
            }
            tokens += cost;
            if let Some(batch) = batches.last_mut() {
                batch.push(at);
            }
        }
        let steps_an_epoch = batches.len();
        let mut total = 0.0;
        for batch in &batches {
            go_on(self.interrupted)?;
            let batch: Vec<&L::Sample> = batch.iter().map(|&at| &self.samples[at]).collect();
            let loss = self.learner.loss(&batch, &mut self.dropout)?;
            total += f64::from(loss.to_scalar::<f32>()?);
            let mut gradients = loss.backward()?;
            clip(&mut gradients, &self.variables, self.options.max_grad_norm)?;
            let rate = self.options.learning_rate * self.schedule(steps_an_epoch);
            self.optimizer.set_learning_rate(rate);
            self.optimizer.step(&gradients)?;
            self.steps += 1;
        }
        Ok(total / steps_an_epoch as f64)
    }

    /// Copies of what was learned so far.
    fn weights(&self) -> Result<Vec<Tensor>, TrainError> {
        Ok(self.variables.iter().map(|variable| variable.copy()).collect::<Result<_, _>>()?)
    }

    /// Goes back to an earlier state of what is learned.
    fn restore(&self, weights: &[Tensor]) -> Result<(), TrainError> {
        for (variable, weight) in self.variables.iter().zip(weights) {
            variable.set(weight)?;
        }
        Ok(())
    }

    /// Linear warm-up over a tenth of an epoch, then linear decay to zero.
    fn schedule(&self, steps_an_epoch: usize) -> f64 {
        let warmup = (steps_an_epoch / 10).max(1) as f64;
        let total = (steps_an_epoch * self.options.epochs) as f64;
        let step = self.steps as f64;
        ((step + 1.0) / warmup).min((total - step) / (total - warmup).max(1.0)).clamp(0.0, 1.0)
    }
}

/// Scales a gradient down to a norm.
fn clip(gradients: &mut GradStore, variables: &[Var], max_norm: f64) -> Result<(), TrainError> {
    let mut squares = 0.0;
    for variable in variables {
        if let Some(gradient) = gradients.get(variable) {
            squares += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
        }
    }
    let norm = squares.sqrt();
    if norm > max_norm {
        for variable in variables {
            if let Some(gradient) = gradients.get(variable) {
                let scaled = (gradient * (max_norm / norm))?;
                gradients.insert(variable, scaled);
            }
        }
    }
    Ok(())
}

/// Fails once the training is to end.
fn go_on(interrupted: &AtomicBool) -> Result<(), TrainError> {
    if interrupted.load(Ordering::Relaxed) { Err(TrainError::Interrupted) } else { Ok(()) }
}

fn remove(folder: &Path) -> Result<(), TrainError> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(TrainError::write(folder)(error))
        }
        _ => Ok(()),
    }
}
