//! What makes training private: accounting, sampling, clipping and noise.
//!
//! This crate knows mechanisms and slices of floats; it knows no model and no file format but its
//! own ledger. It may depend on numerical crates and on nothing of this workspace.

pub mod accounting;
