//! What a statement says of weights that pft trained before, with privacy and without, or that come from
//! elsewhere.

#![allow(clippy::unwrap_used)]

mod house;

use std::path::Path;

use house::House;
use house::lineage::{self, assert_no_bound, copy, declared, on, report, statement, stranger};
use pft_dp::{BaseHasSeen, BaseUnits, Origin, PrivacyStatement, Reason, Training};
use serde_json::json;
use train::Config;
use train::config::{Lora, Privacy};

/// ε is of both trainings together: dp_accounting's for the same phases, in
/// tests/fixtures/accounting/phases.csv.
#[test]
fn a_private_training_on_a_private_one_adds_up() {
    let house = House::new();
    let first = house.run("first", house.config(declared()), 2).unwrap();
    let privacy = declared().map(|privacy| Privacy { noise_multiplier: Some(1.2), ..privacy });
    let config =
        on(&first, Config { max_steps: Some(4), batch_size: 6, ..house.config(privacy.clone()) });
    let second = house.run("second", config, 2).unwrap();
    train::verify::verify(&second).unwrap();
    let report = report(&second);

    let fixture =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/accounting/phases.csv");
    let table = std::fs::read_to_string(fixture).unwrap();
    let expected: f64 = table
        .lines()
        .find(|line| line.starts_with("0.16666666666666666,0.8,6,0.25,1.2,4,0.001,"))
        .and_then(|line| line.rsplit(',').next())
        .unwrap()
        .parse()
        .unwrap();
    let total = report.epsilon[0].epsilon.epsilon;
    assert!((total - expected).abs() < 1e-3 * expected, "{total}, by dp_accounting {expected}");
    let own = report.own_epsilon.unwrap().epsilon.epsilon;
    assert!(own < total, "{own} of {total}");
    assert!(report.fit_for_release, "{}", report.statement);
    assert!(report.statement.contains("4 steps") && report.statement.contains("6 in 1 private"));
    assert_eq!((report.steps, report.history.trainings.len()), (4, 2));
    assert_eq!(report.history.origin, Origin::Random);

    // A copy of one file tells as much, and adapters tell of their base.
    let alone = copy(&house, &second, "alone", &["config.json", "model.safetensors"]);
    let lora = Some(Lora { rank: 2, ..Lora::default() });
    let config = on(&alone, Config { lora, ..house.config(privacy) });
    let third = house.run("third", config, 2).unwrap();
    train::verify::verify(&third).unwrap();
    let report = lineage::report(&third);
    assert_eq!(report.history.trainings.len(), 3);
    assert!(report.epsilon[0].epsilon.epsilon > total);
}

#[test]
fn a_target_is_for_all_trainings_together() {
    let house = House::new();
    let first = house.run("first", house.config(declared()), 2).unwrap();
    let spent = report(&first).epsilon[0].epsilon.epsilon;
    let aim = |target| {
        let privacy =
            Privacy { target_epsilon: Some(target), noise_multiplier: None, ..declared().unwrap() };
        on(&first, house.config(Some(privacy)))
    };
    let error = house.run("spent", aim(0.9 * spent), 2).unwrap_err();
    assert_eq!(error.exit_code(), 2, "{error}");
    assert!(error.message().contains("has spent ε") && error.message().contains("already"));
    assert!(!house.path("spent").join("checkpoints").exists());
    let second = house.run("second", aim(1.3 * spent), 2).unwrap();
    let total = report(&second).epsilon[0].epsilon.epsilon;
    assert!(total <= 1.3 * spent && total > 1.25 * spent, "{total} of {}", 1.3 * spent);
}

#[test]
fn reasons_of_the_base_carry_over() {
    let house = House::new();
    let fixed =
        declared().map(|privacy| Privacy { fixed_seed_not_for_release: Some(3), ..privacy });
    let first = house.run("first", house.config(fixed.clone()), 1).unwrap();
    assert_eq!(report(&first).not_for_release, [Reason::FixedSeed]);
    let second = house.run("second", on(&first, house.config(declared())), 1).unwrap();
    let carried = Reason::Earlier(Box::new(Reason::FixedSeed));
    assert_eq!(report(&second).not_for_release, std::slice::from_ref(&carried));
    assert!(
        report(&second).statement.contains("In an earlier training of its weights: its random")
    );
    train::verify::verify(&second).unwrap();
    // The same seed once more: the same commitment, and still two trainings.
    let again = house.run("again", on(&first, house.config(fixed)), 1).unwrap();
    assert_eq!(report(&again).not_for_release, [Reason::FixedSeed, carried]);
    assert_eq!(report(&again).history.trainings.len(), 2);
}

#[test]
fn a_guarantee_for_another_unit_is_none_for_this_one() {
    let house = House::new();
    house.say_of_units(json!({ "unit": "email" }));
    let first = house.run("first", house.config(declared()), 1).unwrap();
    house.say_of_units(json!({ "unit": "sender" }));
    let second = house.run("second", on(&first, house.config(declared())), 1).unwrap();
    assert_no_bound(&second, &Reason::EarlierOtherUnit("email".into()));
    let text = statement(&second).statement().to_string();
    assert!(text.contains("any one sender") && text.contains("each email"), "{text}");
}

