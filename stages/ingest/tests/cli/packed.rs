//! Files packed by gzip or zstd are read as what is in them; other packings are named.

use std::io::Write;
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::common::{Workbench, columns, fixture};

fn gzip(contents: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(contents).unwrap();
    encoder.finish().unwrap()
}

fn zstd(contents: &[u8]) -> Vec<u8> {
    zstd::encode_all(contents, 3).unwrap()
}

const ROWS: &str = "{\"id\": \"a\", \"text\": \"eins é\"}\n{\"id\": \"b\", \"text\": \"zwei\"}\n";
const MAIL: &str = "From: ann@x.org\n\nHello.\n";

#[test]
fn every_format_is_read_through_its_packing() {
    let bench = Workbench::new();
    let archive = format!("From ann@x.org Mon Jan  1 10:00:00 2001\n{MAIL}\n");
    for (extension, pack) in [(".gz", gzip as fn(&[u8]) -> Vec<u8>), (".zst", zstd)] {
        let write = |name: &str, contents: &str| {
            bench.write(&format!("{name}{extension}"), pack(contents.as_bytes()));
        };
        write("d/a.jsonl", ROWS);
        write("a.csv", "id,text\na,\"eins\n é\"\n");
        write("a.tsv", "id\ttext\na\teins\n");
        write("t/a.txt", "eins é");
        write("a.mbox", &archive);
        write("m/1", MAIL);
        for path in [format!("d/a.jsonl{extension}"), "d".to_string()] {
            // A folder does not tell the source.
            let source = if path == "d" { "source: jsonl\n" } else { "" };
            let corpus = bench.corpus(&format!("{source}path: {path}\nid_column: id\n"));
            assert_eq!(columns(&corpus), [("a", "a", "eins é"), ("b", "b", "zwei")]);
        }
        let corpus = bench.corpus(&format!("path: a.csv{extension}\nid_column: id\n"));
        assert_eq!(columns(&corpus), [("a", "a", "eins\n é")]);
        let corpus = bench.corpus(&format!("path: a.tsv{extension}\nid_column: id\n"));
        assert_eq!(columns(&corpus), [("a", "a", "eins")]);
        let corpus = bench.corpus("source: text\npath: t\n");
        assert_eq!(corpus[0].text, "eins é");
        for config in [format!("path: a.mbox{extension}\n"), "source: maildir\npath: m\n".into()] {
            let corpus = bench.corpus(&config);
            let rows: Vec<_> =
                corpus.iter().map(|d| (d.unit_id.as_str(), d.text.as_str())).collect();
            assert_eq!(rows, [("ann@x.org", "Hello.\n")], "{config}");
        }
        for folder in ["d", "t", "m"] {
            std::fs::remove_dir_all(bench.path().join(folder)).unwrap();
        }
    }
}

/// What a file is packed with is told by its first bytes: names lie.
#[test]
fn packing_is_told_by_bytes_and_parts_follow_each_other() {
    let bench = Workbench::new();
    let half = ROWS.find('\n').unwrap() + 1;
    let (first, second) = (&ROWS.as_bytes()[..half], &ROWS.as_bytes()[half..]);
    for pack in [gzip as fn(&[u8]) -> Vec<u8>, zstd] {
        bench.write("a.jsonl", [pack(first), pack(second)].concat());
        assert_eq!(bench.corpus("path: a.jsonl\n").len(), 2);
    }
    bench.write("a.jsonl.gz", ROWS);
    assert_eq!(bench.corpus("path: a.jsonl.gz\n").len(), 2);
    // Splits are still told by the name, and lines by their number.
    bench.write("train.jsonl.gz", gzip(ROWS.as_bytes()));
    let corpus = bench.corpus("path: train.jsonl.gz\nsplit: {by: file}\n");
    assert!(corpus.iter().all(|document| document.split.as_str() == "train"));
    bench.write("b.jsonl.gz", gzip(format!("{ROWS}{{\"text\": 1\n").as_bytes()));
    let finished = bench.run("path: b.jsonl.gz\n");
    assert!(finished.failure(3).contains("b.jsonl.gz:3: is not valid JSON"), "{}", finished.stderr);
}

