//! The `train` stage: fine-tunes a language model, with or without differential privacy.
//!
//! `tokens` go in, a `model` comes out. The loop of [`training`] reads straight: sample, forward,
//! backward, clip, noise, step, account. Models are `pft-lm`'s, mechanisms are `pft-dp`'s; what is
//! here connects the two ([`private`]), keeps the state of training on disk ([`state`]), and
//! writes the model with its privacy statement (`output`).

pub mod accountant;
pub mod audit;
pub mod config;
pub mod data;
pub mod evaluate;
pub mod private;
pub mod state;
pub mod training;
pub mod verify;

mod adapters;
mod announce;
mod base;
mod claim;
mod finish;
mod marks;
mod order;
mod output;
mod plain;
mod prepare;
mod processor;
mod samples;
mod steps;

use pft_stage::{Context, Facts, Kind, Port, Stage, StageError};

pub use config::Config;

/// The stage.
#[derive(Debug)]
pub struct Train;

impl Stage for Train {
    const NAME: &'static str = "train";
    const REVISION: u32 = 13;
    const ABOUT: &'static str = "Fine-tunes a language model, with or without differential privacy";
    const COMMANDS: &'static str = "\
        train verify MODEL      checks a model's privacy statement against its ledger\n  \
        train epsilon | noise | steps\n                          \
        asks the accountant: how much is spent, how much noise, how many steps\n  \
        train audit-step        measures the leakage of this build's private step";
    type Config = Config;

    fn inputs() -> Vec<Port> {
        vec![Port::required("tokens", Kind::Tokens), Port::optional("evaluation", Kind::Tokens)]
    }

    fn outputs() -> Vec<Port> {
        vec![Port::required("model", Kind::Model)]
    }

    fn validate(config: &Config) -> Result<(), StageError> {
        config.validate()
    }

    fn facts(config: &Config) -> Result<Facts, StageError> {
        let positions = base::positions(config)?;
        let because = format!("the model has {positions} positions");
        let limit = |facts: Facts, port: &str| {
            facts.take_at_most(port, "sequence_length", positions as f64, &because)
        };
        Ok(["tokens", "evaluation"].into_iter().fold(Facts::default(), limit))
    }

    fn run(config: Config, context: &Context) -> Result<(), StageError> {
        pft_stage::allocator::keep_pages();
        let prompts = samples::Prompts::read(&config, context)?;
        let trained = training::train(&config, context)?;
        output::write(&config, context, &prompts, trained)
    }
}
