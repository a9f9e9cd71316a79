//! The columns of `tokens`.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, ListArray, RecordBatch, StringBuilder, UInt32Array,
};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type};
use arrow::error::ArrowError;

use crate::table::columns::{
    Ends, column, item, list_column, split_column, string_column, take_strings, utf8, wrong_type,
};
use crate::table::lists::range;
use crate::table::record::{Columns, FromBatch};
use crate::{ArtifactError, Example, ExampleRow, Kind, Record};

static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
    Arc::new(Schema::new(vec![
        utf8("example_id"),
        utf8("doc_id"),
        utf8("unit_id"),
        utf8("split"),
        Field::new("input_ids", DataType::List(item(DataType::UInt32)), false),
        Field::new("pii", DataType::List(item(DataType::Boolean)), false),
        Field::new("context", DataType::UInt32, false),
    ]))
});

/// With `loss_mask`, where not every token is learned.
static MASKED: LazyLock<SchemaRef> = LazyLock::new(|| {
    let mask = Field::new("loss_mask", DataType::List(item(DataType::Boolean)), false);
    let fields = SCHEMA.fields().iter().cloned().chain([Arc::new(mask)]);
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
});

/// Examples that wait to be written.
#[derive(Debug, Default)]
pub struct TokensColumns {
    example_id: StringBuilder,
    doc_id: StringBuilder,
    unit_id: StringBuilder,
    split: StringBuilder,
    /// Of both lists: each token has a flag.
    ends: Ends,
    input_ids: Vec<u32>,
    pii: Vec<bool>,
    context: Vec<u32>,
    loss_mask: Vec<bool>,
    /// Whether there is a loss mask, by the first example.
    is_masked: Option<bool>,
}

impl Columns for TokensColumns {
    fn schema(&self) -> SchemaRef {
        if self.is_masked == Some(true) { MASKED.clone() } else { SCHEMA.clone() }
    }

    fn take(&mut self) -> Result<RecordBatch, ArrowError> {
        let offsets = self.ends.take()?;
        let ids = Arc::new(UInt32Array::from(std::mem::take(&mut self.input_ids)));
        let schema = self.schema();
        let flags = |flags: &mut Vec<bool>| {
            let bits = BooleanBuffer::collect_bool(flags.len(), |token| flags[token]);
            flags.clear();
            let flags = Arc::new(BooleanArray::new(bits, None));
            ListArray::try_new(item(DataType::Boolean), offsets.clone(), flags, None)
        };
        let pii = flags(&mut self.pii)?;
        let mask = (schema.fields().len() > SCHEMA.fields().len())
            .then(|| flags(&mut self.loss_mask))
            .transpose()?;
        let ids = ListArray::try_new(item(DataType::UInt32), offsets.clone(), ids, None)?;
        let mut columns: Vec<ArrayRef> = vec![
            take_strings(&mut self.example_id),
            take_strings(&mut self.doc_id),
            take_strings(&mut self.unit_id),
            take_strings(&mut self.split),
            Arc::new(ids),
            Arc::new(pii),
            Arc::new(UInt32Array::from(std::mem::take(&mut self.context))),
        ];
        columns.extend(mask.map(|mask| Arc::new(mask) as ArrayRef));
        RecordBatch::try_new(schema, columns)
    }
}

impl Record for Example {
    const KIND: Kind = Kind::Tokens;
    type Row<'a> = ExampleRow<'a>;
    type Columns = TokensColumns;

    fn with_row<T>(&self, act: impl FnOnce(ExampleRow<'_>) -> T) -> T {
        act(self.into())
    }

    fn append(columns: &mut TokensColumns, row: ExampleRow<'_>) -> Result<(), ArtifactError> {
        let has_mask = !row.loss_mask.is_empty();
        if *columns.is_masked.get_or_insert(has_mask) != has_mask {
            return Err(ArtifactError::record(
                row.example_id,
                "has a loss mask where examples before it have none, or none where they have one",
            ));
        }
        columns.example_id.append_value(row.example_id);
        columns.doc_id.append_value(row.doc_id);
        columns.unit_id.append_value(row.unit_id);
        columns.split.append_value(row.split.as_str());
        columns.input_ids.extend_from_slice(row.input_ids);
        columns.pii.extend_from_slice(row.pii);
        columns.context.push(row.context);
        columns.loss_mask.extend_from_slice(row.loss_mask);
        columns.ends.push(columns.input_ids.len());
        Ok(())
    }
}

impl FromBatch for Example {
    fn from_batch(batch: &RecordBatch) -> Result<Vec<Self>, String> {
        let example_id = string_column(batch, "example_id")?;
        let doc_id = string_column(batch, "doc_id")?;
        let unit_id = string_column(batch, "unit_id")?;
        let split = split_column(batch)?;
        let input_ids = list_column(batch, "input_ids")?;
        let pii = Flags::of(batch, "pii")?;
        let mask = match batch.column_by_name("loss_mask") {
            Some(_) => Some(Flags::of(batch, "loss_mask")?),
            None => None,
        };
        let ids: &UInt32Array = input_ids
            .values()
            .as_primitive_opt::<UInt32Type>()
            .ok_or_else(|| wrong_type(batch, "input_ids", "a list of u32"))?;
        let context: &UInt32Array = column(batch, "context")?
            .as_primitive_opt::<UInt32Type>()
            .ok_or_else(|| wrong_type(batch, "context", "u32"))?;
        let id_offsets = input_ids.value_offsets();
        Ok((0..batch.num_rows())
            .map(|row| {
                let range = id_offsets[row] as usize..id_offsets[row + 1] as usize;
                Example {
                    example_id: example_id.value(row).to_string(),
                    doc_id: doc_id.value(row).to_string(),
                    unit_id: unit_id.value(row).to_string(),
                    split: split[row],
                    input_ids: ids.values()[range].to_vec(),
                    pii: pii.row(row),
                    context: context.value(row),
                    loss_mask: mask.as_ref().map(|mask| mask.row(row)).unwrap_or_default(),
                }
            })
            .collect())
    }
}

/// A column of lists of flags.
struct Flags<'a> {
    lists: &'a ListArray,
    flags: &'a BooleanArray,
}

impl<'a> Flags<'a> {
    fn of(batch: &'a RecordBatch, name: &str) -> Result<Self, String> {
        let lists = list_column(batch, name)?;
        let flags = lists.values().as_boolean_opt();
        Ok(Self { lists, flags: flags.ok_or_else(|| wrong_type(batch, name, "a list of bool"))? })
    }

    fn row(&self, row: usize) -> Vec<bool> {
        range(self.lists.offsets(), row).map(|index| self.flags.value(index)).collect()
    }
}
