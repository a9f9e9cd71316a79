//! Records to and from Arrow columns.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, BooleanBuilder, Float32Builder, LargeStringArray,
    LargeStringBuilder, ListArray, ListBuilder, RecordBatch, StringArray, StringBuilder,
    StructArray, StructBuilder, UInt32Array, UInt32Builder,
};
use arrow::datatypes::{DataType, Field, Fields, Float32Type, Schema, SchemaRef, UInt32Type};
use arrow::error::ArrowError;

use crate::{ArtifactError, Document, Example, Kind, Record, Span, Split, TaggedDocument};

fn utf8(name: &str) -> Field {
    Field::new(name, DataType::Utf8, false)
}

fn item(data_type: DataType) -> Arc<Field> {
    Arc::new(Field::new("item", data_type, false))
}

fn strings<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn string_column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a StringArray, String> {
    column(batch, name)?.as_string_opt::<i32>().ok_or_else(|| wrong_type(batch, name, "utf8"))
}

fn column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, String> {
    let column = batch.column_by_name(name).ok_or_else(|| format!("column `{name}` is missing"))?;
    if column.null_count() > 0 {
        return Err(format!("column `{name}` holds nulls"));
    }
    Ok(column)
}

fn wrong_type(batch: &RecordBatch, name: &str, expected: &str) -> String {
    let found = batch.column_by_name(name).map(|c| c.data_type().to_string()).unwrap_or_default();
    format!("column `{name}` has type {found}; it must be {expected}")
}

fn list_column<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ListArray, String> {
    column(batch, name)?.as_list_opt::<i32>().ok_or_else(|| wrong_type(batch, name, "a list"))
}

fn parse_split(name: &str) -> Result<Split, String> {
    name.parse()
}

static CORPUS: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        utf8("doc_id"),
        utf8("unit_id"),
        utf8("split"),
        Field::new("text", DataType::LargeUtf8, false),
    ]))
});

impl Record for Document {
    const KIND: Kind = Kind::Corpus;

    fn check(&self) -> Result<(), ArtifactError> {
        if u32::try_from(self.text.len()).is_err() {
            return Err(ArtifactError::record(
                &self.doc_id,
                "its text is longer than 4 GiB, which byte offsets cannot address; cut it first",
            ));
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.doc_id.len() + self.unit_id.len() + self.text.len() + 32
    }

    fn schema() -> SchemaRef {
        CORPUS.clone()
    }

    fn to_batch(records: &[Self]) -> Result<RecordBatch, ArrowError> {
        let bytes = records.iter().map(|r| r.text.len()).sum();
        let mut text = LargeStringBuilder::with_capacity(records.len(), bytes);
        records.iter().for_each(|r| text.append_value(&r.text));
        RecordBatch::try_new(
            Self::schema(),
            vec![
                strings(records.iter().map(|r| r.doc_id.as_str())),
                strings(records.iter().map(|r| r.unit_id.as_str())),
                strings(records.iter().map(|r| r.split.as_str())),
                Arc::new(text.finish()),
            ],
        )
    }

    fn from_batch(batch: &RecordBatch) -> Result<Vec<Self>, String> {
        let doc_id = string_column(batch, "doc_id")?;
        let unit_id = string_column(batch, "unit_id")?;
        let split = string_column(batch, "split")?;
        let text: &LargeStringArray = column(batch, "text")?
            .as_string_opt::<i64>()
            .ok_or_else(|| wrong_type(batch, "text", "large_utf8"))?;
        (0..batch.num_rows())
            .map(|row| {
                Ok(Document {
                    doc_id: doc_id.value(row).to_string(),
                    unit_id: unit_id.value(row).to_string(),
                    split: parse_split(split.value(row))?,
                    text: text.value(row).to_string(),
                })
            })
            .collect()
    }
}

fn span_fields() -> Fields {
    Fields::from(vec![
        Field::new("start", DataType::UInt32, false),
        Field::new("end", DataType::UInt32, false),
        utf8("label"),
        Field::new("score", DataType::Float32, false),
        utf8("source"),
    ])
}

static TAGS: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        utf8("doc_id"),
        utf8("text_hash"),
        Field::new("spans", DataType::List(item(DataType::Struct(span_fields()))), false),
    ]))
});

