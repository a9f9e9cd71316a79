//! The columns of a `corpus`. One of conversations has their turns in a further column; others are to
//! the byte as if there were none.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, LargeStringArray, LargeStringBuilder, ListArray, RecordBatch,
    StringArray, StringBuilder, StructArray, UInt32Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;

use crate::table::columns::{
    Ends, column, item, split_column, string_column, take_strings, utf8, wrong_type,
};
use crate::table::lists::{Structs, list_of, range};
use crate::table::record::{Columns, FromBatch};
use crate::table::turn;
use crate::{ArtifactError, Document, DocumentRow, Kind, Quoted, Record, Role, Split, Turn};

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        utf8("doc_id"),
        utf8("unit_id"),
        utf8("split"),
        Field::new("text", DataType::LargeUtf8, false),
    ]))
});

static TURN: LazyLock<Fields> = LazyLock::new(|| {
    Fields::from(vec![
        utf8("role"),
        Field::new("start", DataType::UInt32, false),
        Field::new("end", DataType::UInt32, false),
    ])
});

static CONVERSATIONS: LazyLock<SchemaRef> = LazyLock::new(|| {
    let turns = Arc::new(Field::new("turns", list_of(&TURN), false));
    let fields = SCHEMA.fields().iter().cloned().chain([turns]);
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
});

/// Documents that wait to be written.
#[derive(Debug, Default)]
pub struct CorpusColumns {
    doc_id: StringBuilder,
    unit_id: StringBuilder,
    split: StringBuilder,
    text: LargeStringBuilder,
    /// Whether they are conversations, by the first of them.
    are_conversations: Option<bool>,
    turn_ends: Ends,
    role: StringBuilder,
    start: Vec<u32>,
    end: Vec<u32>,
}

impl CorpusColumns {
    fn take_turns(&mut self) -> Result<ListArray, ArrowError> {
        let turns = StructArray::try_new(
            TURN.clone(),
            vec![
                take_strings(&mut self.role),
                Arc::new(UInt32Array::from(std::mem::take(&mut self.start))),
                Arc::new(UInt32Array::from(std::mem::take(&mut self.end))),
            ],
            None,
        )?;
        let item = item(turns.data_type().clone());
        ListArray::try_new(item, self.turn_ends.take()?, Arc::new(turns), None)
    }
}

impl Columns for CorpusColumns {
    fn schema(&self) -> SchemaRef {
        match self.are_conversations {
            Some(true) => CONVERSATIONS.clone(),
            _ => SCHEMA.clone(),
        }
    }

    fn take(&mut self) -> Result<RecordBatch, ArrowError> {
        let mut columns: Vec<ArrayRef> = vec![
            take_strings(&mut self.doc_id),
            take_strings(&mut self.unit_id),
            take_strings(&mut self.split),
            Arc::new(self.text.finish()),
        ];
        if self.are_conversations == Some(true) {
            columns.push(Arc::new(self.take_turns()?));
        }
        RecordBatch::try_new(self.schema(), columns)
    }
}

impl Record for Document {
    const KIND: Kind = Kind::Corpus;
    type Row<'a> = DocumentRow<'a>;
    type Columns = CorpusColumns;

    fn with_row<T>(&self, act: impl FnOnce(DocumentRow<'_>) -> T) -> T {
        act(self.into())
    }

    fn append(columns: &mut CorpusColumns, row: DocumentRow<'_>) -> Result<(), ArtifactError> {
        let has_turns = !row.turns.is_empty();
        if *columns.are_conversations.get_or_insert(has_turns) != has_turns {
            let (this, others) = match has_turns {
                true => ("is a conversation", "have no turns"),
                false => ("has no turns", "are conversations"),
            };
            return Err(ArtifactError::record(
                row.doc_id,
                format!("{this}, and those before it {others}; make a corpus of each"),
            ));
        }
        if has_turns {
            for turn in row.turns {
                columns.role.append_value(turn.role.as_str());
                columns.start.push(turn.start);
                columns.end.push(turn.end);
            }
            columns.turn_ends.push(columns.start.len());
        }
        columns.doc_id.append_value(row.doc_id);
        columns.unit_id.append_value(row.unit_id);
        columns.split.append_value(row.split.as_str());
        columns.text.append_value(row.text);
        Ok(())
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

/// Where the turns of each document lie, and all turns.
type StoredTurns = (OffsetBuffer<i32>, Vec<Turn>);

#[derive(Debug)]
struct Documents {
    doc_id: StringArray,
    unit_id: StringArray,
    split: Vec<Split>,
    text: LargeStringArray,
    /// None if these are no conversations.
    turns: Option<StoredTurns>,
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
            turns: match &documents.turns {
                Some((offsets, turns)) => &turns[range(offsets, *index)],
                None => &[],
            },
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
            turns: turns_of(batch)?,
        });
        let stored = |index| Self { documents: Arc::clone(&documents), index };
        Ok((0..documents.text.len()).map(stored).collect())
    }
}

/// The turns of all documents and where those of each lie, if the column is there. Whether they lie on
/// characters of the text, and nothing outside of them does, is asked again: readers cut by them.
fn turns_of(batch: &RecordBatch) -> Result<Option<StoredTurns>, String> {
    if batch.column_by_name("turns").is_none() {
        return Ok(None);
    }
    let structs = Structs::of(batch, "turns", "role, start, end")?;
    let (roles, starts, ends) =
        (structs.strings("role")?, structs.numbers("start")?, structs.numbers("end")?);
    let turn = |index: usize| {
        let role = roles.value(index);
        let role = Role::named(role)
            .ok_or_else(|| format!("column `turns` has the role {}", Quoted(role)))?;
        Ok(Turn { role, start: starts.value(index), end: ends.value(index) })
    };
    let turns = (0..roles.len()).map(turn).collect::<Result<Vec<_>, String>>()?;
    let offsets = structs.lists.offsets().clone();
    let (doc_id, text) = (string_column(batch, "doc_id")?, column(batch, "text")?);
    let text =
        text.as_string_opt::<i64>().ok_or_else(|| wrong_type(batch, "text", "large_utf8"))?;
    for row in 0..batch.num_rows() {
        turn::check(doc_id.value(row), text.value(row), &turns[range(&offsets, row)])
            .map_err(|error| error.to_string())?;
    }
    Ok(Some((offsets, turns)))
}
