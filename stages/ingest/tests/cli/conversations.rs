//! Rows that are conversations, or that several columns make, in every format.

use std::fs::File;
use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Fields};
use parquet::arrow::ArrowWriter;
use pft_artifact::{Document, Role};

use crate::common::{Workbench, columns};

/// What is said in each document, and by whom.
fn said(corpus: &[Document]) -> Vec<Vec<(Role, &str)>> {
    let turns = |document: &'_ Document| {
        document.turns.iter().map(|turn| (turn.role, turn.range())).collect::<Vec<_>>()
    };
    corpus
        .iter()
        .map(|d| turns(d).into_iter().map(|(role, range)| (role, &d.text[range])).collect())
        .collect()
}

const QUESTION: (Role, &str) = (Role::User, "Where is it?");
const ANSWER: (Role, &str) = (Role::Assistant, "On its way — naïve\n\nyou.");

/// The same conversation in every layout and format.
#[test]
fn one_conversation_in_many_layouts_is_one() {
    let bench = Workbench::new();
    let answer = "On its way — naïve\\n\\nyou.";
    let question = "Where is it?";
    let rows = [
        format!(
            r#"{{"messages": [{{"role": "user", "content": "{question}"}}, {{"role": "assistant", "content": "{answer}", "tool_calls": null}}]}}"#
        ),
        format!(
            r#"{{"conversations": [{{"from": "human", "value": "{question}"}}, {{"from": "gpt", "value": "{answer}"}}]}}"#
        ),
        format!(
            r#"{{"messages": [{{"role": "User", "content": [{{"type": "text", "text": "{question}"}}]}}, {{"role": "agent", "content": "{answer}"}}]}}"#
        ),
        format!(r#"{{"prompt": "{question}", "completion": "{answer}"}}"#),
        format!(
            r#"{{"prompt": [{{"role": "user", "content": "{question}"}}], "completion": [{{"role": "assistant", "content": "{answer}"}}]}}"#
        ),
        format!(r#"{{"instruction": "{question}", "input": "", "output": "{answer}"}}"#),
        format!(r#"{{"instruction": "{question}", "response": "{answer}"}}"#),
    ];
    for (number, row) in rows.iter().enumerate() {
        for (name, contents) in [
            (format!("{number}.jsonl"), format!("{row}\n{}\n", row.replace("Where", "When"))),
            (format!("{number}.json"), format!("[{row},\n {}]", row.replace("Where", "When"))),
        ] {
            bench.write(&name, contents);
            let corpus = bench.corpus(&format!("path: {name}\nconversation: {{}}\n"));
            let said = said(&corpus);
            assert_eq!(said[0], [QUESTION, ANSWER], "{row}");
            assert_eq!(said[1][0].1, "When is it?");
            assert_eq!(corpus[0].text, format!("{}\n\n{}", QUESTION.1, ANSWER.1));
        }
    }
}

#[test]
fn columns_have_the_names_that_settings_give_and_may_be_nested() {
    let bench = Workbench::new();
    bench.write(
        "a.jsonl",
        r#"{"ticket": {"q": "Q", "a": "A", "who": {"id": 7}}, "rules": "Be kind", "n": 1}
{"ticket": {"q": "Q2", "a": "A2", "who": {"id": 7}}, "rules": null, "n": 2}
"#,
    );
    let corpus = bench.corpus(
        "path: a.jsonl\nunit_column: ticket.who.id\nid_column: n\n\
         conversation: { format: prompt, prompt: ticket.q, completion: ticket.a, system: rules }\n",
    );
    let expected = [
        vec![(Role::System, "Be kind"), (Role::User, "Q"), (Role::Assistant, "A")],
        vec![(Role::User, "Q2"), (Role::Assistant, "A2")],
    ];
    assert_eq!(said(&corpus), expected);
    assert_eq!((corpus[0].unit_id.as_str(), corpus[1].doc_id.as_str()), ("7", "2"));
    // An input belongs to its instruction.
    bench.write("b.jsonl", r#"{"instruction": "Sum", "input": "1 2", "output": "3"}"#);
    let corpus = bench.corpus("path: b.jsonl\nconversation: {}\n");
    assert_eq!(said(&corpus)[0][0], (Role::User, "Sum\n\n1 2"));
    // Documents that are no conversations.
    let texts = bench.corpus("path: a.jsonl\ntext_columns: [ticket.q, ticket.a]\n");
    assert_eq!((texts[1].text.as_str(), texts[1].turns.len()), ("Q2\n\nA2", 0));
    let text = bench.corpus("path: a.jsonl\ntext_column: ticket.a\nid_column: n\n");
    assert_eq!(columns(&text), [("1", "1", "A"), ("2", "2", "A2")]);
}

/// Messages as a list of structs, and ids in structs; a struct that is null has null in it.
#[test]
fn parquet_has_lists_of_structs() {
    let bench = Workbench::new();
    let (role, content) = (
        StringArray::from(vec![Some("user"), Some("assistant"), Some("user"), Some("assistant")]),
        LargeStringArray::from(vec![Some(QUESTION.1), Some(ANSWER.1), Some("12"), Some("007")]),
    );
    let fields = Fields::from(vec![
        Field::new("role", DataType::Utf8, true),
        Field::new("content", DataType::LargeUtf8, true),
        Field::new("tool_calls", DataType::Utf8, true),
    ]);
    let calls = StringArray::from(vec![None::<&str>; 4]);
    let messages = StructArray::new(
        fields.clone(),
        vec![Arc::new(role), Arc::new(content), Arc::new(calls)],
        None,
    );
    let item = Arc::new(Field::new("item", DataType::Struct(fields), true));
    let offsets = OffsetBuffer::new(ScalarBuffer::from(vec![0, 2, 4]));
    let messages = ListArray::new(item, offsets, Arc::new(messages), None);
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![3, 4]));
    let customer = StructArray::new(
        Fields::from(vec![Field::new("id", DataType::Int64, true)]),
        vec![ids],
        None,
    );
    let batch = RecordBatch::try_from_iter(vec![
        ("customer", Arc::new(customer) as ArrayRef),
        ("messages", Arc::new(messages) as ArrayRef),
    ])
    .unwrap();
    let file = File::create(bench.path().join("a.parquet")).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let corpus = bench.corpus("path: a.parquet\nconversation: {}\nunit_column: customer.id\n");
    assert_eq!(said(&corpus)[0], [QUESTION, ANSWER]);
    assert_eq!(said(&corpus)[1], [(Role::User, "12"), (Role::Assistant, "007")]);
    assert_eq!(corpus[1].unit_id, "4");
    let finished = bench.run("path: a.parquet\nconversation: {}\nunit_column: customer.no\n");
    assert!(finished.failure(3).contains("customer.no"), "{}", finished.stderr);
    // Without the setting the way is shown.
    let finished = bench.run("path: a.parquet\ntext_column: messages\n");
    assert_eq!(finished.code, 3);
}

#[test]
fn csv_has_prompts_and_completions() {
    let bench = Workbench::new();
    bench.write("a.csv", "prompt,completion,who\nQ,\"A\nB\",x\n");
    let corpus = bench.corpus("path: a.csv\nconversation: {}\nunit_column: who\n");
    assert_eq!(said(&corpus), [[(Role::User, "Q"), (Role::Assistant, "A\nB")]]);
}

/// Each is refused with its place and without a word of its text, or left out and counted.
#[test]
fn what_is_no_conversation_is_refused_or_counted() {
    let good = r#"{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho"}]}"#;
    let bad = [
        (
            r#"[{"role": "Ekdal", "content": "a"}, {"role": "assistant", "content": "b"}]"#,
            "turn 1 has a role",
        ),
        (r#"[{"content": "Ekdal"}, {"role": "assistant", "content": "b"}]"#, "turn 1 has no role"),
        (
            r#"[{"role": "user", "content": "Ekdal"}, {"role": "assistant", "content": " "}]"#,
            "turn 2 is empty",
        ),
        (
            r#"[{"role": "user", "content": null}, {"role": "assistant", "content": "b"}]"#,
            "turn 1 has no text",
        ),
        (r#"[{"role": "user", "content": "Ekdal"}]"#, "no turn is an answer"),
        ("[]", "no turn is an answer"),
        (
            r#"[{"role": "assistant", "content": "b", "tool_calls": [{"name": "Ekdal"}]}]"#,
            "calls tools",
        ),
        (
            r#"[{"role": "assistant", "content": [{"type": "image_url", "image_url": "x"}]}]"#,
            "has no text",
        ),
    ];
    for (messages, reason) in bad {
        let bench = Workbench::new();
        bench.write("a.jsonl", format!("{good}\n{{\"messages\": {messages}}}\n"));
        let finished = bench.run("path: a.jsonl\nconversation: {}\n");
        let said = finished.failure(3);
        assert!(said.contains("a.jsonl:2") && said.contains(reason), "{said}");
        assert!(!said.contains("Ekdal"), "{said}");
        let finished = bench.run("path: a.jsonl\nconversation: { broken: leave_out }\n");
        assert_eq!(finished.corpus().len(), 1);
        assert!(
            finished.stderr.contains("1 conversation that cannot be learned"),
            "{}",
            finished.stderr
        );
    }
    let bench = Workbench::new();
    bench.write("a.jsonl", format!("{good}\n{}\n", good.replace("\"user\"", "\"Ekdal\"")));
    let corpus = bench.corpus("path: a.jsonl\nconversation: { roles: { Ekdal: user } }\n");
    assert_eq!(said(&corpus)[1][0].0, Role::User);
    let finished = bench.run("path: a.jsonl\nconversation: { roles: { Ekdal: boss } }\n");
    assert!(finished.failure(2).contains("boss"));
}

/// For every source of rows.
#[test]
fn rows_without_text_are_left_out_and_counted_by_a_setting() {
    let bench = Workbench::new();
    bench.write(
        "a.jsonl",
        "{\"text\": \"x\", \"id\": 1}\n{\"text\": null, \"id\": 2}\n{\"id\": 3}\n",
    );
    bench.write("b.json", "[{\"text\": \"x\"}, {\"text\": null}, {}]");
    bench.write(
        "c.jsonl",
        "{\"messages\": null}\n{\"messages\": [{\"role\": \"assistant\", \"content\": \"x\"}]}\n",
    );
    for config in [
        "path: a.jsonl\nid_column: id\n",
        "path: b.json\n",
        "path: a.jsonl\ntext_columns: [text]\n",
        "path: c.jsonl\nconversation: {}\n",
    ] {
        let finished = bench.run(config);
        assert!(finished.failure(3).contains("missing or null"), "{}", finished.stderr);
        let finished = bench.run(&format!("{config}missing_text: leave_out\n"));
        assert_eq!(finished.corpus().len(), 1, "{config}");
        assert!(finished.stderr.contains("without text"), "{}", finished.stderr);
    }
}

#[test]
fn settings_that_do_not_go_together_are_refused() {
    let bench = Workbench::new();
    bench.write("a.jsonl", "{\"prompt\": \"x\"}\n");
    for (config, said) in [
        ("conversation: {}\ntext_columns: [a]\n", "text_columns and conversation"),
        ("conversation: {}\ntext_format: mail\n", "text_format"),
        ("conversation: {}\nsplit: { by: llm-pft }\n", "llm-pft"),
        ("text_columns: []\n", "empty"),
        ("source: text\nconversation: {}\n", "source text"),
    ] {
        let finished = bench.run(&format!("path: a.jsonl\n{config}"));
        assert!(finished.failure(2).contains(said), "{}", finished.stderr);
    }
    let finished = bench.run("path: a.jsonl\nconversation: {}\n");
    assert!(finished.failure(3).contains("completion"), "{}", finished.stderr);
}

/// Ten megabytes of one message, NUL characters, and a file cut off.
#[test]
fn awkward_conversations_are_read_or_refused() {
    let bench = Workbench::new();
    let long = "x".repeat(10 << 20);
    let row = |content: &str| {
        format!(
            r#"{{"messages": [{{"role": "user", "content": "{content}"}}, {{"role": "assistant", "content": "A"}}]}}"#
        )
    };
    bench.write("a.jsonl", row(&long));
    assert_eq!(bench.corpus("path: a.jsonl\nconversation: {}\n")[0].turns[0].end, 10 << 20);
    bench.write("b.jsonl", row("a\\u0000b"));
    let finished = bench.run("path: b.jsonl\nconversation: {}\n");
    assert!(finished.failure(3).contains("NUL"));
    let corpus = bench.corpus("path: b.jsonl\nconversation: {}\ninvalid_text: repair\n");
    assert_eq!(said(&corpus)[0], [(Role::User, "ab"), (Role::Assistant, "A")]);
    bench.write("c.json", format!("[{}", row("a")));
    let finished = bench.run("path: c.json\nconversation: {}\n");
    assert!(finished.failure(3).contains("no list that JSON has"), "{}", finished.stderr);
    bench.write("d.json", "[1, 2]");
    assert!(bench.run("path: d.json\n").failure(3).contains("entry 1"));
}
