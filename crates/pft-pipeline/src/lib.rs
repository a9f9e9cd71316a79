//! The runner: YAML → graph → cache keys → execution.
//!
//! It reads a pipeline file ([`mod@file`]), asks every stage's executable to describe itself
//! ([`stages`]), checks the whole graph before starting anything ([`graph`]), computes cache keys
//! ([`key`]) and starts the stages whose artifact is not in the store ([`execute`]). It depends on
//! `pft-artifact` and on the contract types of `pft-stage`, and knows no stage: whatever keeps the
//! contract of `pft-stage` can be wired, in any language.

pub mod execute;
pub mod file;
pub mod graph;
pub mod key;
pub mod outcome;
pub mod stages;

mod command;
mod describe;
mod error;
mod outside;
mod process;
mod report;
mod seal;

pub use command::main;
pub use error::RunError;
