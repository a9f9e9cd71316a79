//! Reads Python's pickles, protocols 2 to 5, without running anything.
//!
//! A pickle is a program for a stack machine that may name any function and call it. Here nothing is
//! called and nothing imported: a global is its two names, a call is an inert [`Value`] that holds
//! the names and the arguments, and an object's state lies beside it. What a name means is for
//! the caller to say, such as [`torch`] and [`numpy`] for tensors. Strings and bytes stay where they are in the file;
//! the number of values is bounded, so that no file makes this allocate much more than its size.

mod machine;
pub(crate) mod numpy;
#[cfg(test)]
mod tests;
pub(crate) mod torch;
mod value;

pub(crate) use machine::parse;
pub(crate) use value::{Pickle, Value};

/// Why a pickle could not be read: where, and what is wrong with it.
#[derive(Debug, thiserror::Error)]
#[error("the pickle is damaged or of a kind that is not read, at byte {at}: {what}")]
pub(crate) struct PickleError {
    pub(crate) at: usize,
    pub(crate) what: &'static str,
}
