//! `tag-pii train` through its binary: models learn, and load where models of their kind load.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use pft_ner::spacy::SpacyTagger;
use pft_ner::transformer::{TransformerOptions, TransformerTagger};
use pft_pii::Tagger;
use serde_json::{Value, json};
use tempfile::TempDir;

const SHIPS: [&str; 8] =
    ["Ostrava", "Meridian", "Kittiwake", "Zephyr", "Calypso", "Norna", "Aldebaran", "Petrel"];
const NAMES: [&str; 8] =
    ["Zofia", "Marchewka", "Ólafur", "Einarsson", "Quentin", "Braithwaite", "Ilse", "Vandermeer"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Reports about ships and people in TAB's form; which of them, and in what order, is by `number`.
fn report(number: usize) -> Value {
    let mut text = String::new();
    let mut spans = Vec::new();
    let mut mention = |text: &mut String, name: &str, label: &str, mask: bool| {
        let start = text.chars().count();
        text.push_str(name);
        spans.push(json!({"start": start, "end": start + name.chars().count(), "type": label, "mask": mask}));
    };
    for line in 0..6 {
        let pick = |words: &[&str; 8], by: usize| {
            words[(number * 5 + line * by + number / 8) % 8].to_owned()
        };
        text.push_str(
            ["The trawler ", "On Monday the ferry ", "We saw the brig "][(number + line) % 3],
        );
        mention(&mut text, &pick(&SHIPS, 3), "SHIP", true);
        text.push_str(
            [" left the harbour — says ", " was met by ", " is owned by "][(number * 2 + line) % 3],
        );
        mention(&mut text, &format!("{} {}", pick(&NAMES, 1), pick(&NAMES, 7)), "PERSON", true);
        text.push_str(" of ");
        mention(&mut text, "Lloyds", "ORG", false);
        text.push_str(".\n");
    }
    json!({"doc_id": format!("d{number}"), "text": text, "spans": spans})
}

fn gold(folder: &Path) -> PathBuf {
    let path = folder.join("gold.jsonl");
    let lines: Vec<String> = (0..32).map(|number| report(number).to_string()).collect();
    fs::write(&path, lines.join("\n")).unwrap();
    path
}

fn command([gold, base, output]: [&Path; 3], more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tag-pii"));
    command
        .args([Path::new("train"), Path::new("--gold"), gold])
        .args([Path::new("--base"), base, Path::new("--output"), output])
        .args(more);
    command
}

fn train(arguments: [&Path; 3], more: &[&str]) -> Output {
    command(arguments, more).output().unwrap()
}

/// Checks a training's report.
fn check(output: &Path, least_f1: f64) {
    let report: Value =
        serde_json::from_str(&fs::read_to_string(output.join("training.json")).unwrap()).unwrap();
    assert_eq!(report["labels"], json!(["PERSON", "SHIP"]), "what needs no masking is not taught");
    assert_eq!((&report["documents"], &report["held_out_documents"]), (&json!(27), &json!(5)));
    assert!(report["held_out"]["characters"]["f1"].as_f64().unwrap() > least_f1, "{report}");
}

/// What the reference implementation finds with the model in `folder`.
fn reference(script: &str, folder: &Path, texts: &[String]) -> Option<Value> {
    let python = std::env::var_os("PFT_PYTHON")?;
    let file = folder.with_extension("texts.json");
    fs::write(&file, json!(texts).to_string()).unwrap();
    let output = Command::new(python)
        .arg(root().join("tests/reference").join(script))
        .args([Path::new("describe"), folder, &file])
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    Some(serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{error}")))
}

fn texts() -> Vec<String> {
    (40..60).map(|number| report(number)["text"].as_str().unwrap().to_owned()).collect()
}

fn found(tagger: &dyn Tagger, texts: &[String]) -> Vec<Vec<(usize, usize, String)>> {
    let views: Vec<&str> = texts.iter().map(String::as_str).collect();
    let spans = |spans: Vec<pft_pii::Span>| {
        spans.into_iter().map(|span| (span.start, span.end, span.label.to_string())).collect()
    };
    tagger.tag_batch(&views).into_iter().map(|found| spans(found.unwrap())).collect()
}

#[test]
fn a_spacy_pipeline_learns_labels_of_its_own_and_loads_in_spacy() {
    let base = root().join("data/models/en_core_web_sm");
    if !base.join("ner/model").is_file() {
        assert!(std::env::var_os("PFT_PYTHON").is_none(), "run `make models`");
        return;
    }
    let folder = TempDir::new().unwrap();
    let (gold, output) = (gold(folder.path()), folder.path().join("model"));
    let run = train([&gold, &base, &output], &["--epochs", "6"]);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let shown =
        String::from_utf8_lossy(&run.stderr).into_owned() + &String::from_utf8_lossy(&run.stdout);
    assert!(shown.contains("epoch   1"), "{shown}");
    assert!(!NAMES.iter().chain(&SHIPS).any(|name| shown.contains(name)), "text in the log");
    let tagger = SpacyTagger::load(&output).unwrap();
    check(&output, 0.95);
    let text = "The trawler Norna left the harbour — says Ilse Braithwaite of Lloyds.";
    let spans = tagger.tag_batch(&[text]).remove(0).unwrap();
    let names: Vec<(&str, &str)> =
        spans.iter().map(|span| (&text[span.start..span.end], &*span.label)).collect();
    assert_eq!(names, [("Norna", "SHIP"), ("Ilse Braithwaite", "PERSON")]);

    let again = folder.path().join("again");
    train([&gold, &base, &again], &["--epochs", "6"]);
    for file in ["ner/model", "ner/moves", "training.json"] {
        assert_eq!(
            fs::read(output.join(file)).unwrap(),
            fs::read(again.join(file)).unwrap(),
            "{file}"
        );
    }

    let texts = texts();
    let Some(expected) = reference("ner_spacy.py", &output, &texts) else { return };
    let expected: Vec<Value> =
        expected.as_array().unwrap().iter().map(|text| text["entities"].clone()).collect();
    assert_eq!(json!(found(&tagger, &texts)), json!(expected));
}

/// A fixture's checkpoint with what real ones have beside: a description of the tokenizer, without
/// which transformers puts its own idea of the family's in the place of tokenizer.json's.
fn base_of(family: &str, folder: &Path) -> PathBuf {
    let base = folder.join("base");
    fs::create_dir(&base).unwrap();
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        let fixture = root().join("tests/fixtures/ner/transformer").join(family).join(file);
        fs::copy(fixture, base.join(file)).unwrap();
    }
    let special = match family {
        "bert" | "distilbert" => ["[UNK]", "[PAD]", "[CLS]", "[SEP]"],
        _ => ["<unk>", "<pad>", "<s>", "</s>"],
    };
    let [unknown, padding, first, last] = special;
    let description = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_input_names": ["input_ids", "attention_mask"],
        "unk_token": unknown, "pad_token": padding, "cls_token": first, "sep_token": last,
    });
    fs::write(base.join("tokenizer_config.json"), description.to_string()).unwrap();
    base
}

