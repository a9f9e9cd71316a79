//! Which types of Parquet columns can be a text, a list of texts or an id, and what the others are
//! called.

use arrow::datatypes::{DataType, Field, FieldRef, Fields};

/// The field that a name leads to, into structs where it has dots and is no column's.
pub(super) fn at<'f>(fields: &'f Fields, name: &str) -> Option<&'f Field> {
    if let Some((_, field)) = fields.find(name) {
        return Some(field);
    }
    let (root, rest) = name.split_once('.')?;
    match fields.find(root)?.1.data_type() {
        DataType::Struct(fields) => at(fields, rest),
        _ => None,
    }
}

/// The index of the column that a name leads to or into.
pub(super) fn root(fields: &Fields, name: &str) -> Option<usize> {
    let root = name.split('.').next().unwrap_or(name);
    fields.find(name).or_else(|| fields.find(root)).map(|(index, _)| index)
}

/// Whether a column holds text.
pub(super) fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

/// The type of a list's values.
pub(super) fn list_values(data_type: &DataType) -> Option<&DataType> {
    match data_type {
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
            Some(field.data_type())
        }
        _ => None,
    }
}

/// Whether a column's values can be written as ids: text, numbers, truth values, dates and times.
pub(super) fn is_label(data_type: &DataType) -> bool {
    match data_type {
        DataType::Boolean | DataType::Date32 | DataType::Date64 | DataType::Timestamp(_, _) => true,
        DataType::Dictionary(_, values) => is_label(values),
        other => is_text(other) || other.is_numeric(),
    }
}

/// Whether a column holds decimal numbers.
pub(super) fn is_decimal(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Decimal32(..)
            | DataType::Decimal64(..)
            | DataType::Decimal128(..)
            | DataType::Decimal256(..)
    )
}

/// What a label's values are called, if they are no text or numbers: kinds of which one value has
/// another text in each, so that a column must have one of them in all files.
pub(super) fn kind(data_type: &DataType) -> Option<String> {
    match data_type {
        DataType::Dictionary(_, values) => kind(values),
        DataType::Boolean | DataType::Date32 | DataType::Date64 | DataType::Timestamp(_, _) => {
            Some(name(data_type))
        }
        _ => None,
    }
}

/// The type to read a column as: text with offsets that no batch outgrows and without
/// dictionaries, others as they are.
pub(super) fn wide(field: &Field) -> Field {
    let inner = |field: &FieldRef| FieldRef::new(wide(field));
    let data_type = match field.data_type() {
        text if is_text(text) => DataType::LargeUtf8,
        DataType::List(values) => DataType::List(inner(values)),
        DataType::LargeList(values) => DataType::LargeList(inner(values)),
        DataType::FixedSizeList(values, length) => DataType::FixedSizeList(inner(values), *length),
        other => other.clone(),
    };
    field.clone().with_data_type(data_type)
}

/// What a type is called in a message, without the names of the fields in it.
pub(super) fn name(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".to_string(),
        DataType::Dictionary(_, values) => name(values),
        DataType::List(values)
        | DataType::LargeList(values)
        | DataType::ListView(values)
        | DataType::LargeListView(values)
        | DataType::FixedSizeList(values, _) => format!("list of {}", name(values.data_type())),
        DataType::Struct(_) => "struct".to_string(),
        DataType::Map(_, _) => "map".to_string(),
        DataType::Union(_, _) => "union".to_string(),
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => "binary".to_string(),
        DataType::Duration(_) => "duration".to_string(),
        DataType::Interval(_) => "interval".to_string(),
        DataType::Time32(_) | DataType::Time64(_) => "time of day".to_string(),
        DataType::Timestamp(_, None) => "timestamp".to_string(),
        DataType::Timestamp(_, Some(_)) => "timestamp with a time zone".to_string(),
        DataType::Date32 | DataType::Date64 => "date".to_string(),
        DataType::Boolean => "boolean".to_string(),
        decimal if is_decimal(decimal) => "decimal".to_string(),
        other => other.to_string().to_lowercase(),
    }
}
