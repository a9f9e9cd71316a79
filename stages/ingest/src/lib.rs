//! The ingest stage: raw files in, a `corpus` out. This crate reads every source format, gives
//! each document its id, privacy unit and split, and refuses bad input with its place. The
//! synthetic source also knows where its personal data is and writes it as `tags`. It may depend
//! on polars, parquet and `mail-parser` for formats, `ureq` for the hub, and `pft-artifact` and
//! `pft-stage`.

pub mod config;
mod counted;
pub mod document;
mod file_name;
mod fingerprint;
mod intake;
mod label;
mod left_out;
pub mod mersenne_twister;
mod passes;
mod reading;
mod sink;
mod source;
mod spellings;
pub mod split;
mod spool;
pub mod survey;
pub mod synthetic;

use std::sync::Arc;

use pft_stage::{Context, Kind, Port, Stage, StageError};

use crate::config::{Config, Deduplicate, Granularity, SourceKind, Unit};
use crate::document::Opened;
use crate::intake::Intake;
use crate::passes::{ingest_as_llm_pft, ingest_by_unit};
use crate::reading::Reading;
use crate::sink::Sink;
use crate::split::SplitBy;

/// The stage.
pub struct Ingest;

impl Stage for Ingest {
    const NAME: &'static str = "ingest";
    const REVISION: u32 = 5;
    const ABOUT: &'static str = "Reads raw documents into a corpus";
    const COMMANDS: &'static str =
        "ingest survey PATH      says what a corpus has to choose from: columns and units";
    type Config = Config;

    fn inputs() -> Vec<Port> {
        Vec::new()
    }

    fn outputs() -> Vec<Port> {
        vec![Port::required("corpus", Kind::Corpus), Port::optional_output("tags", Kind::Tags)]
    }

    fn validate(config: &Config) -> Result<(), StageError> {
        config.validate()
    }

    fn run(config: Config, context: &Context) -> Result<(), StageError> {
        let reading = Arc::new(Reading::of(config)?);
        let config = &reading.config;
        note_units(&reading, context);
        let opened = open_settled(&reading)?;
        let bar = context.progress().start("ingesting", opened.total, "documents");
        if reading.source == SourceKind::Synthetic && !config.synthetic.canaries.is_empty() {
            let table = synthetic::canary_table(&config.synthetic, &config.split)?;
            let table =
                serde_json::to_value(table).map_err(|error| StageError::bug(error.to_string()))?;
            context.metric("canaries", table);
        }
        let mut sink = Sink::create(config, context, opened.has_spans)?;
        let mut intake = Intake::new(config);
        if config.split.by == SplitBy::LlmPft {
            ingest_as_llm_pft(config, context, opened, &mut intake, &mut sink, &bar)?;
        } else {
            ingest_by_unit(config, context, opened, &mut intake, &mut sink, &bar)?;
        }
        bar.finish();
        sink.finish(context, &reading, &intake)
    }
}

/// Opens the source that a config names, as the stage does: its documents without a corpus.
///
/// # Errors
/// When a path is missing or unreadable, a column does not exist, or the hub does not answer.
pub fn open(config: Config) -> Result<Opened, StageError> {
    open_settled(&Arc::new(Reading::of(config)?))
}

fn open_settled(reading: &Arc<Reading>) -> Result<Opened, StageError> {
    match reading.source {
        SourceKind::Synthetic => synthetic::open(&reading.config.synthetic, &reading.config.split),
        _ => source::open(reading),
    }
}

/// Says what a unit is, and by which settings units decide about each other.
fn note_units(reading: &Reading, context: &Context) {
    let config = &reading.config;
    context.unit_is(match (reading.unit, &config.unit_column) {
        _ if reading.source == SourceKind::Synthetic => config.synthetic.kind.unit().to_string(),
        // What a document is there, a later training may call otherwise.
        (Some(Unit::Document), _) if reading.source == SourceKind::Ecthr => {
            match config.granularity {
                Granularity::Paragraph => "paragraph".to_string(),
                Granularity::Case => "case".to_string(),
            }
        }
        (Some(unit), _) => config::name(&unit),
        (None, column) => {
            let column = column.as_deref().unwrap_or_default();
            format!("unit (all rows with one value in column {column:?})")
        }
    });
    if config.split.by == SplitBy::LlmPft {
        context.units_coupled(
            "ingest, split.by: llm-pft: which documents were trained on depended on the number of \
             all documents",
        );
    }
    if config.deduplicate == Deduplicate::AcrossUnits {
        context.units_coupled(
            "ingest, deduplicate: across_units: whether a unit's document was trained on depended \
             on the texts of other units",
        );
    }
    if config.limit.is_some() {
        context.units_coupled(
            "ingest, limit: which documents were trained on depended on how many came before them",
        );
    }
}