impl Record for TaggedDocument {
    const KIND: Kind = Kind::Tags;

    fn check(&self) -> Result<(), ArtifactError> {
        let mut previous_end = 0;
        for span in &self.spans {
            if span.start >= span.end {
                return Err(ArtifactError::record(
                    &self.doc_id,
                    format!("span {}..{} is empty or reversed", span.start, span.end),
                ));
            }
            if span.start < previous_end {
                return Err(ArtifactError::record(
                    &self.doc_id,
                    format!(
                        "span {}..{} starts before the previous one ends ({previous_end}); spans \
                         must be sorted and must not overlap",
                        span.start, span.end
                    ),
                ));
            }
            previous_end = span.end;
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.doc_id.len()
            + self.text_hash.len()
            + self.spans.iter().map(|s| 64 + s.label.len() + s.source.len()).sum::<usize>()
    }

    fn schema() -> SchemaRef {
        TAGS.clone()
    }

    fn to_batch(records: &[Self]) -> Result<RecordBatch, ArrowError> {
        let mut spans = ListBuilder::new(StructBuilder::from_fields(span_fields(), 0))
            .with_field(item(DataType::Struct(span_fields())));
        for record in records {
            for span in &record.spans {
                let builder = spans.values();
                append_u32(builder, 0, span.start);
                append_u32(builder, 1, span.end);
                append_str(builder, 2, &span.label);
                if let Some(score) = builder.field_builder::<Float32Builder>(3) {
                    score.append_value(span.score);
                }
                append_str(builder, 4, &span.source);
                builder.append(true);
            }
            spans.append(true);
        }
        RecordBatch::try_new(
            Self::schema(),
            vec![
                strings(records.iter().map(|r| r.doc_id.as_str())),
                strings(records.iter().map(|r| r.text_hash.as_str())),
                Arc::new(spans.finish()),
            ],
        )
    }

    fn from_batch(batch: &RecordBatch) -> Result<Vec<Self>, String> {
        let doc_id = string_column(batch, "doc_id")?;
        let text_hash = string_column(batch, "text_hash")?;
        let lists = list_column(batch, "spans")?;
        let wrong =
            || wrong_type(batch, "spans", "a list of struct start, end, label, score, source");
        let structs: &StructArray = lists.values().as_struct_opt().ok_or_else(wrong)?;
        let field = |name: &str| structs.column_by_name(name).ok_or_else(wrong);
        let start: &UInt32Array =
            field("start")?.as_primitive_opt::<UInt32Type>().ok_or_else(wrong)?;
        let end: &UInt32Array = field("end")?.as_primitive_opt::<UInt32Type>().ok_or_else(wrong)?;
        let label: &StringArray = field("label")?.as_string_opt::<i32>().ok_or_else(wrong)?;
        let score = field("score")?.as_primitive_opt::<Float32Type>().ok_or_else(wrong)?;
        let source: &StringArray = field("source")?.as_string_opt::<i32>().ok_or_else(wrong)?;
        let offsets = lists.value_offsets();
        let (mut labels, mut sources) = (Shared::default(), Shared::default());
        Ok((0..batch.num_rows())
            .map(|row| TaggedDocument {
                doc_id: doc_id.value(row).to_string(),
                text_hash: text_hash.value(row).to_string(),
                spans: (offsets[row] as usize..offsets[row + 1] as usize)
                    .map(|i| Span {
                        start: start.value(i),
                        end: end.value(i),
                        label: labels.get(label.value(i)),
                        score: score.value(i),
                        source: sources.get(source.value(i)),
                    })
                    .collect(),
            })
            .collect())
    }
}

/// Strings of a column that has few different ones.
#[derive(Default)]
struct Shared(Vec<Arc<str>>);

impl Shared {
    /// More than a tagger has labels; a column of other strings would make the search slow.
    const MOST: usize = 64;

