//! Recognizes personal information in texts, by learned models and by services.
//!
//! Every recognizer implements [`pft_pii::Tagger`]: [`spacy`], [`transformer`] and [`flair`] read the
//! models of those libraries and run nothing that stands in them, [`service`] asks a Presidio or Private AI
//! that the user runs. [`train`] teaches a model gold annotations. What is made of their answers
//! is decided in `pft-pii`. This crate reads model files and talks to services that it is told
//! of; it knows no artifact and no stage.

pub mod flair;
mod kernels;
mod pickle;
pub mod service;
pub mod spacy;
pub mod train;
pub mod transformer;
mod weights;
