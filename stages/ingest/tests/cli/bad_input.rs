//! Bad input: one message that names the place and what to do, the right exit code, nothing left.

use crate::common::{Workbench, columns, fixture};

#[track_caller]
fn assert_fails(bench: &Workbench, config: &str, code: i32, needles: &[&str]) {
    let finished = bench.run(config);
    let message = finished.failure(code);
    for needle in needles {
        assert!(message.contains(needle), "{needle:?} is not in: {message}");
    }
}

#[test]
fn missing_and_unreadable_files() {
    let bench = Workbench::new();
    assert_fails(&bench, "path: nowhere.jsonl\n", 3, &["nowhere.jsonl: there is no such file"]);
    assert_fails(&bench, "path: x/*.csv\n", 3, &["x/*.csv: no file matches"]);
    assert_fails(&bench, "source: jsonl\n", 2, &["path: is missing"]);
    std::fs::create_dir(bench.path().join("folder")).unwrap();
    assert_fails(&bench, "source: csv\npath: folder\n", 3, &["no file of the kind"]);
    // A symbolic link to itself cannot be read even by the superuser.
    std::os::unix::fs::symlink("loop.txt", bench.path().join("folder/loop.txt")).unwrap();
    assert_fails(&bench, "source: text\npath: folder\n", 3, &["loop.txt"]);
}

#[test]
fn wrong_keys_and_columns_suggest_the_nearest() {
    let bench = Workbench::new();
    bench.write("a.jsonl", "{\"identifier\": 1, \"body\": \"x\"}\n");
    assert_fails(&bench, "pat: a.jsonl\n", 2, &["config.yml:1", "did you mean `path`?"]);
    assert_fails(&bench, "source: jsnol\npath: a\n", 2, &["did you mean `jsonl`?"]);
    assert_fails(&bench, "path: a.jsonl\n", 3, &["no column `text`", "text_column"]);
    assert_fails(
        &bench,
        "path: a.jsonl\ntext_column: body\nid_column: identifer\n",
        3,
        &["a.jsonl: there is no column `identifer`; did you mean `identifier`?"],
    );
    assert_fails(
        &bench,
        "path: a.jsonl\nunit: sender\n",
        2,
        &["unit: sender does not exist in source jsonl"],
    );
    assert_fails(&bench, "path: a.jsonl\nsplit: {train: 0.9}\n", 2, &["add up to 1"]);
    assert_fails(&bench, "path: a.xyz\n", 2, &["source: is missing"]);
}

/// A column that holds texts where ids, units, splits or names of columns should be.
#[test]
fn texts_in_the_place_of_ids_are_not_shown() {
    let bench = Workbench::new();
    let story = "Jonas Ekdal told his story. ".repeat(9);
    let rows = format!("{{\"text\": \"{story}\", \"unit\": \"a\"}}\n").repeat(2);
    bench.write("twice.jsonl", &rows);
    let short = "{\"text\": \"Jonas\\nEkdal\"}\n".repeat(2);
    bench.write("lines.jsonl", &short);
    bench.write("chat.jsonl", "{\"text\": \"call Ekdal\"}\n".repeat(2));
    bench.write("nul.jsonl", format!("{{\"text\": \"a\\u0000\", \"story\": \"{story}\"}}\n"));
    let split = |split: &str| {
        format!("{{\"text\": \"in {split}\", \"u\": \"{story}\", \"s\": \"{split}\"}}\n")
    };
    bench.write("splits.jsonl", &(split("train") + &split("test")));
    bench.write("bare.csv", format!("1,{story}\n2,{story}\n"));
    bench.write("bare-twice.csv", format!("{story},{story}\n"));
    let length = "a value of 252 characters";
    for (config, needles) in [
        ("path: twice.jsonl\nid_column: text\n", ["twice.jsonl:2: the id", length]),
        ("path: lines.jsonl\nid_column: text\n", ["lines.jsonl:2: the id", "11 characters"]),
        ("path: chat.jsonl\nid_column: text\n", ["chat.jsonl:2: the id", "10 characters"]),
        ("path: nul.jsonl\nid_column: story\n", ["nul.jsonl:1 (document", length]),
        ("path: twice.jsonl\nsplit: {by: column, column: text}\n", ["split is", length]),
        (
            "path: splits.jsonl\nunit_column: u\nsplit: {by: column, column: s}\n",
            ["splits.jsonl:2: unit", length],
        ),
        ("path: bare.csv\n", ["no column `text`", "text_column"]),
        ("path: bare-twice.csv\n", ["two columns have the same name", "header"]),
    ] {
        assert_fails(&bench, config, 3, &needles);
        let finished = bench.run(config);
        let message = finished.failure(3);
        assert!(!message.contains("Ekdal"), "{message}");
    }
}

