//! What a statement says of weights that were trained before: by pft with and without privacy, by
//! others, and with what says so deleted or changed.

#![allow(clippy::unwrap_used)]

mod house;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use house::{House, LLAMA, private};
use pft_artifact::{Kind, Manifest};
use pft_dp::{
    BaseHasSeen, BaseUnits, Origin, PrivacyReport, PrivacyStatement, RECORD_KEY, Reason, Record,
    Training,
};
use pft_gguf::WriteType;
use pft_lm::checkpoint::{Checkpoint, DIGEST_KEY, SavedType, read_note, save_gguf, save_model};
use pft_lm::config::ModelConfig;
use pft_lm::layers::targets::TargetModules;
use pft_lm::model::init;
use pft_lm::parameters::Precision;
use safetensors::SafeTensors;
use serde_json::{Value, json};
use train::Config;
use train::config::{Lora, Privacy};

const UNITS: Option<u64> = Some(24);

fn declared() -> Option<Privacy> {
    private().map(|privacy| Privacy { units: UNITS, ..privacy })
}

fn on(base: &Path, config: Config) -> Config {
    let base = base.to_string_lossy().as_ref().into();
    let base_units = BaseUnits::Same;
    Config { random_init: None, base_model: Some(base), base_units, ..config }
}

fn statement(model: &Path) -> PrivacyStatement {
    let text = std::fs::read_to_string(model.join("privacy.json")).unwrap();
    PrivacyStatement::from_json(&text).unwrap()
}

fn report(model: &Path) -> PrivacyReport {
    match statement(model) {
        PrivacyStatement::Private(report) => *report,
        PrivacyStatement::NotPrivate(none) => panic!("{}", none.statement),
    }
}

/// The weights file written anew with another record, or with none.
fn mark(weights: &Path, record: Option<&str>) {
    let bytes = std::fs::read(weights).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    let digest = read_note(weights, DIGEST_KEY).unwrap();
    metadata.extend(digest.map(|text| (DIGEST_KEY.to_string(), text)));
    metadata.extend(record.map(|text| (RECORD_KEY.to_string(), text.to_string())));
    std::fs::remove_file(weights).unwrap();
    safetensors::serialize_to_file(tensors.tensors(), Some(metadata), weights).unwrap();
}

/// Copies some files of a model into a folder of their own.
fn copy(house: &House, model: &Path, name: &str, files: &[&str]) -> PathBuf {
    let folder = house.path(name);
    std::fs::create_dir(&folder).unwrap();
    for file in files {
        std::fs::copy(model.join(file), folder.join(file)).unwrap();
    }
    folder
}

/// A model from elsewhere, which carries no record.
fn stranger(house: &House) -> PathBuf {
    let folder = house.path("stranger");
    std::fs::create_dir(&folder).unwrap();
    let config = ModelConfig::from_json(LLAMA).unwrap();
    let weights = init::random_in(&config, 42, Precision::F32).unwrap();
    save_model(&folder, &config, &weights, SavedType::F32).unwrap();
    folder
}

#[track_caller]
fn assert_no_bound(model: &Path, reason: &Reason) {
    let PrivacyStatement::NotPrivate(none) = statement(model) else {
        panic!("a bound is claimed: {}", statement(model).statement())
    };
    assert!(none.not_for_release.contains(reason), "{none:?}");
    assert!(none.statement.contains("No bound holds"), "{}", none.statement);
    assert!(none.statement.contains("NOT FOR RELEASE") && !none.statement.contains('ε'));
    let error = train::verify::verify(model).unwrap_err();
    assert!(error.message().contains("no bound to verify"), "{error}");
}

