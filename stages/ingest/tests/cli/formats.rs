//! Every source, through the binary.

use crate::common::{Workbench, columns, fixture};

#[test]
fn four_lines_are_a_whole_config() {
    let bench = Workbench::new();
    bench.write(
        "cases.jsonl",
        "{\"id\": \"b\", \"text\": \"zwei \\u00e9\", \"other\": [1, {}]}\n\n  \r\n{\"text\": \"eins\\n\", \"id\": 7}",
    );
    let corpus =
        bench.corpus("source: jsonl\npath: cases.jsonl\nid_column: id\ntext_column: text\n");
    assert_eq!(columns(&corpus), [("b", "b", "zwei é"), ("7", "7", "eins\n")]);
}

#[test]
fn paths_may_be_lists_globs_and_folders() {
    let bench = Workbench::new();
    for name in ["d/1.jsonl", "d/2.jsonl", "d/e/3.jsonl", "d/no.md"] {
        bench.write(name, format!("{{\"id\": \"{name}\", \"text\": \"x\"}}\n"));
    }
    let ids = |path: &str| -> Vec<String> {
        let config = format!("source: jsonl\npath: {path}\nid_column: id\n");
        let corpus = bench.corpus(&config);
        corpus.into_iter().map(|document| document.doc_id).collect()
    };
    assert_eq!(ids("d/*.jsonl"), ["d/1.jsonl", "d/2.jsonl"]);
    assert_eq!(ids("d"), ["d/1.jsonl", "d/2.jsonl", "d/e/3.jsonl"]);
    assert_eq!(ids("[d/2.jsonl, d/1.jsonl]"), ["d/2.jsonl", "d/1.jsonl"]);
    assert_eq!(ids("d/**/[23].jsonl"), ["d/2.jsonl", "d/e/3.jsonl"]);
}

#[test]
fn csv_follows_rfc_4180() {
    let bench = Workbench::new();
    bench.write(
        "mails.csv",
        "id,\"who, really\",text\r\n1,ann,\"two\r\nlines, \"\"quoted\"\"\"\r\n2,bob,plain\r\n3,ann,007\r\n",
    );
    bench.write("mails.tsv", "\u{feff}text\tid\nhello, world\tx\n");
    let config = "path: mails.csv\nid_column: id\nunit_column: who, really\n";
    assert_eq!(
        columns(&bench.corpus(config)),
        [("1", "ann", "two\r\nlines, \"quoted\""), ("2", "bob", "plain"), ("3", "ann", "007")]
    );
    let corpus = bench.corpus("path: mails.tsv\nid_column: id\n");
    assert_eq!(columns(&corpus), [("x", "x", "hello, world")]);
}

#[test]
fn blank_lines_of_csv_are_no_rows() {
    let bench = Workbench::new();
    bench.write("a.csv", "\nid,text\n1,x\n\n2,\"y\n\nz\"\n\n\n");
    let expected = [("1", "1", "x"), ("2", "2", "y\n\nz")];
    assert_eq!(columns(&bench.corpus("path: a.csv\nid_column: id\n")), expected);
    bench.write("a.csv", "id,text\r\n\r\n1,x\r\n\r\n2,\"y\n\nz\"\r\n\r\n");
    assert_eq!(columns(&bench.corpus("path: a.csv\nid_column: id\n")), expected);
    bench.write("one.csv", "text\nx\n\n\"\"\ny\n\n");
    let texts = |config: &str| -> Vec<String> {
        bench.corpus(config).into_iter().map(|document| document.text).collect()
    };
    assert_eq!(texts("path: one.csv\n"), ["x", "y"]);
    assert_eq!(texts("path: one.csv\nmin_chars: 0\n"), ["x", "", "y"]);
    // Lines are counted with the blank ones.
    bench.write("a.csv", "id,text\n1,x\n\n\n2\n");
    let finished = bench.run("path: a.csv\n");
    assert!(finished.failure(3).contains("a.csv:5: the row has 1 field"), "{}", finished.stderr);
}

#[test]
fn long_csv_files_lose_nothing_at_block_borders() {
    let bench = Workbench::new();
    let text = |i: usize| format!("row {i},\n\"{}\"", "y\n".repeat(i % 300));
    let mut contents = "id,text\n".to_string();
    for i in 0..60_000 {
        contents.push_str(&format!("{i},\"{}\"\n", text(i).replace('"', "\"\"")));
    }
    assert!(contents.len() > 16 << 20, "it must span blocks");
    bench.write("long.csv", contents);
    let corpus = bench.corpus("path: long.csv\nid_column: id\n");
    assert_eq!(corpus.len(), 60_000);
    for (i, document) in corpus.iter().enumerate() {
        assert_eq!(document.doc_id, i.to_string());
        assert!(document.text == text(i), "row {i}");
    }
}

#[test]
fn parquet_of_another_writer_is_read() {
    let bench = Workbench::new();
    let path = fixture("rows.parquet");
    let config = format!("path: {}\nid_column: id\nunit_column: author\n", path.display());
    let corpus = bench.corpus(&config);
    assert_eq!(corpus.len(), 5000);
    for (i, document) in corpus.iter().enumerate() {
        assert_eq!(document.doc_id, i.to_string());
        assert_eq!(document.unit_id, format!("a{}", i % 7));
        assert_eq!(document.text, format!("Text number {i} — naïve"));
    }
}

