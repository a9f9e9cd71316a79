//! What private runs are told and say: units that are counted or too many, large δ and ε, next to no
//! noise, and none at all.

#![allow(clippy::unwrap_used)]

mod house;

use std::path::Path;

use house::{House, private, weights};
use pft_dp::accounting::{Accountant, Phase};
use pft_dp::{LedgerContents, PrivacyReport, PrivacyStatement, Reason, Spent, default_delta};
use pft_lm::optimizer::OptimizerConfig;
use serde_json::Value;
use train::Config;
use train::config::Privacy;

fn statement(model: &Path) -> PrivacyStatement {
    let text = std::fs::read_to_string(model.join("privacy.json")).unwrap();
    PrivacyStatement::from_json(&text).unwrap()
}

fn report(model: &Path) -> PrivacyReport {
    train::verify::verify(model).unwrap();
    match statement(model) {
        PrivacyStatement::Private(report) => *report,
        PrivacyStatement::NotPrivate(none) => panic!("{}", none.statement),
    }
}

#[test]
fn counted_units_are_not_for_release_and_declared_ones_are() {
    let house = House::new();
    let counted = private().map(|privacy| Privacy { units: None, ..privacy });
    let counted = report(&house.run("counted", house.config(counted), 1).unwrap());
    assert_eq!(counted.not_for_release, [Reason::UnitsCounted]);
    assert!(!counted.fit_for_release && counted.declared_units == 24);
    assert!(counted.statement.contains("as if the number of units"), "{}", counted.statement);
    assert!(counted.statement.contains("NOT FOR RELEASE"));
    assert!(counted.other_uses.iter().any(|used| used.contains("counted in the data")));
    let declared = report(&house.run("declared", house.config(private()), 1).unwrap());
    assert!(declared.fit_for_release && declared.declared_units == 25, "{}", declared.statement);
    assert!(!declared.statement.contains("as if"), "{}", declared.statement);
}

/// The last point is the statement's own; those before are the accountant's for so many steps.
#[test]
fn the_course_of_training_says_what_was_spent() {
    let house = House::new();
    let config = Config { max_steps: Some(50), ..house.config(private()) };
    let model = house.run("course", config, 1).unwrap();
    let report = report(&model);
    let table = pft_artifact::read_table(&model.join("metrics.parquet")).unwrap();
    let column = |name: &str| table.iter().find(|(other, _)| other == name).unwrap().1.clone();
    let (steps, spent) = (column("step"), column("epsilon"));
    let points: Vec<(u64, f64)> = steps
        .iter()
        .zip(&spent)
        .filter_map(|(step, e)| Some((step.unwrap() as u64, (*e)?)))
        .collect();
    assert_eq!(points.len(), 20);
    assert_eq!(points[19], (50, report.epsilon[0].epsilon.epsilon));
    for (steps, spent) in points {
        let phase = Phase { sample_rate: 4.0 / 25.0, noise_multiplier: 0.8, steps };
        let epsilon = Accountant::Pld.epsilon(&[phase], report.delta).unwrap().epsilon;
        assert!((epsilon - spent).abs() < 1e-9, "{steps}: {epsilon} and {spent}");
    }
    let plain = house.run("plain", house.config(None), 1).unwrap();
    let table = pft_artifact::read_table(&plain.join("metrics.parquet")).unwrap();
    let spent = &table.iter().find(|(name, _)| name == "epsilon").unwrap().1;
    assert!(spent.iter().all(Option::is_none));
}

#[test]
fn more_units_than_are_declared_are_refused_before_the_first_step() {
    let house = House::new();
    for units in [1, 2, 23] {
        let privacy = private().map(|privacy| Privacy { units: Some(units), ..privacy });
        let name = format!("declared-{units}");
        let error = house.run(&name, house.config(privacy), 1).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{error}");
        assert!(error.message().starts_with(&format!("privacy.units: {units} is declared")));
        assert!(error.message().contains("24") && error.help().is_some(), "{error}");
        assert!(!house.path(&name).join("ledger.jsonl").exists());
    }
}

#[test]
fn a_delta_that_promises_nothing_is_refused_or_not_for_release() {
    let house = House::new();
    let with = |force_delta| {
        private().map(|privacy| Privacy { target_delta: Some(0.01), force_delta, ..privacy })
    };
    let error = house.run("refused", house.config(with(false)), 1).unwrap_err();
    assert!(error.message().contains("at most 0.001"), "{error}");
    let forced = report(&house.run("forced", house.config(with(true)), 1).unwrap());
    assert_eq!(forced.not_for_release, [Reason::LargeDelta]);
    assert!(forced.statement.contains("NOT FOR RELEASE"), "{}", forced.statement);
}

/// Runs that trained to their end once and then had no statement.
#[test]
fn next_to_no_noise_has_a_statement_which_says_that_it_promises_nothing() {
    let house = House::new();
    for (noise, delta) in [(0.01, 1e-7), (0.02, 1e-3), (0.05, 1e-3), (0.05, 1e-12)] {
        let privacy = private().map(|privacy| Privacy {
            noise_multiplier: Some(noise),
            target_delta: Some(delta),
            ..privacy
        });
        let config = Config { max_steps: Some(10), ..house.config(privacy) };
        let report = report(&house.run(&format!("{noise}-{delta}"), config, 1).unwrap());
        assert_eq!(report.not_for_release, [Reason::LargeEpsilon]);
        let phase = Phase { sample_rate: 4.0 / 25.0, noise_multiplier: noise, steps: 10 };
        let before = Spent::of(&[phase], delta).unwrap();
        assert_eq!(report.epsilon, before.epsilon, "as before the first step");
        assert_eq!(
            (&report.groups, report.replace_one_epsilon),
            (&before.groups, before.replace_one)
        );
        assert!(before.quoted() > 100.0 && before.quoted() < 1e6, "{}", before.quoted());
    }
}

