//! Parquet files with columns of every type: those that are read, and those that are only there.

use std::fs::File;
use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Fields, Int32Type};
use half::f16;
use parquet::arrow::ArrowWriter;
use parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::common::{Workbench, columns};

/// Two rows of every type that there is, by column name.
fn of_every_type() -> Vec<(&'static str, ArrayRef)> {
    let strings = StringArray::from(vec!["x", "y"]);
    let pairs = OffsetBuffer::new(ScalarBuffer::from(vec![0, 1, 2]));
    let entries = Fields::from(vec![
        Field::new("keys", DataType::Utf8, false),
        Field::new("values", DataType::Utf8, true),
    ]);
    let entries =
        StructArray::new(entries, vec![Arc::new(strings.clone()), Arc::new(strings.clone())], None);
    let item = Arc::new(Field::new("item", DataType::Int32, true));
    let map_field = Arc::new(Field::new("entries", entries.data_type().clone(), false));
    vec![
        (
            "decimal",
            Arc::new(Decimal128Array::from(vec![150, 275]).with_precision_and_scale(9, 2).unwrap()),
        ),
        ("half", Arc::new(Float16Array::from(vec![f16::from_f32(0.5), f16::from_f32(2.0)]))),
        (
            "fixed",
            Arc::new(FixedSizeListArray::new(
                item,
                1,
                Arc::new(Int32Array::from(vec![1, 2])),
                None,
            )),
        ),
        ("double", Arc::new(Float64Array::from(vec![0.5, 2.0]))),
        ("i8", Arc::new(Int8Array::from(vec![-1, 2]))),
        ("u8", Arc::new(UInt8Array::from(vec![1, 255]))),
        ("i16", Arc::new(Int16Array::from(vec![-1, 2]))),
        ("u64", Arc::new(UInt64Array::from(vec![1, u64::MAX]))),
        ("date", Arc::new(Date32Array::from(vec![0, 366]))),
        ("time", Arc::new(Time64MicrosecondArray::from(vec![1, 2]))),
        ("local", Arc::new(TimestampMillisecondArray::from(vec![0, 1000]))),
        (
            "zoned",
            Arc::new(
                TimestampMicrosecondArray::from(vec![0, 1_000_000]).with_timezone("Europe/Berlin"),
            ),
        ),
        ("duration", Arc::new(DurationMillisecondArray::from(vec![1, 2]))),
        ("binary", Arc::new(BinaryArray::from(vec![&b"x"[..], b"y"]))),
        ("map", Arc::new(MapArray::new(map_field, pairs, entries.clone(), None, false))),
        ("struct", Arc::new(entries)),
        ("dictionary", Arc::new(DictionaryArray::<Int32Type>::from_iter(["p", "q"]))),
        ("view", Arc::new(StringViewArray::from(vec!["v", "w"]))),
        ("flag", Arc::new(BooleanArray::from(vec![true, false]))),
        ("text", Arc::new(strings)),
    ]
}

