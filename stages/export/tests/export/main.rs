//! Models through the stage: what comes out loads with transformers and peft, what must stay private
//! stays, and a broken model is told.

#![allow(clippy::unwrap_used)]

mod statements;
mod weights;
mod workplace;
