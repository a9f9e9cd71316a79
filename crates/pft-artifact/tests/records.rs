//! Records survive a round trip through Parquet, and broken ones are refused.

use pft_artifact::{
    CorpusReader, CorpusWriter, Document, Example, Kind, Manifest, Role, Span, SpanRow, Split,
    TaggedDocument, TagsReader, TagsWriter, TokensReader, TokensWriter, Turn,
};
use proptest::prelude::*;

fn span() -> impl Strategy<Value = (u32, u32, String, f32)> {
    (1u32..20, 1u32..20, "[A-Z]{1,8}", 0f32..1.0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn documents_round_trip(texts in prop::collection::vec(any::<String>(), 0..40)) {
        let folder = tempfile::tempdir().unwrap();
        let documents: Vec<Document> = texts
            .into_iter()
            .enumerate()
            .map(|(i, text)| Document {
                doc_id: format!("d{i}"),
                unit_id: format!("u{}", i / 3),
                split: [Split::Train, Split::Validation, Split::Test][i % 3],
                text,
                turns: Vec::new(),
            })
            .collect();
        let mut writer = CorpusWriter::create(folder.path()).unwrap();
        documents.iter().for_each(|d| writer.push(d).unwrap());
        let rows = writer.finish().unwrap();
        Manifest::seal(folder.path(), Kind::Corpus, rows, serde_json::Value::Null).unwrap();
        let reader = CorpusReader::open(folder.path()).unwrap();
        prop_assert_eq!(reader.num_rows() as usize, documents.len());
        let read: Vec<Document> = reader.iter().map(Result::unwrap).collect();
        prop_assert_eq!(&read, &documents);
        let stored = reader.stored().map(|document| document.unwrap().row().to_document());
        prop_assert_eq!(stored.collect::<Vec<_>>(), documents);
    }

    #[test]
    fn conversations_round_trip(
        rows in prop::collection::vec(
            prop::collection::vec((0..Role::ALL.len(), any::<String>()), 1..6), 1..20)
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut contents = Vec::new();
        let mut documents = Vec::new();
        for (i, turns) in rows.into_iter().enumerate() {
            let turns: Vec<_> = turns.into_iter().map(|(r, text)| (Role::ALL[r], text)).collect();
            let (text, spans) = Turn::join(turns.iter().map(|(r, text)| (*r, text))).unwrap();
            let (doc_id, unit_id) = (format!("d{i}"), format!("u{i}"));
            documents.push(Document { doc_id, unit_id, split: Split::Train, text, turns: spans });
            contents.push(turns);
        }
        let mut writer = CorpusWriter::create(folder.path()).unwrap();
        documents.iter().for_each(|d| writer.push(d).unwrap());
        let rows = writer.finish().unwrap();
        Manifest::seal(folder.path(), Kind::Corpus, rows, serde_json::Value::Null).unwrap();
        let reader = CorpusReader::open(folder.path()).unwrap();
        let stored: Vec<_> = reader.stored().map(Result::unwrap).collect();
        for (stored, turns) in stored.iter().zip(contents) {
            let row = stored.row();
            let said: Vec<_> = row.turns.iter()
                .map(|turn| (turn.role, row.text[turn.range()].to_string()))
                .collect();
            prop_assert_eq!(said, turns);
        }
        prop_assert_eq!(reader.iter().map(Result::unwrap).collect::<Vec<_>>(), documents);
    }

    #[test]
    fn tags_round_trip(rows in prop::collection::vec(prop::collection::vec(span(), 0..5), 0..20)) {
        let folder = tempfile::tempdir().unwrap();
        let records: Vec<TaggedDocument> = rows
            .into_iter()
            .enumerate()
            .map(|(i, spans)| {
                let mut at = 0;
                let spans = spans
                    .into_iter()
                    .map(|(gap, length, label, score)| {
                        let start = at + gap;
                        at = start + length;
                        let other_labels = (length % 5 == 0).then(|| "DATE+ORG".into());
                        let (label, source) = (label.into(), "rules".into());
                        Span { start, end: at, label, score, source, other_labels }
                    })
                    .collect();
                TaggedDocument { doc_id: format!("d{i}"), text_hash: "00".repeat(32), spans }
            })
            .collect();
        let mut writer = TagsWriter::create(folder.path()).unwrap();
        records.iter().for_each(|r| writer.push(r).unwrap());
        let count = writer.finish().unwrap();
        Manifest::seal(folder.path(), Kind::Tags, count, serde_json::Value::Null).unwrap();
        let reader = TagsReader::open(folder.path()).unwrap();
        let read: Vec<TaggedDocument> = reader.iter().map(Result::unwrap).collect();
        prop_assert_eq!(&read, &records);
        let stored: Vec<_> = reader.stored().map(Result::unwrap).collect();
        prop_assert_eq!(stored.len(), records.len());
        for (stored, record) in stored.iter().zip(&records) {
            prop_assert_eq!(stored.doc_id(), &record.doc_id);
            prop_assert_eq!(stored.text_hash(), &record.text_hash);
            prop_assert!(stored.spans().eq(record.spans.iter().map(SpanRow::from)));
        }
    }

    #[test]
    fn examples_round_trip(rows in prop::collection::vec(
        prop::collection::vec((any::<u32>(), any::<bool>()), 1..50), 0..20),
        masked in any::<bool>(),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let records: Vec<Example> = rows
            .into_iter()
            .enumerate()
            .map(|(i, tokens)| Example {
                example_id: format!("d{i}#0"),
                doc_id: format!("d{i}"),
                unit_id: format!("u{i}"),
                split: Split::Train,
                input_ids: tokens.iter().map(|t| t.0).collect(),
                pii: tokens.iter().map(|t| t.1).collect(),
                context: tokens.len() as u32 / 2,
                loss_mask: match masked {
                    true => tokens.iter().map(|t| t.0 % 3 == 0).collect(),
                    false => Vec::new(),
                },
            })
            .collect();
        let mut writer = TokensWriter::create(folder.path()).unwrap();
        records.iter().for_each(|r| writer.push(r).unwrap());
        let count = writer.finish().unwrap();
        Manifest::seal(folder.path(), Kind::Tokens, count, serde_json::Value::Null).unwrap();
        let read: Vec<Example> =
            TokensReader::open(folder.path()).unwrap().iter().map(Result::unwrap).collect();
        prop_assert_eq!(read, records);
    }
}

/// Rows are encoded some at a time, kept in groups, and read in batches; all of them come back in order,
/// whether many rows or many bytes fill a group.
#[test]
fn rows_of_many_groups_come_back_in_order() {
    for (count, bytes) in [(40_000, 20), (700, 70_000)] {
        let folder = tempfile::tempdir().unwrap();
        let document = |number: usize| Document {
            doc_id: number.to_string(),
            unit_id: "u".into(),
            split: Split::Train,
            text: format!("{number} ").repeat(bytes / 4),
            turns: Vec::new(),
        };
        let mut writer = CorpusWriter::create(folder.path()).unwrap();
        (0..count).for_each(|number| writer.push(&document(number)).unwrap());
        let rows = writer.finish().unwrap();
        Manifest::seal(folder.path(), Kind::Corpus, rows, serde_json::Value::Null).unwrap();
        let reader = CorpusReader::open(folder.path()).unwrap();
        assert_eq!(reader.num_rows(), count as u64);
        let mut read = reader.iter();
        assert!((0..count).all(|number| read.next().unwrap().unwrap() == document(number)));
        assert!(read.next().is_none());
    }
}

fn tagged(spans: &[(u32, u32)]) -> TaggedDocument {
    TaggedDocument {
        doc_id: "case-7".into(),
        text_hash: "00".repeat(32),
        spans: spans
            .iter()
            .map(|&(start, end)| Span {
                start,
                end,
                label: "PERSON".into(),
                score: 1.0,
                source: "rules".into(),
                other_labels: None,
            })
            .collect(),
    }
}

#[test]
fn overlapping_or_empty_spans_are_refused_with_the_document_id() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = TagsWriter::create(folder.path()).unwrap();
    for spans in [&[(0, 5), (4, 8)][..], &[(3, 3)], &[(5, 8), (0, 2)]] {
        let message = writer.push(&tagged(spans)).unwrap_err().to_string();
        assert!(message.contains("case-7"), "{message}");
    }
    writer.push(&tagged(&[(0, 5), (5, 8)])).unwrap();
}

