//! `pft-pipeline init`: what it makes of a corpus and of configs of other tools runs as it is.

#![allow(clippy::unwrap_used)]

use std::fmt::Write;
use std::path::Path;

use pft_tests::{Finished, TINY_LLAMA, root, run, run_pipeline, stage};
use serde_json::Value;

fn init(folder: &Path, arguments: &[&str]) -> Finished {
    run("pft-pipeline", &[&["init"], arguments].concat(), folder)
}

fn json(folder: &Path, arguments: &[&str]) -> (Value, String) {
    let finished = init(folder, &[arguments, &["--json"]].concat());
    assert_eq!(finished.code, 0, "{finished:?}");
    (pft_tests::result(&finished), finished.stderr)
}

/// Ninety made-up notes of thirty customers.
fn notes(folder: &Path) {
    let mut csv = "ticket_id,customer_id,opened,note\n".to_string();
    let mut lines = String::new();
    for index in 0..90 {
        let (customer, day) = (index % 30, index % 28 + 1);
        let note = format!(
            "Mrs Anna Berg wrote, \"\"at last\"\", to a{index}@example.org on {day} July 2001 about no. {index}."
        );
        let _ = writeln!(csv, "{index},C{customer},2024-01-{day:02},\"{note}\"");
        let note = note.replace("\"\"", "'");
        let row = serde_json::json!({ "customer_id": customer, "body": note, "lang": "en" });
        let _ = writeln!(lines, "{row}");
    }
    std::fs::write(folder.join("notes.csv"), csv).unwrap();
    std::fs::write(folder.join("mail box.jsonl"), lines).unwrap();
}

/// The shipped model's tokenizer, where `make models` fetched it.
fn model() -> Option<String> {
    let path = root().join("data/models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf");
    path.is_file().then(|| path.to_string_lossy().into_owned())
}

const SET: [&str; 5] =
    ["notes-dp", "notes-compare", "include:", "privacy.target_epsilon: 8", "held_out:"];

#[test]
fn a_corpus_becomes_pipelines_that_run() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    notes(folder);
    let (said, told) = json(folder, &["notes.csv"]);
    assert_eq!(said["text_column"], "note");
    assert_eq!(said["unit_column"], "customer_id");
    assert_eq!(said["id_column"], "ticket_id");
    assert_eq!((&said["documents"], &said["units"]), (&90.into(), &30.into()));
    for part in ["about 14 units will train", "privacy.units is yours to declare", "ε = 8"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    // A number that no count of those in training reaches, and that is not declared for anybody.
    assert!(said["least_privacy_units"].as_u64().unwrap() >= 25, "{said}");
    let all: String = ["dp.yml", "compare.yml", "scrubbed.yml"]
        .map(|name| std::fs::read_to_string(folder.join("notes").join(name)).unwrap())
        .concat();
    for part in SET {
        assert!(all.contains(part), "{part} is not in {all}");
    }
    for name in ["undefended", "scrubbed", "dp", "compare"] {
        let file = format!("notes/{name}.yml");
        let planned = run("pft-pipeline", &["plan", &file, "--json"], folder);
        assert_eq!(planned.code, 0, "{planned:?}");
        let dry = run("pft-pipeline", &["run", &file, "--dry-run"], folder);
        assert_eq!(dry.code, 0, "{dry:?}");
        // The model that it names may not have been fetched; nothing else is wrong.
        let wrong: Vec<&str> = dry.stderr.lines().filter(|l| l.contains("once this is")).collect();
        assert!(wrong.iter().all(|line| line.contains("data/models/")), "{wrong:?}");
    }

    // Nothing is written over.
    std::fs::write(folder.join("notes/dp.yml"), "mine").unwrap();
    std::fs::remove_file(folder.join("notes/corpus.yml")).unwrap();
    let refused = init(folder, &["notes.csv"]);
    assert_eq!(refused.code, 2);
    assert!(refused.stderr.contains("is there already, and nothing was written"));
    assert_eq!(std::fs::read_to_string(folder.join("notes/dp.yml")).unwrap(), "mine");
    assert!(!folder.join("notes/corpus.yml").exists());
}

