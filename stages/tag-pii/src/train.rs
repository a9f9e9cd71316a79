//! `tag-pii train`: goes on training a tagger on gold annotations.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use pft_ner::train::{Epoch, TrainError, TrainOptions, Training};
use pft_pii::evaluate::GoldDocument;
use pft_pii::labels::LabelMap;
use pft_stage::{StageError, subcommand};

use crate::architecture::Architecture;
use crate::gold;

/// Trains a tagger on gold annotations, from a model that a backend reads
///
/// The base is a spaCy 3 pipeline (the result is one too, for the `spacy` backend) or a BERT, DistilBERT, RoBERTa or
/// XLM-RoBERTa encoder (the result is a token classifier for the `transformer` backend). After every epoch the model
/// is measured on documents that it does not learn from; the best is kept.
#[derive(Debug, Parser)]
#[command(name = "tag-pii train")]
pub struct Arguments {
    /// Gold annotations: TAB's JSON (.json, .jsonl), tokens with IOB2 tags (.iob2, .bio, .conll, .txt, .tsv),
    /// or a `tags` artifact (a folder; needs --corpus)
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    gold: Vec<PathBuf>,
    /// Gold annotations to measure on; without them a part of --gold is held out
    #[arg(long, value_name = "FILE")]
    validation: Option<PathBuf>,
    /// The corpus that gold tags belong to
    #[arg(long, value_name = "DIR")]
    corpus: Option<PathBuf>,
    /// Teach the labels of this set (tab, ontonotes, conll, presidio) instead of those that the gold is written
    /// in; what the set has no word for keeps its label
    #[arg(long, value_name = "SET")]
    label_set: Option<String>,
    /// The model to go on from, a folder
    #[arg(long, value_name = "DIR")]
    base: PathBuf,
    /// The folder to write; it must not exist
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Share of the gold's documents held out [default: 0.15]
    #[arg(long, value_name = "SHARE")]
    held_out: Option<f64>,
    /// Passes over the gold at most [default: 30 for spaCy, 8 for an encoder]
    #[arg(long)]
    epochs: Option<usize>,
    /// Epochs without a better model after which training ends [default: 5 for spaCy, 2 for an encoder]
    #[arg(long, value_name = "EPOCHS")]
    patience: Option<usize>,
    /// Learning rate at its peak [default: 0.001 for spaCy, 0.0001 for an encoder]
    #[arg(long)]
    learning_rate: Option<f64>,
    /// Tokens of a batch [default: 1024]
    #[arg(long, value_name = "TOKENS")]
    batch_tokens: Option<usize>,
    /// Share of activations set to zero [default: 0.1]
    #[arg(long)]
    dropout: Option<f64>,
    /// How many times as much recall counts as precision where models are compared [default: 2]
    #[arg(long, value_name = "WEIGHT")]
    recall_weight: Option<f64>,
    /// Decides what is held out, the order, dropout and new weights [default: 0]
    #[arg(long)]
    seed: Option<u64>,
    /// Trains the model anew on all the gold in the end, for as many epochs as were best
    #[arg(long)]
    refit: bool,
    /// Teaches mentions that need no masking too, where the gold tells them apart
    #[arg(long)]
    all_mentions: bool,
}

/// The subcommand's `main`; the first argument is the subcommand's name.
pub fn main(arguments: &[OsString]) -> ExitCode {
    subcommand::run("tag-pii train", arguments, |arguments: Arguments| {
        pft_stage::allocator::keep_pages();
        run(&arguments)
    })
}

