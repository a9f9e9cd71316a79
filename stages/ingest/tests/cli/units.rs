//! Units, splits and options: what one unit does never changes another.

use std::collections::BTreeMap;

use crate::common::{Workbench, fixture};
use ingest::split::{llm_pft_order, llm_pft_split};
use pft_artifact::{Document, Split};
use proptest::prelude::*;
use serde_json::Value;

fn fnv1a(numbers: &[u32]) -> String {
    let mut value: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in numbers.iter().flat_map(|number| number.to_le_bytes()) {
        value = (value ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{value:016x}")
}

#[test]
fn the_order_is_cpythons() {
    let text = std::fs::read_to_string(fixture("llm-pft-order.json")).unwrap();
    let expected: Value = serde_json::from_str(&text).unwrap();
    for case in expected["cases"].as_array().unwrap() {
        let count = case["count"].as_u64().unwrap() as u32;
        let order = llm_pft_order(count);
        assert_eq!(serde_json::json!(order[..10]), case["first"], "{count}");
        assert_eq!(fnv1a(&order), case["fnv1a"], "{count}");
        let last_train = case["train_end"].as_u64().unwrap() as u32 - 1;
        assert_eq!(llm_pft_split(last_train, count), Split::Train);
        assert_eq!(llm_pft_split(last_train + 1, count), Split::Test);
    }
    for border in expected["borders"].as_array().unwrap() {
        let [count, train, test] = [0, 1, 2].map(|i| border[i].as_u64().unwrap() as u32);
        let splits: Vec<Split> = (0..count).map(|p| llm_pft_split(p, count)).collect();
        let end = |split| splits.iter().rposition(|s| *s == split).map_or(0, |p| p as u32 + 1);
        assert_eq!(splits.iter().filter(|s| **s == Split::Train).count() as u32, train, "{count}");
        if test > train {
            assert_eq!(end(Split::Test), test, "{count}");
        }
    }
}

#[test]
fn the_llm_pft_preset_writes_that_order() {
    let bench = Workbench::new();
    let lines: String = (0..1000)
        .map(|i| format!("{{\"id\": \"{i}\", \"case\": \"{}\", \"text\": \"t{i}\"}}\n", i / 10))
        .collect();
    bench.write("a.jsonl", lines);
    let config = "path: a.jsonl\nid_column: id\nunit_column: case\nsplit: {by: llm-pft}\n";
    let finished = bench.run(config);
    assert!(finished.stderr.contains("warning: split.by: llm-pft"), "{}", finished.stderr);
    let corpus = finished.corpus();
    let ids: Vec<u32> = corpus.iter().map(|d| d.doc_id.parse().unwrap()).collect();
    assert_eq!(ids[..10], [935, 947, 475, 928, 125, 691, 190, 327, 257, 461]);
    assert_eq!(ids, llm_pft_order(1000));
    let count = |split| corpus.iter().filter(|d| d.split == split).count();
    assert_eq!(
        (count(Split::Train), count(Split::Test), count(Split::Validation)),
        (450, 100, 450)
    );
    let limited = bench.corpus(&format!("{config}limit: 20\n"));
    let train: Vec<&Document> = limited.iter().filter(|d| d.split == Split::Train).collect();
    assert_eq!(train.len(), 20);
    assert!(train.iter().zip(&corpus).all(|(a, b)| **a == *b));
    assert_eq!(limited.len(), 570);
}

#[test]
fn copies_stay_in_their_unit_and_options_combine() {
    let bench = Workbench::new();
    bench.write(
        "a.jsonl",
        "{\"u\": \"k\", \"text\": \"same\"}\n{\"u\": \"k\", \"text\": \"same\"}\n\
         {\"u\": \"l\", \"text\": \"same\"}\n{\"u\": \"l\", \"text\": \"no\"}\n{\"u\": \"m\", \"text\": \"late\"}\n",
    );
    let config = "path: a.jsonl\nunit_column: u\ndeduplicate: within_unit\nmin_chars: 3\n\
                  sample_duplication_rate: 2\nlimit: 2\n";
    let corpus = bench.corpus(config);
    let rows: Vec<(&str, &str)> =
        corpus.iter().map(|d| (d.doc_id.as_str(), d.unit_id.as_str())).collect();
    assert_eq!(rows, [("k/0", "k"), ("k/0~2", "k"), ("l/0", "l"), ("l/0~2", "l")]);
    assert_eq!(corpus[0].split, corpus[1].split);
}

#[test]
fn what_is_left_out_is_said() {
    let bench = Workbench::new();
    bench.write(
        "a.jsonl",
        "{\"text\": \"same\"}\n{\"text\": \"same\"}\n{\"text\": \"no\"}\n{\"text\": \"too long\"}\n",
    );
    let config = "path: a.jsonl\nmin_chars: 3\nmax_chars: 7\ndeduplicate: across_units\n";
    let said = bench.run(config).stderr;
    assert!(said.contains("ingest: 1 document: "), "{said}");
    let expected = "left out: 1 document shorter than min_chars (3), 1 document longer than \
                    max_chars (7), 1 duplicate\n";
    assert!(said.contains(expected), "{said}");
    assert!(said.contains("warning: 1 duplicate was removed across units"), "{said}");
    assert!(!bench.run("path: a.jsonl\n").stderr.contains("left out"));
}

#[test]
fn splits_come_from_columns_and_file_names() {
    let bench = Workbench::new();
    bench.write("train.jsonl", "{\"text\": \"a\", \"part\": \"test\"}\n");
    bench.write("dev-00.jsonl", "{\"text\": \"b\", \"part\": \"train\"}\n");
    let splits = |config: &str| -> Vec<Split> {
        let config = format!("path: [train.jsonl, dev-00.jsonl]\n{config}");
        bench.corpus(&config).iter().map(|d| d.split).collect()
    };
    assert_eq!(splits("split: {by: file}\n"), [Split::Train, Split::Validation]);
    assert_eq!(splits("split: {by: column, column: part}\n"), [Split::Test, Split::Train]);
}

/// Deleting one unit from the raw data removes its documents and changes nothing else, byte for
/// byte: ids, splits, texts and their order.
fn deleting_a_unit_changes_nothing_else(options: &str, with_ids: bool) {
    let bench = Workbench::new();
    let rows: Vec<(String, String)> = (0..300)
        .map(|i: u32| {
            let unit = format!("unit-{}", i.wrapping_mul(2_654_435_761) % 23);
            let fields = format!(
                "\"u\": \"{unit}\", \"text\": \"some text {}\"{}",
                i % 40,
                if with_ids { format!(", \"id\": \"d{i}\"") } else { String::new() }
            );
            (unit, format!("{{{fields}}}\n"))
        })
        .collect();
    let config = format!(
        "path: a.jsonl\nunit_column: u\n{}{options}",
        if with_ids { "id_column: id\n" } else { "" }
    );
    let ingest = |without: Option<&str>| -> Vec<Document> {
        let lines: String = rows
            .iter()
            .filter(|(unit, _)| Some(unit.as_str()) != without)
            .map(|(_, line)| line.as_str())
            .collect();
        bench.write("a.jsonl", lines);
        bench.corpus(&config)
    };
    let all = ingest(None);
    for unit in ["unit-0", "unit-7", "unit-22"] {
        let expected: Vec<Document> = all.iter().filter(|d| d.unit_id != unit).cloned().collect();
        assert!(expected.len() < all.len());
        assert_eq!(ingest(Some(unit)), expected);
    }
}

#[test]
fn deleting_a_unit_changes_nothing_else_with_given_ids() {
    deleting_a_unit_changes_nothing_else("", true);
}

#[test]
fn deleting_a_unit_changes_nothing_else_with_made_ids_duplicates_and_copies() {
    deleting_a_unit_changes_nothing_else(
        "deduplicate: within_unit\nsample_duplication_rate: 2\nsplit: {seed: 3}\n",
        false,
    );
}

/// The shipped configs: the embedded corpus as they are, real data by source and path alone.
#[test]
fn shipped_configs_turn_to_real_data_by_source_and_path() {
    let bench = Workbench::new();
    bench.write("judgments.jsonl", "{\"item_id\": \"001-5\", \"text\": \"The facts.\"}\n");
    bench.write("m.jsonl", "{\"path\": \"k/1\", \"from\": \"a@b.org\", \"body\": \"Hi.\"}\n");
    let shipped = |name: &str| {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs/ingest/");
        std::fs::read_to_string(format!("{folder}{name}")).unwrap()
    };
    let real = |name: &str, path: &str| {
        let config = shipped(name).replace("source: synthetic", "source: jsonl");
        let corpus = bench.corpus(&format!("{config}path: {path}\n"));
        (corpus[0].doc_id.clone(), corpus[0].unit_id.clone(), corpus[0].text.clone())
    };
    let row = |id: &str, unit: &str, text: &str| (id.into(), unit.into(), text.into());
    assert_eq!(real("echr.yml", "judgments.jsonl"), row("001-5", "001-5", "The facts."));
    assert_eq!(real("enron.yml", "m.jsonl"), row("k/1", "a@b.org", "Hi."));
    for name in ["echr.yml", "enron.yml"] {
        let finished = bench.run(&shipped(name));
        let corpus = finished.corpus();
        assert!(corpus.len() > 100);
        let tags = pft_artifact::TagsReader::open(&finished.output.join("tags")).unwrap();
        for (document, tagged) in corpus.iter().zip(tags.iter()) {
            let tagged = tagged.unwrap();
            assert_eq!(tagged.doc_id, document.doc_id);
            assert_eq!(tagged.text_hash, pft_artifact::text_hash(&document.text));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn json_and_csv_bring_back_any_text(texts in prop::collection::vec("[^\\x00]{1,40}", 1..30)) {
        let bench = Workbench::new();
        let mut json = String::new();
        let mut csv = "n,text\n".to_string();
        for (n, text) in texts.iter().enumerate() {
            json.push_str(&serde_json::json!({ "n": n, "text": text }).to_string());
            json.push('\n');
            csv.push_str(&format!("{n},\"{}\"\n", text.replace('"', "\"\"")));
        }
        bench.write("a.jsonl", json);
        bench.write("a.csv", csv);
        let expected: BTreeMap<String, String> =
            texts.iter().enumerate().map(|(n, text)| (n.to_string(), text.clone())).collect();
        for name in ["a.jsonl", "a.csv"] {
            let corpus = bench.corpus(&format!("path: {name}\nid_column: n\n"));
            let found: BTreeMap<String, String> =
                corpus.into_iter().map(|d| (d.doc_id, d.text)).collect();
            prop_assert_eq!(&found, &expected);
        }
    }
}

/// Nobody but the owner of the data knows whether they are one person.
#[test]
fn units_that_look_the_same_are_warned_of_without_their_names() {
    let bench = Workbench::new();
    let lines = |units: &[&str]| -> String {
        let row = |unit: &&str| serde_json::json!({ "who": unit, "text": format!("of {unit}") });
        units.iter().map(|unit| format!("{}\n", row(unit))).collect()
    };
    let config = "path: a.jsonl\nunit_column: who\nsplit: {train: 1, validation: 0, test: 0}\n";
    bench.write("a.jsonl", lines(&["Ann Lee", "ann lee", "Bo", "Ann\u{200b} Lee", "Ann Lee"]));
    let finished = bench.run(config);
    let warning = "warning: the ids of 2 units differ from another unit's in nothing but capitals";
    assert!(finished.stderr.contains(warning), "{}", finished.stderr);
    assert!(!finished.stderr.to_lowercase().contains("lee"), "{}", finished.stderr);
    let units: std::collections::BTreeSet<_> =
        finished.corpus().into_iter().map(|document| document.unit_id).collect();
    assert_eq!(units.len(), 4);
    bench.write("a.jsonl", lines(&["Ann Lee", "Bo", "Ann Lee"]));
    assert!(!bench.run(config).stderr.contains("warning: the ids"));
}
