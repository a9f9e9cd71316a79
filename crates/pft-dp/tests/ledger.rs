//! The ledger: order, tampering, crashes, and the report that is made from it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use pft_dp::accounting::{Accountant, Phase};
use pft_dp::{
    Base, Clipping, Ledger, LedgerContents, LedgerError, LedgerHeader, Mechanism, NoPrivacy, Plan,
    PrivacyReport, PrivacyStatement, Randomness, Reason, Record, RunSecret, Training, TrainingData,
};

fn mechanism() -> Mechanism {
    let plan = Plan {
        declared_units: 1000,
        units_were_counted: false,
        phase: Phase { sample_rate: 0.02, noise_multiplier: 1.1, steps: 50 },
        delta: 1e-5,
        clipping: Clipping::default(),
        max_examples_per_unit: 4,
        noise_draws: 1,
    };
    Mechanism::new(plan, false).expect("a mechanism")
}

fn header(randomness: Randomness) -> LedgerHeader {
    let secret = RunSecret::new(randomness).expect("entropy");
    let data = TrainingData {
        unit: "case".into(),
        inputs: BTreeMap::from([("tokens".to_owned(), "ab".repeat(32))]),
        ..TrainingData::default()
    };
    LedgerHeader::new(&mechanism(), randomness, secret.commitment(), data)
}

fn write(path: &std::path::Path, header: &LedgerHeader, steps: u64) {
    let mut ledger = Ledger::open(path, header).expect("a ledger");
    for step in 0..steps {
        assert_eq!(ledger.record(&mechanism(), step).expect("recorded").step(), step);
    }
}

#[test]
fn spends_what_was_taken_not_what_was_planned() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.jsonl");
    let header = header(Randomness::OperatingSystem);
    write(&path, &header, 20);
    let contents = LedgerContents::read(&path).expect("a ledger");
    let phase = Phase { sample_rate: 0.02, noise_multiplier: 1.1, steps: 20 };
    assert_eq!(contents.phases(), [phase]);
    for accountant in Accountant::ALL {
        assert_eq!(contents.epsilon(accountant), accountant.epsilon(&[phase], 1e-5));
    }
    let report = PrivacyReport::from_ledger(&contents, vec![]).expect("a report");
    assert_eq!((report.steps, report.planned_steps), (20, 50));
    assert!(report.fit_for_release);
    assert!(report.groups.windows(2).all(|pair| pair[0].epsilon < pair[1].epsilon));
    report.verify(&contents).expect("the report is the ledger's");
}

#[test]
fn resuming_records_nothing_twice_and_leaves_no_gap() {
    let folder = tempfile::tempdir().expect("a folder");
    let (whole, resumed) = (folder.path().join("whole"), folder.path().join("resumed"));
    let header = header(Randomness::OperatingSystem);
    write(&whole, &header, 10);
    write(&resumed, &header, 6);
    let mut ledger = Ledger::open(&resumed, &header).expect("a ledger");
    // The checkpoint was older than the ledger: steps 4 and 5 are taken again.
    for step in 4..10 {
        ledger.record(&mechanism(), step).expect("recorded");
    }
    assert!(matches!(ledger.record(&mechanism(), 12), Err(LedgerError::Gap { .. })));
    assert_eq!(std::fs::read(&whole).unwrap(), std::fs::read(&resumed).unwrap());
}

#[test]
fn a_torn_line_is_cut_off_wherever_the_run_died() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.jsonl");
    let header = header(Randomness::OperatingSystem);
    write(&path, &header, 3);
    let bytes = std::fs::read(&path).unwrap();
    let lines = |bytes: &[u8]| bytes.iter().filter(|&&byte| byte == b'\n').count();
    for length in (0..=bytes.len()).step_by(37) {
        std::fs::write(&path, &bytes[..length]).unwrap();
        let ledger = Ledger::open(&path, &header).expect("a ledger");
        let kept = lines(&bytes[..length]).saturating_sub(1);
        assert_eq!(ledger.contents().steps.len(), kept, "cut at {length}");
    }
}

#[test]
fn changes_are_seen() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.jsonl");
    write(&path, &header(Randomness::OperatingSystem), 4);
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let dropped = [lines[0], lines[1], lines[3], lines[4]].join("\n");
    let swapped = [lines[0], lines[2], lines[1], lines[3], lines[4]].join("\n");
    let quieter = text.replacen("\"noise_multiplier\":1.1", "\"noise_multiplier\":1.2", 1);
    let fewer_units = text.replacen("\"declared_units\":1000", "\"declared_units\":2000", 1);
    for changed in [dropped, swapped, quieter, fewer_units, String::new()] {
        assert_ne!(changed, text);
        std::fs::write(&path, changed).unwrap();
        assert!(matches!(LedgerContents::read(&path), Err(LedgerError::Broken { .. })));
    }
}