#[test]
fn a_stranger_needs_a_declaration() {
    let house = House::new();
    let base = stranger(&house);
    let unknown = house.run("unknown", on(&base, house.config(declared())), 1).unwrap();
    let report = report(&unknown);
    assert_eq!(report.not_for_release, [Reason::BaseUnknown]);
    assert!(report.statement.starts_with("ONLY IF its base model stranger never saw any unit"));
    assert!(!report.fit_for_release && report.statement.contains("NOT FOR RELEASE"));
    train::verify::verify(&unknown).unwrap();

    let declaring = Config { base_has_seen: BaseHasSeen::Nothing, ..house.config(declared()) };
    let nothing = house.run("nothing", on(&base, declaring), 1).unwrap();
    let declared_report = lineage::report(&nothing);
    assert!(declared_report.fit_for_release, "{}", declared_report.statement);
    assert!(declared_report.statement.contains("holds on the declaration"));
    assert_eq!(declared_report.history.origin, Origin::Checkpoint("stranger".into()));
    train::verify::verify(&nothing).unwrap();

    // Trained on once more: the base of the base is as unknown as it was.
    let on_unknown = Config { base_has_seen: BaseHasSeen::Nothing, ..house.config(declared()) };
    let second = house.run("second", on(&unknown, on_unknown), 1).unwrap();
    let carried = Reason::Earlier(Box::new(Reason::BaseUnknown));
    assert_eq!(lineage::report(&second).not_for_release, [carried]);
    let third = house.run("third", on(&nothing, house.config(declared())), 1).unwrap();
    assert_eq!(lineage::report(&third).not_for_release, [Reason::BaseUnknown]);
}

#[test]
fn a_plain_training_is_not_private_whatever_came_before() {
    let house = House::new();
    let first = house.run("first", house.config(declared()), 1).unwrap();
    let second = house.run("second", on(&first, house.config(None)), 1).unwrap();
    let PrivacyStatement::NotPrivate(none) = statement(&second) else { panic!("not private") };
    assert_eq!(none.not_for_release, [Reason::NotPrivate]);
    assert_eq!(none.history.trainings.len(), 2);
    assert_eq!(none.history.trainings[1], Training::NotPrivate);
}

/// One name for two things is no guarantee for either.
#[test]
fn units_of_an_earlier_training_are_the_same_only_if_somebody_says_so() {
    let house = House::new();
    let first = house.run("first", house.config(declared()), 1).unwrap();
    let config = Config { base_units: BaseUnits::Unknown, ..on(&first, house.config(declared())) };
    let second = house.run("second", config, 1).unwrap();
    assert_eq!(report(&second).not_for_release, [Reason::EarlierUnitsUnknown]);
    assert!(report(&second).statement.contains("Nobody has declared that what an earlier"));
    train::verify::verify(&second).unwrap();
    let third = house.run("third", on(&second, house.config(declared())), 1).unwrap();
    let carried = Reason::Earlier(Box::new(Reason::EarlierUnitsUnknown));
    assert_eq!(report(&third).not_for_release, [carried]);
}

/// A stage that keeps silent about units may have done anything to them.
#[test]
fn a_stage_that_does_not_speak_of_units_is_not_trusted() {
    let house = House::new();
    house.say_of_steps(json!([
        { "stage": "ingest", "units": { "unit": "case" } },
        { "stage": "rewrite" },
        { "stage": "tokenize" },
    ]));
    let model = house.run("silent", house.config(declared()), 1).unwrap();
    assert_eq!(report(&model).not_for_release, [Reason::UnitsCoupled]);
    assert!(report(&model).couplings[0].contains("The stage rewrite does not say"));
    house.say_of_steps(json!([
        { "stage": "ingest", "units": { "unit": "case" } },
        { "stage": "cut", "units": { "unit": "paragraph" } },
    ]));
    let model = house.run("other", house.config(declared()), 1).unwrap();
    assert_eq!(report(&model).not_for_release, [Reason::UnitsCoupled]);
    assert!(report(&model).couplings[0].contains("paragraph, of what was one case"));
}

/// δ is for all trainings, and so for the one with the most units.
#[test]
fn delta_fits_the_units_of_every_training() {
    let house = House::new();
    let many = declared().map(|privacy| Privacy { units: Some(5000), ..privacy });
    let first = house.run("first", house.config(many), 1).unwrap();
    let delta = report(&first).delta;
    assert!(delta < 1.0 / 5000.0, "{delta}");
    let second = house.run("second", on(&first, house.config(declared())), 1).unwrap();
    assert_eq!(report(&second).delta, delta);
    let loose = declared().map(|privacy| Privacy { target_delta: Some(1e-3), ..privacy });
    let error = house.run("loose", on(&first, house.config(loose)), 1).unwrap_err();
    assert_eq!(error.exit_code(), 2, "{error}");
    assert!(error.message().contains("5000 units"), "{error}");
}
