//! The columns of `tags`.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, AsArray, Float32Array, ListArray, RecordBatch, StringArray, StringBuilder, StructArray,
    UInt32Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, Float32Type, Schema, SchemaRef};
use arrow::error::ArrowError;

use crate::table::columns::{Ends, item, string_column, take_strings, utf8};
use crate::table::lists::{Structs, list_of, range};
use crate::table::record::{Columns, FromBatch};
use crate::{ArtifactError, Kind, Quoted, Record, Span, SpanRow, TaggedDocument, TaggedRow};

static SPAN: LazyLock<Fields> = LazyLock::new(|| {
    Fields::from(vec![
        Field::new("start", DataType::UInt32, false),
        Field::new("end", DataType::UInt32, false),
        utf8("label"),
        Field::new("score", DataType::Float32, false),
        utf8("source"),
    ])
});

/// The other labels of a span, which `span` counts from the document's first. Nearly no span has any, so
/// that a field of every span would cost more than it holds.
static OTHER_LABELS: LazyLock<Fields> = LazyLock::new(|| {
    Fields::from(vec![Field::new("span", DataType::UInt32, false), utf8("labels")])
});

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        utf8("doc_id"),
        utf8("text_hash"),
        Field::new("spans", list_of(&SPAN), false),
        Field::new("other_labels", list_of(&OTHER_LABELS), false),
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
    other_ends: Ends,
    other_span: Vec<u32>,
    other_labels: StringBuilder,
}

impl Columns for TagsColumns {
    fn schema(&self) -> SchemaRef {
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
        let other_labels = StructArray::try_new(
            OTHER_LABELS.clone(),
            vec![
                Arc::new(UInt32Array::from(std::mem::take(&mut self.other_span))),
                take_strings(&mut self.other_labels),
            ],
            None,
        )?;
        let lists = |ends: &mut Ends, structs: StructArray| {
            let item = item(structs.data_type().clone());
            ListArray::try_new(item, ends.take()?, Arc::new(structs), None)
        };
        RecordBatch::try_new(
            self.schema(),
            vec![
                take_strings(&mut self.doc_id),
                take_strings(&mut self.text_hash),
                Arc::new(lists(&mut self.ends, spans)?),
                Arc::new(lists(&mut self.other_ends, other_labels)?),
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

    fn append(columns: &mut TagsColumns, row: TaggedRow<'_>) -> Result<(), ArtifactError> {
        columns.doc_id.append_value(row.doc_id);
        columns.text_hash.append_value(row.text_hash);
        columns.start.extend(row.spans.iter().map(|span| span.start));
        columns.end.extend(row.spans.iter().map(|span| span.end));
        columns.score.extend(row.spans.iter().map(|span| span.score));
        for (index, span) in (0..).zip(row.spans) {
            columns.label.append_value(span.label);
            columns.source.append_value(span.source);
            if let Some(labels) = span.other_labels {
                columns.other_span.push(index);
                columns.other_labels.append_value(labels);
            }
        }
        columns.ends.push(columns.start.len());
        columns.other_ends.push(columns.other_span.len());
        Ok(())
    }
}

impl FromBatch for TaggedDocument {
    fn from_batch(batch: &RecordBatch) -> Result<Vec<Self>, String> {
        let (mut labels, mut sources) = (Shared::default(), Shared::default());
        let mut others = Shared::default();
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
                    other_labels: span.other_labels.map(|labels| others.get(labels)),
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
    other_offsets: OffsetBuffer<i32>,
    other_span: UInt32Array,
    other_labels: StringArray,
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
        let spans = range(&tags.offsets, *index);
        let first = spans.start;
        let mut others = range(&tags.other_offsets, *index)
            .map(move |i| (first + tags.other_span.value(i) as usize, tags.other_labels.value(i)));
        let mut next = others.next();
        spans.map(move |i| SpanRow {
            start: tags.start.value(i),
            end: tags.end.value(i),
            label: tags.label.value(i),
            score: tags.score.value(i),
            source: tags.source.value(i),
            other_labels: match next {
                Some((place, labels)) if place == i => {
                    next = others.next();
                    Some(labels)
                }
                _ => None,
            },
        })
    }
}

impl FromBatch for StoredTags {
    fn from_batch(batch: &RecordBatch) -> Result<Vec<Self>, String> {
        let spans = Structs::of(batch, "spans", "start, end, label, score, source")?;
        let others = Structs::of(batch, "other_labels", "span, labels")?;
        let score = spans.field("score")?.as_primitive_opt::<Float32Type>();
        let tags = Arc::new(Tags {
            doc_id: string_column(batch, "doc_id")?,
            text_hash: string_column(batch, "text_hash")?,
            offsets: spans.lists.offsets().clone(),
            start: spans.numbers("start")?,
            end: spans.numbers("end")?,
            label: spans.strings("label")?,
            score: score.cloned().ok_or_else(|| spans.wrong())?,
            source: spans.strings("source")?,
            other_offsets: others.lists.offsets().clone(),
            other_span: others.numbers("span")?,
            other_labels: others.strings("labels")?,
        });
        let rows: Vec<Self> =
            (0..batch.num_rows()).map(|index| Self { tags: Arc::clone(&tags), index }).collect();
        match rows.iter().find(|row| !row.other_labels_are_of_its_spans()) {
            None => Ok(rows),
            Some(row) => Err(format!(
                "document {}: column `other_labels` must name spans of the document in their order",
                Quoted(row.doc_id())
            )),
        }
    }
}

impl StoredTags {
    /// Whether each of the other labels belongs to a span, or it would be overlooked.
    fn other_labels_are_of_its_spans(&self) -> bool {
        let others = &self.tags.other_span.values()[range(&self.tags.other_offsets, self.index)];
        others.is_sorted_by(|a, b| a < b)
            && others.last().is_none_or(|&last| (last as usize) < self.spans().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns() -> TagsColumns {
        let span = |start, other_labels| SpanRow {
            start,
            end: start + 1,
            label: "DATE",
            score: 1.0,
            source: "t",
            other_labels,
        };
        let spans = [span(0, None), span(2, Some("ORG+PERSON")), span(4, None), span(6, Some("X"))];
        let mut columns = TagsColumns::default();
        for spans in [&spans[..2], &[], &spans] {
            let row = TaggedRow { doc_id: "d", text_hash: "", spans };
            TaggedDocument::append(&mut columns, row).unwrap();
        }
        columns
    }

    #[test]
    fn other_labels_come_back_with_their_spans() {
        let rows = StoredTags::from_batch(&columns().take().unwrap()).unwrap();
        let others = |row: &StoredTags| -> Vec<Option<String>> {
            row.spans().map(|span| span.other_labels.map(str::to_string)).collect()
        };
        let some = |labels: &str| Some(labels.to_string());
        assert_eq!(others(&rows[0]), [None, some("ORG+PERSON")]);
        assert_eq!(others(&rows[1]), []);
        assert_eq!(others(&rows[2]), [None, some("ORG+PERSON"), None, some("X")]);
    }

    /// Labels that no span is read with would be as good as none.
    #[test]
    fn other_labels_of_no_span_are_refused() {
        for wrong in [[1, 3, 1], [1, 1, 4], [2, 1, 3], [1, 1, 1]] {
            let mut columns = columns();
            columns.other_span = wrong.to_vec();
            let error = StoredTags::from_batch(&columns.take().unwrap()).unwrap_err();
            assert!(error.contains("other_labels"), "{error}");
        }
    }
}
