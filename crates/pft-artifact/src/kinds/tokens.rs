//! The columns of `tokens`.

use std::sync::{Arc, LazyLock};

use arrow::array::{AsArray, BooleanArray, ListArray, RecordBatch, StringBuilder, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type};
use arrow::error::ArrowError;

use crate::table::columns::{
    Ends, column, item, list_column, split_column, string_column, take_strings, utf8, wrong_type,
};
use crate::table::record::{Columns, FromBatch};
use crate::{Example, ExampleRow, Kind, Record};

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
}

impl Columns for TokensColumns {
    fn schema() -> SchemaRef {
        SCHEMA.clone()
    }

    fn take(&mut self) -> Result<RecordBatch, ArrowError> {
        let offsets = self.ends.take()?;
        let ids = Arc::new(UInt32Array::from(std::mem::take(&mut self.input_ids)));
        let pii = BooleanBuffer::collect_bool(self.pii.len(), |token| self.pii[token]);
        let pii = Arc::new(BooleanArray::new(pii, None));
        self.pii.clear();
        let ids = ListArray::try_new(item(DataType::UInt32), offsets.clone(), ids, None)?;
        let pii = ListArray::try_new(item(DataType::Boolean), offsets, pii, None)?;
        RecordBatch::try_new(
            Self::schema(),
            vec![
                take_strings(&mut self.example_id),
                take_strings(&mut self.doc_id),
                take_strings(&mut self.unit_id),
                take_strings(&mut self.split),
                Arc::new(ids),
                Arc::new(pii),
                Arc::new(UInt32Array::from(std::mem::take(&mut self.context))),
            ],
        )
    }
}

impl Record for Example {
    const KIND: Kind = Kind::Tokens;
    type Row<'a> = ExampleRow<'a>;
    type Columns = TokensColumns;

    fn with_row<T>(&self, act: impl FnOnce(ExampleRow<'_>) -> T) -> T {
        act(self.into())
    }

    fn append(columns: &mut TokensColumns, row: ExampleRow<'_>) {
        columns.example_id.append_value(row.example_id);
        columns.doc_id.append_value(row.doc_id);
        columns.unit_id.append_value(row.unit_id);
        columns.split.append_value(row.split.as_str());
        columns.input_ids.extend_from_slice(row.input_ids);
        columns.pii.extend_from_slice(row.pii);
        columns.context.push(row.context);
        columns.ends.push(columns.input_ids.len());
    }
}

impl FromBatch for Example {
    fn from_batch(batch: &RecordBatch) -> Result<Vec<Self>, String> {
        let example_id = string_column(batch, "example_id")?;
        let doc_id = string_column(batch, "doc_id")?;
        let unit_id = string_column(batch, "unit_id")?;
        let split = split_column(batch)?;
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
        let context: &UInt32Array = column(batch, "context")?
            .as_primitive_opt::<UInt32Type>()
            .ok_or_else(|| wrong_type(batch, "context", "u32"))?;
        let (id_offsets, flag_offsets) = (input_ids.value_offsets(), pii.value_offsets());
        Ok((0..batch.num_rows())
            .map(|row| {
                let range = id_offsets[row] as usize..id_offsets[row + 1] as usize;
                Example {
                    example_id: example_id.value(row).to_string(),
                    doc_id: doc_id.value(row).to_string(),
                    unit_id: unit_id.value(row).to_string(),
                    split: split[row],
                    input_ids: ids.values()[range].to_vec(),
                    pii: (flag_offsets[row] as usize..flag_offsets[row + 1] as usize)
                        .map(|i| flags.value(i))
                        .collect(),
                    context: context.value(row),
                }
            })
            .collect())
    }
}
