//! How a file of separated values is written: its separator, its quoting, its escapes.

use std::path::Path;

use crate::config::Config;
use crate::file_name::unpacked;

/// The signs with a meaning, all ASCII and all different.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dialect {
    /// Between fields.
    pub(super) separator: u8,
    /// Around fields, if any; within one it is doubled.
    pub(super) quote: Option<u8>,
    /// Takes its meaning from the sign after it, if there is one.
    pub(super) escape: Option<u8>,
}

impl Dialect {
    /// What the config says, or else what is usual for the file's name.
    pub(super) fn of(config: &Config, path: &Path) -> Self {
        let name = path.to_string_lossy().to_ascii_lowercase();
        let default = if unpacked(&name).ends_with(".tsv") { '\t' } else { ',' };
        let byte = |sign: char| u8::try_from(sign).unwrap_or(b',');
        Self {
            separator: byte(config.separator.unwrap_or(default)),
            quote: match config.quote.as_deref() {
                Some("none") => None,
                Some(quote) => quote.bytes().next(),
                None => Some(b'"'),
            },
            escape: config.escape.map(byte),
        }
    }
}
