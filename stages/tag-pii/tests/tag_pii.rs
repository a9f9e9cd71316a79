//! The stage as a whole, through its library and through its binary.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use pft_artifact::{
    CorpusWriter, Document, Kind, Manifest, Split, TaggedDocument, TagsReader, count_rows,
    text_hash,
};
use pft_pii::rules::UserPattern;
use pft_stage::{Context, Stage, StageError};
use tag_pii::{Backend, Config, TagPii, merge};
use tempfile::TempDir;

const PARAGRAPHS: [&str; 4] = [
    "The applicant, Mr Żdzisław Przykładowy, was born on 2 May 1961 and lives in Karlstad.",
    "On 3 June 1999 PRZYKŁADOWY wrote to jan@example.pl about application no. 12345/67.",
    "Z. Przykładowy’s appeal to the Karlstad District Court was dismissed — 漢字, e\u{301}.",
    "No personal data here.",
];

fn document(n: usize) -> Document {
    let text = match PARAGRAPHS[n % 4] {
        text if n.is_multiple_of(3) => format!("{n}. {text}"),
        text => text.to_string(),
    };
    Document {
        doc_id: format!("d{n}"),
        unit_id: format!("u{}", n / 6),
        split: Split::Train,
        text,
        turns: Vec::new(),
    }
}

fn write_corpus(folder: &Path, documents: impl IntoIterator<Item = Document>) -> PathBuf {
    let path = folder.join("corpus");
    std::fs::create_dir_all(&path).unwrap();
    let mut writer = CorpusWriter::create(&path).unwrap();
    for document in documents {
        writer.push(&document).unwrap();
    }
    writer.finish().unwrap();
    let rows = count_rows(&path, Kind::Corpus).unwrap();
    Manifest::seal(&path, Kind::Corpus, rows, serde_json::Value::Null).unwrap();
    path
}

struct Run {
    result: Result<(), StageError>,
    metrics: BTreeMap<String, serde_json::Value>,
    output: PathBuf,
}

impl Run {
    fn rows(&self) -> Vec<TaggedDocument> {
        TagsReader::open(&self.output).unwrap().iter().map(Result::unwrap).collect()
    }

    fn newly_tagged(&self) -> u64 {
        self.metrics["newly_tagged_texts"]["rules"].as_u64().unwrap()
    }

    fn content_hash(&self) -> String {
        Manifest::open(&self.output).unwrap().content_hash
    }
}

fn run(config: Config, corpus: &Path, folder: &Path, output: &str, scratch: &str) -> Run {
    let output = folder.join(output);
    std::fs::create_dir_all(&output).unwrap();
    std::fs::create_dir_all(folder.join(scratch)).unwrap();
    let inputs = BTreeMap::from([("corpus".to_string(), corpus.to_path_buf())]);
    let outputs = BTreeMap::from([("tags".to_string(), output.clone())]);
    let context = Context::for_tests(inputs, outputs, &folder.join(scratch), 2);
    let result = TagPii::run(config, &context);
    if result.is_ok() {
        let rows = count_rows(&output, Kind::Tags).unwrap();
        Manifest::seal(&output, Kind::Tags, rows, serde_json::Value::Null).unwrap();
    }
    Run { result, metrics: context.metrics(), output }
}

#[test]
fn names_are_found_in_their_unit_and_nowhere_else() {
    let folder = TempDir::new().unwrap();
    let mut documents: Vec<Document> = (0..4).map(document).collect();
    let stranger = Document { unit_id: "other".into(), doc_id: "x".into(), ..document(1) };
    documents.push(stranger);
    let corpus = write_corpus(folder.path(), documents.clone());
    let run = run(Config::default(), &corpus, folder.path(), "tags", "scratch");
    run.result.as_ref().unwrap();
    let rows = run.rows();
    let found = |n: usize| -> Vec<(&str, &str)> {
        let text = &documents[n].text;
        rows[n].spans.iter().map(|s| (&text[s.start as usize..s.end as usize], &*s.label)).collect()
    };
    assert_eq!(
        rows.iter().map(|row| row.doc_id.as_str()).collect::<Vec<_>>(),
        ["d0", "d1", "d2", "d3", "x"]
    );
    assert!(
        rows.iter()
            .zip(&documents)
            .all(|(row, document)| row.text_hash == text_hash(&document.text))
    );
    assert!(found(0).contains(&("Mr Żdzisław Przykładowy", "PERSON")), "{:?}", found(0));
    assert!(found(1).contains(&("PRZYKŁADOWY", "PERSON")), "{:?}", found(1));
    assert!(found(1).contains(&("jan@example.pl", "EMAIL")), "{:?}", found(1));
    assert!(found(2).contains(&("Z. Przykładowy", "PERSON")), "{:?}", found(2));
    assert!(found(3).is_empty());
    assert!(!found(4).contains(&("PRZYKŁADOWY", "PERSON")), "another unit's names must not count");
}

