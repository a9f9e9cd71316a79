//! The key of a run's hashes.

use std::fmt;

use pft_stage::StageError;

/// A key that nobody knows once the run is over. With a known one, the texts that could stand behind
/// a surrogate are few enough to try them all.
pub(crate) struct Secret([u8; 32]);

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

impl Secret {
    /// A new key, or for a fixed seed always the same one.
    pub(crate) fn new(fixed_seed: Option<u64>) -> Result<Self, StageError> {
        if let Some(seed) = fixed_seed {
            return Ok(Self(blake3::derive_key("pft scrub fixed seed v1", &seed.to_le_bytes())));
        }
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|error| {
            StageError::bug(format!("the operating system gives no random numbers: {error}"))
        })?;
        Ok(Self(key))
    }

    /// A hash of several strings that no other list of strings has.
    pub(crate) fn hash(&self, parts: &[&str]) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        *hasher.finalize().as_bytes()
    }

    /// Half of a hash: enough that two of even 10¹² lists of strings differ.
    pub(crate) fn short_hash(&self, parts: &[&str]) -> [u8; 16] {
        let mut short = [0; 16];
        short.copy_from_slice(&self.hash(parts)[..16]);
        short
    }
}
