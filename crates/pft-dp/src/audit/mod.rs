//! Empirical checks of a claim: what a mechanism does, held against what it says.
//!
//! [`audit_one_run`] bounds ε from below by guessing which canaries took part; [`audit_sampling`]
//! asks whether batches look like independent coins. The first sees noise that is too small and
//! gradients that were not clipped. It cannot see batches that were shuffled: what they leak
//! beyond Poisson sampling rests on knowing all other units' places (Chua et al. 2024), which
//! independent canaries do not show; the second sees them at once.

mod one_run;
mod sampling;

pub use one_run::{AuditResult, audit_one_run, epsilon_lower_bound, p_value};
pub use sampling::{SamplingAudit, audit_sampling};