#[test]
fn empty_corpora() {
    let bench = Workbench::new();
    bench.write("empty.jsonl", "");
    bench.write("blank.jsonl", "\n\n");
    bench.write("header.csv", "id,text\n");
    bench.write("short.jsonl", "{\"text\": \"\"}\n");
    assert_fails(&bench, "path: empty.jsonl\n", 3, &["empty.jsonl: is empty"]);
    assert_fails(&bench, "path: blank.jsonl\n", 3, &["blank.jsonl: is empty"]);
    assert_fails(&bench, "path: header.csv\n", 3, &["the corpus is empty"]);
    assert_fails(
        &bench,
        "path: short.jsonl\n",
        3,
        &["the corpus is empty: left out: 1 empty document"],
    );
}

#[test]
fn broken_json_lines() {
    let bench = Workbench::new();
    let good = "{\"id\": 1, \"text\": \"fine\"}\n";
    let file = |line: &str| bench.write("a.jsonl", format!("{good}\n{line}\n"));
    file("{\"id\": 2, \"text\": \"secret");
    let finished = bench.run("path: a.jsonl\n");
    assert!(finished.failure(3).contains("a.jsonl:3: is not valid JSON"), "{}", finished.stderr);
    assert!(!finished.stderr.contains("secret"), "a message must not quote the data");
    file("[1]");
    assert_fails(&bench, "path: a.jsonl\n", 3, &["a.jsonl:3: is not a JSON object"]);
    file("{\"id\": 2}");
    assert_fails(&bench, "path: a.jsonl\n", 3, &["a.jsonl:3: field `text` is missing or null"]);
    bench.write("far.jsonl", good.repeat(5000) + "{\"text\": \"\\ud800\"}\n");
    assert_fails(
        &bench,
        "path: far.jsonl\n",
        3,
        &["far.jsonl:5001: has half of a surrogate pair", "repair"],
    );
    bench.write("cr.jsonl", "{\"text\": \"a\"}\r{\"text\": \"b\"}\r");
    assert_fails(&bench, "path: cr.jsonl\n", 3, &["cr.jsonl:1: is not valid JSON", "CR alone"]);
    bench.write("facts.jsonl", "{\"facts\": [\"a\"]}\n{\"facts\": 5}\n");
    assert_fails(
        &bench,
        "path: facts.jsonl\ntext_column: facts\n",
        3,
        &["is a list", "source: ecthr"],
    );
}

#[test]
fn invalid_utf8_and_nul() {
    let bench = Workbench::new();
    bench.write("a.jsonl", b"{\"text\": \"a\"}\n{\"text\": \"b\xFF\"}\n");
    assert_fails(&bench, "path: a.jsonl\n", 3, &["a.jsonl:2: is not valid UTF-8", "iconv"]);
    let repaired = bench.corpus("path: a.jsonl\ninvalid_text: repair\n");
    assert_eq!(repaired[1].text, "b\u{FFFD}");
    bench.write("a.csv", b"id,text\n1,x\n2,b\xFF\n");
    assert_fails(&bench, "path: a.csv\n", 3, &["a.csv:3: is not valid UTF-8"]);
    bench.write("t/a.txt", b"one\ntwo \xFF\n");
    assert_fails(&bench, "source: text\npath: t\n", 3, &["a.txt:2: is not valid UTF-8"]);
    bench.write("nul.jsonl", "{\"id\": \"n7\", \"text\": \"a\\u0000b\"}\n");
    assert_fails(
        &bench,
        "path: nul.jsonl\nid_column: id\n",
        3,
        &["nul.jsonl:1 (document \"n7\"): the text has a NUL character"],
    );
    let repaired = bench.corpus("path: nul.jsonl\nid_column: id\ninvalid_text: repair\n");
    assert_eq!(columns(&repaired), [("n7", "n7", "ab")]);
    bench.write("half.jsonl", "{\"text\": \"a\\ud800b \\ud83d\\ude00\"}\n");
    let repaired = bench.corpus("path: half.jsonl\ninvalid_text: repair\n");
    assert_eq!(repaired[0].text, "a\u{FFFD}b \u{1F600}");
}

