//! The turns of a conversation: who says which part of a document's text.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::ArtifactError;

/// Who speaks, by the names that chat templates know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Says how to answer.
    System,
    /// As [`Role::System`], where a model tells the two apart.
    Developer,
    /// Asks.
    User,
    /// Answers: what a model is to learn.
    Assistant,
    /// What a tool gave back.
    Tool,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::System, Self::Developer, Self::User, Self::Assistant, Self::Tool];

    /// The name in the column and in chat templates.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Developer => "developer",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }

    /// The role of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

/// A turn: bytes of the document's text, half open, on char boundaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// Who speaks.
    pub role: Role,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Turn {
    /// What stands between the turns of a text. It belongs to none of them.
    pub const SEPARATOR: &'static str = "\n\n";

    /// Its bytes of the text.
    pub fn range(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// The text of a conversation, and its turns in it.
    ///
    /// # Errors
    /// When the text would be longer than 4 GiB.
    pub fn join<S: AsRef<str>>(
        contents: impl IntoIterator<Item = (Role, S)>,
    ) -> Result<(String, Vec<Self>), TooLong> {
        let mut text = String::new();
        let mut turns = Vec::new();
        let at = |text: &str| u32::try_from(text.len()).map_err(|_| TooLong);
        for (role, content) in contents {
            if !turns.is_empty() {
                text.push_str(Self::SEPARATOR);
            }
            let start = at(&text)?;
            text.push_str(content.as_ref());
            turns.push(Self { role, start, end: at(&text)? });
        }
        Ok((text, turns))
    }
}

/// A conversation of more than 4 GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

/// Checks that turns lie in their order on characters of a text, with the separator alone between
/// them. Text outside all turns would be tagged, and trained on by nobody.
pub(crate) fn check(doc_id: &str, text: &str, turns: &[Turn]) -> Result<(), ArtifactError> {
    let Some(last) = turns.last() else { return Ok(()) };
    let wrong = |turn: &Turn, what: &str| {
        Err(ArtifactError::record(doc_id, format!("turn {}..{} {what}", turn.start, turn.end)))
    };
    let mut at = 0;
    for (index, turn) in turns.iter().enumerate() {
        if text.get(turn.range()).is_none() {
            return wrong(turn, "does not lie on characters of the text");
        }
        let between = if index == 0 { "" } else { Turn::SEPARATOR };
        if text.get(at..turn.range().start) != Some(between) {
            return wrong(
                turn,
                "does not follow the turn before it with two line ends between them",
            );
        }
        at = turn.range().end;
    }
    match at == text.len() {
        true => Ok(()),
        false => wrong(last, "is the last, and text follows it"),
    }
}
