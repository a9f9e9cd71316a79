//! The stage through its binary, one program for all of it: linking polars once is enough.

#![allow(clippy::unwrap_used)]

mod bad_input;
mod common;
mod conversations;
mod csv;
mod formats;
mod http;
mod hub;
mod labels;
mod mbox;
mod packed;
mod parquet;
mod places;
mod reading;
mod server;
mod strangers;
mod units;
