//! Training that goes on from adapters: what they spent, and on which base.

#![allow(clippy::unwrap_used)]

mod house;

use std::path::Path;

use house::lineage::{
    self, assert_no_bound, copy, declared, mark, on, report, statement, stranger,
};
use house::{House, LLAMA};
use pft_dp::{BaseHasSeen, Reason};
use pft_lm::checkpoint::{SavedType, save_model};
use pft_lm::config::ModelConfig;
use pft_lm::layers::targets::TargetModules;
use pft_lm::model::init;
use serde_json::Value;
use train::Config;
use train::config::{Lora, Privacy};

fn adapted() -> Config {
    Config { lora: Some(Lora { rank: 2, ..Lora::default() }), ..Config::default() }
}

/// Training that goes on from adapters on a base.
fn going_on(base: &Path, adapters: &Path, config: Config) -> Config {
    let folder = adapters.to_string_lossy().as_ref().into();
    on(base, Config { lora: adapted().lora, base_adapters: Some(folder), ..config })
}

/// A bundle holds these of adapters, and what was private stays behind.
const BUNDLE: [&str; 3] = ["adapter_config.json", "adapter_model.safetensors", "privacy.json"];

/// Adapters that go on are the earlier ones, and the statement composes both trainings.
#[test]
fn adapters_that_go_on_carry_what_they_spent() {
    let house = House::new();
    let base = stranger(&house);
    let settings = |privacy| Config {
        base_has_seen: BaseHasSeen::Nothing,
        lora: adapted().lora,
        ..house.config(privacy)
    };
    let first = house.run("first", on(&base, settings(declared())), 2).unwrap();
    let bundle = copy(&house, &first, "bundle", &BUNDLE);
    let alone = copy(&house, &first, "alone", &BUNDLE[..2]);
    let privacy = declared().map(|privacy| Privacy { noise_multiplier: Some(1.2), ..privacy });
    let more = || Config { max_steps: Some(4), batch_size: 6, ..settings(privacy.clone()) };
    let scores = |model: &Path| -> Value {
        serde_json::from_slice(&std::fs::read(model.join("evaluation.json")).unwrap()).unwrap()
    };
    let mut last = None;
    for (name, adapters) in [("of-model", &first), ("of-bundle", &bundle), ("of-file", &alone)] {
        let second = house.run(name, going_on(&base, adapters, more()), 2).unwrap();
        train::verify::verify(&second).unwrap();
        let report = report(&second);
        assert_eq!((report.steps, report.history.trainings.len()), (4, 2), "{name}");
        assert_eq!(report.history.trainings[0], statement(&first).history().trainings[0]);
        // dp_accounting's for both phases, as for whole models.
        let total = report.epsilon[0].epsilon.epsilon;
        let own = report.own_epsilon.as_ref().unwrap().epsilon.epsilon;
        let before = lineage::report(&first).epsilon[0].epsilon.epsilon;
        assert!(total > own && total > before && total < own + before, "{name}: {total}");
        assert!(report.fit_for_release, "{}", report.statement);
        let (mut begun, ended) = (scores(&second)["before"].take(), scores(&first));
        begun["step"] = ended["after"]["step"].clone();
        assert_eq!(begun, ended["after"], "{name}");
        last = Some(second);
    }
    // Adapters that went on once go on again.
    let last = last.unwrap();
    let third = house.run("third", going_on(&base, &last, more()), 2).unwrap();
    assert_eq!(report(&third).history.trainings.len(), 3);
}

/// As for whole models, no part of undefended adapters is the beginning of a private model.
#[test]
fn no_bound_holds_on_adapters_that_were_trained_without_privacy() {
    let house = House::new();
    let base = stranger(&house);
    let plain =
        house.run("plain", on(&base, Config { lora: adapted().lora, ..house.config(None) }), 2);
    let plain = plain.unwrap();
    let bundle = copy(&house, &plain, "bundle", &BUNDLE);
    let alone = copy(&house, &plain, "alone", &BUNDLE[..2]);
    let unmarked = copy(&house, &plain, "unmarked", &BUNDLE);
    mark(&unmarked.join(BUNDLE[1]), None);
    for (name, adapters) in [("a", &plain), ("b", &bundle), ("c", &alone), ("d", &unmarked)] {
        let config = Config { base_has_seen: BaseHasSeen::Nothing, ..house.config(declared()) };
        let second = house.run(name, going_on(&base, adapters, config), 2).unwrap();
        assert_no_bound(&second, &Reason::EarlierNotPrivate);
    }
}

