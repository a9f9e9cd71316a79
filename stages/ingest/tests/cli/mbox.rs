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

/// As some exports write them: neither dates nor blank lines.
#[test]
fn bare_lines_tell_messages_apart() {
    let bench = Workbench::new();
    let message =
        |who: &str| format!("From {who}@x.org\nFrom: {who}@x.org\nSubject: s\n\nBy {who}.\n");
    bench.write("a.mbox", ["ann", "bob", "zoe"].map(message).concat());
    let corpus = bench.corpus("path: a.mbox\n");
    let rows: Vec<_> = corpus.iter().map(|d| (d.unit_id.as_str(), d.text.as_str())).collect();
    let expected =
        [("ann@x.org", "By ann.\n"), ("bob@x.org", "By bob.\n"), ("zoe@x.org", "By zoe.\n")];
    assert_eq!(rows, expected);
}

#[test]
fn a_paragraph_that_begins_with_from_stays_in_its_message() {
    let bench = Workbench::new();
    let body = "Dear all\n\nFrom the desk of the board\nTel: 12\nFax: 13\n\nSee you\n";
    bench.write(
        "a.mbox",
        format!("{}From x@y.org Mon Jan  1 13:00:00 2001\nFrom: x@y.org\n\n{body}", ARCHIVE),
    );
    let corpus = bench.corpus("path: a.mbox\n");
    assert_eq!((corpus.len(), corpus[3].unit_id.as_str()), (4, "x@y.org"));
    assert_eq!(corpus[3].text, body);
    let memo = "From the old archive\nFrom: b@x.org\nDate: Tue\n\nx\n";
    bench.write("a.mbox", format!("{ARCHIVE}{memo}"));
    let finished = bench.run("path: a.mbox\n");
    let message = finished.failure(3);
    assert!(message.contains("a.mbox:20: may begin a message or be part of one"), "{message}");
    assert!(!message.contains("archive"), "{message}");
}

#[test]
fn tables_are_no_mail() {
    let bench = Workbench::new();
    let message = "Message-ID: <1@x.org>\nFrom: ann@x.org\n\nHello.\n";
    bench.write("a.csv", format!("file,message\nann/1,\"{message}\"\n"));
    bench.write("a.jsonl", format!("{}\n", serde_json::json!({ "From: x": message })));
    for name in ["a.csv", "a.jsonl"] {
        let finished = bench.run(&format!("source: maildir\npath: {name}\n"));
        let message = finished.failure(3);
        assert!(message.contains(&format!("{name}: is not an RFC 822 message")), "{message}");
        assert!(message.contains("text_format: mail"), "{message}");
    }
}

/// The Enron corpus as it is often shared: a file name and a whole message in each row.
#[test]
fn mail_in_a_column_belongs_to_its_sender() {
    let bench = Workbench::new();
    let latin = "Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: ";
    let messages = [
        (
            "ann/1",
            "Message-ID: <1@x.org>\nFrom: Ann@X.org\nSubject: one\n\nHello, \"Bob\"\nGrüße\n"
                .to_string(),
        ),
        ("ann/2", format!("From: ann@x.org\nMIME-Version: 1.0\n{latin}7bit\n\nÄ\n")),
        (
            "bob/1",
            format!("From: bob@x.org\nMIME-Version: 1.0\n{latin}quoted-printable\n\nGr=FC=DFe\n"),
        ),
    ];
    let mut csv = "file,message\n".to_string();
    let mut jsonl = String::new();
    for (file, message) in &messages {
        writeln!(csv, "{file},\"{}\"", message.replace('"', "\"\"")).unwrap();
        writeln!(jsonl, "{}", serde_json::json!({ "file": file, "message": message })).unwrap();
    }
    bench.write("a.csv", csv);
    bench.write("a.jsonl", jsonl);
    let settings = "text_column: message\ntext_format: mail\nid_column: file\n";
    for name in ["a.csv", "a.jsonl"] {
        let corpus = bench.corpus(&format!("path: {name}\n{settings}"));
        assert_eq!(
            crate::common::columns(&corpus),
            [
                ("ann/1", "ann@x.org", "Hello, \"Bob\"\nGrüße\n"),
                ("ann/2", "ann@x.org", "Ä\n"),
                ("bob/1", "bob@x.org", "Grüße\n")
            ]
        );
        let corpus = bench
            .corpus(&format!("path: {name}\n{settings}headers: [subject]\nunit_column: file\n"));
        assert_eq!(corpus[0].text, "Subject: one\n\nHello, \"Bob\"\nGrüße\n");
        assert_eq!(corpus[0].unit_id, "ann/1");
        let corpus = bench.corpus(&format!("path: {name}\n{settings}unit: document\n"));
        assert!(corpus.iter().all(|document| document.unit_id == document.doc_id));
        let finished = bench.run(&format!("path: {name}\n{settings}unit: mailbox\n"));
        assert!(finished.failure(2).contains("use sender or document"), "{}", finished.stderr);
    }
    bench.write("b.csv", "file,message\nann/1,\"no, headers: here\"\n");
    let finished = bench.run(&format!("path: b.csv\n{settings}"));
    assert!(
        finished.failure(3).contains("b.csv:2: is not an RFC 822 message"),
        "{}",
        finished.stderr
    );
    let finished = bench.run("source: text\npath: t\ntext_format: mail\n");
    assert!(finished.failure(2).contains("text_format: mail does not exist in source text"));
}
