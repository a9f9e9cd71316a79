//! One value is one id, one unit, one split, whatever type a file keeps it in.

use std::sync::Arc;

use arrow::array::*;
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Int32Type};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;

use crate::common::{Workbench, columns};
use crate::parquet::write;

fn texts(count: usize, name: &str) -> ArrayRef {
    Arc::new(StringArray::from_iter_values((0..count).map(|i| format!("{name} {i}"))))
}

fn units(bench: &Workbench, config: &str) -> Vec<String> {
    bench.corpus(config).into_iter().map(|document| document.unit_id).collect()
}

/// pandas makes whole numbers floating point once a value was missing.
#[test]
fn whole_numbers_are_one_unit_in_every_type_and_format() {
    let bench = Workbench::new();
    let types: [(&str, ArrayRef); 9] = [
        ("int64", Arc::new(Int64Array::from(vec![7, 8]))),
        ("u8", Arc::new(UInt8Array::from(vec![7, 8]))),
        ("double", Arc::new(Float64Array::from(vec![7.0, 8.0]))),
        ("single", Arc::new(Float32Array::from(vec![7.0, 8.0]))),
        (
            "half",
            Arc::new(Float16Array::from(vec![half::f16::from_f32(7.0), half::f16::from_f32(8.0)])),
        ),
        (
            "decimal",
            Arc::new(Decimal128Array::from(vec![700, 800]).with_precision_and_scale(9, 2).unwrap()),
        ),
        ("text", Arc::new(StringArray::from(vec!["7", "8"]))),
        ("category", Arc::new(DictionaryArray::<Int32Type>::from_iter(["7", "8"]))),
        (
            "floats",
            Arc::new(DictionaryArray::<Int32Type>::new(
                Int32Array::from(vec![1, 0]),
                Arc::new(Float64Array::from(vec![8.0, 7.0])),
            )),
        ),
    ];
    let mut paths = Vec::new();
    for (name, values) in types {
        let file = format!("{name}.parquet");
        write(&bench, &file, vec![("u", values), ("text", texts(2, name))], Compression::SNAPPY);
        paths.push(file);
    }
    bench.write("a.jsonl", "{\"u\": 7, \"text\": \"a\"}\n{\"u\": 8.0, \"text\": \"b\"}\n");
    bench.write("b.jsonl", "{\"u\": \"7\", \"text\": \"c\"}\n{\"u\": 80e-1, \"text\": \"d\"}\n");
    bench.write("a.csv", "u,text\n7,e\n8,f\n");
    paths.extend(["a.jsonl", "b.jsonl", "a.csv"].map(str::to_string));
    for path in &paths {
        assert_eq!(units(&bench, &format!("path: {path}\nunit_column: u\n")), ["7", "8"], "{path}");
    }
    let parquet = "path: [int64.parquet, double.parquet, decimal.parquet]\nunit_column: u\n";
    assert_eq!(units(&bench, parquet), ["7", "8", "7", "8", "7", "8"]);
    let corpus = bench.corpus("path: double.parquet\nid_column: u\n");
    assert_eq!(columns(&corpus), [("7", "7", "double 0"), ("8", "8", "double 1")]);
}

#[test]
fn numbers_that_may_have_been_others_are_no_labels() {
    let bench = Workbench::new();
    let file = |values: ArrayRef| {
        let count = values.len();
        write(
            &bench,
            "a.parquet",
            vec![("u", values), ("text", texts(count, "x"))],
            Compression::SNAPPY,
        );
    };
    let double = |values: Vec<f64>| file(Arc::new(Float64Array::from(values)));
    let config = "path: a.parquet\nunit_column: u\n";
    let refused = |needle: &str| {
        let finished = bench.run(config);
        let message = finished.failure(3);
        assert!(message.contains(needle), "{needle:?} is not in: {message}");
        assert!(message.contains("a.parquet: row 2: field `u`"), "{message}");
    };
    double(vec![1.0, f64::NAN]);
    refused("is missing or null");
    double(vec![1.0, 7.5]);
    refused("with a fraction");
    double(vec![1.0, 9_007_199_254_740_992.0]);
    refused("too large");
    double(vec![1.0, f64::INFINITY]);
    refused("too large");
    file(Arc::new(Float32Array::from(vec![1.0, 16_777_216.0])));
    refused("too large");
    double(vec![-0.0, 9_007_199_254_740_991.0]);
    assert_eq!(units(&bench, config), ["0", "9007199254740991"]);
    for (value, needle) in [
        ("7.5", "with a fraction"),
        ("12345678901234567890123", "too large"),
        ("9007199254740992.0", "too large"),
        ("1e300", "too large"),
        ("null", "is missing or null"),
        ("[1]", "is a list or an object"),
    ] {
        bench.write(
            "a.jsonl",
            format!("{{\"u\": 1, \"text\": \"a\"}}\n{{\"u\": {value}, \"text\": \"b\"}}\n"),
        );
        let finished = bench.run("path: a.jsonl\nunit_column: u\n");
        let message = finished.failure(3);
        assert!(message.contains("a.jsonl:2: field `u`") && message.contains(needle), "{message}");
    }
    // Text stays what it is, and so does a whole number of any length that JSON has exactly.
    let rows =
        ["\"7.5\"", "18446744073709551615", "-9223372036854775808", "\"1e3\"", "true", "\"007\""];
    let lines =
        rows.iter().enumerate().map(|(i, u)| format!("{{\"u\": {u}, \"text\": \"{i}\"}}\n"));
    bench.write("a.jsonl", lines.collect::<String>());
    let expected = ["7.5", "18446744073709551615", "-9223372036854775808", "1e3", "true", "007"];
    assert_eq!(units(&bench, "path: a.jsonl\nunit_column: u\n"), expected);
}

