//! What each kind of artifact holds.

pub mod bundle;
pub mod model;
