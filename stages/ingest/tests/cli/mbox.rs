//! Mail archives: many messages in one file, each its sender's.

use std::fmt::Write;

use pft_artifact::Document;

use crate::common::Workbench;

const ARCHIVE: &str = "From ann@example.org Mon Jan  1 10:00:00 2001\n\
From: Ann <ann@example.org>\nSubject: one\n\nFirst.\n>From the start\n\n\
From bob@example.org Mon Jan  1 11:00:00 2001\n\
From: bob@example.org\nSubject: two\n\nSecond.\n\n\
From ann@example.org Mon Jan  1 12:00:00 2001\n\
From: ANN@example.org\nSubject: three\n\nThird.\n\n";

#[test]
fn an_archive_is_a_message_for_each_of_its_senders() {
    let bench = Workbench::new();
    bench.write("all.mbox", ARCHIVE);
    let expected = [
        ("ann@example.org", "First.\nFrom the start\n"),
        ("bob@example.org", "Second.\n"),
        ("ann@example.org", "Third.\n"),
    ];
    for config in ["path: all.mbox\n", "source: maildir\npath: all.mbox\n"] {
        let corpus = bench.corpus(config);
        let rows: Vec<(&str, &str)> =
            corpus.iter().map(|d| (d.unit_id.as_str(), d.text.as_str())).collect();
        assert_eq!(rows, expected);
        assert!(corpus.iter().all(|document| document.doc_id.starts_with("all.mbox/")));
    }
    let alone = bench.corpus("path: all.mbox\nunit: document\n");
    assert_eq!(alone.len(), 3);
    assert!(alone.iter().all(|document| document.unit_id == document.doc_id));
}

#[test]
fn archives_and_single_messages_lie_side_by_side() {
    let bench = Workbench::new();
    bench.write("m/ann", ARCHIVE.replace('\n', "\r\n"));
    bench.write("m/ann.msf", "an index");
    bench.write("m/box/old", ARCHIVE);
    bench.write("m/box/1", "From: zoe@example.org\n\nAlone.\n");
    let corpus = bench.corpus("source: maildir\npath: m\nunit: mailbox\nheaders: [subject]\n");
    let units: Vec<&str> = corpus.iter().map(|document| document.unit_id.as_str()).collect();
    assert_eq!(units, ["ann", "ann", "ann", "box", "box", "box", "box"]);
    assert_eq!(corpus[0].text, "Subject: one\n\nFirst.\nFrom the start\n");
    assert_eq!((corpus[3].doc_id.as_str(), corpus[3].text.as_str()), ("box/1", "Alone.\n"));
}

/// What one unit does never changes another, so that messages are not called by their place.
#[test]
fn taking_a_sender_out_changes_nothing_else() {
    let bench = Workbench::new();
    let archive = |without: Option<usize>| {
        (0..60).filter(|i| Some(i % 7) != without).fold(String::new(), |mut all, i| {
            let sender = i % 7;
            write!(
                all,
                "From s{sender}@x.org Mon Jan  1 10:00:00 2001\nFrom: s{sender}@x.org\n\nText {}\n\n",
                i % 13
            )
            .unwrap();
            all
        })
    };
    let ingest = |without: Option<usize>, config: &str| {
        bench.write("all.mbox", archive(without));
        bench.corpus(config)
    };
    let config = "path: all.mbox\n";
    let all = ingest(None, config);
    let others = ingest(Some(3), config);
    assert!(others.len() < all.len());
    let is_other = |document: &&Document| document.unit_id != "s3@x.org";
    let expected: Vec<Document> = all.iter().filter(is_other).cloned().collect();
    assert_eq!(others, expected);
    // Where each message is a unit of its own, too, and its split does not move.
    let config = "path: all.mbox\nunit: document\n";
    let ids: Vec<&str> = others.iter().map(|document| document.doc_id.as_str()).collect();
    let is_kept = |document: &Document| ids.contains(&document.doc_id.as_str());
    let expected: Vec<Document> = ingest(None, config).into_iter().filter(is_kept).collect();
    assert_eq!(ingest(Some(3), config), expected);
}

#[test]
fn a_message_that_is_none_is_named_by_its_number_and_line() {
    let bench = Workbench::new();
    bench.write("a.mbox", format!("{ARCHIVE}From x Mon Jan  1 12:00:00 2001\n\nno headers\n"));
    let finished = bench.run("path: a.mbox\n");
    let message = finished.failure(3);
    assert!(
        message.contains("a.mbox: message 4 (line 20): is not an RFC 822 message"),
        "{message}"
    );
}
