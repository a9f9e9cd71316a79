//! Decides what is personal information in a text.
//!
//! Whatever finds entities implements [`Tagger`]; [`rules`], patterns with checksums, do so here, and learned
//! models and services in `pft-ner`. [`combine`] runs taggers over texts of any length, maps their
//! [`labels`], and resolves overlaps by one stated rule; [`widen`] completes names that were found
//! in part; [`consistency`] then finds a name that was found once wherever else its unit writes it;
//! [`evaluate`] measures all of it against gold annotations. This crate knows texts and byte
//! offsets; it knows no model, no artifact and no stage, and reads no file.
//!
//! ```
//! use pft_pii::combine::{Policy, combine, tag_texts};
//! use pft_pii::rules::{RulesConfig, RulesTagger};
//!
//! let text = "Mr Jan Kowalski (jan@example.pl) was born on 2 May 1961.";
//! let rules = RulesTagger::new(&RulesConfig::default()).unwrap();
//! let found = tag_texts(&rules, &[text]).remove(0).unwrap();
//! let policy = Policy::new(pft_pii::labels::default_pii());
//! let spans = combine(text, &[(0, &found)], &policy);
//! let labels: Vec<&str> = spans.iter().map(|span| &*span.label).collect();
//! assert_eq!(labels, ["PERSON", "EMAIL", "DATE"]);
//! ```

pub mod combine;
pub mod consistency;
pub mod evaluate;
pub mod labels;
mod matches;
mod other_labels;
mod policy;
pub mod rules;
pub mod tagger;
mod union;
pub mod widen;
pub mod window;

pub use other_labels::OtherLabels;
pub use tagger::{LoadError, Span, TagError, Tagger};
