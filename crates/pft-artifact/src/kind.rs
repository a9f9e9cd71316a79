//! The kinds of artifact.

use serde::{Deserialize, Serialize};

/// What an artifact holds. A stage's ports are typed by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Documents: `doc_id`, `unit_id`, `split`, `text`; of conversations `turns` too.
    Corpus,
    /// PII spans of documents: `doc_id`, `text_hash`, `spans`, `other_labels`.
    Tags,
    /// Tokenized examples and the `tokenizer.json` that made them.
    Tokens,
    /// Weights or an adapter, with config, tokenizer, metrics and privacy statement.
    Model,
    /// What a user loads: a Hugging Face folder with model card and privacy statement.
    Bundle,
}

impl Kind {
    /// The name used in manifests and pipelines.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Corpus => "corpus",
            Kind::Tags => "tags",
            Kind::Tokens => "tokens",
            Kind::Model => "model",
            Kind::Bundle => "bundle",
        }
    }

    /// Whether its files are their owner's alone: all but a bundle, which is made to be given away.
    pub fn is_private(self) -> bool {
        self != Kind::Bundle
    }

    /// The version of this kind's schema that this build reads and writes.
    pub fn schema_version(self) -> u32 {
        match self {
            // 2: `other_labels`.
            Kind::Tags => 2,
            // 2: `context`.
            Kind::Tokens => 2,
            Kind::Corpus | Kind::Model | Kind::Bundle => 1,
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