#[test]
fn a_whole_run_of_what_was_written() {
    let Some(model) = model() else {
        eprintln!("not run: the model files are not fetched");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    notes(folder);
    std::fs::write(folder.join("tiny.json"), TINY_LLAMA).unwrap();
    let (said, _) =
        json(folder, &["mail box.jsonl", "-o", "new/set", "--model", &model, "--epsilon", "3"]);
    assert_eq!((&said["text_column"], &said["id_column"]), (&"body".into(), &Value::Null));
    let mut arguments = vec!["new/set/compare.yml"];
    for set in [
        "tags.backends=[{kind: rules}]",
        "model.base_model=null",
        "model.random_init=tiny.json",
        "model.lora=null",
        "model.max_steps=2",
    ] {
        arguments.extend(["--set", set]);
    }
    let result = run_pipeline(&arguments, folder);
    let privacy = |name: &str| -> Value {
        let folder = stage(&result, name)["path"].as_str().unwrap();
        let text = std::fs::read(Path::new(folder).join("privacy.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    };
    let private = privacy("mail-box-dp/release");
    let epsilon = private["epsilon"][0]["epsilon"].as_f64().unwrap();
    assert!(epsilon <= 3.0 && epsilon > 2.9, "{epsilon}");
    assert_eq!(private["not_for_release"], serde_json::json!(["units_counted"]));
    assert_eq!(private["unit"], r#"unit (all rows with one value in column "customer_id")"#);
    assert_eq!(privacy("mail-box-scrubbed/release")["epsilon"], serde_json::json!([]));
    assert_eq!(stage(&result, "mail-box-scrubbed/held_out")["status"], "ran");
}

#[test]
fn poor_choices_and_bad_input_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    notes(folder);
    let (_, told) = json(folder, &["notes.csv", "--unit-is-document", "-o", "rows"]);
    assert!(told.contains("k × 8; columns that could say who it is: customer_id"), "{told}");
    let (said, _) = json(folder, &["notes.csv", "--unit-column", "opened", "-o", "days"]);
    assert_eq!(said["unit_column"], "opened");

    std::fs::write(folder.join("empty.csv"), "").unwrap();
    std::fs::write(folder.join("header.csv"), "id,text\n").unwrap();
    std::fs::write(folder.join("numbers.jsonl"), "{\"id\": 1, \"age\": 30}\n").unwrap();
    std::fs::write(folder.join("short.jsonl"), "{\"id\": 1, \"lang\": \"en\"}\n").unwrap();
    std::fs::write(folder.join("bare.csv"), "Mr Smith, a baker\nborn in 1950\n").unwrap();
    std::fs::write(folder.join("what.bin"), "x").unwrap();
    std::fs::create_dir(folder.join("folder")).unwrap();
    for (arguments, expected) in [
        (&["absent.csv"][..], "absent.csv: there is no such file or folder"),
        (&["empty.csv"], "empty.csv"),
        (&["header.csv"], "header.csv"),
        (&["numbers.jsonl"], "no column holds a text in every row"),
        (&["short.jsonl"], "no column looks like text (there are: id, lang)"),
        (&["bare.csv"], "not all its columns look like names"),
        (&["what.bin"], "--source"),
        (&["folder", "--source", "text"], "folder"),
        (&["notes.csv", "--unit-column", "custmer_id"], "did you mean `customer_id`?"),
        (&["notes.csv", "--text-column", "body"], "the corpus has no such column"),
        (&["notes.csv", "--epsilon", "0"], "greater than 0"),
        (&["notes.csv", "--model", "absent"], "absent: there is no such file"),
        (&[], "CORPUS"),
        (&["--from", "absent.yml"], "absent.yml"),
        (&["--from", "notes/corpus.yml"], "notes/corpus.yml"),
    ] {
        let refused = init(folder, &[arguments, &["-o", "none"]].concat());
        assert_eq!(refused.stdout, "", "{arguments:?}");
        assert!([2, 3].contains(&refused.code), "{arguments:?}: {refused:?}");
        assert!(refused.stderr.contains(expected), "{arguments:?}: {}", refused.stderr);
        assert!(!refused.stderr.contains("baker"), "the text of a document: {}", refused.stderr);
        assert!(!folder.join("none").exists(), "{arguments:?}");
    }
}

/// A config of the form that LLM-PFT has, with a key of each kind.
const LLM_PFT: &str = "
dataset_args: { dataset_path: data/echr, dataset_mode: MODE, limit_dataset_size: 1000, pseudonymize: true }
model_args: { architecture: Llama2-7b, pre_trained: true, tokenizer_max_length: 512, peft: lora, lora_r: 4 }
trainer_args:
  learning_rate: 1.0e-5
  num_train_epochs: 3
  per_device_train_batch_size: 1
  gradient_accumulation_steps: 8
  bf16: true
  deepspeed: stage2.json
  some_new_key: 1
privacy_args: { target_epsilon: EPSILON, max_grad_norm_dp: 0.5, eps_error: 0.1 }
ner_args: { anon_token: <NAME>, ner_model: flair }
";

#[test]
fn configs_of_llm_pft_become_pipelines_and_no_key_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    notes(folder);
    for (mode, epsilon) in [("undefended", "-1"), ("scrubbed", "-1"), ("undefended", "8")] {
        let name = format!("{mode}{}", epsilon.replace('-', "m"));
        let text = LLM_PFT.replace("MODE", mode).replace("EPSILON", epsilon);
        std::fs::write(folder.join(format!("{name}.yml")), &text).unwrap();
        let (said, _) = json(folder, &["--from", &format!("{name}.yml")]);
        let keys = said["keys"].as_array().unwrap();
        assert_eq!(keys.len(), 4 + 5 + 7 + 3 + 2);
        for key in keys {
            let fate = key["fate"].as_str().unwrap();
            let known = ["used as ", "no counterpart: ", "so already: "];
            assert!(known.iter().any(|start| fate.starts_with(start)), "{key}");
        }
        let file = format!("{name}/{name}.yml");
        let written = std::fs::read_to_string(folder.join(&file)).unwrap();
        for part in ["learning_rate: 0.00001", "batch_size: 8", "epochs: 3", "max_length: 512"] {
            assert!(written.contains(part), "{part}: {written}");
        }
        assert!(written.contains("# trainer_args.deepspeed: no counterpart: a model trains in"));
        assert_eq!(written.contains("mask_token: \"<NAME>\""), mode == "scrubbed", "{written}");
        assert_eq!(written.contains("privacy.target_epsilon: 8"), epsilon == "8", "{written}");
        assert_eq!(written.contains("privacy.max_grad_norm: 0.5"), epsilon == "8", "{written}");
        let dry = run("pft-pipeline", &["run", &file, "--dry-run"], folder);
        assert_eq!(dry.code, 0, "{dry:?}");
    }
    // With a corpus of one's own in place of a data set that only a script knows.
    let text = LLM_PFT.replace("data/echr", "data/mine").replace("EPSILON", "8");
    std::fs::write(folder.join("own.yml"), text.replace("MODE", "undefended")).unwrap();
    let refused = init(folder, &["--from", "own.yml"]);
    assert!(refused.stderr.contains("init CORPUS --from own.yml"), "{}", refused.stderr);
    json(folder, &["notes.csv", "--from", "own.yml"]);
    let written = std::fs::read_to_string(folder.join("own/own.yml")).unwrap();
    for part in ["path: ../notes.csv", "unit_column: customer_id", "text_column: note"] {
        assert!(written.contains(part), "{part}: {written}");
    }
    assert_eq!(run("pft-pipeline", &["run", "own/own.yml", "--dry-run"], folder).code, 0);
}