#[test]
fn only_new_texts_are_tagged_and_parts_merge_to_the_whole() {
    let folder = TempDir::new().unwrap();
    let path = folder.path();
    let corpus = write_corpus(path, (0..300).map(document));
    let whole = run(Config::default(), &corpus, path, "whole", "scratch");
    whole.result.as_ref().unwrap();
    let distinct = whole.newly_tagged();
    let again = run(Config::default(), &corpus, path, "again", "scratch");
    assert_eq!(again.newly_tagged(), 0);
    assert_eq!(again.content_hash(), whole.content_hash());

    let grown = write_corpus(&path.join("grown"), (0..303).map(document));
    let more = run(Config::default(), &grown, path, "more", "scratch");
    assert_eq!(more.newly_tagged(), 1, "of d300, d301 and d302 only d300 has a new text");
    assert!(distinct > 1);

    let parts: Vec<PathBuf> = (1..=3)
        .map(|part| {
            let config = Config { shard: format!("{part}/3"), ..Config::default() };
            let run = run(config, &corpus, path, &format!("part{part}"), &format!("scratch{part}"));
            run.result.as_ref().unwrap();
            run.output
        })
        .collect();
    let merged = path.join("merged");
    assert_eq!(merge::merge(&corpus, &parts, &merged, false).unwrap(), 300);
    assert_eq!(Manifest::open(&merged).unwrap().content_hash, whole.content_hash());

    let missing = merge::merge(&corpus, &parts[1..], &path.join("missing"), false).unwrap_err();
    assert_eq!(missing.exit_code(), 3);
    assert!(!path.join("missing").exists());
    let twice = [&parts[..], &parts[..1]].concat();
    assert_eq!(
        merge::merge(&corpus, &twice, &path.join("twice"), false).unwrap_err().exit_code(),
        3
    );
}

/// Which of two lists is asked first decides the label, and must not decide what becomes of the text.
#[test]
fn the_tags_say_what_else_a_span_was_taken_for() {
    let folder = TempDir::new().unwrap();
    let text = "Paid on 12 May Kowalski said. Nothing else.".to_string();
    let corpus = write_corpus(folder.path(), [Document { text: text.clone(), ..document(0) }]);
    let words = |label: &str, phrase: &str| serde_json::json!({"label": label, "words": [phrase]});
    let config: Config = serde_json::from_value(serde_json::json!({
        "backends": [
            { "kind": "rules", "words": [words("PAYDAY", "12 May")] },
            { "kind": "rules", "disable": ["DATE"], "words": [words("PERSON", "May Kowalski")] },
        ],
    }))
    .unwrap();
    let run = run(config, &corpus, folder.path(), "tags", "scratch");
    run.result.as_ref().unwrap();
    let rows = run.rows();
    let span = &rows[0].spans[0];
    assert_eq!(&text[span.start as usize..span.end as usize], "12 May Kowalski");
    assert_eq!((&*span.label, span.score), ("PAYDAY", 1.0));
    let others: Vec<&str> = span.other_labels.as_deref().unwrap().split('+').collect();
    assert!(others.contains(&"PERSON"), "{others:?}");
}

