//! The number formats of ggml.

use std::fmt;

/// How a tensor's numbers are stored. Rows are cut into blocks of [`GgmlType::block_len`]
/// elements that take [`GgmlType::block_bytes`] bytes each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, non_camel_case_types)]
pub enum GgmlType {
    F32,
    F16,
    BF16,
    F64,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4_K,
    Q5_K,
    Q6_K,
    /// A format that cannot be read here, by its number in ggml.
    Unsupported(u32),
}

impl GgmlType {
    /// Formats that can be read, for messages.
    pub const SUPPORTED: &'static str =
        "F32, F16, BF16, F64, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K and Q6_K";

    pub(crate) fn from_id(id: u32) -> Self {
        match id {
            0 => Self::F32,
            1 => Self::F16,
            2 => Self::Q4_0,
            3 => Self::Q4_1,
            6 => Self::Q5_0,
            7 => Self::Q5_1,
            8 => Self::Q8_0,
            12 => Self::Q4_K,
            13 => Self::Q5_K,
            14 => Self::Q6_K,
            28 => Self::F64,
            30 => Self::BF16,
            other => Self::Unsupported(other),
        }
    }

    /// Elements in a block; `None` for an unsupported format.
    pub fn block_len(self) -> Option<usize> {
        Some(match self {
            Self::F32 | Self::F16 | Self::BF16 | Self::F64 => 1,
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 => 32,
            Self::Q4_K | Self::Q5_K | Self::Q6_K => 256,
            Self::Unsupported(_) => return None,
        })
    }

    /// Bytes of a block; `None` for an unsupported format.
    pub fn block_bytes(self) -> Option<usize> {
        Some(match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
            Self::F64 => 8,
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q8_0 => 34,
            Self::Q4_K => 144,
            Self::Q5_K => 176,
            Self::Q6_K => 210,
            Self::Unsupported(_) => return None,
        })
    }
}

impl fmt::Display for GgmlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported(id) => write!(f, "ggml type {id}"),
            known => write!(f, "{known:?}"),
        }
    }
}
