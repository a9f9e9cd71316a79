//! The clients of services against servers on loopback, and Presidio's against Presidio.

#![allow(clippy::unwrap_used)]

mod presidio;
mod private_ai;
mod real;
mod server;
