//! Memory does not run away with the length of a document. Alone in its file, because the system
//! tells the peak of all children of a process together.

use std::process::Command;

use pft_artifact::{CorpusWriter, Document, Kind, Manifest, Split, TagsReader, count_rows};

/// Seven entities in 218 bytes: denser than any real document.
const PARAGRAPH: &str = "The applicant, Mr Żdzisław Przykładowy, was born on 2 May 1961 and lives in \
    Karlstad. On 3 June 1999 Przykładowy wrote to jan@example.pl about application no. 12345/67 and \
    called +44 20 7946 0958 about it twice.\n";

#[test]
fn a_document_of_50_megabytes_stays_below_500() {
    let folder = tempfile::tempdir().unwrap();
    let corpus = folder.path().join("corpus");
    std::fs::create_dir(&corpus).unwrap();
    let text = PARAGRAPH.repeat(50_000_000 / PARAGRAPH.len());
    let paragraphs = text.len() / PARAGRAPH.len();
    let mut writer = CorpusWriter::create(&corpus).unwrap();
    let (doc_id, unit_id) = ("long".to_string(), "unit".to_string());
    writer
        .push(&Document { doc_id, unit_id, split: Split::Train, text, turns: Vec::new() })
        .unwrap();
    writer.finish().unwrap();
    let rows = count_rows(&corpus, Kind::Corpus).unwrap();
    Manifest::seal(&corpus, Kind::Corpus, rows, serde_json::Value::Null).unwrap();

    let tags = folder.path().join("tags");
    let done = Command::new(env!("CARGO_BIN_EXE_tag-pii"))
        .arg("--input")
        .arg(format!("corpus={}", corpus.display()))
        .arg("--output")
        .arg(&tags)
        .args(["--set", "backends=[{kind: rules}]", "--threads", "2"])
        .env_remove("PFT_TAG_CACHE")
        .env_remove("PFT_CACHE_DIR")
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));

    let mut tagged = TagsReader::open(&tags).unwrap().iter();
    let spans = tagged.next().unwrap().unwrap().spans.len();
    assert!(spans > 5 * paragraphs, "{spans} spans in {paragraphs} paragraphs");
    let peak = peak_of_children();
    assert!(peak < 500_000_000, "{} MB at most", peak / 1_000_000);
}

/// The most memory that a child of this process has held, in bytes.
fn peak_of_children() -> i64 {
    // SAFETY: a usage of zeros is one, and getrusage fills it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage), 0);
        usage
    };
    usage.ru_maxrss * 1024
}
