//! The synthetic source: fictional documents with gold spans of personal data.
//!
//! Court cases, business mail and conversations with a company's support are written from the hand-written material in `data/synthetic`.
//! Every value that a slot takes is labelled, so that the spans are gold by construction. Unit `i`
//! is a function of the seed and `i` alone.

mod calendar;
pub mod canary;
mod choices;
pub mod config;
mod lexicon;
mod material;
mod page;
mod parser;
mod person;
mod scene;
mod template;
mod unit;
mod values;

use pft_stage::StageError;
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use self::canary::Canary;
use self::config::{DocumentKind, Kind, SyntheticConfig};
use self::material::Material;
use self::page::Page;
use crate::document::{Opened, RawDocument};
use crate::split::{SplitBy, SplitConfig, UnitSplitter};

/// Units that are written at once, in parallel.
const UNITS_PER_BLOCK: u64 = 512;

/// The secrets that a config plants, under a division into splits.
///
/// # Errors
/// When an entry makes no sense.
pub fn canary_table(
    config: &SyntheticConfig,
    split: &SplitConfig,
) -> Result<Vec<Canary>, StageError> {
    let splitter = (split.by == SplitBy::Unit).then(|| UnitSplitter::new(split));
    canary::canaries(config, splitter.as_ref())
}

/// Opens the synthetic source.
///
/// # Errors
/// When its settings make no sense.
pub fn open(config: &SyntheticConfig, split: &SplitConfig) -> Result<Opened, StageError> {
    let ranges = [
        ("emails_per_sender", &config.emails_per_sender),
        ("tickets_per_customer", &config.tickets_per_customer),
    ];
    for (key, range) in ranges {
        if range.min == 0 || range.min > range.max {
            return Err(StageError::config(format!(
                "synthetic.{key}: is from {} to {}, but must be at least 1 and in order",
                range.min, range.max
            )));
        }
    }
    let material = Material::embedded()
        .map_err(|why| StageError::bug(format!("the synthetic material: {why}")))?;
    let canaries = canary_table(config, split)?;
    let config = config.clone();
    let blocks = config.units.div_ceil(UNITS_PER_BLOCK);
    let total = (config.kind == Kind::Echr && config.document == DocumentKind::Case)
        .then_some(config.units);
    let documents = (0..blocks).flat_map(move |block| {
        let first = block * UNITS_PER_BLOCK;
        let last = (first + UNITS_PER_BLOCK).min(config.units);
        (first..last)
            .into_par_iter()
            .map(|unit| unit_documents(material, &config, &canaries, unit))
            .collect::<Vec<_>>()
            .into_iter()
            .flatten()
            .map(Ok)
    });
    Ok(Opened { documents: Box::new(documents), total, has_spans: true })
}

fn unit_documents(
    material: &'static Material,
    config: &SyntheticConfig,
    canaries: &[Canary],
    unit: u64,
) -> Vec<RawDocument> {
    let mut pages: Vec<Page> = unit::documents(material, config, unit);
    let separator = match config.kind {
        Kind::Echr | Kind::Support => " ",
        Kind::Enron => "\n\n",
    };
    for canary in canaries {
        canary.append_to(unit, separator, &mut pages);
    }
    let unit_id = config.unit_id(unit);
    (1..)
        .zip(pages)
        .map(|(number, mut page)| RawDocument {
            doc_id: Some(format!("{unit_id}-{number:03}")),
            unit_id: Some(unit_id.clone()),
            split: None,
            turns: page.take_turns(),
            text: page.text,
            spans: Some(page.spans),
            origin: format!("synthetic {unit_id}"),
            ..RawDocument::default()
        })
        .collect()
}
