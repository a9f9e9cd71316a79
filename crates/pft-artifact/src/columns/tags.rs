//! The columns of `tags`.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    AsArray, Float32Array, ListArray, RecordBatch, StringArray, StringBuilder, StructArray,
    UInt32Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, Float32Type, Schema, SchemaRef, UInt32Type};
use arrow::error::ArrowError;

use super::{Ends, item, list_column, string_column, take_strings, utf8, wrong_type};
use crate::record::{Columns, FromBatch};
use crate::{Kind, Record, Span, SpanRow, TaggedDocument, TaggedRow};

static SPAN: LazyLock<Fields> = LazyLock::new(|| {
    Fields::from(vec![
        Field::new("start", DataType::UInt32, false),
        Field::new("end", DataType::UInt32, false),
        utf8("label"),
        Field::new("score", DataType::Float32, false),
        utf8("source"),
    ])
});

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        utf8("doc_id"),
        utf8("text_hash"),
        Field::new("spans", DataType::List(item(DataType::Struct(SPAN.clone()))), false),
    ]))
});

/// Tagged documents that wait to be written.
#[derive(Debug, Default)]
pub struct TagsColumns {
    doc_id: StringBuilder,
    text_hash: StringBuilder,
    ends: Ends,
    start: Vec<u32>,
    end: Vec<u32>,
    label: StringBuilder,
    score: Vec<f32>,
    source: StringBuilder,
}

impl Columns for TagsColumns {
    fn schema() -> SchemaRef {
        SCHEMA.clone()
    }

    fn take(&mut self) -> Result<RecordBatch, ArrowError> {
        let spans = StructArray::try_new(
            SPAN.clone(),
            vec![
                Arc::new(UInt32Array::from(std::mem::take(&mut self.start))),
                Arc::new(UInt32Array::from(std::mem::take(&mut self.end))),
                take_strings(&mut self.label),
                Arc::new(Float32Array::from(std::mem::take(&mut self.score))),
                take_strings(&mut self.source),
            ],
            None,
        )?;
        let item = item(DataType::Struct(SPAN.clone()));
        RecordBatch::try_new(
            Self::schema(),
            vec![
                take_strings(&mut self.doc_id),
                take_strings(&mut self.text_hash),
                Arc::new(ListArray::try_new(item, self.ends.take()?, Arc::new(spans), None)?),
            ],
        )
    }
}

impl Record for TaggedDocument {
    const KIND: Kind = Kind::Tags;
    type Row<'a> = TaggedRow<'a>;
    type Columns = TagsColumns;

    fn with_row<T>(&self, act: impl FnOnce(TaggedRow<'_>) -> T) -> T {
        let spans: Vec<SpanRow<'_>> = self.spans.iter().map(SpanRow::from).collect();
        act(TaggedRow { doc_id: &self.doc_id, text_hash: &self.text_hash, spans: &spans })
    }

    fn append(columns: &mut TagsColumns, row: TaggedRow<'_>) {
        columns.doc_id.append_value(row.doc_id);
        columns.text_hash.append_value(row.text_hash);
        columns.start.extend(row.spans.iter().map(|span| span.start));
        columns.end.extend(row.spans.iter().map(|span| span.end));
        columns.score.extend(row.spans.iter().map(|span| span.score));
        for span in row.spans {
            columns.label.append_value(span.label);
            columns.source.append_value(span.source);
        }
        columns.ends.push(columns.start.len());
    }
}

impl FromBatch for TaggedDocument {
    fn from_batch(batch: &RecordBatch) -> Result<Vec<Self>, String> {
        let (mut labels, mut sources) = (Shared::default(), Shared::default());
        let mut tagged = |tags: &StoredTags| TaggedDocument {
            doc_id: tags.doc_id().to_string(),
            text_hash: tags.text_hash().to_string(),
            spans: tags
                .spans()
                .map(|span| Span {
                    start: span.start,
                    end: span.end,
                    label: labels.get(span.label),
                    score: span.score,
                    source: sources.get(span.source),
                })
                .collect(),
        };
        Ok(StoredTags::from_batch(batch)?.iter().map(&mut tagged).collect())
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

/// A tagged document in the columns that it was read into. They live as long as any of their
/// documents.
#[derive(Debug, Clone)]
pub struct StoredTags {
    tags: Arc<Tags>,
    index: usize,
}

#[derive(Debug)]
struct Tags {
    doc_id: StringArray,
    text_hash: StringArray,
    offsets: OffsetBuffer<i32>,
    start: UInt32Array,
    end: UInt32Array,
    label: StringArray,
    score: Float32Array,
    source: StringArray,
}

impl StoredTags {
    /// The document's id.
    pub fn doc_id(&self) -> &str {
        self.tags.doc_id.value(self.index)
    }

    /// BLAKE3 of the text that was tagged.
    pub fn text_hash(&self) -> &str {
        self.tags.text_hash.value(self.index)
    }

    /// The spans, in their order.
    pub fn spans(&self) -> impl ExactSizeIterator<Item = SpanRow<'_>> {
        let Self { tags, index } = self;
        (tags.offsets[*index] as usize..tags.offsets[*index + 1] as usize).map(|i| SpanRow {
            start: tags.start.value(i),
            end: tags.end.value(i),
            label: tags.label.value(i),
            score: tags.score.value(i),
            source: tags.source.value(i),
        })
    }
}

impl FromBatch for StoredTags {
    fn from_batch(batch: &RecordBatch) -> Result<Vec<Self>, String> {
        let lists = list_column(batch, "spans")?;
        let wrong =
            || wrong_type(batch, "spans", "a list of struct start, end, label, score, source");
        let structs: &StructArray = lists.values().as_struct_opt().ok_or_else(wrong)?;
        let field = |name: &str| structs.column_by_name(name).ok_or_else(wrong);
        let number =
            |name: &str| field(name)?.as_primitive_opt::<UInt32Type>().cloned().ok_or_else(wrong);
        let string = |name: &str| field(name)?.as_string_opt::<i32>().cloned().ok_or_else(wrong);
        let score = field("score")?.as_primitive_opt::<Float32Type>();
        let tags = Arc::new(Tags {
            doc_id: string_column(batch, "doc_id")?,
            text_hash: string_column(batch, "text_hash")?,
            offsets: lists.offsets().clone(),
            start: number("start")?,
            end: number("end")?,
            label: string("label")?,
            score: score.cloned().ok_or_else(wrong)?,
            source: string("source")?,
        });
        Ok((0..batch.num_rows()).map(|index| Self { tags: Arc::clone(&tags), index }).collect())
    }
}