/// Trains as the arguments say and writes the model with its report, `training.json`.
///
/// # Errors
/// When the gold or the base cannot be read, an argument is out of range, the output is in use or cannot be
/// written, or SIGINT or SIGTERM ended the training. Nothing is left behind then.
pub fn run(arguments: &Arguments) -> Result<(), StageError> {
    let architecture = Architecture::of(&arguments.base)
        .map_err(|error| StageError::input(format!("--base: {error}")))?;
    let options = options(arguments, architecture);
    let corpus = arguments.corpus.as_deref();
    let mut learned = Vec::new();
    for path in &arguments.gold {
        learned.extend(gold::read(path, corpus)?.0);
    }
    let mut measured = match &arguments.validation {
        Some(path) => gold::read(path, corpus)?.0,
        None => Vec::new(),
    };
    refuse_overlap(&learned, &measured)?;
    if let Some(set) = &arguments.label_set {
        let map = LabelMap::built_in();
        gold::check_set(&map, set)?;
        for document in learned.iter_mut().chain(&mut measured) {
            relabel(document, &map, set);
        }
    }
    subcommand::say(&format!(
        "tag-pii train: {} documents; epochs end when {} in a row are no better",
        learned.len(),
        options.patience
    ));
    let interrupted = pft_stage::watch_signals()?;
    let output = &arguments.output;
    let training = Training {
        base: &arguments.base,
        gold: &learned,
        held_out: &measured,
        output,
        options: &options,
        interrupted: &interrupted,
    };
    let outcome = architecture.train(&training, &mut show).map_err(stage_error)?;
    subcommand::print(outcome.held_out.table().trim_end());
    subcommand::say(&format!(
        "tag-pii train: epoch {}, leaning by {} towards mentions, is in {}",
        outcome.best,
        outcome.lean,
        output.display()
    ));
    Ok(())
}

fn options(arguments: &Arguments, architecture: Architecture) -> TrainOptions {
    let defaults = architecture.options();
    TrainOptions {
        epochs: arguments.epochs.unwrap_or(defaults.epochs),
        patience: arguments.patience.unwrap_or(defaults.patience),
        learning_rate: arguments.learning_rate.unwrap_or(defaults.learning_rate),
        batch_tokens: arguments.batch_tokens.unwrap_or(defaults.batch_tokens),
        dropout: arguments.dropout.unwrap_or(defaults.dropout),
        held_out: arguments.held_out.unwrap_or(defaults.held_out),
        recall_weight: arguments.recall_weight.unwrap_or(defaults.recall_weight),
        seed: arguments.seed.unwrap_or(defaults.seed),
        refit: arguments.refit,
        must_mask_only: !arguments.all_mentions,
        ..defaults
    }
}

/// Calls a document's mentions what a label set calls them.
fn relabel(document: &mut GoldDocument, map: &LabelMap, set: &str) {
    for mention in &mut document.mentions {
        let canonical = map.canonical(&mention.label.as_str().into());
        if let Some(label) = map.translate(set, &canonical) {
            mention.label = label.to_owned();
        }
    }
}

/// A text that is learned from says nothing about how well others are tagged.
fn refuse_overlap(learned: &[GoldDocument], measured: &[GoldDocument]) -> Result<(), StageError> {
    let texts: std::collections::HashSet<&str> =
        learned.iter().map(|document| &*document.text).collect();
    match measured.iter().find(|document| texts.contains(&*document.text)) {
        None => Ok(()),
        Some(document) => Err(StageError::input(format!(
            "--validation: document {} has a text that --gold has too",
            pft_artifact::Quoted(&document.id)
        ))
        .with_help("leave it out of one of the two")),
    }
}

fn show(epoch: &Epoch) {
    let Epoch { epoch: number, loss, held_out, best } = epoch;
    subcommand::say(&match held_out {
        Some(report) => format!(
            "epoch {number:>3}  loss {loss:.4}  held out: must-mask mentions {:.3}, characters P {:.3} R {:.3} F1 {:.3}{}",
            report.mentions.recall,
            report.characters.precision,
            report.characters.recall,
            report.characters.f1,
            if *best { "  best" } else { "" },
        ),
        None => format!("epoch {number:>3}  loss {loss:.4}  on all documents"),
    });
}

fn stage_error(error: TrainError) -> StageError {
    match error {
        TrainError::Interrupted => StageError::interrupted(),
        TrainError::Options(_) => StageError::config(error.to_string()),
        TrainError::Write { error: ref source, .. } => {
            StageError::config(error.to_string()).because(source)
        }
        _ => StageError::input(error.to_string()),
    }
}