#[test]
fn cases_become_paragraphs_or_stay_whole() {
    let bench = Workbench::new();
    let path = fixture("ecthr.parquet");
    let config = format!("source: ecthr\npath: {}\n", path.display());
    let paragraphs = [
        ("001-1/0", "001-1", "The applicant was born in 1950."),
        ("001-1/1", "001-1", "She lives in Ålesund."),
        ("001-2/0", "001-2", "Only one."),
    ];
    assert_eq!(columns(&bench.corpus(&config)), paragraphs);
    bench.write(
        "cases.jsonl",
        "{\"case_id\": \"001-1\", \"facts\": [\"The applicant was born in 1950.\", \"She lives in Ålesund.\"]}\n\
         {\"case_id\": \"001-2\", \"facts\": [\"Only one.\"]}\n",
    );
    let same = bench.corpus("source: ecthr\npath: cases.jsonl\n");
    assert_eq!(columns(&same), paragraphs);
    let whole = bench.corpus(&(config.clone() + "granularity: case\n"));
    assert_eq!(whole.len(), 2);
    assert_eq!(whole[0].text, "The applicant was born in 1950.\nShe lives in Ålesund.");
    assert_eq!((whole[0].doc_id.as_str(), whole[0].unit_id.as_str()), ("001-1", "001-1"));
    let alone = bench.corpus(&(config + "unit: document\n"));
    assert!(alone.iter().all(|document| document.unit_id == document.doc_id));
}

#[test]
fn text_folders_name_documents_by_path() {
    let bench = Workbench::new();
    bench.write("t/b/2.txt", "zwei");
    bench.write("t/a.txt", b"\xEF\xBB\xBFeins");
    bench.write("t/readme.md", "no");
    let corpus = bench.corpus("source: text\npath: t\n");
    assert_eq!(columns(&corpus), [("a.txt", "a.txt", "eins"), ("b/2.txt", "b/2.txt", "zwei")]);
    let corpus = bench.corpus("source: text\npath: t\nunit: folder\n");
    assert_eq!(columns(&corpus), [("a.txt", "t", "eins"), ("b/2.txt", "b", "zwei")]);
}

const ALTERNATIVE: &str = "From: =?utf-8?Q?J=C3=B6rg?= <Joerg@Example.org>\r\n\
To: ann@example.org\r\n\
Subject: =?iso-8859-1?Q?Gr=FC=DFe?= =?iso-8859-1?Q?_aus?=\r\n Bonn\r\n\
MIME-Version: 1.0\r\n\
Content-Type: multipart/alternative; boundary=\"b1\"\r\n\r\n\
--b1\r\nContent-Type: text/plain; charset=iso-8859-1\r\n\
Content-Transfer-Encoding: quoted-printable\r\n\r\n\
Sch=F6ne Gr=FC=\r\n=DFe, 5 =3D 5\r\n\
--b1\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>nicht dies</p>\r\n--b1--\r\n";

const BASE64: &str = "From: ann@example.org\nContent-Type: text/plain; charset=windows-1251\n\
Content-Transfer-Encoding: base64\n\nz/Do4uXyCg==\n";

const HTML: &str = "From: ANN@example.org\nContent-Type: text/html; charset=utf-8\n\n\
<html><head><style>p {}</style></head><body><p>One &amp; two</p></body></html>\n";

#[test]
fn mail_is_decoded_and_belongs_to_its_sender() {
    let bench = Workbench::new();
    bench.write("m/joerg/1.", ALTERNATIVE);
    bench.write("m/ann/cur/2:2,S", BASE64);
    bench.write("m/ann/new/3", HTML);
    bench.write("m/ann/tmp/4", HTML);
    bench.write("m/ann/.hidden", "x");
    bench.write("m/empty/5", "");
    bench.write("m/zoe/6", "Subject: none\n\nwho?\n");
    let corpus = bench.corpus("source: maildir\npath: m\nheaders: [subject]\n");
    let rows = columns(&corpus);
    assert_eq!(rows[0], ("ann/cur/2", "ann@example.org", "Привет\n"));
    assert_eq!(
        (rows[1].0, rows[1].1, rows[1].2.trim()),
        ("ann/new/3", "ann@example.org", "One & two")
    );
    assert_eq!(rows[2].0, "joerg/1.");
    assert_eq!(rows[2].1, "joerg@example.org");
    assert_eq!(rows[2].2.trim_end(), "Subject: Grüße aus Bonn\n\nSchöne Grüße, 5 = 5");
    assert_eq!((rows[3].1, rows[3].2), ("(no sender)", "Subject: none\n\nwho?\n"));
    assert_eq!(rows.len(), 4);
    let corpus = bench.corpus("source: maildir\npath: m\nunit: mailbox\n");
    let units: Vec<&str> = corpus.iter().map(|d| d.unit_id.as_str()).collect();
    assert_eq!(units, ["ann", "ann", "joerg", "zoe"]);
    let corpus = bench.corpus("source: maildir\npath: m/ann\nunit: mailbox\n");
    assert!(corpus.iter().all(|document| document.unit_id == "ann"));
}