#[test]
fn a_span_s_labels_begin_with_the_one_that_it_goes_by() {
    let span = Span { other_labels: Some("DATE+ORG".into()), ..tagged(&[(0, 5)]).spans[0].clone() };
    assert_eq!(SpanRow::from(&span).labels().collect::<Vec<_>>(), ["PERSON", "DATE", "ORG"]);
    let json = serde_json::to_string(&span).unwrap();
    assert_eq!(serde_json::from_str::<Span>(&json).unwrap(), span);
    let alone = Span { other_labels: None, ..span };
    assert_eq!(SpanRow::from(&alone).labels().collect::<Vec<_>>(), ["PERSON"]);
    assert!(!serde_json::to_string(&alone).unwrap().contains("other"));
}

/// Tags of the first version do not say what else a span was taken for: a scrubbed text might keep
/// a name.
#[test]
fn tags_of_the_version_without_other_labels_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let rows = TagsWriter::create(folder.path()).unwrap().finish().unwrap();
    Manifest::seal(folder.path(), Kind::Tags, rows, serde_json::Value::Null).unwrap();
    let path = folder.path().join(pft_artifact::MANIFEST);
    let text = std::fs::read_to_string(&path).unwrap();
    let old = text.replace("\"schema_version\": 2", "\"schema_version\": 1");
    assert_ne!(old, text);
    std::fs::write(&path, old).unwrap();
    let message = TagsReader::open(folder.path()).unwrap_err().to_string();
    assert!(message.contains("tags schema version 1") && message.contains("again"), "{message}");
}

