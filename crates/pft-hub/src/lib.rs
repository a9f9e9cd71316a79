//! What the Hugging Face hub and its tools leave on a disk: caches, pointers, model cards.
//!
//! [`mistaken`] says what a path is that was given for a model or a tokenizer and is none: a name
//! on the hub, a cache of many models, a pointer of git-LFS. [`Origin`] reads from a model's folder
//! where the model comes from and under what licence, so that what is trained on it can say so.
//! Nothing here reaches for the network. It may depend on no other crate of the workspace.

mod card;
mod place;
mod pointer;

pub use card::Origin;
pub use place::mistaken;
pub use pointer::{LFS_POINTER, is_lfs_pointer};
