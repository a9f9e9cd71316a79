//! What is committed is found whole or not at all.

use super::*;
use crate::{CorpusReader, CorpusWriter, Document, Kind, Split};

fn sealed_corpus(folder: &Path, text: &str) -> Manifest {
    std::fs::create_dir_all(folder).unwrap();
    let mut writer = CorpusWriter::create(folder).unwrap();
    let document = Document {
        turns: Vec::new(),
        doc_id: "a".into(),
        unit_id: "u".into(),
        split: Split::Train,
        text: text.into(),
    };
    writer.push(&document).unwrap();
    let rows = writer.finish().unwrap();
    Manifest::seal(folder, Kind::Corpus, rows, Value::Null).unwrap()
}

#[test]
fn a_committed_key_is_found_until_a_file_of_it_is_gone() {
    let temporary = tempfile::tempdir().unwrap();
    let store = Store::open(&temporary.path().join("store")).unwrap();
    let output = temporary.path().join("out");
    let manifest = sealed_corpus(&output, "text");
    let key = "ab".repeat(32);
    assert!(store.lookup(&key).is_none());
    let outputs = BTreeMap::from([("corpus".to_string(), output.clone())]);
    store.commit(&key, &outputs, Value::Null, 1.0).unwrap();
    assert!(!output.exists());
    let action = store.lookup(&key).unwrap();
    assert_eq!(action.outputs["corpus"], manifest.content_hash);
    let path = store.artifact_path(&manifest.content_hash);
    assert_eq!(CorpusReader::open(&path).unwrap().iter().count(), 1);

    std::fs::remove_file(path.join("corpus-00000.parquet")).unwrap();
    assert!(store.lookup(&key).is_none(), "an artifact without its files is a miss");

    sealed_corpus(&output, "text");
    store.commit(&key, &outputs, Value::Null, 1.0).unwrap();
    assert!(store.lookup(&key).is_some(), "the whole artifact takes the broken one's place");

    let shard = path.join("corpus-00000.parquet");
    let mut bytes = std::fs::read(&shard).unwrap();
    bytes[10] ^= 1;
    std::fs::remove_file(&shard).unwrap();
    std::fs::write(&shard, bytes).unwrap();
    sealed_corpus(&output, "text");
    store.commit(&key, &outputs, Value::Null, 1.0).unwrap();
    Manifest::open(&path).unwrap().verify(&path).unwrap();
}

#[test]
fn equal_content_has_equal_hash_whatever_its_provenance() {
    let temporary = tempfile::tempdir().unwrap();
    let a = sealed_corpus(&temporary.path().join("a"), "text");
    let b = sealed_corpus(&temporary.path().join("b"), "text");
    let c = sealed_corpus(&temporary.path().join("c"), "other");
    assert_eq!(a.content_hash, b.content_hash);
    assert_ne!(a.content_hash, c.content_hash);
}

#[test]
fn a_changed_file_fails_verification_by_name() {
    let temporary = tempfile::tempdir().unwrap();
    let manifest = sealed_corpus(temporary.path(), "text");
    manifest.verify(temporary.path()).unwrap();
    let shard = temporary.path().join("corpus-00000.parquet");
    let mut bytes = std::fs::read(&shard).unwrap();
    bytes[10] ^= 1;
    std::fs::write(&shard, bytes).unwrap();
    let message = manifest.verify(temporary.path()).unwrap_err().to_string();
    assert!(message.contains("corpus-00000.parquet"), "{message}");
}

#[test]
fn one_key_has_one_holder() {
    let temporary = tempfile::tempdir().unwrap();
    let store = Store::open(temporary.path()).unwrap();
    let first = store.try_lock("key").unwrap();
    assert!(first.is_some());
    assert!(store.try_lock("key").unwrap().is_none());
    assert!(store.try_lock("other").unwrap().is_some());
    drop(first);
    assert!(store.try_lock("key").unwrap().is_some());
}