/// A column that was mistaken for ids may hold whole documents.
#[test]
fn long_ids_and_splits_are_not_quoted() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = TagsWriter::create(folder.path()).unwrap();
    for id in ["Jonas Ekdal wrote. ".repeat(9), "Jonas\nEkdal".into()] {
        let message =
            writer.push(&TaggedDocument { doc_id: id.clone(), ..tagged(&[(3, 3)]) }).unwrap_err();
        assert!(!message.to_string().contains("Jonas"), "{message}");
        let message = id.parse::<Split>().unwrap_err();
        assert!(!message.contains("Jonas"), "{message}");
        assert!(message.contains(&format!("{} characters", id.chars().count())), "{message}");
    }
    assert!("teh".parse::<Split>().unwrap_err().contains("\"teh\""));
}

#[test]
fn another_kind_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let rows = CorpusWriter::create(folder.path()).unwrap().finish().unwrap();
    Manifest::seal(folder.path(), Kind::Corpus, rows, serde_json::Value::Null).unwrap();
    let message = TagsReader::open(folder.path()).unwrap_err().to_string();
    assert!(message.contains("a corpus artifact, where a tags artifact is needed"), "{message}");
}

#[test]
fn a_truncated_shard_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = CorpusWriter::create(folder.path()).unwrap();
    let document = Document {
        doc_id: "a".into(),
        unit_id: "a".into(),
        split: Split::Test,
        text: "x".repeat(10_000),
        turns: Vec::new(),
    };
    writer.push(&document).unwrap();
    let rows = writer.finish().unwrap();
    let shard = folder.path().join("corpus-00000.parquet");
    let bytes = std::fs::read(&shard).unwrap();
    std::fs::write(&shard, &bytes[..bytes.len() / 2]).unwrap();
    // Sealed after the damage, so that only the Parquet footer can tell.
    Manifest::seal(folder.path(), Kind::Corpus, rows, serde_json::Value::Null).unwrap();
    let reader = CorpusReader::open(folder.path()).unwrap();
    let message = reader.iter().next().unwrap().unwrap_err().to_string();
    assert!(message.contains("corpus-00000.parquet"), "{message}");
}

#[test]
fn files_cut_after_sealing_are_noticed_on_opening() {
    let folder = tempfile::tempdir().unwrap();
    let rows = CorpusWriter::create(folder.path()).unwrap().finish().unwrap();
    Manifest::seal(folder.path(), Kind::Corpus, rows, serde_json::Value::Null).unwrap();
    let shard = folder.path().join("corpus-00000.parquet");
    std::fs::write(&shard, b"PAR1").unwrap();
    let message = CorpusReader::open(folder.path()).unwrap_err().to_string();
    assert!(message.contains("its manifest says"), "{message}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// A manifest whose bytes were changed is refused with an error that names it, or the file that
    /// no longer agrees with it, or is a manifest whose files can be checked; it never points out
    /// of its folder, and never panics.
    #[test]
    fn mutated_manifests_are_refused_or_stay_in_their_folder(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 1..8),
        splice in prop::option::of((
            any::<prop::sample::Index>(),
            prop::sample::select(vec!["../", "/etc/passwd", "-1", "1e400", "null", "[", "\\u0000", "}"]),
        )),
    ) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("data.bin"), b"data").unwrap();
        let provenance = serde_json::json!({ "stage": "train", "config": { "x": 1.5 } });
        Manifest::seal(folder.path(), Kind::Bundle, 0, provenance).unwrap();
        let path = folder.path().join(pft_artifact::MANIFEST);
        let mut bytes = std::fs::read(&path).unwrap();
        for (place, byte, kind) in edits {
            let at = place.index(bytes.len());
            match kind {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => drop(bytes.remove(at)),
                _ => bytes[at] ^= 1 << (byte % 8),
            }
        }
        if let Some((place, text)) = splice {
            let at = place.index(bytes.len());
            bytes.splice(at..at, text.bytes());
        }
        std::fs::write(&path, &bytes).unwrap();
        match Manifest::open(folder.path()) {
            Ok(manifest) => {
                for file in &manifest.files {
                    let inside = std::path::Path::new(&file.path)
                        .components()
                        .all(|part| matches!(part, std::path::Component::Normal(_)));
                    prop_assert!(inside, "{:?} leads out of the artifact", file.path);
                }
                let _ = manifest.verify(folder.path());
            }
            Err(error) => {
                let message = error.to_string();
                let named = message.contains("manifest.json")
                    || (message.contains("data.bin") && message.contains("its manifest says"));
                prop_assert!(named, "{message}");
            }
        }
    }
}

