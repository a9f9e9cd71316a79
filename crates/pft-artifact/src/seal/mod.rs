//! What makes a folder an artifact: its manifest with where it came from, hashes, and the store.

pub(crate) mod action;
pub(crate) mod hash;
pub(crate) mod lock;
pub(crate) mod manifest;
pub(crate) mod provenance;
pub(crate) mod store;
