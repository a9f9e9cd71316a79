//! What each kind of artifact holds.

pub mod bundle;
pub(crate) mod corpus;
pub mod model;
pub(crate) mod tags;
pub(crate) mod tokens;
