//! CSV as a strict reader has it: no row swallows another.

use crate::common::{Workbench, columns};

/// What is refused, with its place and without its text.
#[track_caller]
fn assert_refused(bench: &Workbench, config: &str, needles: &[&str]) {
    let finished = bench.run(config);
    let message = finished.failure(3);
    for needle in needles {
        assert!(message.contains(needle), "{needle:?} is not in: {message}");
    }
    for secret in ["Carl", "bob", "say"] {
        assert!(!message.contains(secret), "{message}");
    }
}

#[test]
fn stray_quotes_do_not_merge_rows() {
    let bench = Workbench::new();
    let rows = "id\twho\ttext\n1\tann\t\"Quote begins here\n2\tbob\tHe said \"yes\" and \"no\"\n\
                3\tcarl\tCarl ends it\"\n";
    bench.write("a.tsv", rows);
    let config = "path: a.tsv\nid_column: id\nunit_column: who\n";
    let place = "a.tsv:3: text follows a closing quote (column 16)";
    assert_refused(&bench, config, &[place, "set `quote: none`"]);
    assert_eq!(
        columns(&bench.corpus(&format!("{config}quote: none\n"))),
        [
            ("1", "ann", "\"Quote begins here"),
            ("2", "bob", "He said \"yes\" and \"no\""),
            ("3", "carl", "Carl ends it\"")
        ]
    );
}

/// Without quotes in the rows between, they are one field to a strict reader too; yet of a file with tabs
/// that is most likely wrong.
#[test]
fn lines_within_quotes_that_look_like_rows_are_doubted_where_tabs_separate() {
    let bench = Workbench::new();
    bench.write("a.tsv", "id\ttext\n1\t\"one\n2\ttwo\n3\tthree\"\n4\t\"a\nb\n\tc\"\n");
    let config = "path: a.tsv\nid_column: id\n";
    assert_refused(
        &bench,
        config,
        &["a.tsv:2: a quote opens here", "look like rows", "quote: none"],
    );
    let corpus = bench.corpus(&format!("{config}quote: '\"'\n"));
    assert_eq!(columns(&corpus), [("1", "1", "one\n2\ttwo\n3\tthree"), ("4", "4", "a\nb\n\tc")]);
    bench.write("b.tsv", "id\ttext\n1\t\"one\ntwo\n\"\n");
    assert_eq!(columns(&bench.corpus("path: b.tsv\nid_column: id\n")), [("1", "1", "one\ntwo\n")]);
}

#[test]
fn text_after_a_closing_quote_is_refused_where_it_stands() {
    let bench = Workbench::new();
    for (row, needles) in [
        ("1,\"a\" and \"b\"", ["a.csv:3: text follows a closing quote (column 6)", "doubled"]),
        ("1,\"say \\\"hi\\\"\"", ["a.csv:3: text follows", "set `escape: \"\\\\\"`"]),
        ("\"x\ny\" z,1", ["a.csv:4: text follows a closing quote (column 3)", "doubled"]),
        ("é,\"ü\"x", ["(column 6)", "doubled"]),
        ("1,\"a\n\n", ["a.csv:3: a quote opens here and never closes (column 3)", "doubled"]),
        ("1,a\rb", ["a.csv:3: CR stands here without LF after it (column 4)", "must be quoted"]),
    ] {
        bench.write("a.csv", format!("id,text\n0,x\n{row}\n"));
        assert_refused(&bench, "path: a.csv\n", &needles);
    }
    bench.write("a.csv", "id,\"text\" x\n1,y\n");
    assert_refused(&bench, "path: a.csv\n", &["a.csv:1: text follows a closing quote (column 10)"]);
}

#[test]
fn quotes_in_unquoted_fields_are_quotes() {
    let bench = Workbench::new();
    bench.write("a.csv", "id,text\n1,the lobby\"s view\n2,5\" nails and 6\" ones\n3, \"x\"\n");
    let corpus = bench.corpus("path: a.csv\nid_column: id\n");
    let texts = ["the lobby\"s view", "5\" nails and 6\" ones", " \"x\""];
    assert_eq!(
        columns(&corpus),
        ["1", "2", "3"].map(|n| (n, n, texts[n.parse::<usize>().unwrap() - 1]))
    );
}

#[test]
fn escapes_and_other_quotes_are_settings() {
    let bench = Workbench::new();
    bench.write("a.csv", "id,text\n1,\"say \\\"hi\\\", \"\"Ann\"\"\"\n2,a\\,b\\\nc\n");
    let corpus = bench.corpus("path: a.csv\nid_column: id\nescape: \"\\\\\"\n");
    assert_eq!(columns(&corpus), [("1", "1", "say \"hi\", \"Ann\""), ("2", "2", "a,b\nc")]);
    bench.write("b.csv", "id;text\n1;'it''s; \"so\"'\n");
    let corpus = bench.corpus("path: b.csv\nid_column: id\nquote: \"'\"\nseparator: \";\"\n");
    assert_eq!(columns(&corpus), [("1", "1", "it's; \"so\"")]);
}

#[test]
fn signs_that_cannot_be_told_apart_are_refused() {
    let bench = Workbench::new();
    bench.write("a.csv", "id,text\n1,x\n");
    for (settings, needle) in [
        ("quote: \"''\"\n", "quote: must be one ASCII character"),
        ("quote: é\n", "quote: must be one ASCII character"),
        ("separator: '\"'\n", "separator and quote are the same character"),
        ("escape: '\"'\n", "quote and escape are the same character"),
        ("escape: é\n", "escape: must be one ASCII character"),
    ] {
        let finished = bench.run(&format!("path: a.csv\n{settings}"));
        let message = finished.failure(2);
        assert!(message.contains(needle), "{message}");
    }
}

#[test]
fn lists_of_paragraphs_are_not_looked_for_in_csv() {
    let bench = Workbench::new();
    bench.write("a.csv", "case_id,facts\n1,x\n");
    let finished = bench.run("source: ecthr\npath: a.csv\n");
    assert!(finished.failure(2).contains("source ecthr reads JSON Lines and Parquet"));
}