#[test]
fn large_budgets_are_met_and_not_for_release() {
    let house = House::new();
    let privacy = private().map(|privacy| Privacy {
        noise_multiplier: None,
        target_epsilon: Some(5_000.0),
        ..privacy
    });
    let report = report(&house.run("large", house.config(privacy), 1).unwrap());
    let epsilon = report.epsilon[0].epsilon.epsilon;
    assert!(epsilon <= 5_000.0 && epsilon > 4_900.0, "{epsilon}");
    assert_eq!(report.not_for_release, [Reason::LargeEpsilon]);
    assert_eq!(report.delta, default_delta(25));
}

/// A batch that is as large as the data is what the mechanism has, and no error.
#[test]
fn a_batch_above_the_units_is_a_full_batch() {
    let house = House::new();
    let config = Config { batch_size: 64, ..house.config(private()) };
    let report = report(&house.run("full", config, 1).unwrap());
    assert_eq!((report.sample_rate, report.expected_batch_size), (1.0, 25.0));
}

fn values(weights: &[u8]) -> Vec<f32> {
    let tensors = safetensors::SafeTensors::deserialize(weights).unwrap();
    let mut named = tensors.tensors();
    named.sort_by(|one, other| one.0.cmp(&other.0));
    let floats = |bytes: &[u8]| -> Vec<f32> {
        bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    };
    named.iter().flat_map(|(_, tensor)| floats(tensor.data())).collect()
}

fn distance(one: &[f32], other: &[f32]) -> f64 {
    let square = |(one, other): (&f32, &f32)| f64::from(one - other).powi(2);
    one.iter().zip(other).map(square).sum::<f64>().sqrt()
}

/// Without noise a run samples and clips what a private one does: it ends where the least noise ends.
#[test]
fn a_clip_only_run_is_a_private_one_without_noise_and_says_that_it_is_not_private() {
    let house = House::new();
    let run = |name: &str, noise: Option<f64>, target: Option<f64>, rate: f64| {
        let privacy = private().map(|privacy| Privacy {
            noise_multiplier: noise,
            target_epsilon: target,
            fixed_seed_not_for_release: Some(7),
            ..privacy
        });
        let optimizer = OptimizerConfig::Sgd { momentum: 0.0, weight_decay: 0.0 };
        let config = Config { optimizer, learning_rate: rate, ..house.config(privacy) };
        house.run(name, config, 1).unwrap()
    };
    let clipped = run("clipped", Some(0.0), None, 0.1);
    let infinite = run("infinite", None, Some(f64::INFINITY), 0.1);
    assert_eq!(weights(&clipped), weights(&infinite));
    let still = values(&weights(&run("still", Some(0.0), None, 1e-9)));
    let noised = values(&weights(&run("noised", Some(0.01), None, 0.1)));
    let clipped_values = values(&weights(&clipped));
    let (moved, apart) = (distance(&clipped_values, &still), distance(&clipped_values, &noised));
    // Six draws of lr·σ·C/B = 0.00025 for each of 4,944 parameters lie 0.043 apart.
    assert!(moved > 0.1 && apart > 0.0 && apart < 0.06, "{moved} {apart}");

    for model in [&clipped, &infinite] {
        let PrivacyStatement::NotPrivate(none) = statement(model) else { panic!("a bound") };
        assert_eq!(none.not_for_release, [Reason::NotPrivate, Reason::WithoutNoise]);
        assert!(!none.fit_for_release && none.statement.contains("ε is infinite"));
        assert!(!model.join("ledger.jsonl").exists());
        let error = train::verify::verify(model).unwrap_err();
        assert!(error.message().contains("no bound to verify"), "{error}");
        let summary: Value =
            serde_json::from_slice(&std::fs::read(model.join("train.json")).unwrap()).unwrap();
        assert_eq!(summary["differential_privacy"], false);
    }
    // Whoever trains on it privately has no bound either.
    let base = clipped.to_string_lossy().as_ref().into();
    let config = Config { random_init: None, base_model: Some(base), ..house.config(private()) };
    let after = house.run("after", config, 1).unwrap();
    assert_eq!(statement(&after).not_for_release(), [Reason::EarlierNotPrivate]);
}

#[test]
fn a_clip_only_run_goes_on_with_the_same_bits() {
    let house = House::new();
    let privacy = private().map(|privacy| Privacy { noise_multiplier: Some(0.0), ..privacy });
    let whole = house.run("whole", house.config(privacy.clone()), 2).unwrap();
    let before = weights(&whole);
    let again = house.run("whole", house.config(privacy), 1).unwrap();
    assert_eq!(before, weights(&again));
}

/// Everything that a plan is asked at the end it is asked before the model is loaded.
#[test]
fn a_plan_that_is_no_mechanism_is_refused_before_the_model_is_read() {
    let house = House::new();
    let privacy = private().map(|privacy| Privacy { target_delta: Some(0.9), ..privacy });
    let config =
        Config { random_init: Some("/no/such/model.json".into()), ..house.config(privacy) };
    let error = house.run("early", config, 1).unwrap_err();
    assert!(error.message().contains("target_delta"), "{error}");
    let ledger = house.path("early").join("ledger.jsonl");
    assert!(LedgerContents::read(&ledger).is_err());
}
