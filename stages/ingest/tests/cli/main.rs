//! The stage through its binary, one program for all of it: linking polars once is enough.

mod bad_input;
mod common;
mod formats;
mod hub;
mod mbox;
mod parquet;
mod units;
