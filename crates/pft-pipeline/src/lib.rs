//! The runner: YAML → graph → cache keys → execution.
//!
//! It reads a pipeline file ([`mod@file`]), asks every stage's executable to describe itself
//! ([`stages`]), checks the whole graph before starting anything ([`graph`]), computes cache keys
//! ([`key`]) and starts the stages whose artifact is not in the store ([`execute`]); what it did stays
//! in the store ([`record`]). It depends on
//! `pft-artifact` and on the contract types of `pft-stage`, and knows no stage: whatever keeps the
//! contract of `pft-stage` can be wired, in any language.

pub mod execute;
pub mod file;
pub mod graph;
pub mod key;
pub mod limits;
pub mod outcome;
pub mod record;
pub mod stages;
pub mod sweep;

mod ask;
mod attempt;
mod board;
mod checked;
mod checks;
mod collect;
mod command;
mod commands;
mod decide;
mod describe;
mod entry;
mod error;
mod figures;
mod history;
mod latest;
mod lineage;
mod lines;
mod make;
mod outside;
mod page;
mod picture;
mod place;
mod privacy;
mod process;
mod reason;
mod report;
mod runs;
mod schedule;
mod seal;
mod stamp;
mod starter;
mod summary;
mod table;
mod usage;

pub use command::main;
pub use error::RunError;