#[test]
fn duplicate_ids_and_units_in_two_splits() {
    let bench = Workbench::new();
    bench.write(
        "a.jsonl",
        "{\"id\": \"a\", \"u\": \"k\", \"split\": \"train\", \"text\": \"x\"}\n\
         {\"id\": \"a\", \"u\": \"k\", \"split\": \"dev\", \"text\": \"y\"}\n",
    );
    assert_fails(
        &bench,
        "path: a.jsonl\nid_column: id\n",
        3,
        &["a.jsonl:2: the id \"a\" occurred before"],
    );
    assert_fails(
        &bench,
        "path: a.jsonl\nunit_column: u\nsplit: {by: column}\n",
        3,
        &["a.jsonl:2: unit \"k\" is in validation here and in train before"],
    );
    bench.write("b.jsonl", "{\"split\": \"half\", \"text\": \"x\"}\n");
    assert_fails(&bench, "path: b.jsonl\nsplit: {by: column}\n", 3, &["b.jsonl:1", "half"]);
}

#[test]
fn ragged_csv() {
    let bench = Workbench::new();
    bench.write("a.csv", "id,text\n1,\"x\ny\"\n2,a,b\n");
    assert_fails(
        &bench,
        "path: a.csv\n",
        3,
        &["a.csv:4: the row has 3 fields, but the header has 2"],
    );
    bench.write("a.csv", "id,text\n1\n");
    assert_fails(&bench, "path: a.csv\n", 3, &["a.csv:2: the row has 1 field, but"]);
    bench.write("a.csv", "id,text\n1,\"x\n2,y\n");
    assert_fails(&bench, "path: a.csv\n", 3, &["a.csv:2: a quote opens here and never closes"]);
}

#[test]
fn a_file_without_a_header_is_not_quoted() {
    let bench = Workbench::new();
    let secret = "SECRETTEXT of Mr Smith, a baker";
    bench.write("a.csv", format!("1,\"{secret}\",identifer\n2,b,c\n"));
    bench.write("twice.csv", "SECRETTEXT of Mr Smith.,SECRETTEXT of Mr Smith.\n");
    bench.write("short.csv", "SECRET,Mr Smith\n");
    let line = format!("{{\"id\": 1, \"text\": \"{secret}\"}}\n");
    bench.write("a.jsonl", &line);
    bench.write("keys.jsonl", format!("{{\"{secret}\": 1}}\n"));
    let no_header = "line 1 does not look like a header";
    for (config, needles) in [
        ("path: a.csv\n", [no_header, "it has 3 columns"]),
        ("path: a.csv\nid_column: identifier\n", [no_header, "set id_column to one of them"]),
        ("path: a.csv\nid_column: SECRETTEXT of Mr Smith, a bakery\n", [no_header, "separator"]),
        ("path: twice.csv\n", ["two columns have the same name", "does not look like a header"]),
        ("source: csv\npath: a.jsonl\n", [no_header, "set `source: jsonl`"]),
        ("path: short.csv\n", ["`text` among the 2 columns of line 1", "set text_column to one"]),
        ("path: keys.jsonl\n", ["keys.jsonl: there is no column `text`", "not shown"]),
    ] {
        let finished = bench.run(config);
        let message = finished.failure(3);
        assert!(needles.iter().all(|needle| message.contains(needle)), "{config}: {message}");
        let quoted = message.replace("`SECRETTEXT of Mr Smith, a bakery`", "");
        assert!(!quoted.contains("SECRET") && !quoted.contains("`identifer`"), "{message}");
    }
}

