//! Records in Parquet shards: borrowed rows, columns that grow by them, readers and writers.

pub(crate) mod columns;
pub(crate) mod lists;
pub(crate) mod numbers;
pub(crate) mod reader;
pub(crate) mod record;
pub(crate) mod row;
pub(crate) mod turn;
pub(crate) mod writer;