/// A CSV file has no types: what pandas wrote as floating point is text here.
#[test]
fn two_spellings_of_a_number_are_refused_where_no_type_tells() {
    let bench = Workbench::new();
    bench.write("a.csv", "u,text\n7,a\n8,b\n");
    bench.write("b.csv", "u,text\n9.0,c\n8.0,d\n");
    for paths in ["[a.csv, b.csv]", "[b.csv, a.csv]"] {
        let finished = bench.run(&format!("path: {paths}\nunit_column: u\n"));
        let message = finished.failure(3);
        assert!(message.contains("\"8\"") && message.contains("\"8.0\""), "{message}");
        assert!(message.contains("they may be one") && message.contains("Int64"), "{message}");
    }
    assert_eq!(units(&bench, "path: b.csv\nunit_column: u\n"), ["9.0", "8.0"]);
}

#[test]
fn dates_and_times_are_not_mixed_in_a_column_of_labels() {
    let bench = Workbench::new();
    let dates: ArrayRef = Arc::new(Date32Array::from(vec![0, 1]));
    let times: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![0, 1000]));
    write(&bench, "a.parquet", vec![("u", dates), ("text", texts(2, "a"))], Compression::SNAPPY);
    write(&bench, "b.parquet", vec![("u", times), ("text", texts(2, "b"))], Compression::SNAPPY);
    let finished = bench.run("path: [a.parquet, b.parquet]\nunit_column: u\n");
    let message = finished.failure(3);
    assert!(message.contains("column `u` is a timestamp here and a date in"), "{message}");
    assert_eq!(bench.corpus("path: [a.parquet, b.parquet]\n").len(), 4);
}

#[test]
fn texts_are_text_in_every_row() {
    let bench = Workbench::new();
    for value in ["7", "7.10", "true", "[\"a\"]", "{}"] {
        bench.write("a.jsonl", format!("{{\"text\": \"a\"}}\n{{\"text\": {value}}}\n"));
        let finished = bench.run("path: a.jsonl\n");
        let message = finished.failure(3);
        assert!(message.contains("a.jsonl:2: field `text` has the wrong type"), "{message}");
    }
    bench.write("a.jsonl", "{\"text\": \"7.10\"}\n{\"text\": \"true\"}\n{\"text\": \"-1e5\"}\n");
    let texts: Vec<String> = bench.corpus("path: a.jsonl\n").into_iter().map(|d| d.text).collect();
    assert_eq!(texts, ["7.10", "true", "-1e5"]);
    bench.write("b.jsonl", "{\"facts\": [\"a\", \"7\"]}\n{\"facts\": [\"b\", 7]}\n");
    let finished = bench.run("source: ecthr\npath: b.jsonl\n");
    assert!(finished.failure(3).contains("b.jsonl:2: field `facts` has the wrong type"));
}

/// As DuckDB and pyarrow write them: sixteen bytes that the file says are a UUID.
#[test]
fn uuids_are_written_as_everywhere() {
    let bench = Workbench::new();
    let bytes: Vec<u8> = (0..32).map(|i| i * 7).collect();
    let uuids = FixedSizeBinaryArray::new(16, Buffer::from_vec(bytes), None);
    let field = |name: &str, data_type: &DataType| {
        arrow::datatypes::Field::new(name, data_type.clone(), false)
    };
    let uuid = field("u", uuids.data_type())
        .with_metadata([("ARROW:extension:name".to_string(), "arrow.uuid".to_string())]);
    let text = texts(2, "x");
    let schema =
        Arc::new(arrow::datatypes::Schema::new(vec![uuid, field("text", text.data_type())]));
    let batch = RecordBatch::try_new(schema.clone(), vec![Arc::new(uuids), text]).unwrap();
    let schema = parquet::schema::parser::parse_message_type(
        "message m { required fixed_len_byte_array(16) u (UUID); required binary text (STRING); }",
    )
    .map(|root| parquet::schema::types::SchemaDescriptor::new(Arc::new(root)))
    .unwrap();
    let file = std::fs::File::create(bench.path().join("a.parquet")).unwrap();
    let options =
        parquet::arrow::arrow_writer::ArrowWriterOptions::new().with_parquet_schema(schema);
    let mut writer = ArrowWriter::try_new_with_options(file, batch.schema(), options).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let expected = ["00070e15-1c23-2a31-383f-464d545b6269", "70777e85-8c93-9aa1-a8af-b6bdc4cbd2d9"];
    assert_eq!(units(&bench, "path: a.parquet\nunit_column: u\n"), expected);
    let ids: Vec<String> =
        bench.corpus("path: a.parquet\nid_column: u\n").into_iter().map(|d| d.doc_id).collect();
    assert_eq!(ids, expected);
    let finished = bench.run("path: a.parquet\ntext_column: u\n");
    assert!(finished.failure(3).contains("is of type binary, not text"));
}
