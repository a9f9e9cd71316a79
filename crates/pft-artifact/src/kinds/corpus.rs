//! The columns of a `corpus`.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, AsArray, LargeStringArray, LargeStringBuilder, RecordBatch, StringArray, StringBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;

use crate::table::columns::{column, split_column, string_column, take_strings, utf8, wrong_type};
use crate::table::record::{Columns, FromBatch};
use crate::{Document, DocumentRow, Kind, Record, Split};

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        utf8("doc_id"),
        utf8("unit_id"),
        utf8("split"),
        Field::new("text", DataType::LargeUtf8, false),
    ]))
});

/// Documents that wait to be written.
#[derive(Debug, Default)]
pub struct CorpusColumns {
    doc_id: StringBuilder,
    unit_id: StringBuilder,
    split: StringBuilder,
    text: LargeStringBuilder,
}

impl Columns for CorpusColumns {
    fn schema() -> SchemaRef {
        SCHEMA.clone()
    }

    fn take(&mut self) -> Result<RecordBatch, ArrowError> {
        RecordBatch::try_new(
            Self::schema(),
            vec![
                take_strings(&mut self.doc_id),
                take_strings(&mut self.unit_id),
                take_strings(&mut self.split),
                Arc::new(self.text.finish()),
            ],
        )
    }
}

impl Record for Document {
    const KIND: Kind = Kind::Corpus;
    type Row<'a> = DocumentRow<'a>;
    type Columns = CorpusColumns;

    fn with_row<T>(&self, act: impl FnOnce(DocumentRow<'_>) -> T) -> T {
        act(self.into())
    }

    fn append(columns: &mut CorpusColumns, row: DocumentRow<'_>) {
        columns.doc_id.append_value(row.doc_id);
        columns.unit_id.append_value(row.unit_id);
        columns.split.append_value(row.split.as_str());
        columns.text.append_value(row.text);
    }
}

impl FromBatch for Document {
    fn from_batch(batch: &RecordBatch) -> Result<Vec<Self>, String> {
        let documents = StoredDocument::from_batch(batch)?;
        Ok(documents.iter().map(|document| document.row().to_document()).collect())
    }
}

/// A document in the columns that it was read into. They live as long as any of their documents.
#[derive(Debug, Clone)]
pub struct StoredDocument {
    documents: Arc<Documents>,
    index: usize,
}

#[derive(Debug)]
struct Documents {
    doc_id: StringArray,
    unit_id: StringArray,
    split: Vec<Split>,
    text: LargeStringArray,
}

impl StoredDocument {
    /// The document.
    pub fn row(&self) -> DocumentRow<'_> {
        let Self { documents, index } = self;
        DocumentRow {
            doc_id: documents.doc_id.value(*index),
            unit_id: documents.unit_id.value(*index),
            split: documents.split[*index],
            text: documents.text.value(*index),
        }
    }
}

impl FromBatch for StoredDocument {
    fn from_batch(batch: &RecordBatch) -> Result<Vec<Self>, String> {
        let text = column(batch, "text")?.as_string_opt::<i64>();
        let documents = Arc::new(Documents {
            doc_id: string_column(batch, "doc_id")?,
            unit_id: string_column(batch, "unit_id")?,
            split: split_column(batch)?,
            text: text.cloned().ok_or_else(|| wrong_type(batch, "text", "large_utf8"))?,
        });
        let stored = |index| Self { documents: Arc::clone(&documents), index };
        Ok((0..documents.text.len()).map(stored).collect())
    }
}
