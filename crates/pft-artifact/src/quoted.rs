//! Values from a user's data in messages.

use std::fmt;

/// An id, or another short value of the data, as a message may show it: in quotes where it is short
/// and on one line. Anything else may be a document's text, from a setting that names the wrong
/// column, so that only its length is told.
///
/// ```
/// use pft_artifact::Quoted;
///
/// assert_eq!(Quoted("case-7").to_string(), r#""case-7""#);
/// assert_eq!(Quoted(&"a long story ".repeat(10)).to_string(), "(a value of 130 characters)");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Quoted<'a>(pub &'a str);

impl Quoted<'_> {
    /// The longest value that is shown, in characters.
    pub const MOST: usize = 64;

    /// Whether a message may show the value.
    pub fn is_short(&self) -> bool {
        let line_end = |c: char| matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}');
        self.0.chars().take(Self::MOST + 1).count() <= Self::MOST && !self.0.contains(line_end)
    }
}

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_short() {
            write!(formatter, "{:?}", self.0)
        } else {
            write!(formatter, "(a value of {} characters)", self.0.chars().count())
        }
    }
}
