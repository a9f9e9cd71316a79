//! What ids and texts are remembered by.

/// 128 bits of BLAKE3 over parts with their lengths: enough that two of even 10¹² differ.
pub(crate) fn fingerprint(parts: &[&str]) -> u128 {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    let mut half = [0; 16];
    half.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    u128::from_be_bytes(half)
}
