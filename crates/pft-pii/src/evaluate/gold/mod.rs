//! Reads gold annotations: TAB's JSON, and columns of tokens with IOB2 tags.

mod iob2;
mod tab;

pub use iob2::parse_iob2;
pub use tab::parse_tab;

/// A document with gold annotations.
#[derive(Clone, Debug, PartialEq)]
pub struct GoldDocument {
    /// The document's id.
    pub id: String,
    /// Its text.
    pub text: String,
    /// Its annotated mentions, sorted by start.
    pub mentions: Vec<Mention>,
}

/// What a mention gives away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identifier {
    /// Who it is.
    Direct,
    /// Something that tells who it is in combination with others.
    Quasi,
    /// Nothing that needs masking.
    NoMask,
}

/// An annotated mention.
#[derive(Clone, Debug, PartialEq)]
pub struct Mention {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
    /// The gold label.
    pub label: String,
    /// Whether it has to be masked.
    pub must_mask: bool,
    /// What it gives away, where the annotation says so.
    pub identifier: Option<Identifier>,
    /// The entity that it mentions, where the annotation says so.
    pub entity: Option<String>,
}

/// What is wrong with a gold file.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct GoldError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}
