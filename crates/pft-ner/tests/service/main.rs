//! The clients of services against servers on loopback, and Presidio's against Presidio.

mod presidio;
mod private_ai;
mod real;
mod server;