#[test]
fn another_run_cannot_go_on_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.jsonl");
    let first = header(Randomness::OperatingSystem);
    write(&path, &first, 2);
    let other_secret = header(Randomness::OperatingSystem);
    let mut other_plan = first.clone();
    other_plan.plan.phase.noise_multiplier = 2.0;
    let mut other_input = first.clone();
    other_input.inputs.insert("tokens".into(), "cd".repeat(32));
    let mut other_history = first.clone();
    other_history.earlier = Record::default().followed_by(Training::NotPrivate);
    for other in [other_secret, other_plan, other_input, other_history] {
        assert!(matches!(Ledger::open(&path, &other), Err(LedgerError::OtherRun { .. })));
    }
    assert!(Ledger::open(&path, &first).is_ok());
}

#[test]
fn a_report_that_understates_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.jsonl");
    write(&path, &header(Randomness::FixedSeed(1)), 10);
    let contents = LedgerContents::read(&path).expect("a ledger");
    let honest = PrivacyReport::from_ledger(&contents, vec![]).expect("a report");
    assert!(!honest.fit_for_release && honest.statement.contains("NOT FOR RELEASE"));
    honest.verify(&contents).expect("honest");

    let mut smaller = honest.clone();
    smaller.epsilon[0].epsilon.epsilon *= 0.99;
    assert!(matches!(smaller.verify(&contents), Err(LedgerError::Mismatch { .. })));
    let mut fewer = honest.clone();
    fewer.steps -= 1;
    assert!(matches!(fewer.verify(&contents), Err(LedgerError::Differs { .. })));
    let mut released = honest.clone();
    released.fit_for_release = true;
    assert!(matches!(released.verify(&contents), Err(LedgerError::Differs { .. })));
    let mut silent = honest;
    silent.epsilon.clear();
    assert!(silent.verify(&contents).is_err());
}

#[test]
fn no_field_of_a_report_can_be_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.jsonl");
    write(&path, &header(Randomness::OperatingSystem), 10);
    let contents = LedgerContents::read(&path).expect("a ledger");
    let honest =
        PrivacyReport::from_ledger(&contents, vec!["evaluation".into()]).expect("a report");
    let json = serde_json::to_value(&honest).expect("JSON");
    let change = |at: &str, value: &Value| match value {
        Value::String(text) if text == "add_or_remove_one_unit" => None,
        Value::String(text) if text == "operating_system" => Some(json!({ "fixed_seed": 1 })),
        Value::String(text) => Some(json!(format!("{text} and all relatives"))),
        Value::Number(number) if number.is_u64() => number.as_u64().map(|n| json!(n + 1)),
        // An epsilon is computed again, and not to the last digit.
        Value::Number(number) if at.contains("epsilon") => number.as_f64().map(|x| json!(x * 0.99)),
        Value::Number(number) => number.as_f64().map(|x| json!(x * (1.0 + 1e-9))),
        Value::Bool(value) => Some(json!(!value)),
        Value::Null => Some(json!(0.5)),
        _ => None,
    };
    let mut changed = 0;
    for pointer in leaves("", &json).into_iter().filter(|at| !at.starts_with("/other_uses")) {
        let mut other = json.clone();
        let leaf = other.pointer_mut(&pointer).expect("a leaf");
        let Some(value) = change(&pointer, leaf) else { continue };
        *leaf = value;
        // What is no report any more is seen too.
        let Ok(other) = serde_json::from_value::<PrivacyReport>(other) else { continue };
        assert!(other.verify(&contents).is_err(), "{pointer} was changed unseen");
        changed += 1;
    }
    assert!(changed > 30, "{changed}");
    let published = PrivacyReport { inputs: BTreeMap::new(), ..honest };
    published.verify(&contents).expect("hashes of inputs may be left out");
}

/// The same for a statement that no bound holds, and for one of two private trainings.
#[test]
fn no_part_of_a_history_can_be_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("first.jsonl");
    write(&path, &header(Randomness::OperatingSystem), 10);
    let first = LedgerContents::read(&path).expect("a ledger");
    let earlier = Record::default().followed_by(Training::Private(first.training()));
    let path = folder.path().join("second.jsonl");
    let second = LedgerHeader { earlier: earlier.clone(), ..header(Randomness::OperatingSystem) };
    write(&path, &second, 10);
    let ledger = LedgerContents::read(&path).expect("a ledger");
    let honest = PrivacyReport::from_ledger(&ledger, vec![]).expect("a report");
    let own = honest.own_epsilon.expect("of the second alone").epsilon;
    assert!(own.epsilon < honest.epsilon[0].epsilon.epsilon);
    honest.verify(&ledger).expect("honest");
    let mut shorter = honest.clone();
    shorter.history.trainings.remove(0);
    let mut cheaper = honest.clone();
    cheaper.own_epsilon = None;
    let mut other = honest.clone();
    other.base = Base::Random;
    other.history = earlier.clone();
    for dishonest in [shorter, cheaper, other] {
        assert!(dishonest.verify(&ledger).is_err(), "{dishonest:?}");
        let json = serde_json::to_string(&dishonest).expect("JSON");
        assert!(PrivacyStatement::from_json(&json).is_err(), "it does not go together");
    }

    let path = folder.path().join("third.jsonl");
    let plain = earlier.followed_by(Training::NotPrivate);
    write(&path, &LedgerHeader { earlier: plain, ..header(Randomness::OperatingSystem) }, 3);
    let ledger = LedgerContents::read(&path).expect("a ledger");
    let error = PrivacyReport::from_ledger(&ledger, vec![]).unwrap_err();
    assert!(error.to_string().contains("No bound holds"), "{error}");
    let statement = PrivacyStatement::from_ledger(&ledger, vec![]).expect("a statement");
    statement.verify(&ledger).expect("honest");
    assert_eq!(statement.not_for_release(), [Reason::EarlierNotPrivate]);
    assert!(honest.verify(&ledger).is_err());
    let PrivacyStatement::NotPrivate(none) = &statement else { panic!("{statement:?}") };
    let released = NoPrivacy { fit_for_release: true, ..none.clone() };
    let blamed = NoPrivacy { not_for_release: vec![Reason::EarlierNotRecorded], ..none.clone() };
    for dishonest in [released, blamed] {
        assert!(PrivacyStatement::NotPrivate(dishonest).verify(&ledger).is_err());
    }
}