/// `OCCUPATION` is a service's word for what is MISC here; as the user's own label it is itself, and
/// counts whatever `labels` says.
#[test]
fn labels_of_the_user_s_own_count_as_what_they_say() {
    let folder = TempDir::new().unwrap();
    let text = "She was a teacher, badge 77.".to_string();
    let corpus = write_corpus(folder.path(), [Document { text: text.clone(), ..document(0) }]);
    let config: Config = serde_json::from_value(serde_json::json!({
        "backends": [{
            "kind": "rules",
            "words": [{ "label": "OCCUPATION", "words": ["teacher"] }],
            "patterns": [{ "label": "PROJECT", "regex": "badge (?P<e>[0-9]+)" }],
        }],
        "labels": ["PERSON"],
    }))
    .unwrap();
    let run = run(config, &corpus, folder.path(), "tags", "scratch");
    run.result.as_ref().unwrap();
    let rows = run.rows();
    let found: Vec<(&str, &str)> = rows[0]
        .spans
        .iter()
        .map(|s| (&text[s.start as usize..s.end as usize], &*s.label))
        .collect();
    assert_eq!(found, [("teacher", "OCCUPATION"), ("77", "PROJECT")]);
}

#[test]
fn settings_that_cannot_work_are_refused_by_key() {
    let rules = |patterns| Backend::Rules {
        priority: None,
        disable: Vec::new(),
        patterns,
        words: Vec::new(),
    };
    let wrong = UserPattern { label: "X".into(), regex: "(".into() };
    let folder = TempDir::new().unwrap();
    let corpus = write_corpus(folder.path(), [document(0)]);
    let config =
        Config { backends: vec![rules(Vec::new()), rules(vec![wrong])], ..Config::default() };
    let error = run(config, &corpus, folder.path(), "tags", "scratch").result.unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.message().contains("backends.1") && error.message().contains("regex"), "{error}");
    let config = Config { labels: vec!["PERSON+ORG".into()], ..Config::default() };
    let error = run(config, &corpus, folder.path(), "tags", "scratch").result.unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.message().contains("PERSON+ORG"), "{error}");
    let json = |value: serde_json::Value| -> Config { serde_json::from_value(value).unwrap() };
    for (config, expected) in [
        (json(serde_json::json!({"labels": ["PER"]})), "\"PER\" is called \"PERSON\""),
        (json(serde_json::json!({"labels": ["Email"]})), "\"Email\" is called \"EMAIL\""),
        (json(serde_json::json!({"labels": []})), "nothing would be found"),
        (json(serde_json::json!({"ignore": [".*"]})), "matches any text"),
    ] {
        let error = run(config, &corpus, folder.path(), "tags", "scratch").result.unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.message().contains(expected), "{error}");
    }
    for config in [
        json(serde_json::json!({"label_map": {"PERSON": "NAME"}})),
        json(serde_json::json!({"ignore": [{"pattern": "x", "labels": ["PER"]}]})),
        Config { backends: Vec::new(), ..Config::default() },
        Config { min_score: 1.5, ..Config::default() },
        Config { shard: "3/2".into(), ..Config::default() },
    ] {
        assert_eq!(TagPii::validate(&config).unwrap_err().exit_code(), 2);
    }
}

#[test]
fn a_service_that_is_away_stops_the_run_and_names_the_document() {
    let folder = TempDir::new().unwrap();
    let corpus = write_corpus(folder.path(), [document(0)]);
    let away = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let connection = serde_json::json!({"retries": 1, "retry_delay_seconds": 0});
    for kind in ["presidio", "private-ai"] {
        let backend = serde_json::json!({"kind": kind, "url": format!("http://{away}"), "connection": connection});
        let config = |on_error: &str| -> Config {
            serde_json::from_value(serde_json::json!({"backends": [backend], "on_error": on_error}))
                .unwrap()
        };
        let stopped = run(config("stop"), &corpus, folder.path(), &format!("{kind}1"), "scratch");
        let error = stopped.result.unwrap_err();
        assert_eq!(error.exit_code(), 4);
        let message = error.to_string();
        assert!(message.contains("\"d0\"") && message.contains(kind), "{message}");
        assert!(!message.contains("Karlstad"), "{message}");
        let dropped = run(config("drop"), &corpus, folder.path(), &format!("{kind}2"), "scratch");
        dropped.result.as_ref().unwrap();
        assert_eq!(dropped.metrics["dropped_documents"], 1);
    }
}

