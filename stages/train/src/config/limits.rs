//! The largest values of settings that mean anything, for schema and validation alike.

/// With SGD and tiny clipping norms learning rates of thousands are used; beyond this weights leave
/// the range of single precision.
pub(super) const MAX_LEARNING_RATE: f64 = 1e6;

/// Passes over the data.
pub(super) const MAX_EPOCHS: f64 = 1e6;

/// Examples or units of a step, whose places are held in memory.
pub(super) const MAX_BATCH: u64 = 10_000_000;

/// Tokens of a forward pass.
pub(super) const MAX_PASS_TOKENS: u64 = 1_000_000_000;

/// Of `alpha`, weight decay, temperature and gradient norms.
pub(super) const MAX_FACTOR: f64 = 1e6;
