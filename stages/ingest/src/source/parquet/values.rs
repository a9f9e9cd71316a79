//! Lists and structs of a Parquet file as JSON has them.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, UInt64Type};
use serde_json::{Map, Number, Value};

/// The values of a column; none for a type that JSON lacks.
pub(super) fn json_values(array: &ArrayRef) -> Option<Vec<Value>> {
    let values: Vec<Value> = match array.data_type() {
        DataType::Null => vec![Value::Null; array.len()],
        DataType::Boolean => array.as_boolean_opt()?.iter().map(Value::from).collect(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
            let texts = cast(array, &DataType::LargeUtf8).ok()?;
            texts.as_string_opt::<i64>()?.iter().map(Value::from).collect()
        }
        DataType::Dictionary(_, values) => return json_values(&cast(array, values).ok()?),
        DataType::List(field) | DataType::FixedSizeList(field, _) => {
            return json_values(&cast(array, &DataType::LargeList(field.clone())).ok()?);
        }
        DataType::LargeList(_) => {
            let lists = array.as_list_opt::<i64>()?;
            let values = json_values(lists.values())?;
            let offsets = lists.value_offsets();
            let list = |row: usize| {
                let items = offsets[row] as usize..offsets[row + 1] as usize;
                if lists.is_null(row) { Value::Null } else { Value::from(&values[items]) }
            };
            (0..lists.len()).map(list).collect()
        }
        DataType::Struct(fields) => {
            let structs = array.as_struct_opt()?;
            let columns = structs.columns().iter().map(json_values);
            let columns: Vec<Vec<Value>> = columns.collect::<Option<_>>()?;
            let object = |row: usize| {
                if structs.is_null(row) {
                    return Value::Null;
                }
                let named = fields.iter().zip(&columns);
                let named =
                    named.map(|(field, column)| (field.name().clone(), column[row].clone()));
                Value::Object(named.collect::<Map<_, _>>())
            };
            (0..structs.len()).map(object).collect()
        }
        number if number.is_unsigned_integer() => {
            let wide = cast(array, &DataType::UInt64).ok()?;
            wide.as_primitive_opt::<UInt64Type>()?.iter().map(Value::from).collect()
        }
        number if number.is_signed_integer() => {
            let wide = cast(array, &DataType::Int64).ok()?;
            wide.as_primitive_opt::<Int64Type>()?.iter().map(Value::from).collect()
        }
        number if number.is_floating() => {
            let wide = cast(array, &DataType::Float64).ok()?;
            let values = wide.as_primitive_opt::<Float64Type>()?.iter();
            values.map(|n| n.and_then(Number::from_f64).map_or(Value::Null, Value::from)).collect()
        }
        _ => {
            let texts = cast(array, &DataType::LargeUtf8).ok()?;
            texts.as_string_opt::<i64>()?.iter().map(Value::from).collect()
        }
    };
    Some(values)
}
