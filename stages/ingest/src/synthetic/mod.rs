//! The synthetic source: fictional documents with gold spans of personal data.
//!
//! Court cases and business mail are written from the hand-written material in `data/synthetic`.
//! Every value that a slot takes is labelled, so that the spans are gold by construction. Unit `i`
//! is a function of the seed and `i` alone.

mod calendar;
pub mod canary;
mod choices;
mod lexicon;
mod material;
mod page;
mod person;
mod scene;
mod template;
mod unit;
mod values;

use pft_stage::StageError;
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::canary::{Canary, CanaryConfig};
use self::material::Material;
use self::page::Page;
use crate::config::{SplitBy, SplitConfig};
use crate::source::{Opened, RawDocument};
use crate::split::UnitSplitter;

/// Units that are written at once, in parallel.
const UNITS_PER_BLOCK: u64 = 512;

/// What kind of documents are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Judgments in the manner of the European Court of Human Rights. A unit is a case.
    #[default]
    Echr,
    /// Business mail in the manner of the Enron corpus. A unit is a sender.
    Enron,
}

impl Kind {
    /// What a unit is.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Echr => "case",
            Self::Enron => "sender",
        }
    }
}

/// For echr, what a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DocumentKind {
    /// A paragraph.
    #[default]
    Paragraph,
    /// All paragraphs of a case, separated by a newline.
    Case,
}

/// From so many to so many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The least.
    #[schemars(range(min = 1))]
    pub min: u32,
    /// The most.
    #[schemars(range(min = 1))]
    pub max: u32,
}

/// What the synthetic source makes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SyntheticConfig {
    /// What kind of documents.
    pub kind: Kind,
    /// How many units: cases or senders. A case has 5 to 15 paragraphs.
    #[schemars(range(min = 1))]
    pub units: u64,
    /// Another seed makes other documents.
    pub seed: u64,
    /// For echr, what a document is.
    pub document: DocumentKind,
    /// For enron, how many messages a sender wrote.
    pub emails_per_sender: Range,
    /// Secrets to plant in units of the train split. The manifest's provenance lists them under
    /// `canaries`, and `tags` labels their numbers CANARY.
    pub canaries: Vec<CanaryConfig>,
}

impl Default for SyntheticConfig {
    fn default() -> Self {
        Self {
            kind: Kind::Echr,
            units: 400,
            seed: 0,
            document: DocumentKind::Paragraph,
            emails_per_sender: Range { min: 3, max: 12 },
            canaries: Vec::new(),
        }
    }
}

impl SyntheticConfig {
    /// The id of a unit.
    pub(crate) fn unit_id(&self, unit: u64) -> String {
        match self.kind {
            Kind::Echr => format!("case-{unit:07}"),
            Kind::Enron => format!("sender-{unit:07}"),
        }
    }

    /// The secrets that this config plants, under a division into splits.
    ///
    /// # Errors
    /// When an entry makes no sense.
    pub fn canary_table(&self, split: &SplitConfig) -> Result<Vec<Canary>, StageError> {
        let splitter = (split.by == SplitBy::Unit).then(|| UnitSplitter::new(split));
        canary::canaries(self, splitter.as_ref())
    }
}

/// Opens the synthetic source.
///
/// # Errors
/// When its settings make no sense.
pub fn open(config: &SyntheticConfig, split: &SplitConfig) -> Result<Opened, StageError> {
    let emails = &config.emails_per_sender;
    if emails.min == 0 || emails.min > emails.max {
        return Err(StageError::config(format!(
            "synthetic.emails_per_sender: is from {} to {}, but must be at least 1 and in order",
            emails.min, emails.max
        )));
    }
    let material = Material::embedded()
        .map_err(|why| StageError::bug(format!("the synthetic material: {why}")))?;
    let canaries = config.canary_table(split)?;
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
        Kind::Echr => " ",
        Kind::Enron => "\n\n",
    };
    for canary in canaries {
        canary.append_to(unit, separator, &mut pages);
    }
    let unit_id = config.unit_id(unit);
    (1..)
        .zip(pages)
        .map(|(number, page)| RawDocument {
            doc_id: Some(format!("{unit_id}-{number:03}")),
            unit_id: Some(unit_id.clone()),
            split: None,
            text: page.text,
            spans: Some(page.spans),
            origin: format!("synthetic {unit_id}"),
        })
        .collect()
}