#[test]
fn adapters_that_do_not_fit_are_refused_by_name() {
    let house = House::new();
    let base = stranger(&house);
    let settings = || Config { lora: adapted().lora, ..house.config(declared()) };
    let first = house.run("first", on(&base, settings()), 2).unwrap();
    let refuse = |name: &str, config: Config, expected: &str| {
        let error = house.run(name, config, 1).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{error}");
        assert!(error.message().contains(expected), "{expected}: {error}");
    };
    let unmarked = copy(&house, &first, "unmarked", &BUNDLE[..2]);
    mark(&unmarked.join(BUNDLE[1]), None);
    refuse("a", going_on(&base, &unmarked, house.config(declared())), "nothing says how these");
    refuse(
        "b",
        going_on(&base, &base, house.config(declared())),
        "adapter_config.json is not there",
    );

    // Another base by its hash, which both artifact and bundle have, or by its own trainings.
    let other = house.path("other");
    std::fs::create_dir(&other).unwrap();
    let config = ModelConfig::from_json(LLAMA).unwrap();
    let weights = init::random(&config, 5).unwrap();
    save_model(&other, &config, &weights, SavedType::F32).unwrap();
    let bundle = copy(&house, &first, "bundle", &BUNDLE);
    let alone = copy(&house, &first, "alone", &BUNDLE[..2]);
    let whole = house.run("whole", house.config(declared()), 2).unwrap();
    for (name, base, adapters) in
        [("c", &other, &first), ("d", &other, &bundle), ("e", &whole, &alone)]
    {
        let config = going_on(base, adapters, house.config(declared()));
        refuse(name, config, "trained on another base model");
    }
    // A base of pft's whose marks were taken off is no stranger that somebody can declare something of.
    let on_whole = Config { lora: adapted().lora, ..house.config(declared()) };
    let on_whole = house.run("on-whole", on(&whole, on_whole), 2).unwrap();
    let stripped = copy(&house, &whole, "stripped", &["config.json", "model.safetensors"]);
    mark(&stripped.join("model.safetensors"), None);
    let adapters = copy(&house, &on_whole, "adapters", &BUNDLE[..2]);
    let declaring = Config { base_has_seen: BaseHasSeen::Nothing, ..house.config(declared()) };
    refuse("m", going_on(&stripped, &adapters, declaring), "trained on another base model");
    let drawn = house.run("drawn", settings(), 2).unwrap();
    refuse("f", going_on(&base, &drawn, house.config(declared())), "drawn at random");

    let lora = || Lora { rank: 2, ..Lora::default() };
    let targets = TargetModules::names(["q_proj"]);
    for (name, lora, expected) in [
        ("g", Lora { rank: 3, ..lora() }, "lora.rank is 3, but these adapters have 2"),
        ("h", Lora { alpha: 2.0, ..lora() }, "lora.alpha is 2, but these adapters have 16"),
        ("i", Lora { use_rslora: true, ..lora() }, "lora.use_rslora is true"),
        ("j", Lora { target_modules: targets, ..lora() }, "lora.target_modules names other"),
    ] {
        let config = going_on(&base, &first, house.config(declared()));
        refuse(name, Config { lora: Some(lora), ..config }, expected);
    }
    let config = going_on(&base, &first, house.config(declared()));
    refuse("k", Config { lora: None, ..config.clone() }, "needs base_model and lora");
    let random_init = house.config(None).random_init;
    let config = Config { base_model: None, random_init, ..config };
    refuse("l", config, "needs base_model and lora");
}
