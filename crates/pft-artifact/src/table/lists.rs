//! Columns of lists of structs.

use std::ops::Range;

use arrow::array::{
    ArrayRef, AsArray, ListArray, RecordBatch, StringArray, StructArray, UInt32Array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Fields, UInt32Type};

use crate::table::columns::{item, list_column, wrong_type};

/// The type of lists of structs with these fields.
pub(crate) fn list_of(fields: &Fields) -> DataType {
    DataType::List(item(DataType::Struct(fields.clone())))
}

/// What lies in a list at an index.
pub(crate) fn range(offsets: &OffsetBuffer<i32>, index: usize) -> Range<usize> {
    offsets[index] as usize..offsets[index + 1] as usize
}

/// A column of lists of structs.
pub(crate) struct Structs<'a> {
    batch: &'a RecordBatch,
    name: &'static str,
    fields: &'static str,
    pub(crate) lists: &'a ListArray,
    structs: &'a StructArray,
}

impl<'a> Structs<'a> {
    pub(crate) fn of(
        batch: &'a RecordBatch,
        name: &'static str,
        fields: &'static str,
    ) -> Result<Self, String> {
        let lists = list_column(batch, name)?;
        let structs = lists.values().as_struct_opt();
        let structs = structs.ok_or_else(|| wrong_structs(batch, name, fields))?;
        Ok(Self { batch, name, fields, lists, structs })
    }

    pub(crate) fn wrong(&self) -> String {
        wrong_structs(self.batch, self.name, self.fields)
    }

    pub(crate) fn field(&self, name: &str) -> Result<&ArrayRef, String> {
        self.structs.column_by_name(name).ok_or_else(|| self.wrong())
    }

    pub(crate) fn numbers(&self, name: &str) -> Result<UInt32Array, String> {
        let numbers = self.field(name)?.as_primitive_opt::<UInt32Type>();
        numbers.cloned().ok_or_else(|| self.wrong())
    }

    pub(crate) fn strings(&self, name: &str) -> Result<StringArray, String> {
        let strings = self.field(name)?.as_string_opt::<i32>();
        strings.cloned().ok_or_else(|| self.wrong())
    }
}

fn wrong_structs(batch: &RecordBatch, name: &str, fields: &str) -> String {
    wrong_type(batch, name, &format!("a list of struct {fields}"))
}