/// Whatever part of an undefended model is taken, a private training on it is not private.
#[test]
fn no_bound_holds_on_a_base_that_was_trained_without_privacy() {
    let house = House::new();
    let plain = house.run("plain", house.config(None), 2).unwrap();
    let whole = ["config.json", "model.safetensors", "privacy.json"];
    let bundle = copy(&house, &plain, "bundle", &whole);
    let one_file = copy(&house, &plain, "one-file", &whole[..2]);
    let unmarked = copy(&house, &plain, "unmarked", &whole);
    mark(&unmarked.join("model.safetensors"), None);
    let gguf = house.path("alone.gguf");
    let checkpoint = Checkpoint::open(&plain).unwrap();
    let weights = checkpoint.parameters(Precision::F32).unwrap();
    let record = statement(&plain).history().to_json();
    save_gguf(&gguf, checkpoint.config(), &weights, WriteType::F32, |writer| {
        writer.string(RECORD_KEY, &record);
    })
    .unwrap();
    Manifest::seal(&plain, Kind::Model, 0, json!({ "lineage": [{ "stage": "train" }] })).unwrap();
    let sealed = copy(&house, &plain, "sealed", &[&whole[..2], &["manifest.json"]].concat());
    mark(&sealed.join("model.safetensors"), None);

    let lora = Some(Lora { rank: 2, ..Lora::default() });
    for (index, (base, lora, reason)) in [
        (&plain, None, Reason::EarlierNotPrivate),
        (&bundle, None, Reason::EarlierNotPrivate),
        (&bundle, lora.clone(), Reason::EarlierNotPrivate),
        (&one_file, None, Reason::EarlierNotPrivate),
        (&one_file.join("model.safetensors"), None, Reason::EarlierNotPrivate),
        (&unmarked, None, Reason::EarlierNotPrivate),
        (&gguf, lora, Reason::EarlierNotPrivate),
        (&sealed, None, Reason::EarlierNotRecorded),
    ]
    .into_iter()
    .enumerate()
    {
        // A declaration does not speak louder than a record.
        let base_has_seen =
            if index % 2 == 0 { BaseHasSeen::Nothing } else { BaseHasSeen::Unknown };
        let privacy =
            Privacy { target_epsilon: Some(1.0), noise_multiplier: None, ..declared().unwrap() };
        let config = on(base, Config { base_has_seen, lora, ..house.config(Some(privacy)) });
        let model = house.run(&format!("private-{index}"), config, 2).unwrap();
        assert_no_bound(&model, &reason);
        // And it does not become so by another round.
        let text = std::fs::read_to_string(model.join("privacy.json")).unwrap();
        assert!(!text.contains("\"accountant\""), "{text}");
    }
}

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
    let report = self::report(&third);
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
    let declared_report = self::report(&nothing);
    assert!(declared_report.fit_for_release, "{}", declared_report.statement);
    assert!(declared_report.statement.contains("holds on the declaration"));
    assert_eq!(declared_report.history.origin, Origin::Checkpoint("stranger".into()));
    train::verify::verify(&nothing).unwrap();

    // Trained on once more: the base of the base is as unknown as it was.
    let on_unknown = Config { base_has_seen: BaseHasSeen::Nothing, ..house.config(declared()) };
    let second = house.run("second", on(&unknown, on_unknown), 1).unwrap();
    let carried = Reason::Earlier(Box::new(Reason::BaseUnknown));
    assert_eq!(self::report(&second).not_for_release, [carried]);
    let third = house.run("third", on(&nothing, house.config(declared())), 1).unwrap();
    assert_eq!(self::report(&third).not_for_release, [Reason::BaseUnknown]);
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

/// What other programs do to weights: metadata and files beside them stay, or come from elsewhere, and the
/// tensors are others. A mark vouches for the tensors alone that it was made for.
#[test]
fn a_mark_beside_other_weights_vouches_for_nothing() {
    let house = House::new();
    let first = house.run("first", house.config(declared()), 1).unwrap();
    let files = ["config.json", "model.safetensors", "privacy.json"];
    let stranger = stranger(&house).join("model.safetensors");
    let base = |name: &str, change: &dyn Fn(&Path)| {
        let base = copy(&house, &first, name, &files);
        change(&base.join("model.safetensors"));
        base
    };
    // Saved in place without metadata, as transformers does after training on.
    let resaved = base("resaved", &|weights| mark(weights, None));
    let replaced = base("replaced", &|weights| {
        std::fs::remove_file(weights).unwrap();
        std::fs::copy(&stranger, weights).unwrap();
    });
    // One number changed, and the metadata kept.
    let nudged = base("nudged", &flip_last_byte);
    let gguf = house.path("nudged.gguf");
    let checkpoint = Checkpoint::open(&first).unwrap();
    let weights = checkpoint.parameters(Precision::F32).unwrap();
    let record = statement(&first).history().to_json();
    save_gguf(&gguf, checkpoint.config(), &weights, WriteType::F32, |writer| {
        writer.string(RECORD_KEY, &record);
    })
    .unwrap();
    let whole = house.path("whole.gguf");
    std::fs::copy(&gguf, &whole).unwrap();
    flip_last_byte(&gguf);
    for (index, base) in [&resaved, &replaced, &nudged, &gguf].into_iter().enumerate() {
        let declaring = Config { base_has_seen: BaseHasSeen::Nothing, ..house.config(declared()) };
        let model = house.run(&format!("on-{index}"), on(base, declaring), 1).unwrap();
        assert_no_bound(&model, &Reason::EarlierNotRecorded);
    }
    let model = house.run("on-whole", on(&whole, house.config(declared())), 1).unwrap();
    assert!(report(&model).fit_for_release, "{}", report(&model).statement);

    // The same of a model that is verified.
    train::verify::verify(&model).unwrap();
    flip_last_byte(&model.join("model.safetensors"));
    let error = train::verify::verify(&model).unwrap_err();
    assert!(error.message().contains("the file was changed"), "{error}");
    std::fs::remove_file(model.join("model.safetensors")).unwrap();
    let error = train::verify::verify(&model).unwrap_err();
    assert!(error.message().contains("there are no weights"), "{error}");
}

