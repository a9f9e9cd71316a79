//! What a bundle says of privacy, and what stays behind.

use std::path::Path;

use export::{Config, Format, GgufType};
use pft_dp::{
    Base, BaseHasSeen, NoPrivacy, Origin, PrivacyStatement, RECORD_KEY, Reason, Record, Training,
    rounded_up,
};
use pft_lm::checkpoint::read_note;
use serde_json::{Value, json};

use crate::workplace::{Workplace, fixtures, mark, private};

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn private_diagnostics_stay_behind_unless_asked_for() {
    let place = Workplace::whole("gpt2");
    let bundle = place.export(Config::default()).unwrap();
    assert_eq!(
        files(&bundle),
        [
            "README.md",
            "config.json",
            "generation_config.json",
            "model.safetensors",
            "privacy.json",
            "special_tokens_map.json",
            "tokenizer.json",
            "tokenizer_config.json",
        ]
    );
    for name in files(&bundle) {
        let bytes = std::fs::read(bundle.join(&name)).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"SECRET"), "{name}");
    }
    let config = Config { include_diagnostics: true, ..Config::default() };
    let bundle = place.export(config).unwrap();
    assert_eq!(files(&bundle.join("diagnostics")), ["metrics.parquet", "train.json"]);
    let card = std::fs::read_to_string(bundle.join("README.md")).unwrap();
    assert!(card.contains("do not publish them"));
}

#[test]
fn the_card_states_what_a_reader_must_know() {
    let place = Workplace::adapted();
    let config = Config {
        license: Some("apache-2.0".into()),
        language: vec!["en".into()],
        data: Some("Fictional judgments.".into()),
        ..Config::default()
    };
    let bundle = place.export(config).unwrap();
    let card = std::fs::read_to_string(bundle.join("README.md")).unwrap();
    let privacy = std::fs::read_to_string(bundle.join("privacy.json")).unwrap();
    let PrivacyStatement::Private(statement) = PrivacyStatement::from_json(&privacy).unwrap()
    else {
        panic!("{privacy}")
    };
    let epsilon = statement.epsilon[0].epsilon.epsilon;
    let (front, body) = card.strip_prefix("---\n").unwrap().split_once("---\n").unwrap();
    for line in
        ["library_name: transformers", "base_model: \"tiny-llama\"", "license: \"apache-2.0\""]
    {
        assert!(front.contains(line), "{front}");
    }
    for part in [
        "Fictional judgments.",
        &format!("{}\n", statement.statement),
        &format!("| ε | {} |", rounded_up(epsilon)),
        "| δ | 1.000e-5 |",
        "| Accountant | pld |",
        "| Privacy unit | case |",
        "| Sampling | poisson |",
        "| Noise multiplier | 0.8 |",
        "| What the base model had seen | tiny-llama: no unit of the training set, as declared |",
        "- Units were counted",
        "| ingest | 1 |",
        "| train | 2 |",
    ] {
        assert!(body.contains(part), "{part} is not in\n{body}");
    }
    // Hashes of private data would tell whoever guesses the data that the guess is right.
    assert!(!card.contains("0123abcd") && !privacy.contains("0123abcd"), "{card}{privacy}");
    // Those of a base that anyone can have are no such hashes.
    assert!(privacy.contains("4567cdef"));
    // No place on this machine.
    assert!(!card.contains(&fixtures().to_string_lossy().into_owned()));
    assert!(!body.contains("memorised") && !body.contains("Not for release"));
}

/// Whatever a statement says, the card says: each reason by a sentence, the same ε once.
#[test]
fn the_card_says_why_a_model_is_not_for_release() {
    let card = |statement: PrivacyStatement| {
        let place = Workplace::adapted();
        place.say(&statement);
        place.reseal();
        let bundle = place.export(Config::default()).unwrap();
        std::fs::read_to_string(bundle.join("README.md")).unwrap()
    };
    let stranger = Record::of(Origin::Checkpoint("tiny-llama".into()));
    let unknown = card(private(BaseHasSeen::Unknown, &stranger));
    for part in [
        "ONLY IF",
        "**Not for release as a private model**",
        "Defence: **differential privacy, not for release**",
        "- Nobody has declared that its base model never saw any case of its training set.",
        "| What the base model had seen | tiny-llama: not known |",
    ] {
        assert!(unknown.contains(part), "{part} is not in\n{unknown}");
    }
    let plain = stranger.followed_by(Training::NotPrivate);
    for none in [
        private(BaseHasSeen::Nothing, &plain),
        PrivacyStatement::NotPrivate(NoPrivacy::of_plain_training(Base::Random, &plain)),
    ] {
        assert!(none.not_for_release().contains(&Reason::EarlierNotPrivate));
        let card = card(none);
        for part in
            ["memorised", "Defence: **none**", "| ε | none: no bound holds |", "- Before this"]
        {
            assert!(card.contains(part), "{part} is not in\n{card}");
        }
        assert!(!card.contains("δ") && !card.contains("Noise multiplier"), "{card}");
    }
}

/// Only weights carry a record: what a later stage wrote beside them, nobody knows.
#[test]
fn a_model_that_a_later_stage_made_is_refused() {
    let place = Workplace::adapted();
    let config = json!({ "base_model": fixtures().join("llama") });
    place.seal_with_steps(&[
        json!({ "stage": "ingest", "revision": 1 }),
        json!({ "stage": "train", "revision": 2, "config": config }),
        json!({ "stage": "quantize", "revision": 1 }),
    ]);
    let error = place.export(Config::default()).unwrap_err();
    assert_eq!(error.exit_code(), 3, "{error}");
    assert!(error.message().contains("the stage quantize came after training"), "{error}");
    assert!(error.help().is_some());
}

