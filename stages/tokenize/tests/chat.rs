//! Conversations as token ids: beside transformers, and what is learned, cut and flagged of them.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use pft_artifact::{Document, DocumentRow, Example, Role, SpanRow, Split, Turn};
use pft_stage::StageError;
use serde_json::Value;
use tokenize::{
    ChatConfig, Config, Cutter, LoadedTokenizer, LongConversation, Loss, Mode, Refused,
    SpecialTokensInText, load_tokenizer,
};

fn fixtures() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/chat"))
}

fn expected() -> Value {
    serde_json::from_slice(&std::fs::read(fixtures().join("expected.json")).unwrap()).unwrap()
}

fn config() -> Config {
    let path = fixtures().join("tokenizer.json");
    Config {
        tokenizer: path.to_string_lossy().as_ref().into(),
        bos_token: Some("<s>".into()),
        eos_token: Some("</s>".into()),
        max_length: 4096,
        chat: ChatConfig { date: Some("2024-07-26".into()), ..ChatConfig::default() },
        ..Config::default()
    }
}

fn tokenizer(template: &str) -> LoadedTokenizer {
    let mut loaded = load_tokenizer(&config()).unwrap();
    loaded.carried.insert("chat_template".into(), template.into());
    loaded
}

fn conversation(turns: &[(Role, &str)]) -> Document {
    let (text, turns) = Turn::join(turns.iter().copied()).unwrap();
    Document { doc_id: "c".into(), unit_id: "u".into(), split: Split::Train, text, turns }
}