#[test]
fn damaged_and_truncated_files_are_called_so() {
    let bench = Workbench::new();
    let line =
        |i: usize| format!("{{\"text\": \"{}\"}}\n", blake3::hash(&i.to_le_bytes()).to_hex());
    let rows: String = (0..5000).map(line).collect();
    for (name, packing, packed) in [
        ("a.jsonl.gz", "gzip", gzip(rows.as_bytes())),
        ("a.jsonl.zst", "zstd", {
            let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
            encoder.include_checksum(true).unwrap();
            encoder.write_all(rows.as_bytes()).unwrap();
            encoder.finish().unwrap()
        }),
    ] {
        let refused = |bytes: &[u8]| {
            bench.write(name, bytes);
            let finished = bench.run(&format!("path: {name}\n"));
            let message = finished.failure(3);
            let expected = format!("{name}: its {packing} data is damaged or cut off");
            assert!(message.contains(&expected), "{message}");
            assert!(!message.contains("UTF-8"), "{message}");
        };
        for length in [12, packed.len() / 2, packed.len() - 1] {
            refused(&packed[..length]);
        }
        let mut damaged = packed.clone();
        damaged[packed.len() / 2] ^= 0x55;
        refused(&damaged);
        damaged = packed.clone();
        *damaged.last_mut().unwrap() ^= 1;
        refused(&damaged);
    }
}

#[test]
fn other_packings_are_named() {
    let bench = Workbench::new();
    let mut tar = vec![0; 512];
    tar[257..262].copy_from_slice(b"ustar");
    let parquet = std::fs::read(fixture("rows.parquet")).unwrap();
    for (name, bytes, packing) in [
        ("a.jsonl", b"BZh91AY&SY\0\0".to_vec(), "bzip2"),
        ("a.csv", b"\xFD7zXZ\0\0\x04".to_vec(), "xz"),
        ("a.txt", b"PK\x03\x04\x14\0".to_vec(), "zip"),
        ("a.mbox", b"\x04\x22\x4D\x18\0".to_vec(), "lz4"),
        ("a.jsonl.gz", gzip(&tar), "a tar archive"),
        ("b.jsonl.gz", gzip(&zstd(ROWS.as_bytes())), "zstd within"),
        ("c.jsonl.gz", gzip(&parquet), "Parquet within"),
        ("a.parquet", gzip(&parquet), "gzip"),
    ] {
        bench.write(name, bytes);
        let finished = bench.run(&format!("path: {name}\n"));
        let message = finished.failure(3);
        assert!(message.contains(&format!("{name}: is packed ({packing}")), "{message}");
        assert!(message.contains("unpack it first") && !message.contains("UTF-8"), "{message}");
    }
}

/// Eight gigabytes of one line in a few kilobytes.
#[test]
fn a_file_that_unpacks_to_one_endless_line_does_not_fill_the_memory() {
    let bench = Workbench::new();
    let part = zstd(&vec![b'x'; 64 << 20]);
    let mut bomb = zstd(b"{\"text\": \"");
    for _ in 0..128 {
        bomb.extend_from_slice(&part);
    }
    for (name, what) in [("a.jsonl", "a line or record"), ("a.txt", "a document")] {
        bench.write(name, &bomb);
        let config = bench.write("config.yml", format!("path: {name}\n"));
        let done = Command::new("bash")
            .args(["-c", "ulimit -v 4194304; exec \"$0\" \"$@\""])
            .arg(env!("CARGO_BIN_EXE_ingest"))
            .arg("--config")
            .arg(config)
            .arg("--output")
            .arg(bench.path().join("out"))
            .output()
            .unwrap();
        let message = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(3), "{message}");
        assert!(message.contains(&format!("{what} of more than 256 MiB begins here")), "{message}");
    }
}
