//! Taggers that are services: [`presidio`] and [`private_ai`].
//!
//! Texts go to the address that the config names and nowhere else: no redirects are followed, and plain
//! `http` goes through no proxy. A request that fails for a passing reason is tried again after a
//! growing delay; an answer that does not fit its texts is an error of those texts. No error holds
//! any of a text, a key, or what the service wrote.

mod address;
mod offsets;
pub mod presidio;
pub mod private_ai;
mod requests;
mod transport;

pub use presidio::{PresidioOptions, PresidioTagger};
pub use private_ai::{ApiVersion, PrivateAiOptions, PrivateAiTagger};
pub use transport::Connection;

use crate::service::requests::Limits;

/// What of an answer's entities every service names: a label, a score, and a range in characters.
struct Entity<'a> {
    label: &'a str,
    score: f64,
    start: u64,
    end: u64,
}

/// Longest name of a kind of entity that is believed to be one.
const MAX_LABEL: usize = 80;

/// An answered entity as a span, or what is wrong with it.
fn span(
    entity: &Entity<'_>,
    offsets: &offsets::CharOffsets,
    source: &std::sync::Arc<str>,
) -> Result<pft_pii::Span, &'static str> {
    let named = !entity.label.is_empty()
        && entity.label.len() <= MAX_LABEL
        && entity.label.chars().all(|c| c.is_ascii_alphanumeric() || "_-. /".contains(c));
    if !named {
        return Err("an entity has no proper label");
    }
    if !(0.0..=1.0 + 1e-6).contains(&entity.score) {
        return Err("an entity's score is not between 0 and 1");
    }
    let range = offsets
        .bytes(entity.start, entity.end)
        .ok_or("an entity's offsets lie outside the text or hold nothing")?;
    let score = (entity.score as f32).min(1.0);
    Ok(pft_pii::Span::new(range.start, range.end, &entity.label.into(), score, source))
}

/// How many texts and bytes one request holds.
fn limits(texts: usize) -> Limits {
    Limits { texts: texts.max(1), bytes: 256 * 1024 }
}
