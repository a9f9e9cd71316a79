//! Finds personal information in texts.
//!
//! Every backend implements [`Tagger`]: [`rules`] with checksums, learned models ([`spacy`],
//! [`transformer`], [`flair`]), and clients of services that the user runs ([`service`]: Presidio and Private AI). [`combine`] runs backends over texts of any length, maps their [`labels`], and resolves
//! overlaps by one stated rule; [`widen`] completes names that were found in part; [`consistency`] then finds a name that was found once wherever else
//! its unit writes it; [`evaluate`] measures all of it against gold annotations; [`train`] teaches a model them. This crate knows
//! texts and byte offsets; it knows no artifact, no Parquet and no stage.
//!
//! ```
//! use pft_ner::combine::{Policy, combine, tag_texts};
//! use pft_ner::rules::{RulesConfig, RulesTagger};
//!
//! let text = "Mr Jan Kowalski (jan@example.pl) was born on 2 May 1961.";
//! let rules = RulesTagger::new(&RulesConfig::default()).unwrap();
//! let found = tag_texts(&rules, &[text]).remove(0).unwrap();
//! let policy = Policy::new(pft_ner::labels::default_pii());
//! let spans = combine(text, &[(0, &found)], &policy);
//! let labels: Vec<&str> = spans.iter().map(|span| &*span.label).collect();
//! assert_eq!(labels, ["PERSON", "EMAIL", "DATE"]);
//! ```

pub mod combine;
pub mod consistency;
pub mod evaluate;
pub mod flair;
mod kernels;
pub mod labels;
mod matches;
mod other_labels;
mod pickle;
mod policy;
pub mod rules;
pub mod service;
pub mod spacy;
pub mod tagger;
pub mod train;
pub mod transformer;
mod union;
mod weights;
pub mod widen;
pub mod window;

pub use other_labels::OtherLabels;
pub use tagger::{LoadError, Span, TagError, Tagger};
