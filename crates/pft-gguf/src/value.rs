//! Metadata values.

use crate::cursor::{Cursor, Problem};

/// Arrays of arrays are followed this deep; no known file nests at all.
const MAX_DEPTH: usize = 4;

/// A metadata value. Integers and floats of all widths are widened.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// u8, u16, u32 or u64.
    Unsigned(u64),
    /// i8, i16, i32 or i64.
    Signed(i64),
    /// f32 or f64.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// Text.
    String(String),
    /// An array of one type.
    Array(Array),
}

/// An array of metadata values of one type.
#[derive(Debug, Clone, PartialEq)]
pub enum Array {
    /// Unsigned integers.
    Unsigned(Vec<u64>),
    /// Signed integers.
    Signed(Vec<i64>),
    /// Floats.
    Float(Vec<f64>),
    /// Truth values.
    Bool(Vec<bool>),
    /// Texts.
    String(Vec<String>),
    /// Arrays.
    Array(Vec<Array>),
}

impl Value {
    /// The value as a non-negative integer.
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Unsigned(value) => Some(*value),
            Self::Signed(value) => u64::try_from(*value).ok(),
            _ => None,
        }
    }

    /// The value as a number.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Unsigned(value) => Some(*value as f64),
            Self::Signed(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            _ => None,
        }
    }

    /// The value as a truth value.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The value as text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(value) => Some(value),
            _ => None,
        }
    }

    pub(crate) fn read(cursor: &mut Cursor<'_>) -> Result<Self, Problem> {
        let kind = cursor.u32()?;
        Ok(match kind {
            STRING => Self::String(cursor.string()?.to_owned()),
            ARRAY => Self::Array(Array::read(cursor, 0)?),
            BOOL => Self::Bool(cursor.array::<1>()?[0] != 0),
            U8 | U16 | U32 | U64 => Self::Unsigned(unsigned(cursor, kind)?),
            I8 | I16 | I32 | I64 => Self::Signed(signed(cursor, kind)?),
            F32 | F64 => Self::Float(float(cursor, kind)?),
            other => return Err(cursor.problem(unknown(other))),
        })
    }
}

impl Array {
    fn read(cursor: &mut Cursor<'_>, depth: usize) -> Result<Self, Problem> {
        if depth == MAX_DEPTH {
            return Err(cursor.problem(format!("arrays nested deeper than {MAX_DEPTH}")));
        }
        let kind = cursor.u32()?;
        let size = match kind {
            U8 | I8 | BOOL => 1,
            U16 | I16 => 2,
            U32 | I32 | F32 => 4,
            U64 | I64 | F64 | STRING => 8,
            ARRAY => 12,
            other => return Err(cursor.problem(unknown(other))),
        };
        let count = cursor.count(size, "array elements")?;
        Ok(match kind {
            STRING => Self::String(
                (0..count).map(|_| cursor.string().map(str::to_owned)).collect::<Result<_, _>>()?,
            ),
            ARRAY => Self::Array(
                (0..count).map(|_| Self::read(cursor, depth + 1)).collect::<Result<_, _>>()?,
            ),
            BOOL => Self::Bool(cursor.take(count)?.iter().map(|byte| *byte != 0).collect()),
            F32 | F64 => {
                Self::Float((0..count).map(|_| float(cursor, kind)).collect::<Result<_, _>>()?)
            }
            I8 | I16 | I32 | I64 => {
                Self::Signed((0..count).map(|_| signed(cursor, kind)).collect::<Result<_, _>>()?)
            }
            _ => Self::Unsigned(
                (0..count).map(|_| unsigned(cursor, kind)).collect::<Result<_, _>>()?,
            ),
        })
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::Unsigned(values) => values.len(),
            Self::Signed(values) => values.len(),
            Self::Float(values) => values.len(),
            Self::Bool(values) => values.len(),
            Self::String(values) => values.len(),
            Self::Array(values) => values.len(),
        }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

pub(crate) const U8: u32 = 0;
pub(crate) const I8: u32 = 1;
pub(crate) const U16: u32 = 2;
pub(crate) const I16: u32 = 3;
pub(crate) const U32: u32 = 4;
pub(crate) const I32: u32 = 5;
pub(crate) const F32: u32 = 6;
pub(crate) const BOOL: u32 = 7;
pub(crate) const STRING: u32 = 8;
pub(crate) const ARRAY: u32 = 9;
pub(crate) const U64: u32 = 10;
pub(crate) const I64: u32 = 11;
pub(crate) const F64: u32 = 12;

fn unknown(kind: u32) -> String {
    format!("metadata value of unknown type {kind}")
}

fn unsigned(cursor: &mut Cursor<'_>, kind: u32) -> Result<u64, Problem> {
    Ok(match kind {
        U8 => u64::from(cursor.array::<1>()?[0]),
        U16 => u64::from(u16::from_le_bytes(cursor.array()?)),
        U32 => u64::from(cursor.u32()?),
        _ => cursor.u64()?,
    })
}

fn signed(cursor: &mut Cursor<'_>, kind: u32) -> Result<i64, Problem> {
    Ok(match kind {
        I8 => i64::from(i8::from_le_bytes(cursor.array()?)),
        I16 => i64::from(i16::from_le_bytes(cursor.array()?)),
        I32 => i64::from(i32::from_le_bytes(cursor.array()?)),
        _ => i64::from_le_bytes(cursor.array()?),
    })
}

fn float(cursor: &mut Cursor<'_>, kind: u32) -> Result<f64, Problem> {
    Ok(match kind {
        F32 => f64::from(f32::from_le_bytes(cursor.array()?)),
        _ => f64::from_le_bytes(cursor.array()?),
    })
}
