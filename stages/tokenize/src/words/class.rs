//! What GPT-2's expression tells apart: classes of characters, and contractions.

use std::sync::OnceLock;

use regex_syntax::hir::{Class as Characters, HirKind};

/// Endings that are words where a word begins with them.
pub(super) const CONTRACTIONS: [&str; 7] = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];

/// What GPT-2's expression tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// `\p{L}`
    Letter,
    /// `\p{N}`
    Number,
    /// `\s`
    Space,
    /// Everything else.
    Other,
}

/// The class of every character.
#[derive(Debug, Clone, Copy)]
pub(super) struct Classes(&'static [Class]);

impl Classes {
    /// The classes, which are found out once.
    pub(super) fn new() -> Self {
        static CLASSES: OnceLock<Vec<Class>> = OnceLock::new();
        Self(CLASSES.get_or_init(|| {
            let mut classes = vec![Class::Other; char::MAX as usize + 1];
            for (expression, class) in
                [(r"\p{L}", Class::Letter), (r"\p{N}", Class::Number), (r"\s", Class::Space)]
            {
                // The expressions are constants, and Unicode's classes are built in.
                let Ok(parsed) = regex_syntax::parse(expression) else { continue };
                let HirKind::Class(Characters::Unicode(characters)) = parsed.kind() else {
                    continue;
                };
                for range in characters.iter() {
                    classes[range.start() as usize..=range.end() as usize].fill(class);
                }
            }
            classes
        }))
    }

    /// The class of a character.
    pub(super) fn of(self, character: char) -> Class {
        self.0[character as usize]
    }
}
