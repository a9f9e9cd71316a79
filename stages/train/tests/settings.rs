//! Settings that cannot be meant are refused before anything is read, by the name of their key.

#![allow(clippy::unwrap_used)]

mod house;

use house::{House, private};
use pft_lm::config::Architecture;
use pft_lm::optimizer::OptimizerConfig;
use pft_stage::Stage;
use train::config::{Lora, Privacy};
use train::{Config, Train};

fn change(house: &House, change: impl FnOnce(&mut Config)) -> Config {
    let mut config = house.config(private());
    change(&mut config);
    config
}

fn privacy(house: &House, changed: impl FnOnce(&mut Privacy)) -> Config {
    change(house, |config| changed(config.privacy.as_mut().unwrap()))
}

#[test]
fn absurd_numbers_are_refused_by_name() {
    let house = House::new();
    let many = 1_000_000_000_000_000_000;
    let refused = |config: Config, key: &str| {
        let error = Train::validate(&config).expect_err(key);
        assert_eq!(error.exit_code(), 2, "{error}");
        assert!(error.message().starts_with(key), "{key}: {error}");
    };
    Train::validate(&house.config(private())).unwrap();
    refused(change(&house, |c| c.max_steps = Some(0)), "max_steps: is 0");
    refused(change(&house, |c| c.max_steps = Some(many)), "max_steps: is 1000000000000000000");
    refused(change(&house, |c| c.warmup_steps = many), "warmup_steps: is");
    refused(change(&house, |c| c.evaluation.every_steps = Some(0)), "evaluation.every_steps: is 0");
    refused(change(&house, |c| c.checkpoints.every_steps = Some(0)), "checkpoints.every_steps");
    for epochs in [0.0, -1.0, 1e30, f64::NAN, f64::INFINITY] {
        refused(change(&house, |c| (c.max_steps, c.epochs) = (None, epochs)), "epochs: is");
    }
    for rate in [0.0, -1.0, 1e30, f64::NAN, f64::INFINITY] {
        refused(change(&house, |c| c.learning_rate = rate), "learning_rate: is");
    }
    refused(change(&house, |c| c.batch_size = 0), "batch_size: is 0");
    refused(change(&house, |c| c.batch_size = many), "batch_size: is 1000000000000000000");
    refused(change(&house, |c| c.micro_batch_tokens = 0), "micro_batch_tokens: is 0");
    for norm in [-1.0, f64::NAN, f64::INFINITY] {
        refused(change(&house, |c| c.max_grad_norm = norm), "max_grad_norm:");
    }
    for share in [-0.1, 1.0, f64::NAN] {
        let sgd = OptimizerConfig::Sgd { momentum: share, weight_decay: 0.0 };
        refused(change(&house, |c| c.optimizer = sgd), "optimizer.momentum: is");
        let lora = Some(Lora { dropout: share, ..Lora::default() });
        refused(change(&house, |c| c.lora = lora), "lora.dropout: is");
    }
    let decay = OptimizerConfig::Sgd { momentum: 0.0, weight_decay: 1e30 };
    refused(change(&house, |c| c.optimizer = decay), "optimizer.weight_decay: is");
    let wide = Some(Lora { rank: u32::MAX, ..Lora::default() });
    refused(change(&house, |c| c.lora = wide), "lora.rank: is");
    let scaled = Some(Lora { alpha: f64::NAN, ..Lora::default() });
    refused(change(&house, |c| c.lora = scaled), "lora.alpha: is");
    for temperature in [-1.0, 1e30, f64::NAN] {
        let samples = change(&house, |c| c.samples.temperature = temperature);
        refused(samples, "samples.temperature: is");
    }
}

#[test]
fn absurd_privacy_is_refused_by_name() {
    let house = House::new();
    let refused = |config: Config, key: &str| {
        let error = Train::validate(&config).expect_err(key);
        assert_eq!(error.exit_code(), 2, "{error}");
        assert!(error.message().starts_with(key), "{key}: {error}");
    };
    for noise in [-1.0, 1e-3, 1e30, f64::NAN, f64::INFINITY] {
        let config = privacy(&house, |p| p.noise_multiplier = Some(noise));
        refused(config, "privacy.noise_multiplier is");
    }
    for target in [0.0, -1.0, f64::NAN, f64::NEG_INFINITY] {
        let config =
            privacy(&house, |p| (p.noise_multiplier, p.target_epsilon) = (None, Some(target)));
        refused(config, "privacy.target_epsilon is");
    }
    for norm in [0.0, 1e-30, 1e30, f64::NAN] {
        let config = privacy(&house, |p| p.max_grad_norm = norm);
        refused(config, "privacy.max_grad_norm is");
        refused(privacy(&house, |p| p.gamma = norm.min(0.0)), "privacy.gamma is");
    }
    for delta in [0.0, 1.0, -1.0, f64::NAN] {
        refused(privacy(&house, |p| p.target_delta = Some(delta)), "privacy.target_delta: must be");
    }
    // Below 1 / 2 units, and no small chance; with many units, above 1 / N.
    let few = privacy(&house, |p| (p.units, p.target_delta) = (Some(2), Some(0.4)));
    refused(few, "privacy.target_delta is 0.4");
    let many = privacy(&house, |p| (p.units, p.target_delta) = (Some(10_000), Some(2e-4)));
    refused(many, "privacy.target_delta is 0.0002");
    refused(privacy(&house, |p| p.units = Some(0)), "privacy.units: must be at least 1");
    refused(privacy(&house, |p| p.max_examples_per_unit = 0), "privacy.max_examples_per_unit");
    // With declared units the number of steps is known before any data are.
    let endless = change(&house, |c| {
        (c.max_steps, c.epochs) = (None, 1e6);
        c.privacy.as_mut().unwrap().units = Some(1_000_000);
    });
    refused(endless, "epochs: 1000000 passes over 1000000 units, 4 a step, are 2.5e11 steps");
}

/// What `describe` says of base models names every family that can be read.
#[test]
fn the_families_are_all_named() {
    let schema = schemars::schema_for!(Config).to_value();
    let said = schema["properties"]["base_model"]["description"].as_str().unwrap();
    let words: Vec<&str> = said.split([' ', ',', '.', '\n']).collect();
    for family in Architecture::all() {
        assert!(words.contains(&family.model_type()), "{}", family.model_type());
    }
}