/// JSON pointers of all values that hold no others.
fn leaves(at: &str, value: &Value) -> Vec<String> {
    let below = |(key, value): (String, &Value)| leaves(&format!("{at}/{key}"), value);
    match value {
        Value::Object(fields) => {
            fields.iter().map(|(k, v)| (k.clone(), v)).flat_map(below).collect()
        }
        Value::Array(items) => {
            items.iter().enumerate().map(|(i, v)| (i.to_string(), v)).flat_map(below).collect()
        }
        _ => vec![at.to_owned()],
    }
}

#[test]
fn units_that_decided_about_each_other_are_not_fit_for_release() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.jsonl");
    let coupled = LedgerHeader {
        couplings: vec!["The split depended on all units".into()],
        ..header(Randomness::OperatingSystem)
    };
    write(&path, &coupled, 3);
    let contents = LedgerContents::read(&path).expect("a ledger");
    let report = PrivacyReport::from_ledger(&contents, vec![]).expect("a report");
    assert!(!report.fit_for_release && report.statement.contains("NOT FOR RELEASE"));
    let released = PrivacyReport { fit_for_release: true, couplings: vec![], ..report };
    assert!(released.verify(&contents).is_err());
}

#[test]
fn steps_are_those_of_the_plan() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.jsonl");
    let mut loud = header(Randomness::OperatingSystem);
    write(&path, &loud, 3);
    // Hashes have no key: whoever changes the plan can chain the lines anew.
    loud.plan.phase.noise_multiplier = 2.0;
    let steps = LedgerContents::read(&path).expect("a ledger").steps;
    let mut text = String::new();
    let mut previous = String::new();
    let bodies = std::iter::once(serde_json::to_string(&loud))
        .chain(steps.iter().map(serde_json::to_string))
        .map(|body| body.expect("JSON"));
    for body in bodies {
        let mut hasher = blake3::Hasher::new_derive_key("pft-dp 1 ledger");
        hasher.update(&(previous.len() as u64).to_le_bytes());
        hasher.update(previous.as_bytes()).update(body.as_bytes());
        let hash = hasher.finalize().to_hex().to_string();
        text += &format!("{{\"record\":{body},\"previous\":\"{previous}\",\"hash\":\"{hash}\"}}\n");
        previous = hash;
    }
    std::fs::write(&path, text).unwrap();
    let error = LedgerContents::read(&path).unwrap_err().to_string();
    assert!(error.contains("line 2") && error.contains("plan"), "{error}");
}

#[test]
fn the_report_survives_json_and_has_a_schema() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ledger.jsonl");
    write(&path, &header(Randomness::OperatingSystem), 2);
    let contents = LedgerContents::read(&path).expect("a ledger");
    let report = PrivacyReport::from_ledger(&contents, vec!["scrubbing".into()]).expect("a report");
    let json = serde_json::to_value(&report).expect("JSON");
    assert_eq!(json["epsilon"][0]["accountant"], "pld");
    assert_eq!(serde_json::from_value::<PrivacyReport>(json.clone()).expect("a report"), report);
    let statement: PrivacyStatement = serde_json::from_value(json).expect("a statement");
    assert_eq!(statement, PrivacyStatement::Private(Box::new(report)));
    let none = NoPrivacy::of_plain_training(Base::Random, &Record::default());
    let json = serde_json::to_string(&none).expect("JSON");
    let statement = PrivacyStatement::from_json(&json).expect("a statement");
    assert_eq!(statement, PrivacyStatement::NotPrivate(none));
}

/// Readers find the schema in the repository; `PFT_BLESS=1 cargo test` writes it anew.
#[test]
fn the_schema_in_the_repository_is_the_code_s() {
    let schema = serde_json::to_value(schemars::schema_for!(PrivacyStatement)).expect("JSON");
    let text = format!("{schema:#}\n");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/privacy.schema.json");
    if std::env::var_os("PFT_BLESS").is_some() {
        std::fs::write(path, &text).expect("the schema is written");
    }
    let committed = std::fs::read_to_string(path).expect("the schema is there");
    assert_eq!(committed, text, "run with PFT_BLESS=1 to write it anew");
}
