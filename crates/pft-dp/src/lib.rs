//! What makes training private: accounting, sampling, clipping and noise.
//!
//! A [`Mechanism`] is made from one [`Plan`], and sampler, noise and accountant are made from it,
//! so that they cannot disagree. Per-unit gradients are clipped into a [`ClippedSum`], which knows
//! its sensitivity; noise can be added to nothing else, and only against the receipt of a step
//! that the [`Ledger`] holds already.
//!
//! This crate knows mechanisms, slices of floats and, for GPUs, candle's tensors; it knows no model
//! and no file format but its own ledger. It may depend on numerical crates and on
//! `pft-matmul` of this workspace.

pub mod accounting;
pub mod audit;
mod base;
pub mod cli;
mod clip_only;
mod clipping;
mod figures;
mod gradient;
mod header;
mod history;
mod ledger;
mod mechanism;
mod no_privacy;
mod noise;
mod reason;
mod report;
mod sampler;
mod secret;
mod spent;
mod statement;
mod sum;
mod tensor_sum;
mod verify;
mod wording;

pub use base::{Base, BaseCheckpoint, BaseFile, BaseHasSeen, BaseUnits};
pub use clip_only::ClipOnly;
pub use clipping::{Clipping, ClippingError, ClippingFunction, ClippingStyle, UnitOutcome};
pub use figures::{AccountedEpsilon, GroupEpsilon};
pub use gradient::{
    DeviceGradient, DevicePieces, GradientError, Heap, LinearPieces, Memory, ParameterShape,
    PrivateGradient, Rows, WeightLayout,
};
pub use header::{LedgerHeader, TrainingData, software};
pub use history::{Origin, PrivateTraining, RECORD_KEY, Record, RecordError, Training};
pub use ledger::{Ledger, LedgerContents, LedgerError, StepReceipt, StepRecord};
pub use mechanism::{
    Mechanism, MechanismError, Noise, Plan, RELEASE_DRAWS, default_delta, refuse_large_delta,
};
pub use no_privacy::NoPrivacy;
pub use noise::{GaussianNoise, NOISE_CHUNK};
pub use pft_rounding::{delta_rounded_up, rounded_down, rounded_up};
pub use reason::Reason;
pub use report::{Adjacency, PrivacyReport, ReportError};
pub use sampler::{PoissonSampler, SamplerError};
pub use secret::{Randomness, RunSecret, SecretError};
pub use spent::{MAX_RELEASE_EPSILON, Spent};
pub use statement::{PrivacyStatement, StatementError};
pub use sum::{ClippedSum, StepMean};