    fn get(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.iter().find(|known| &***known == text) {
            return Arc::clone(known);
        }
        let shared: Arc<str> = text.into();
        if self.0.len() < Self::MOST {
            self.0.push(Arc::clone(&shared));
        }
        shared
    }
}

fn append_u32(builder: &mut StructBuilder, index: usize, value: u32) {
    if let Some(field) = builder.field_builder::<UInt32Builder>(index) {
        field.append_value(value);
    }
}

fn append_str(builder: &mut StructBuilder, index: usize, value: &str) {
    if let Some(field) = builder.field_builder::<StringBuilder>(index) {
        field.append_value(value);
    }
}

static TOKENS: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        utf8("example_id"),
        utf8("doc_id"),
        utf8("unit_id"),
        utf8("split"),
        Field::new("input_ids", DataType::List(item(DataType::UInt32)), false),
        Field::new("pii", DataType::List(item(DataType::Boolean)), false),
    ]))
});

impl Record for Example {
    const KIND: Kind = Kind::Tokens;

    fn check(&self) -> Result<(), ArtifactError> {
        if self.input_ids.len() != self.pii.len() {
            return Err(ArtifactError::record(
                &self.example_id,
                format!("{} input_ids but {} pii flags", self.input_ids.len(), self.pii.len()),
            ));
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.example_id.len() + self.doc_id.len() + self.unit_id.len() + self.input_ids.len() * 5
    }

    fn schema() -> SchemaRef {
        TOKENS.clone()
    }

    fn to_batch(records: &[Self]) -> Result<RecordBatch, ArrowError> {
        let mut input_ids =
            ListBuilder::new(UInt32Builder::new()).with_field(item(DataType::UInt32));
        let mut pii = ListBuilder::new(BooleanBuilder::new()).with_field(item(DataType::Boolean));
        for record in records {
            input_ids.values().append_slice(&record.input_ids);
            input_ids.append(true);
            pii.values().append_slice(&record.pii);
            pii.append(true);
        }
        RecordBatch::try_new(
            Self::schema(),
            vec![
                strings(records.iter().map(|r| r.example_id.as_str())),
                strings(records.iter().map(|r| r.doc_id.as_str())),
                strings(records.iter().map(|r| r.unit_id.as_str())),
                strings(records.iter().map(|r| r.split.as_str())),
                Arc::new(input_ids.finish()),
                Arc::new(pii.finish()),
            ],
        )
    }

    fn from_batch(batch: &RecordBatch) -> Result<Vec<Self>, String> {
        let example_id = string_column(batch, "example_id")?;
        let doc_id = string_column(batch, "doc_id")?;
        let unit_id = string_column(batch, "unit_id")?;
        let split = string_column(batch, "split")?;
        let input_ids = list_column(batch, "input_ids")?;
        let pii = list_column(batch, "pii")?;
        let ids: &UInt32Array = input_ids
            .values()
            .as_primitive_opt::<UInt32Type>()
            .ok_or_else(|| wrong_type(batch, "input_ids", "a list of u32"))?;
        let flags: &BooleanArray = pii
            .values()
            .as_boolean_opt()
            .ok_or_else(|| wrong_type(batch, "pii", "a list of bool"))?;
        let (id_offsets, flag_offsets) = (input_ids.value_offsets(), pii.value_offsets());
        (0..batch.num_rows())
            .map(|row| {
                let range = id_offsets[row] as usize..id_offsets[row + 1] as usize;
                Ok(Example {
                    example_id: example_id.value(row).to_string(),
                    doc_id: doc_id.value(row).to_string(),
                    unit_id: unit_id.value(row).to_string(),
                    split: parse_split(split.value(row))?,
                    input_ids: ids.values()[range].to_vec(),
                    pii: (flag_offsets[row] as usize..flag_offsets[row + 1] as usize)
                        .map(|i| flags.value(i))
                        .collect(),
                })
            })
            .collect()
    }
}