#[test]
fn another_separator_or_line_end_is_named() {
    let bench = Workbench::new();
    bench.write("a.csv", "id;text\n1;x, y\n");
    assert_fails(&bench, "path: a.csv\n", 3, &["line 1 does not look", "set `separator: \";\"`"]);
    assert_eq!(bench.corpus("path: a.csv\nseparator: \";\"\n")[0].text, "x, y");
    bench.write("tab.csv", "id\ttext\n1\tx\n");
    assert_fails(&bench, "path: tab.csv\n", 3, &["set `separator: \"\\t\"`"]);
    assert_eq!(bench.corpus("path: tab.csv\nseparator: \"\\t\"\n")[0].text, "x");
    bench.write("cr.csv", "id,text\r1,x\r2,y\r");
    assert_fails(&bench, "path: cr.csv\n", 3, &["cr.csv: its lines end in CR alone", "tr "]);
}

#[test]
fn a_field_of_a_row_that_occurs_twice_is_refused() {
    let bench = Workbench::new();
    let good = "{\"id\": \"text\", \"text\": \"x\", \"other\": {\"text\": 1}}\n";
    bench.write("a.jsonl", format!("{good}{good}"));
    assert_eq!(bench.corpus("path: a.jsonl\n").len(), 2);
    bench.write("a.jsonl", format!("{good}{{\"text\": \"x\", \"id\": 1, \"text\": \"y\"}}\n"));
    assert_fails(&bench, "path: a.jsonl\n", 3, &["a.jsonl:2: field `text` occurs twice"]);
    bench.write("b.jsonl", "{\"text\": \"x\", \"id\": 1, \"id\": 2}\n");
    assert_fails(&bench, "path: b.jsonl\nid_column: id\n", 3, &["field `id` occurs twice"]);
    assert_eq!(bench.corpus("path: b.jsonl\n").len(), 1, "what is not read may be as it likes");
}

#[test]
fn files_that_are_named_twice() {
    let bench = Workbench::new();
    for name in ["a/x.txt", "b/x.txt", "a/x.jsonl"] {
        bench.write(name, "{\"text\": \"x\"}");
    }
    for (config, needle) in [
        ("source: text\npath: [a/x.txt, a]\n", "a/x.txt: `path` names it twice"),
        ("source: text\npath: [a, b]\n", "b/x.txt: has the same name below its folder as"),
        ("source: jsonl\npath: [a, a/x.jsonl]\n", "a/x.jsonl: `path` names it twice"),
    ] {
        let finished = bench.run(config);
        let message = finished.failure(3);
        assert!(message.contains(needle) && !message.contains("id_column"), "{message}");
    }
}

/// What stages said of its units stands in an artifact's manifest, and is not read with its rows.
#[test]
fn files_of_an_artifact_are_refused() {
    let bench = Workbench::new();
    bench.write("a.jsonl", "{\"text\": \"x\"}\n");
    let made = bench.run("path: a.jsonl\ndeduplicate: across_units\n");
    let sealed = made.output.join("corpus");
    assert!(sealed.join("manifest.json").is_file());
    for path in [sealed.clone(), sealed.join("*.parquet"), sealed.join("corpus-00000.parquet")] {
        let config = format!("source: parquet\npath: {}\nunit_column: unit_id\n", path.display());
        assert_fails(&bench, &config, 3, &["is part of a corpus artifact", "raw files again"]);
    }
    // Other programs have files of this name.
    bench.write("b/manifest.json", "{\"name\": \"app\"}");
    bench.write("b/a.jsonl", "{\"text\": \"x\"}\n");
    assert_eq!(bench.corpus("path: b/a.jsonl\n").len(), 1);
}