fn examples(
    config: &Config,
    tokenizer: &LoadedTokenizer,
    document: &Document,
    spans: &[SpanRow<'_>],
) -> Result<Vec<Example>, StageError> {
    let cutter = Cutter::new(config, tokenizer);
    let cut = cutter.examples(DocumentRow::from(document), spans.iter().copied())?;
    let mut examples = Vec::new();
    cut.each(|row| {
        examples.push(Example {
            example_id: row.example_id.into(),
            doc_id: row.doc_id.into(),
            unit_id: row.unit_id.into(),
            split: row.split,
            input_ids: row.input_ids.into(),
            pii: row.pii.into(),
            context: row.context,
            loss_mask: row.loss_mask.into(),
        });
        Ok::<_, std::convert::Infallible>(())
    })
    .unwrap();
    Ok(examples)
}

/// Conversations of the reference that a template takes, each with its row.
fn rows(expected: &Value) -> Vec<(&Value, &str, Document)> {
    let rows = expected["rows"].as_array().unwrap().iter();
    rows.filter(|row| row["error"].is_null())
        .map(|row| {
            let template = expected["templates"][row["template"].as_str().unwrap()].as_str();
            let messages = row["messages"].as_array().unwrap().iter();
            let turns: Vec<(Role, &str)> = messages
                .map(|m| {
                    let role = Role::named(m["role"].as_str().unwrap()).unwrap();
                    (role, m["content"].as_str().unwrap())
                })
                .collect();
            (row, template.unwrap(), conversation(&turns))
        })
        .collect()
}

fn ids(row: &Value) -> Vec<u32> {
    row["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

/// With `keep` for all, and with `split`, the default, for those that hold no control token.
#[test]
fn ids_are_those_of_apply_chat_template() {
    let expected = expected();
    let control = ["<|im_end|>", "</s>"];
    let mut compared = 0;
    for (row, template, document) in rows(&expected) {
        let tokenizer = tokenizer(template);
        let holds_control = control.iter().any(|token| document.text.contains(token));
        for special_tokens_in_text in [SpecialTokensInText::Keep, SpecialTokensInText::Split] {
            let chat = ChatConfig { loss: Loss::All, ..config().chat };
            let config = Config { special_tokens_in_text, chat, ..config() };
            let made = examples(&config, &tokenizer, &document, &[]).unwrap();
            assert_eq!(made.len(), 1, "{row}");
            assert!(made[0].loss_mask.is_empty());
            let is_split = special_tokens_in_text == SpecialTokensInText::Split && holds_control;
            assert_eq!(made[0].input_ids != ids(row), is_split, "{}", row["template"]);
            compared += 1;
        }
    }
    assert!(compared > 180, "{compared}");
}

/// Text of a control token that people wrote is text: no id of a control token comes from it, and the
/// ids still decode to the same text.
#[test]
fn control_tokens_in_turns_are_text_unless_kept() {
    let expected = expected();
    let (row, template, document) = rows(&expected)
        .into_iter()
        .find(|(row, _, document)| row["template"] == "chatml" && document.text.contains("</s>"))
        .unwrap();
    let tokenizer = tokenizer(template);
    let is_control = |id: &&u32| {
        let added = tokenizer.tokenizer.get_added_tokens_decoder();
        added.get(id).is_some_and(|token| token.special)
    };
    let with = |special_tokens_in_text| {
        let config = Config { special_tokens_in_text, ..config() };
        examples(&config, &tokenizer, &document, &[])
    };
    let split = with(SpecialTokensInText::Split).unwrap().remove(0);
    // A system's turn of the template's own and two turns, each with a beginning and an end.
    assert_eq!(split.input_ids.iter().filter(is_control).count(), 6);
    let text = tokenizer.tokenizer.decode(&split.input_ids, false).unwrap();
    assert_eq!(text, row["text"].as_str().unwrap());
    let kept = with(SpecialTokensInText::Keep).unwrap().remove(0);
    assert_eq!(kept.input_ids.iter().filter(is_control).count(), 12);
    let refused = with(SpecialTokensInText::Refuse).unwrap_err();
    assert!(refused.message().contains("control token"), "{refused}");
    // Documents without turns too.
    let plain = Document { turns: Vec::new(), text: "a</s>b".into(), ..document.clone() };
    let made = examples(&config(), &tokenizer, &plain, &[]).unwrap().remove(0);
    assert_eq!(made.input_ids.iter().filter(is_control).count(), 1, "EOS at the end alone");
    let refuse = Config { special_tokens_in_text: SpecialTokensInText::Refuse, ..config() };
    assert!(examples(&refuse, &tokenizer, &plain, &[]).is_err());
}

#[test]
fn the_mask_of_generation_blocks_is_that_of_transformers() {
    let expected = expected();
    let mut compared = 0;
    for (row, template, document) in rows(&expected) {
        let Some(mask) = row["mask"].as_array() else { continue };
        let mask: Vec<bool> = mask.iter().map(|flag| flag.as_u64() == Some(1)).collect();
        let config = Config { special_tokens_in_text: SpecialTokensInText::Keep, ..config() };
        let made = examples(&config, &tokenizer(template), &document, &[]).unwrap();
        if mask.iter().any(|&learned| learned) {
            assert_eq!(made[0].loss_mask, mask, "{row}");
            compared += 1;
        } else {
            assert!(made.is_empty(), "nothing to learn");
        }
    }
    assert!(compared >= 22, "{compared}");
}

const CHATML: &str = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + \
                      '<|im_end|>\n' }}{% endfor %}";

/// In transformers such a mask counts from the macro's beginning.
#[test]
fn generation_blocks_may_stand_in_macros() {
    let template = "{% macro say(m) %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}\
                    {% generation %}{{ m.content }}<|im_end|>{% endgeneration %}{% else %}\
                    {{ m.content }}<|im_end|>{% endif %}{% endmacro %}\
                    {% for m in messages %}{{ say(m) }}{% endfor %}";
    let tokenizer = tokenizer(template);
    let chat = conversation(&[(Role::User, "a"), (Role::Assistant, "b"), (Role::User, "c")]);
    let made = examples(&config(), &tokenizer, &chat, &[]).unwrap().remove(0);
    assert_eq!(flagged(&tokenizer, &made.input_ids, &made.loss_mask), "b<|im_end|>");
}

/// The text of the tokens that are flagged.
fn flagged(tokenizer: &LoadedTokenizer, ids: &[u32], flags: &[bool]) -> String {
    let ids: Vec<u32> =
        ids.iter().zip(flags).filter(|(_, flag)| **flag).map(|(id, _)| *id).collect();
    tokenizer.tokenizer.decode(&ids, false).unwrap()
}

#[test]
fn without_generation_blocks_answers_are_the_assistant_s_turns_and_their_ends() {
    let tokenizer = tokenizer(CHATML);
    let chat = conversation(&[
        (Role::User, "assistant"),
        (Role::Assistant, "user"),
        (Role::User, " b "),
        (Role::Assistant, " é\n"),
    ]);
    let made = examples(&config(), &tokenizer, &chat, &[]).unwrap().remove(0);
    let learned = flagged(&tokenizer, &made.input_ids, &made.loss_mask);
    assert_eq!(learned, "user<|im_end|>é\n<|im_end|>");
    let silent = conversation(&[(Role::User, "a"), (Role::User, "b")]);
    assert!(examples(&config(), &tokenizer, &silent, &[]).unwrap().is_empty());
}

/// Personal data is where it was, whatever the template put around it.
#[test]
fn personal_data_is_flagged_in_the_turns_that_hold_it() {
    let expected = expected();
    let template = |name: &str| expected["templates"][name].as_str().unwrap().to_string();
    let chat = conversation(&[
        (Role::System, "Be kind to Zoë"),
        (Role::User, "  Ömer here, is Zoë in?  "),
        (Role::Assistant, "<think>\nÖmer?\n</think>\n\nYes, Ömer"),
    ]);
    let spans: Vec<SpanRow<'_>> = ["Zoë", "Ömer"]
        .iter()
        .flat_map(|name| chat.text.match_indices(name))
        .map(|(at, name)| SpanRow {
            start: at as u32,
            end: (at + name.len()) as u32,
            label: "PERSON",
            score: 1.0,
            source: "t",
            other_labels: None,
        })
        .collect();
    let mut spans = spans;
    spans.sort_by_key(|span| span.start);
    for name in ["chatml", "instruct", "headers", "thoughts", "generation", "turns"] {
        let tokenizer = tokenizer(&template(name));
        let made = examples(&config(), &tokenizer, &chat, &spans).unwrap().remove(0);
        let found = flagged(&tokenizer, &made.input_ids, &made.pii);
        let words: Vec<&str> = found.split_whitespace().collect();
        let count = |name: &str| words.concat().matches(name).count();
        // That template knows a system's turn in other places only.
        let zoe = if name == "thoughts" { 1 } else { 2 };
        assert_eq!((count("Zoë"), count("Ömer")), (zoe, 3), "{name}: {found}");
        assert!(words.concat().chars().count() <= 20, "{name}: {found}");
    }
}

#[test]
fn long_conversations_are_cut_at_tokens_or_at_turns_or_left_out() {
    let tokenizer = tokenizer(CHATML);
    let long = "long ".repeat(30);
    let chat = conversation(&[
        (Role::System, "s"),
        (Role::User, "one"),
        (Role::Assistant, "1"),
        (Role::User, &long),
        (Role::Assistant, "2"),
        (Role::User, "three"),
        (Role::Assistant, "3"),
        (Role::User, "four"),
        (Role::User, "more"),
        (Role::Assistant, "4"),
    ]);
    let with = |long, max_length| {
        let chat = ChatConfig { long, ..config().chat };
        Config { max_length, chat, ..config() }
    };
    let text = |example: &Example| tokenizer.tokenizer.decode(&example.input_ids, false).unwrap();
    let whole = examples(&config(), &tokenizer, &chat, &[]).unwrap().remove(0);
    let cut = examples(&with(LongConversation::Truncate, 60), &tokenizer, &chat, &[]).unwrap();
    assert_eq!(cut[0].input_ids, whole.input_ids[..60]);
    assert_eq!(cut[0].loss_mask, whole.loss_mask[..60]);
    let out = examples(&with(LongConversation::LeaveOut, 60), &tokenizer, &chat, &[]).unwrap();
    assert!(out.is_empty());
    let pieces = examples(&with(LongConversation::Split, 100), &tokenizer, &chat, &[]).unwrap();
    let texts: Vec<String> = pieces.iter().map(text).collect();
    let turn = |role: &str, content: &str| format!("<|im_start|>{role}\n{content}<|im_end|>\n");
    let say = |turns: &[(&str, &str)]| -> String {
        turns.iter().map(|(role, content)| turn(role, content)).collect()
    };
    let system = ("system", "s");
    let expected = [
        say(&[system, ("user", "one"), ("assistant", "1")]),
        say(&[
            system,
            ("user", "three"),
            ("assistant", "3"),
            ("user", "four"),
            ("user", "more"),
            ("assistant", "4"),
        ]),
    ];
    assert_eq!(texts, expected);
    assert!(pieces.iter().all(|piece| piece.input_ids.len() <= 100));
    assert_eq!(pieces[1].example_id, "c#1");
}

#[test]
fn what_cannot_be_rendered_is_refused_or_left_out() {
    let alternate = "{% if messages[0].role != 'user' %}{{ raise_exception('users first') }}\
                     {% endif %}{% for m in messages %}{{ m.content + '</s>' }}{% endfor %}";
    let bad = conversation(&[(Role::Assistant, "Ekdal"), (Role::User, "b")]);
    let error = examples(&config(), &tokenizer(alternate), &bad, &[]).unwrap_err();
    assert_eq!(error.exit_code(), 3);
    assert!(
        error.message().contains("users first") && error.message().contains("\"c\""),
        "{error}"
    );
    let chat = ChatConfig { refused: Refused::LeaveOut, ..config().chat };
    let leave_out = Config { chat, ..config() };
    assert!(examples(&leave_out, &tokenizer(alternate), &bad, &[]).unwrap().is_empty());
    // A template that looks into the text, and text that holds marks.
    let looks =
        "{% for m in messages %}{{ 'x' if m.content[0] == 'E' else m.content }}{% endfor %}";
    let good = conversation(&[(Role::User, "b"), (Role::Assistant, "Ekdal")]);
    let error = examples(&config(), &tokenizer(looks), &good, &[]).unwrap_err();
    assert!(error.message().contains("looks into the turns"), "{error}");
    let marks = conversation(&[(Role::User, "\u{100001}"), (Role::Assistant, "x")]);
    assert!(examples(&config(), &tokenizer(CHATML), &marks, &[]).is_err());
    // Settings and tokenizers that do not go with conversations.
    let blocks = Config { mode: Mode::Blocks, ..config() };
    let error = examples(&blocks, &tokenizer(CHATML), &good, &[]).unwrap_err();
    assert!(error.message().contains("mode: blocks"), "{error}");
    let bare = load_tokenizer(&config()).unwrap();
    let error = examples(&config(), &bare, &good, &[]).unwrap_err();
    assert!(error.message().contains("chat.template"), "{error}");
    let error = examples(&config(), &tokenizer("{% for %}"), &good, &[]).unwrap_err();
    assert!(error.message().contains("template"), "{error}");
    assert!(!error.message().contains("Ekdal"), "{error}");
}
