//! Whatever the bytes, a pickle gives a value that answers every question, or an error.
//!
//! The reader is private to its crate and is compiled in here.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/pft-ner/src/pickle/mod.rs"]
#[allow(dead_code)]
mod pickle;

use pickle::{Value, parse};

fuzz_target!(|bytes: &[u8]| {
    let Ok(pickle) = parse(bytes) else { return };
    let value: Value<'_, '_> = pickle.root();
    value.to_json(&mut 1000);
    let _ = (value.get("x").is_some(), value.as_text(), value.call().is_some(), value.global());
    let _ = (value.elements().map(Iterator::count), value.entries().map(Iterator::count));
    let _ = (value.state().is_some(), value.persistent_key().is_some());
});