fn flip_last_byte(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::remove_file(path).unwrap();
    std::fs::write(path, bytes).unwrap();
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

/// Marks that were changed or cannot be read stop the run, by name; one that is gone changes nothing
/// while another is there.
#[test]
fn changed_marks_launder_nothing() {
    let house = House::new();
    let first = house.run("first", house.config(declared()), 1).unwrap();
    let honest = statement(&first).history().to_json();
    let refuse = |name: &str, change: &dyn Fn(&Path), expected: &str| {
        let files = ["config.json", "model.safetensors", "privacy.json"];
        let base = copy(&house, &first, name, &files);
        change(&base);
        let run = format!("on-{name}");
        let error = house.run(&run, on(&base, house.config(declared())), 1).unwrap_err();
        assert_eq!(error.exit_code(), 2, "{name}: {error}");
        assert!(error.message().contains(expected), "{name}: {error}");
        assert!(error.help().is_some(), "{name}");
    };
    let weights = |base: &Path, text: &str| mark(&base.join("model.safetensors"), Some(text));
    refuse("torn-mark", &|base| weights(base, &honest[..40]), "model.safetensors: not a record");
    refuse("empty-mark", &|base| weights(base, ""), "model.safetensors: not a record");
    let fewer = honest.replace("\"steps\":6", "\"steps\":1");
    assert_ne!(fewer, honest);
    refuse("fewer-steps", &|base| weights(base, &fewer), "differently");
    let write = |base: &Path, text: &str| std::fs::write(base.join("privacy.json"), text).unwrap();
    refuse("no-json", &|base| write(base, "private"), "privacy.json: not a privacy statement");
    refuse("other-json", &|base| write(base, "{}"), "privacy.json: not a privacy statement");
    let text = std::fs::read_to_string(first.join("privacy.json")).unwrap();
    let edit = |change: fn(&mut Value)| {
        let mut value: Value = serde_json::from_str(&text).unwrap();
        change(&mut value);
        value.to_string()
    };
    let quieter = edit(|value| value["noise_multiplier"] = json!(9.0));
    refuse("quieter", &|base| write(base, &quieter), "history does not go with the rest");
    let no_history = edit(|value| value["history"]["trainings"] = json!([]));
    refuse("no-history", &|base| write(base, &no_history), "history does not go with the rest");
    let lineage = json!({ "kind": "model", "content_hash": "", "schema_version": 1, "files": [],
        "rows": 0, "provenance": { "lineage": [{ "stage": "train", "units": "all" }] } });
    let manifest = lineage.to_string();
    refuse(
        "lineage",
        &|base| std::fs::write(base.join("manifest.json"), &manifest).unwrap(),
        "manifest.json",
    );

    let files = ["config.json", "model.safetensors", "privacy.json"];
    let without_statement = copy(&house, &first, "without-statement", &files[..2]);
    let second = house.run("one", on(&without_statement, house.config(declared())), 1).unwrap();
    assert_eq!(report(&second).history.trainings.len(), 2);
    // A manifest of another program is none of ours.
    let foreign = copy(&house, &first, "foreign", &files);
    std::fs::write(foreign.join("manifest.json"), r#"{"name": "app"}"#).unwrap();
    house.run("foreign-run", on(&foreign, house.config(declared())), 1).unwrap();
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

#[test]
fn verify_holds_weights_and_statement_together() {
    let house = House::new();
    let model = house.run("run", house.config(declared()), 1).unwrap();
    train::verify::verify(&model).unwrap();
    let weights = model.join("model.safetensors");
    let honest = statement(&model).history().clone();
    let other = Record::of(Origin::Random).followed_by(Training::NotPrivate);
    for (record, expected) in
        [(None, "carries no record"), (Some(other.to_json()), "carries another record")]
    {
        mark(&weights, record.as_deref());
        let error = train::verify::verify(&model).unwrap_err();
        assert!(error.message().contains(expected), "{error}");
        assert!(error.message().contains("model.safetensors"), "{error}");
    }
    mark(&weights, Some(&honest.to_json()));
    train::verify::verify(&model).unwrap();
}

/// Metadata is written in a fixed order: the same training has the same bytes.
#[test]
fn the_same_training_has_the_same_weights_file() {
    let house = House::new();
    for (name, privacy) in [("plain", None), ("fixed", declared())] {
        let privacy =
            privacy.map(|privacy| Privacy { fixed_seed_not_for_release: Some(5), ..privacy });
        let run = |attempt: &str| {
            let model =
                house.run(&format!("{name}-{attempt}"), house.config(privacy.clone()), 2).unwrap();
            std::fs::read(model.join("model.safetensors")).unwrap()
        };
        assert_eq!(run("one"), run("two"), "{name}");
    }
}

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
        let before = self::report(&first).epsilon[0].epsilon.epsilon;
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
