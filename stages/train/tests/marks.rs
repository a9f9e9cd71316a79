//! What a statement says where the marks of earlier trainings were deleted, changed, or lie beside other
//! weights.

#![allow(clippy::unwrap_used)]

mod house;

use std::path::Path;

use house::House;
use house::lineage::{assert_no_bound, copy, declared, mark, on, report, statement, stranger};
use pft_artifact::{Kind, Manifest};
use pft_dp::{BaseHasSeen, Origin, RECORD_KEY, Reason, Record, Training};
use pft_gguf::WriteType;
use pft_lm::checkpoint::{Checkpoint, save_gguf};
use pft_lm::parameters::Precision;
use serde_json::{Value, json};
use train::Config;
use train::config::{Lora, Privacy};

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
    // A stage after training may have changed more than the weights.
    let changed =
        copy(&house, &first, "changed", &["config.json", "model.safetensors", "privacy.json"]);
    let lineage = json!({ "lineage": [{ "stage": "train" }, { "stage": "quantize" }] });
    Manifest::seal(&changed, Kind::Model, 0, lineage).unwrap();
    let on_changed = house.run("on-changed", on(&changed, house.config(declared())), 1).unwrap();
    assert_no_bound(&on_changed, &Reason::EarlierNotRecorded);

    let without_statement = copy(&house, &first, "without-statement", &files[..2]);
    let second = house.run("one", on(&without_statement, house.config(declared())), 1).unwrap();
    assert_eq!(report(&second).history.trainings.len(), 2);
    // A manifest of another program is none of ours.
    let foreign = copy(&house, &first, "foreign", &files);
    std::fs::write(foreign.join("manifest.json"), r#"{"name": "app"}"#).unwrap();
    house.run("foreign-run", on(&foreign, house.config(declared())), 1).unwrap();
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
