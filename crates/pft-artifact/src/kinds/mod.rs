//! What each kind of artifact holds.

pub mod bundle;
pub(crate) mod corpus;
pub mod model;
pub mod tagged;
pub(crate) mod tags;
pub(crate) mod tokens;