#[test]
fn a_flair_model_tags_and_is_asked_once() {
    let folder = TempDir::new().unwrap();
    let corpus = write_corpus(folder.path(), (0..6).map(document));
    let model =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/ner/flair/stacked");
    let backend = serde_json::json!({"kind": "flair", "model": model});
    let config = || -> Config {
        serde_json::from_value(serde_json::json!({"backends": [backend]})).unwrap()
    };
    let first = run(config(), &corpus, folder.path(), "tags", "scratch");
    first.result.as_ref().unwrap();
    assert_eq!(first.metrics["newly_tagged_texts"]["flair"], 5, "d1 and d5 are equal");
    assert!(first.rows().iter().flat_map(|row| &row.spans).any(|span| &*span.source == "flair"));
    let again = run(config(), &corpus, folder.path(), "again", "scratch");
    assert_eq!(again.metrics["newly_tagged_texts"]["flair"], 0);
    assert_eq!(again.content_hash(), first.content_hash());
}

#[test]
fn example_configs_are_valid_and_keys_come_from_the_environment() {
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/tag-pii");
    let folder = TempDir::new().unwrap();
    let corpus = write_corpus(folder.path(), [document(3)]);
    let try_config = |name: &str, output: &str| {
        let mut command =
            binary(&corpus, &folder.path().join(output), &folder.path().join("scratch"), "1");
        command.arg("--config").arg(configs.join(name)).env_remove("PRIVATE_AI_API_KEY");
        command.args(["--set", "backends=[{kind: rules}]"]);
        command.output().unwrap()
    };
    for name in ["presidio.yml", "private-ai.yml"] {
        assert_eq!(try_config(name, name).status.code(), Some(0), "{name}");
    }
    let backend = serde_json::json!({"kind": "private-ai", "url": "http://127.0.0.1:9", "key_variable": "PFT_TEST_NO_SUCH_KEY"});
    let config = serde_json::from_value(serde_json::json!({"backends": [backend]})).unwrap();
    let error = run(config, &corpus, folder.path(), "tags", "scratch").result.unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.message().contains("key_variable"), "{error}");
}

/// Statutes stay readable by these configs, and people who are called like them do not.
#[test]
fn names_that_begin_like_a_statute_are_found() {
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/tag-pii");
    let text = "Mr Lawrence, Mrs Acton, Ms Rulewicz and Dr Jude Law wrote to lawson77@example.org and \
                code.red@example.org under the Section Act.";
    for name in ["default.yml", "fast.yml"] {
        let folder = TempDir::new().unwrap();
        let document = Document { text: text.into(), ..document(0) };
        let corpus = write_corpus(folder.path(), [document]);
        let output = folder.path().join("tags");
        let mut command = binary(&corpus, &output, &folder.path().join("scratch"), "1");
        command.arg("--config").arg(configs.join(name));
        command.args([
            "--set",
            "backends=[{kind: rules, words: [{label: ORG, words: [Section Act]}]}]",
        ]);
        let done = command.output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let row = TagsReader::open(&output).unwrap().iter().next().unwrap().unwrap();
        let found: Vec<&str> =
            row.spans.iter().map(|s| &text[s.start as usize..s.end as usize]).collect();
        let expected = [
            "Mr Lawrence",
            "Mrs Acton",
            "Ms Rulewicz",
            "Dr Jude Law",
            "lawson77@example.org",
            "code.red@example.org",
        ];
        assert_eq!(found, expected, "{name}");
    }
}

fn binary(corpus: &Path, output: &Path, scratch: &Path, threads: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tag-pii"));
    command
        .arg("--input")
        .arg(format!("corpus={}", corpus.display()))
        .arg("--output")
        .arg(output)
        .arg("--scratch")
        .arg(scratch)
        .args(["--threads", threads])
        .env_remove("PFT_TAG_CACHE")
        .env_remove("PFT_CACHE_DIR")
        .stderr(Stdio::piped());
    command
}