#[test]
fn encoders_learn_and_load_in_transformers() {
    for family in ["bert", "distilbert", "roberta", "xlm-roberta"] {
        let folder = TempDir::new().unwrap();
        let base = base_of(family, folder.path());
        let (gold, output) = (gold(folder.path()), folder.path().join(family));
        // Random weights of width 32: they learn, not as well as a real base.
        let more = "--epochs 14 --patience 14 --learning-rate 0.003 --dropout 0 --batch-tokens 512 \
                    --recall-weight 1";
        let more: Vec<&str> = more.split_whitespace().collect();
        let run = train([&gold, &base, &output], &more);
        assert!(run.status.success(), "{family}: {}", String::from_utf8_lossy(&run.stderr));
        let tagger = TransformerTagger::load(&output, TransformerOptions::default()).unwrap();
        check(&output, 0.8);

        // Line by line: transformers takes a line break for a letter where a tokenizer has no prefix
        // of continuing pieces.
        let lines: Vec<String> = texts()
            .iter()
            .flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        let Some(expected) = reference("ner_transformer.py", &output, &lines) else { return };
        let expected: Vec<Vec<(usize, usize, String, f64)>> =
            serde_json::from_value(expected).unwrap();
        let expected: Vec<Vec<_>> = expected
            .into_iter()
            .map(|spans| {
                spans.into_iter().map(|(start, end, label, _)| (start, end, label)).collect()
            })
            .collect();
        assert_eq!(found(&tagger, &lines), expected, "{family}");
    }
}

#[test]
fn an_encoder_in_onnx_is_trained_as_one_in_safetensors() {
    let folder = TempDir::new().unwrap();
    let (gold, base) = (gold(folder.path()), base_of("bert", folder.path()));
    let trained = |name: &str| {
        let output = folder.path().join(name);
        let run = train([&gold, &base, &output], &["--epochs", "1"]);
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        fs::read(output.join("model.safetensors")).unwrap()
    };
    let expected = trained("expected");
    let onnx = root().join("tests/fixtures/ner/formats/bert/model.onnx");
    fs::copy(onnx, base.join("model.onnx")).unwrap();
    fs::remove_file(base.join("model.safetensors")).unwrap();
    assert!(trained("found") == expected);
}

