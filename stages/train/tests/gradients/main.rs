//! The private sum of gradients against a brute-force oracle.

#![allow(clippy::unwrap_used)]

mod answers;
mod oracle;
mod sums;

#[path = "../../../../crates/pft-lm/tests/fixtures/mod.rs"]
mod fixtures;