/// Writes a Parquet file of these columns.
pub(crate) fn write(
    bench: &Workbench,
    name: &str,
    columns: Vec<(&str, ArrayRef)>,
    codec: Compression,
) {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let file = File::create(bench.path().join(name)).unwrap();
    let properties = WriterProperties::builder().set_compression(codec).build();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

#[test]
fn columns_of_every_type_may_lie_beside_the_text() {
    let bench = Workbench::new();
    write(&bench, "all.parquet", of_every_type(), Compression::SNAPPY);
    let corpus = bench.corpus("path: all.parquet\n");
    let texts: Vec<&str> = corpus.iter().map(|document| document.text.as_str()).collect();
    assert_eq!(texts, ["x", "y"]);
}

#[test]
fn numbers_dates_and_dictionaries_can_be_units() {
    let bench = Workbench::new();
    write(&bench, "all.parquet", of_every_type(), Compression::UNCOMPRESSED);
    for (column, expected) in [
        ("decimal", ["1.5", "2.75"]),
        ("i8", ["-1", "2"]),
        ("u8", ["1", "255"]),
        ("i16", ["-1", "2"]),
        ("u64", ["1", "18446744073709551615"]),
        ("date", ["1970-01-01", "1971-01-02"]),
        ("local", ["1970-01-01T00:00:00", "1970-01-01T00:00:01"]),
        ("zoned", ["1970-01-01T00:00:00Z", "1970-01-01T00:00:01Z"]),
        ("dictionary", ["p", "q"]),
        ("view", ["v", "w"]),
        ("flag", ["true", "false"]),
    ] {
        let corpus = bench.corpus(&format!("path: all.parquet\nunit_column: {column}\n"));
        let units: Vec<&str> = corpus.iter().map(|document| document.unit_id.as_str()).collect();
        assert_eq!(units, expected, "{column}");
    }
    for column in ["dictionary", "view"] {
        let corpus = bench.corpus(&format!("path: all.parquet\ntext_column: {column}\n"));
        assert_eq!(corpus.len(), 2, "{column}");
    }
}

#[test]
fn what_cannot_be_a_unit_or_a_text_is_named_with_its_type() {
    let bench = Workbench::new();
    write(&bench, "all.parquet", of_every_type(), Compression::SNAPPY);
    for (key, column, expected) in [
        ("unit_column", "duration", "column `duration` is of type duration, not text or numbers"),
        ("unit_column", "time", "is of type time of day"),
        ("unit_column", "binary", "is of type binary"),
        ("unit_column", "map", "is of type map"),
        ("id_column", "struct", "is of type struct"),
        ("id_column", "fixed", "is of type list of int32"),
        ("text_column", "u8", "column `u8` is of type uint8, not text"),
        ("text_column", "binary", "is of type binary, not text"),
    ] {
        let finished = bench.run(&format!("path: all.parquet\n{key}: {column}\n"));
        let message = finished.failure(3);
        assert!(message.contains(expected), "{expected:?} is not in: {message}");
        assert!(message.contains(&format!("set {key} to a column of")), "{message}");
        assert!(!message.contains("damaged"), "{message}");
    }
}

#[test]
fn every_usual_compression_is_read() {
    let bench = Workbench::new();
    for (number, codec) in [
        Compression::GZIP(GzipLevel::default()),
        Compression::BROTLI(BrotliLevel::default()),
        Compression::LZ4_RAW,
        Compression::LZ4,
        Compression::ZSTD(ZstdLevel::default()),
        Compression::SNAPPY,
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("{number}.parquet");
        let text: ArrayRef = Arc::new(StringArray::from(vec!["same ".repeat(1000)]));
        write(&bench, &name, vec![("text", text)], codec);
        let corpus = bench.corpus(&format!("path: {name}\n"));
        assert_eq!(corpus[0].text, "same ".repeat(1000), "{codec}");
    }
}

#[test]
fn lists_of_paragraphs_may_be_of_every_kind() {
    let bench = Workbench::new();
    let mut small = ListBuilder::new(StringBuilder::new());
    let mut large = LargeListBuilder::new(StringDictionaryBuilder::<Int32Type>::new());
    for case in [&["a", "b"][..], &[], &["b"]] {
        for paragraph in case {
            small.values().append_value(paragraph);
            large.values().append_value(paragraph);
        }
        small.append(true);
        large.append(true);
    }
    let expected = [("k/0", "k", "a"), ("k/1", "k", "b"), ("m/0", "m", "b")];
    let lists: [(&str, ArrayRef); 2] =
        [("small", Arc::new(small.finish())), ("large", Arc::new(large.finish()))];
    for (name, list) in lists {
        let ids: ArrayRef = Arc::new(StringArray::from(vec!["k", "l", "m"]));
        let file = format!("{name}.parquet");
        write(&bench, &file, vec![("case_id", ids), ("facts", list)], Compression::SNAPPY);
        let corpus = bench.corpus(&format!("source: ecthr\npath: {file}\n"));
        assert_eq!(columns(&corpus), expected, "{name}");
    }
}

#[test]
fn nulls_are_named_by_their_row() {
    let bench = Workbench::new();
    let mut texts = vec![Some("x"); 3000];
    texts[2500] = None;
    let texts: ArrayRef = Arc::new(StringArray::from(texts));
    write(&bench, "nulls.parquet", vec![("text", texts)], Compression::SNAPPY);
    let finished = bench.run("path: nulls.parquet\n");
    let message = finished.failure(3);
    assert!(
        message.contains("nulls.parquet: row 2501: field `text` is missing or null"),
        "{message}"
    );
}