#[test]
fn killed_at_any_moment_a_rerun_gives_the_same_bits() {
    let folder = TempDir::new().unwrap();
    let path = folder.path();
    let large =
        |n: usize| Document { text: document(n).text.repeat(40) + &n.to_string(), ..document(n) };
    let corpus = write_corpus(path, (0..900).map(large));
    let hash = |output: &Path| Manifest::open(output).unwrap().content_hash;
    let (one, two) = (path.join("one"), path.join("two"));
    assert!(binary(&corpus, &one, &path.join("s1"), "1").status().unwrap().success());
    assert!(binary(&corpus, &two, &path.join("s2"), "2").status().unwrap().success());
    assert_eq!(hash(&one), hash(&two), "the number of threads changes nothing");

    let (output, scratch) = (path.join("killed"), path.join("s3"));
    for attempt in 1..=6 {
        let mut child = binary(&corpus, &output, &scratch, "2").spawn().unwrap();
        std::thread::sleep(Duration::from_millis(40 * attempt));
        let _ = child.kill();
        let _ = child.wait();
        assert!(!output.join("manifest.json").exists() || hash(&output) == hash(&one));
    }
    if !output.join("manifest.json").exists() {
        assert!(binary(&corpus, &output, &scratch, "2").status().unwrap().success());
    }
    assert_eq!(hash(&output), hash(&one));
}

/// The names of a unit decide what is tagged, so that equal texts of two units have tags of their own.
#[test]
fn a_gold_document_is_measured_by_its_own_tags() {
    let folder = TempDir::new().unwrap();
    let path = folder.path();
    let mail = "Then Zkowal left the room.";
    let document = |doc_id: &str, unit_id: &str, text: &str| Document {
        doc_id: doc_id.into(),
        unit_id: unit_id.into(),
        split: Split::Train,
        text: text.into(),
        turns: Vec::new(),
    };
    let corpus = write_corpus(
        path,
        [
            document("b1", "b", mail),
            document("a1", "a", "Mr Jan Zkowal came."),
            document("a2", "a", mail),
        ],
    );
    let tagged = run(Config::default(), &corpus, path, "tags", "scratch");
    tagged.result.as_ref().unwrap();
    let evaluate = |doc_id: &str| {
        let span = serde_json::json!({"start": 5, "end": 11, "type": "PERSON"});
        let gold = serde_json::json!({"doc_id": doc_id, "text": mail, "spans": [span]});
        std::fs::write(path.join("gold.jsonl"), gold.to_string()).unwrap();
        Command::new(env!("CARGO_BIN_EXE_tag-pii"))
            .args(["evaluate", "--json", "--gold"])
            .arg(path.join("gold.jsonl"))
            .arg("--tags")
            .arg(&tagged.output)
            .output()
            .unwrap()
    };
    for (doc_id, found) in [("a2", 1), ("b1", 0)] {
        let done = evaluate(doc_id);
        let report: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
        assert_eq!(report["mentions"]["found"], found, "{doc_id}");
    }
    let other = evaluate("other");
    assert_eq!(other.status.code(), Some(3));
    let message = String::from_utf8_lossy(&other.stderr).into_owned();
    assert!(message.contains("with different tags") && !message.contains("Zkowal"), "{message}");
}

#[test]
fn the_binary_evaluates_and_keeps_text_to_itself() {
    let folder = TempDir::new().unwrap();
    let gold = folder.path().join("gold.jsonl");
    let text = "Mr Jan Kowalski met Zyx in 1999.";
    let line = serde_json::json!({"doc_id": "a", "text": text, "spans": [
        {"start": 0, "end": 15, "type": "PERSON", "mask": true, "identifier_type": "DIRECT", "entity_id": "e1"},
        {"start": 20, "end": 23, "type": "MISC", "mask": true, "identifier_type": "QUASI", "entity_id": "e2"}]});
    std::fs::write(&gold, line.to_string()).unwrap();
    let config = folder.path().join("rules.yml");
    std::fs::write(&config, "backends:\n  - kind: rules\n").unwrap();
    let evaluate = |extra: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_tag-pii"))
            .args(["evaluate", "--gold"])
            .arg(&gold)
            .arg("--config")
            .arg(&config)
            .args(extra)
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, json) = evaluate(&["--json"]);
    assert_eq!(code, Some(0));
    let report: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["mentions"]["found"], 1);
    assert_eq!(report["direct_entities"]["recall"], 1.0);
    assert_eq!(report["quasi_entities"]["recall"], 0.0);
    assert!(!json.contains("Zyx"));
    let picture = folder.path().join("plot.svg");
    let (_, table) = evaluate(&["--show-text", "--plot", picture.to_str().unwrap()]);
    assert!(table.contains("Zyx"));
    assert!(std::fs::read_to_string(picture).unwrap().starts_with("<svg"));
    assert_eq!(evaluate(&["--label-set", "nonsense"]).0, Some(2));
}
