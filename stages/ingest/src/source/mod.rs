//! Files that documents come from. A source yields [`RawDocument`]s one by one, in an order that is a
//! function of its files alone, and holds no more than one block of them in memory. Everything
//! that is the same for all sources (filters, duplicates, splits, ids being unique) happens later,
//! in the stage's `run`.

mod columns;
mod contents;
mod csv;
mod discover;
mod failure;
mod http;
mod hub;
mod jsonl;
mod lines;
mod mail;
mod parquet;
mod parts;
mod rows;
pub(crate) mod survey;
mod table;
mod text;

use std::sync::Arc;

use pft_stage::StageError;

use crate::config::SourceKind;
use crate::document::Opened;
use crate::reading::Reading;

/// Opens the files that the config names.
///
/// # Errors
/// When a path is missing or unreadable, a column does not exist, or the hub does not answer.
pub(crate) fn open(reading: &Arc<Reading>) -> Result<Opened, StageError> {
    let documents = match reading.source {
        SourceKind::Text => text::open(reading)?,
        SourceKind::Maildir => mail::open(reading)?,
        _ => table::open(reading)?,
    };
    Ok(Opened { documents, total: None, has_spans: false })
}
