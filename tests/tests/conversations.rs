//! Conversations from tickets to a bundle: what was trained on is what transformers makes of the same
//! turns with the bundle's own tokenizer, and what was scrubbed holds no name in any turn.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use pft_artifact::{CorpusReader, Document, TagsReader, TokensReader};
use pft_tests::{TINY_LLAMA, root, run_pipeline, stage};
use serde_json::{Value, json};

/// Runs a shipped pipeline with a tiny model on a few customers, and returns its result.
fn run(name: &str, more: &[&str], folder: &Path) -> Value {
    std::fs::write(folder.join("tiny.json"), TINY_LLAMA).unwrap();
    let file = root().join(format!("pipelines/{name}.yml")).to_string_lossy().into_owned();
    let mut arguments = vec![file.as_str()];
    for set in [
        "tickets.synthetic.units=30",
        "tags.backends=[{kind: rules}]",
        "tokens.max_length=256",
        "model.base_model=null",
        "model.random_init=tiny.json",
        "model.lora=null",
        "model.max_steps=3",
        "model.batch_size=4",
    ]
    .iter()
    .chain(more)
    {
        arguments.extend(["--set", set]);
    }
    run_pipeline(&arguments, folder)
}

fn folder_of(result: &Value, name: &str) -> PathBuf {
    stage(result, name)["path"].as_str().unwrap().into()
}

fn documents(corpus: &Path) -> Vec<Document> {
    CorpusReader::open(corpus).unwrap().iter().map(Result::unwrap).collect()
}

/// Where an output port of a stage lies.
fn port(result: &Value, name: &str, port: &str) -> PathBuf {
    let entry = stage(result, name);
    match entry["outputs"][port]["path"].as_str() {
        Some(path) => path.into(),
        None => folder_of(result, name),
    }
}

/// The Python of `PFT_PYTHON`, with transformers 4.57 and, where it lies beside, 5.24.
fn pythons() -> Vec<Command> {
    let Some(python) = std::env::var_os("PFT_PYTHON").map(PathBuf::from) else { return Vec::new() };
    let newer = python.parent().unwrap().join("../transformers5");
    let mut commands = vec![Command::new(&python)];
    if newer.is_dir() {
        let mut command = Command::new(&python);
        command.env("PYTHONPATH", newer);
        commands.push(command);
    }
    commands
}

const COMPARE: &str = r#"
import json, sys
from transformers import AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
rows = json.load(open(sys.argv[2]))
for row in rows:
    made = tokenizer.apply_chat_template(row["messages"], tokenize=True, return_dict=True)
    assert made["input_ids"] == row["ids"], row["id"]
print(len(rows))
"#;

#[test]
fn what_is_trained_on_is_what_the_bundle_s_template_makes() {
    let folder = tempfile::tempdir().unwrap();
    let result = run("support-sft-undefended", &[], folder.path());
    let corpus = documents(&port(&result, "tickets", "corpus"));
    let tokens = TokensReader::open(&folder_of(&result, "tokens")).unwrap();
    let mut examples: HashMap<String, Vec<Vec<u32>>> = HashMap::new();
    for example in tokens.iter() {
        let example = example.unwrap();
        assert_eq!(example.loss_mask.len(), example.input_ids.len());
        assert!(example.loss_mask.iter().any(|&learned| learned));
        assert!(!example.loss_mask[0]);
        examples.entry(example.doc_id).or_default().push(example.input_ids);
    }
    // Conversations that were not cut.
    let whole: Vec<Value> = corpus
        .iter()
        .filter_map(|document| {
            let [ids] = examples.get(&document.doc_id)?.as_slice() else { return None };
            let messages: Vec<Value> = document
                .turns
                .iter()
                .map(|turn| json!({ "role": turn.role, "content": document.text[turn.range()] }))
                .collect();
            // One example of a cut conversation has fewer ends of turns than there are turns.
            let ends = ids.iter().filter(|&&id| id == 2).count();
            (ends >= messages.len())
                .then(|| json!({ "id": document.doc_id, "messages": messages, "ids": ids }))
        })
        .collect();
    assert!(whole.len() >= 5, "{} conversations", whole.len());
    let file = folder.path().join("whole.json");
    std::fs::write(&file, json!(whole).to_string()).unwrap();
    for mut python in pythons() {
        let release = folder_of(&result, "release");
        let done = python.args(["-c", COMPARE]).arg(release).arg(&file).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        assert_eq!(String::from_utf8_lossy(&done.stdout).trim(), whole.len().to_string());
    }
}

/// What the tags name is in no turn of the scrubbed corpus at its place, and roles and numbers of turns
/// are as they were.
#[test]
fn scrubbed_conversations_keep_their_turns() {
    let folder = tempfile::tempdir().unwrap();
    let result = run("support-sft-scrubbed", &["held_out.max_length=256"], folder.path());
    let before = documents(&port(&result, "tickets", "corpus"));
    let after = documents(&port(&result, "clean", "corpus"));
    let tags: Vec<_> =
        TagsReader::open(&folder_of(&result, "tags")).unwrap().iter().map(Result::unwrap).collect();
    assert_eq!(before.len(), after.len());
    let mut replaced = 0;
    for ((before, after), tags) in before.iter().zip(&after).zip(&tags) {
        let roles = |document: &Document| -> Vec<_> {
            document.turns.iter().map(|turn| turn.role).collect()
        };
        assert_eq!(roles(before), roles(after));
        for span in &tags.spans {
            let holds =
                |turn: &&pft_artifact::Turn| turn.start <= span.start && span.end <= turn.end;
            let index = before.turns.iter().position(|turn| holds(&turn)).unwrap();
            let label = format!("{}_", span.label);
            assert!(after.text[after.turns[index].range()].contains(&label), "{label}");
            replaced += 1;
        }
    }
    assert!(replaced > 100, "{replaced} spans");
}