/// Scrubbing is a defence where it replaces something, and of what it was done to.
#[test]
fn the_card_calls_scrubbing_what_scrubs() {
    let place = Workplace::adapted();
    let stranger = Record::of(Origin::Checkpoint("tiny-llama".into()));
    let of = |earlier: &Record| {
        PrivacyStatement::NotPrivate(NoPrivacy::of_plain_training(Base::Random, earlier))
    };
    let said = "Personal data were looked for, and left";
    let card = |statement: &PrivacyStatement, scrub: Value| {
        place.say(statement);
        let config = json!({ "base_model": fixtures().join("llama") });
        place.seal_with_steps(&[
            json!({ "stage": "scrub", "config": scrub, "units": { "uses": [said] } }),
            json!({ "stage": "train", "revision": 2, "config": config }),
        ]);
        let bundle = place.export(Config::default()).unwrap();
        std::fs::read_to_string(bundle.join("README.md")).unwrap()
    };
    let first = of(&stranger);
    for (scrub, expected) in [
        (json!({ "mode": "mask", "label_modes": {} }), "scrubbing"),
        (json!({ "mode": "keep", "label_modes": {} }), "none"),
        (json!({ "mode": "keep", "label_modes": { "PERSON": "mask" } }), "scrubbing"),
        (json!({ "mode": "mask", "label_modes": { "A": "keep" }, "labels": ["A"] }), "none"),
    ] {
        let card = card(&first, scrub.clone());
        assert!(card.contains(&format!("Defence: **{expected}**")), "{scrub}: {card}");
        assert!(card.contains(&format!("- {said}")), "{card}");
    }
    let again = of(&stranger.followed_by(Training::NotPrivate));
    let card = card(&again, json!({ "mode": "mask", "label_modes": {} }));
    assert!(
        card.contains("Defence: **scrubbing, of what it was trained on last alone**"),
        "{card}"
    );
}

/// After a private training before it, what is said of the last one alone is said so.
#[test]
fn the_card_of_two_trainings_tells_them_apart() {
    let place = Workplace::adapted();
    let PrivacyStatement::Private(first) = private(BaseHasSeen::Nothing, &Record::default()) else {
        panic!("the first is private")
    };
    let second = private(BaseHasSeen::Nothing, &first.history);
    let PrivacyStatement::Private(both) = &second else { panic!("{}", second.statement()) };
    let own = both.own_epsilon.as_ref().unwrap().epsilon.epsilon;
    assert!(own < both.epsilon[0].epsilon.epsilon);
    place.say(&second);
    place.reseal();
    let bundle = place.export(Config::default()).unwrap();
    let card = std::fs::read_to_string(bundle.join("README.md")).unwrap();
    for part in [
        format!("| ε | {} |", rounded_up(both.epsilon[0].epsilon.epsilon)),
        format!("| ε of the last training alone | {} |", rounded_up(own)),
        "| Its noise multiplier | 0.8 |".to_string(),
        "| Trainings of these weights, all private | 2 |".to_string(),
    ] {
        assert!(card.contains(&part), "{part} is not in\n{card}");
    }
    assert!(!card.contains("| Noise multiplier"), "{card}");
}

/// The statement goes with the weights in every file of the bundle, and into it only if the model's
/// own files agree on it.
#[test]
fn every_weights_file_of_a_bundle_carries_the_record() {
    let place = Workplace::adapted();
    let text = std::fs::read_to_string(place.path("model/privacy.json")).unwrap();
    let record = PrivacyStatement::from_json(&text).unwrap().history().clone();
    let carried = |path: &Path| Record::from_json(&read_note(path, RECORD_KEY).unwrap().unwrap());
    let gguf = Some(GgufType::F32);
    let config = Config { gguf, perplexity_tolerance: 0.2, ..Config::default() };
    let bundle = place.export(config).unwrap();
    assert_eq!(carried(&bundle.join("model.safetensors")).unwrap(), record);
    assert_eq!(carried(&bundle.join("model.gguf")).unwrap(), record);
    let bundle = place.export(Config { format: Format::Peft, ..Config::default() }).unwrap();
    assert_eq!(carried(&bundle.join("adapter_model.safetensors")).unwrap(), record);

    let weights = place.path("model/adapter_model.safetensors");
    let other = Record::default().followed_by(Training::NotPrivate).to_json();
    for (record, expected) in [
        (None, "carries no record"),
        (Some(&other[..]), "another record"),
        (Some("{"), "not a record"),
    ] {
        mark(&weights, record);
        place.reseal();
        let error = place.export(Config::default()).unwrap_err();
        assert_eq!(error.exit_code(), 3, "{error}");
        assert!(error.message().contains(expected), "{error}");
    }
}

/// A field that is renamed or left out is no silence about what it said.
#[test]
fn a_statement_that_does_not_parse_is_refused() {
    let place = Workplace::adapted();
    let path = place.path("model/privacy.json");
    let text = std::fs::read_to_string(&path).unwrap();
    for (from, to) in [
        ("\"fit_for_release\"", "\"for_release\""),
        ("\"not_for_release\":[]", "\"not_for_release\":[\"fixed_seed\"]"),
        ("\"history\"", "\"past\""),
        ("\"noise_multiplier\":0.8", "\"noise_multiplier\":1.8"),
        ("{", ""),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text);
        std::fs::write(&path, changed).unwrap();
        place.reseal();
        let error = place.export(Config::default()).unwrap_err();
        assert_eq!(error.exit_code(), 3, "{error}");
        assert!(error.message().contains("privacy.json"), "{error}");
    }
}
