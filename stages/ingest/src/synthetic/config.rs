//! The settings of the synthetic source.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What kind of documents are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Judgments in the manner of the European Court of Human Rights. A unit is a case.
    #[default]
    Echr,
    /// Business mail in the manner of the Enron corpus. A unit is a sender.
    Enron,
    /// Conversations of customers with a company's support. A unit is a customer.
    Support,
}

impl Kind {
    /// What a unit is.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Echr => "case",
            Self::Enron => "sender",
            Self::Support => "customer",
        }
    }
}

/// For echr, what a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum DocumentKind {
    /// A paragraph.
    #[default]
    Paragraph,
    /// All paragraphs of a case, separated by a newline.
    Case,
}

/// From so many to so many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The least.
    #[schemars(range(min = 1))]
    pub min: u32,
    /// The most.
    #[schemars(range(min = 1))]
    pub max: u32,
}

/// What the synthetic source makes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SyntheticConfig {
    /// What kind of documents.
    pub kind: Kind,
    /// How many units: cases, senders or customers. A case has 5 to 15 paragraphs.
    #[schemars(range(min = 1))]
    pub units: u64,
    /// Another seed makes other documents.
    pub seed: u64,
    /// For echr, what a document is.
    pub document: DocumentKind,
    /// For enron, how many messages a sender wrote.
    pub emails_per_sender: Range,
    /// For support, how many conversations a customer had.
    pub tickets_per_customer: Range,
    /// Secrets to plant in units of the train split. The manifest's provenance lists them under
    /// `canaries`, and `tags` labels their numbers CANARY.
    pub canaries: Vec<CanaryConfig>,
}

impl Default for SyntheticConfig {
    fn default() -> Self {
        Self {
            kind: Kind::Echr,
            units: 400,
            seed: 0,
            document: DocumentKind::Paragraph,
            emails_per_sender: Range { min: 3, max: 12 },
            tickets_per_customer: Range { min: 1, max: 4 },
            canaries: Vec::new(),
        }
    }
}

impl SyntheticConfig {
    /// The id of a unit.
    pub(crate) fn unit_id(&self, unit: u64) -> String {
        match self.kind {
            Kind::Echr => format!("case-{unit:07}"),
            Kind::Enron => format!("sender-{unit:07}"),
            Kind::Support => format!("customer-{unit:07}"),
        }
    }
}

/// A secret sentence and how often it is planted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CanaryConfig {
    /// The sentence, with `{digits}` where the number goes.
    pub text: String,
    /// How many digits the number has.
    #[schemars(range(min = 1, max = 32))]
    pub digits: u32,
    /// How often the sentence stands in each chosen unit.
    #[schemars(range(min = 1))]
    pub repetitions: u32,
    /// In how many units of the train split it is planted.
    #[schemars(range(min = 1))]
    pub units: u64,
}

impl Default for CanaryConfig {
    fn default() -> Self {
        Self {
            text: "The secret code of the archive is {digits}.".to_string(),
            digits: 6,
            repetitions: 1,
            units: 1,
        }
    }
}