#[test]
fn pipes_are_refused_instead_of_waited_for() {
    let bench = Workbench::new();
    let made = std::process::Command::new("mkfifo").arg(bench.path().join("pipe.jsonl")).status();
    assert!(made.unwrap().success());
    for path in ["pipe.jsonl", "pipe*", "[pipe.jsonl]"] {
        let config = format!("source: jsonl\npath: {path}\n");
        assert_fails(&bench, &config, 3, &["pipe.jsonl: is a pipe", "to a file first"]);
    }
}

#[test]
fn help_names_settings_that_the_source_has() {
    let bench = Workbench::new();
    bench.write("t/a.txt", "");
    let finished = bench.run("source: text\npath: t\n");
    let message = finished.failure(3);
    assert!(message.contains("min_chars") && !message.contains("column"), "{message}");
    let finished = bench.run("source: text\npath: t\nsplit: {by: file}\n");
    let message = finished.failure(2);
    assert!(message.contains("split.by: file does not exist in source text"), "{message}");
}

#[test]
fn truncated_parquet() {
    let bench = Workbench::new();
    let whole = std::fs::read(fixture("rows.parquet")).unwrap();
    for length in [0, 3, 100, whole.len() / 2, whole.len() - 1] {
        bench.write("cut.parquet", &whole[..length]);
        assert_fails(
            &bench,
            "path: cut.parquet\n",
            3,
            &["cut.parquet: not a readable Parquet file"],
        );
    }
    // Damaged within: the pages no longer decode, or decode to something else, but never crash.
    for position in (10..whole.len() - 10).step_by(997) {
        let mut damaged = whole.clone();
        damaged[position] ^= 0x55;
        bench.write("damaged.parquet", &damaged);
        let finished = bench.run("path: damaged.parquet\n");
        assert!(matches!(finished.code, 0 | 3), "byte {position}: {}", finished.stderr);
    }
    // Bytes on which decoders have failed an assertion.
    let mut damaged = std::fs::read(fixture("ecthr.parquet")).unwrap();
    damaged[81] = 131;
    bench.write("damaged.parquet", &damaged);
    assert_fails(
        &bench,
        "source: ecthr\npath: damaged.parquet\n",
        3,
        &["damaged.parquet: not a readable Parquet file"],
    );
}

#[test]
fn a_document_of_50_megabytes_passes() {
    let bench = Workbench::new();
    let long = "Lang \\u00e9 ".repeat(5_000_000);
    bench.write("long.jsonl", format!("{{\"text\": \"kurz\"}}\n{{\"text\": \"{long}\"}}\n"));
    let corpus = bench.corpus("path: long.jsonl\n");
    assert_eq!(corpus[1].text.chars().count(), 35_000_000);
    let corpus = bench.corpus("path: long.jsonl\nmax_chars: 1000000\n");
    assert_eq!(corpus.len(), 1);
}

#[test]
fn mail_that_hides_its_charset() {
    let bench = Workbench::new();
    bench.write("m/1", b"From: a@b.org\n\nGr\xFC\xDFe\n");
    assert_fails(
        &bench,
        "source: maildir\npath: m\n",
        3,
        &["m/1: has text that declares no charset and is not UTF-8", "windows-1252"],
    );
    let repaired = bench.corpus("source: maildir\npath: m\ninvalid_text: repair\n");
    assert_eq!(repaired[0].text, "Gr\u{fc}\u{df}e\n");
    bench.write("m/1", b"From: a@b.org\nSubject: \xFC\n\nx\n");
    assert_eq!(bench.corpus("source: maildir\npath: m\n").len(), 1, "the subject is not read");
    let config = "source: maildir\npath: m\nheaders: [subject]\n";
    assert_fails(&bench, config, 3, &["m/1: has text that declares no charset"]);
    let repaired = bench.corpus(&format!("{config}invalid_text: repair\n"));
    assert_eq!(repaired[0].text, "Subject: \u{fc}\n\nx\n");
}

#[test]
fn files_that_are_no_mail() {
    let bench = Workbench::new();
    bench.write("m/1", "\nno headers at all\n");
    assert_fails(&bench, "source: maildir\npath: m\n", 3, &["m/1: is not an RFC 822 message"]);
}
