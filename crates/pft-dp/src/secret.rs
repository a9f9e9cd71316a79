//! The secret that a run's sampling and noise are made from.
//!
//! Whoever knows it can subtract the noise, so it never reaches a log, a config or a model. What
//! is published is a commitment: enough to show later which secret was used, not enough to guess
//! it. Each use draws from a key of its own, derived from the secret.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Where a run's secret comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Randomness {
    /// The operating system's entropy. The only source fit for release.
    #[default]
    OperatingSystem,
    /// A declared seed, for experiments that must repeat: the model is not private against anyone
    /// who knows or guesses it.
    FixedSeed(u64),
}

impl Randomness {
    /// Whether a model made with it may be released as private.
    pub fn fit_for_release(self) -> bool {
        self == Self::OperatingSystem
    }
}

/// A secret could not be made or read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SecretError {
    /// The operating system gave no entropy.
    #[error("the operating system gives no random bytes: {0}")]
    NoEntropy(String),
    /// What was stored is not a secret.
    #[error("a run secret is 64 hexadecimal digits; these are not")]
    Malformed,
}

/// 256 secret bits.
#[derive(Clone, PartialEq, Eq)]
pub struct RunSecret([u8; 32]);

impl fmt::Debug for RunSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("RunSecret(…)")
    }
}

impl RunSecret {
    /// A new secret, or for a fixed seed always the same one.
    ///
    /// # Errors
    /// When the operating system gives no entropy.
    pub fn new(randomness: Randomness) -> Result<Self, SecretError> {
        match randomness {
            Randomness::OperatingSystem => {
                let mut bytes = [0; 32];
                getrandom::fill(&mut bytes)
                    .map_err(|error| SecretError::NoEntropy(error.to_string()))?;
                Ok(Self(bytes))
            }
            Randomness::FixedSeed(seed) => {
                Ok(Self(blake3::derive_key("pft-dp 1 fixed seed", &seed.to_le_bytes())))
            }
        }
    }

    /// The secret as hexadecimal digits, to be kept beside a checkpoint where only the run reads
    /// it.
    pub fn expose_hex(&self) -> String {
        blake3::Hash::from_bytes(self.0).to_hex().to_string()
    }

    /// The secret that [`RunSecret::expose_hex`] wrote.
    ///
    /// # Errors
    /// When `hex` is not 64 hexadecimal digits.
    pub fn from_hex(hex: &str) -> Result<Self, SecretError> {
        blake3::Hash::from_hex(hex.trim())
            .map(|hash| Self(*hash.as_bytes()))
            .map_err(|_| SecretError::Malformed)
    }

    /// What is published about the secret: 64 hexadecimal digits of its BLAKE3 hash.
    pub fn commitment(&self) -> String {
        let key = self.key("pft-dp 1 commitment");
        blake3::hash(&key).to_hex().to_string()
    }

    /// The key of one use.
    pub(crate) fn key(&self, context: &str) -> [u8; 32] {
        blake3::derive_key(context, &self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_differ_and_survive_storage() {
        let first = RunSecret::new(Randomness::OperatingSystem).unwrap();
        let second = RunSecret::new(Randomness::OperatingSystem).unwrap();
        assert_ne!(first, second);
        assert_ne!(first.commitment(), second.commitment());
        assert_eq!(RunSecret::from_hex(&first.expose_hex()), Ok(first.clone()));
        assert!(!first.commitment().contains(&first.expose_hex()));
        assert!(!format!("{first:?}").contains(&first.expose_hex()[..8]));
        assert_eq!(RunSecret::from_hex("12"), Err(SecretError::Malformed));
    }

    #[test]
    fn a_fixed_seed_repeats_and_is_declared() {
        let fixed = Randomness::FixedSeed(7);
        assert_eq!(RunSecret::new(fixed), RunSecret::new(fixed));
        assert_ne!(RunSecret::new(fixed), RunSecret::new(Randomness::FixedSeed(8)));
        assert!(!fixed.fit_for_release());
    }
}
