//! Finds personal information in texts.
//!
//! Every backend implements [`Tagger`]: rules with checksums here, learned models and services in
//! their own modules. An [`Ensemble`](combine::Ensemble) runs several, maps their labels, and resolves overlaps by one
//! stated rule; [`consistency`] then finds a name that was found once wherever else its unit
//! writes it. This crate knows texts and byte offsets; it knows no artifact, no Parquet and no stage.

pub mod tagger;
pub mod window;

pub use tagger::{LoadError, Span, TagError, Tagger};