#[test]
fn what_cannot_be_trained_is_refused_and_leaves_nothing_behind() {
    let folder = TempDir::new().unwrap();
    let fixtures = root().join("tests/fixtures/ner/transformer");
    let (bert, gold) = (fixtures.join("bert"), gold(folder.path()));
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let nothing = write("nothing.iob2", "A\tO\n\nB\tO\n\n");
    let broken = write("broken.jsonl", "{\"text\": 3}");
    let output = folder.path().join("model");
    let validation = ["--validation", gold.to_str().unwrap()];
    let cases: [(&Path, &Path, &[&str], i32, &str); 9] = [
        (&gold, folder.path(), &[], 3, "neither a spaCy 3 pipeline"),
        (&gold, &fixtures.join("deberta-v3"), &[], 3, "DeBERTa cannot be trained"),
        (&nothing, &bert, &[], 3, "no mention to learn from"),
        (&broken, &bert, &[], 3, "broken.jsonl"),
        (&gold, &bert, &validation, 3, "has a text that --gold has too"),
        (&gold, &bert, &["--label-set", "nonsense"], 2, "known sets: "),
        (&gold, &bert, &["--epochs", "0"], 2, "must be at least 1"),
        (&gold, &bert, &["--held-out", "1.5"], 2, "held_out must be between 0 and 1"),
        (&gold, &bert, &["--learning-rate", "NaN"], 2, "learning_rate must be above 0"),
    ];
    for (gold, base, more, code, message) in cases {
        let run = train([gold, base, &output], more);
        let error = String::from_utf8_lossy(&run.stderr);
        assert_eq!(run.status.code(), Some(code), "{error}");
        assert!(error.contains(message), "{error}");
    }
    let run = train([&gold, &bert, folder.path()], &[]);
    assert_eq!(run.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&run.stderr).contains("exists already"));
    let left: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

/// A training that would go on for hours, after its first epoch.
fn running(arguments: [&Path; 3]) -> Child {
    let endless = ["--epochs", "1000000", "--patience", "1000000"];
    let mut child = command(arguments, &endless).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("epoch   1")), "it ended early");
    // Whoever shows progress must still find a reader.
    std::thread::spawn(move || lines.for_each(drop));
    child
}

/// What is in a folder beside the gold.
fn left(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != "gold.jsonl").collect()
}

#[test]
fn an_ended_training_leaves_nothing_and_a_killed_one_nothing_for_long() {
    let folder = TempDir::new().unwrap();
    let bert = root().join("tests/fixtures/ner/transformer/bert");
    let (gold, output) = (gold(folder.path()), folder.path().join("model"));
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let mut child = running([&gold, &bert, &output]);
        assert_eq!(left(folder.path()), [format!("model.{}.partial", child.id())]);
        // SAFETY: the process is this test's own child.
        unsafe { libc::kill(child.id().cast_signed(), signal) };
        assert_eq!(child.wait().unwrap().code(), Some(130));
        assert!(left(folder.path()).is_empty(), "{:?}", left(folder.path()));
    }

    let mut killed = running([&gold, &bert, &output]);
    killed.kill().unwrap();
    killed.wait().unwrap();
    let partial = format!("model.{}.partial", killed.id());
    assert_eq!(left(folder.path()), [&*partial]);
    let mut other = running([&gold, &bert, &folder.path().join("other")]);
    assert!(folder.path().join(partial).is_dir(), "a training of another name left it alone");
    let run = train([&gold, &bert, &output], &["--epochs", "1"]);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let mut remaining = left(folder.path());
    remaining.sort();
    assert_eq!(remaining, ["model".to_owned(), format!("other.{}.partial", other.id())]);
    other.kill().unwrap();
    other.wait().unwrap();
}

/// However little room there is, a model comes with its report or not at all. A file system so small is
/// one in memory, which only Linux with user namespaces lets a test mount.
#[test]
fn a_full_disk_leaves_no_model_without_report() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let bert = root().join("tests/fixtures/ner/transformer/bert");
    let gold = gold(folder);
    let with_disk = |kilobytes: usize, script: &str| {
        let mount = "mkdir -p disk && mount -t tmpfs -o size=${0}k none disk || exit 99\n";
        Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", &format!("{mount}{script}")])
            .arg(kilobytes.to_string())
            .args([Path::new(env!("CARGO_BIN_EXE_tag-pii")), &gold, &bert])
            .current_dir(folder)
            .output()
    };
    if !with_disk(64, "").is_ok_and(|probe| probe.status.success()) {
        eprintln!("not run: user namespaces are not allowed here");
        return;
    }
    let script = "$1 train --gold $2 --base $3 --output disk/model --epochs 1; echo code $?; find disk -type f";
    let (mut full, mut done) = (0, 0);
    for kilobytes in (108..152).step_by(4) {
        let run = with_disk(kilobytes, script).unwrap();
        let (shown, error) =
            (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
        if shown.contains("code 0") {
            assert!(shown.contains("disk/model/training.json"), "{kilobytes} kB: {shown}");
            done += 1;
        } else {
            assert!(shown.contains("code 1"), "{kilobytes} kB: {shown}{error}");
            assert!(error.contains("free some disk space"), "{kilobytes} kB: {error}");
            assert!(!shown.contains("disk/"), "{kilobytes} kB: {shown}");
            full += 1;
        }
    }
    assert!(full > 2 && done > 2, "{full} full, {done} done");
}
