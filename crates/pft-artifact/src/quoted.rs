//! Values from a user's data in messages.

use std::fmt;

/// An id, or another short value of the data, as a message may show it: in quotes where it is one short
/// word. Anything else may be a document's text, from a setting that names the wrong column (tickets and
/// lines of a chat are short), so that only its length is told.
///
/// ```
/// use pft_artifact::Quoted;
///
/// assert_eq!(Quoted("case-7").to_string(), r#""case-7""#);
/// assert_eq!(Quoted("please call me").to_string(), "(a value of 14 characters)");
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Quoted<'a>(pub &'a str);

impl Quoted<'_> {
    /// The longest value that is shown, in characters.
    pub const MOST: usize = 64;

    /// Whether a message may show the value.
    pub fn is_word(&self) -> bool {
        let is_short = self.0.chars().take(Self::MOST + 1).count() <= Self::MOST;
        is_short && !self.0.contains(char::is_whitespace)
    }
}

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_word() {
            write!(formatter, "{:?}", self.0)
        } else {
            write!(formatter, "(a value of {} characters)", self.0.chars().count())
        }
    }
}