#[test]
fn what_was_said_of_units_is_sealed_with_the_files() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("data.bin"), b"data").unwrap();
    let seal = |units: serde_json::Value| {
        let provenance = serde_json::json!({ "lineage": [{ "stage": "ingest", "units": units }] });
        Manifest::seal(folder.path(), Kind::Model, 0, provenance).unwrap()
    };
    let silent = seal(serde_json::json!({ "unit": null, "couplings": [], "uses": [] }));
    assert_eq!(silent.content_hash, seal(serde_json::Value::Null).content_hash);
    let mut coupled = seal(serde_json::json!({ "couplings": ["Copies went"] }));
    assert_ne!(silent.content_hash, coupled.content_hash);
    Manifest::open(folder.path()).unwrap();
    // Taking the sentence out afterwards is noticed.
    coupled.provenance["lineage"][0]["units"]["couplings"] = serde_json::json!([]);
    coupled.write(folder.path()).unwrap();
    let error = Manifest::open(folder.path()).unwrap_err();
    assert!(error.to_string().contains("content hash"), "{error}");
}

fn conversation(contents: &[(Role, &str)]) -> Document {
    let (text, turns) = Turn::join(contents.iter().copied()).expect("it is short");
    Document { doc_id: "c".into(), unit_id: "u".into(), split: Split::Train, text, turns }
}

/// Corpora without conversations are what they were before there were any: equal hashes are equal work.
#[test]
fn only_conversations_have_the_column_of_turns() {
    let plain = Document { turns: Vec::new(), ..conversation(&[(Role::User, "Hello")]) };
    let chat = conversation(&[(Role::User, "Hello"), (Role::Assistant, "Hi")]);
    let names = |documents: &[&Document]| {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = CorpusWriter::create(folder.path()).unwrap();
        documents.iter().for_each(|document| writer.push(document).unwrap());
        writer.finish().unwrap();
        let bytes = std::fs::read(folder.path().join("corpus-00000.parquet")).unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        ["doc_id", "unit_id", "split", "text", "turns"].map(|name| text.contains(name))
    };
    assert_eq!(names(&[]), [true, true, true, true, false]);
    assert_eq!(names(&[&plain]), [true, true, true, true, false]);
    assert_eq!(names(&[&chat, &chat]), [true; 5]);
}

#[test]
fn conversations_and_documents_do_not_mix() {
    let plain = Document { turns: Vec::new(), ..conversation(&[(Role::User, "Hello")]) };
    let chat = conversation(&[(Role::User, "Hello"), (Role::Assistant, "Hi")]);
    for (first, second, said) in
        [(&plain, &chat, "is a conversation"), (&chat, &plain, "has no turns")]
    {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = CorpusWriter::create(folder.path()).unwrap();
        writer.push(first).unwrap();
        let message = writer.push(second).unwrap_err().to_string();
        assert!(message.contains(said) && message.contains("a corpus of each"), "{message}");
    }
}

/// Text between turns would be tagged and learned by nobody; turns that overlap would be learned twice.
#[test]
fn turns_must_make_up_the_text() {
    let good = conversation(&[(Role::User, "Où ?"), (Role::Assistant, ""), (Role::Tool, "x")]);
    let folder = tempfile::tempdir().unwrap();
    let mut writer = CorpusWriter::create(folder.path()).unwrap();
    writer.push(&good).unwrap();
    let with = |change: fn(&mut Document)| {
        let mut bad = good.clone();
        change(&mut bad);
        bad
    };
    for bad in [
        with(|d| d.turns[0].end = 2),
        with(|d| d.turns[0].start = 1),
        with(|d| d.turns[2].end = 99),
        with(|d| d.turns[1].start = 5),
        with(|d| d.turns.truncate(2)),
        with(|d| d.turns.swap(0, 2)),
        with(|d| d.text.push('!')),
        with(|d| d.text = d.text.replace("\n\n", "..")),
    ] {
        let message = writer.push(&bad).unwrap_err().to_string();
        assert!(message.contains("turn ") && !message.contains("Où"), "{message}");
    }
}
