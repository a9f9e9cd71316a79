//! What connects the model's backward pass to the mechanisms of `pft-dp`.

mod gradients;
mod norms;

pub use gradients::{Clipped, UnitGradients};
