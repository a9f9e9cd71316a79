//! The settings of rows that are conversations.

use std::collections::BTreeMap;

use pft_artifact::Role;
use pft_stage::StageError;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which columns hold the turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConversationFormat {
    /// Told by the columns' usual names.
    #[default]
    Auto,
    /// One column with a list of messages, each with its role and content.
    Messages,
    /// A column with the prompt and one with the completion, each a text or a list of messages.
    Prompt,
    /// A column with the instruction, one with an input to it, which may be empty, and one with the
    /// output.
    Instruction,
}

/// What becomes of a row that is no conversation to learn from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Broken {
    /// Stop and say where.
    #[default]
    Refuse,
    /// It is left out and counted.
    LeaveOut,
}

/// Rows that are conversations.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ConversationConfig {
    /// Which columns hold the turns.
    pub format: ConversationFormat,
    /// The column with the list of messages; `messages`, else `conversations`, without it.
    pub messages: Option<String>,
    /// The column with the prompt; `prompt` without it.
    pub prompt: Option<String>,
    /// The column with the completion; `completion`, else `response`, without it.
    pub completion: Option<String>,
    /// The column with the instruction; `instruction` without it.
    pub instruction: Option<String>,
    /// The column with the input to an instruction; `input` without it, if it is there.
    pub input: Option<String>,
    /// The column with the output; `output`, else `response`, without it.
    pub output: Option<String>,
    /// A column with the system's turn, which may be empty; none without it.
    pub system: Option<String>,
    /// Roles by the names that the data gives them, beside the usual ones: `{ agent: assistant }`. The
    /// roles are system, developer, user, assistant and tool.
    pub roles: BTreeMap<String, String>,
    /// What becomes of a row with a role that nobody knows, an empty turn, calls of tools, or no answer
    /// of the assistant.
    pub broken: Broken,
}

/// Usual names of roles.
const USUAL: [(&str, Role); 12] = [
    ("human", Role::User),
    ("prompter", Role::User),
    ("customer", Role::User),
    ("gpt", Role::Assistant),
    ("chatgpt", Role::Assistant),
    ("bot", Role::Assistant),
    ("model", Role::Assistant),
    ("ai", Role::Assistant),
    ("agent", Role::Assistant),
    ("function", Role::Tool),
    ("observation", Role::Tool),
    ("ipython", Role::Tool),
];

impl ConversationConfig {
    /// The role that a name means.
    pub(crate) fn role(&self, name: &str) -> Option<Role> {
        if let Some(role) = self.roles.get(name) {
            return Role::named(role);
        }
        let name = name.trim().to_lowercase();
        let usual = || USUAL.into_iter().find(|(usual, _)| *usual == name).map(|(_, role)| role);
        Role::named(&name).or_else(usual)
    }

    /// Refuses what no schema does.
    pub(crate) fn validate(&self) -> Result<(), StageError> {
        match self.roles.values().find(|role| Role::named(role).is_none()) {
            None => Ok(()),
            Some(role) => {
                Err(StageError::config(format!("conversation.roles: there is no role {role:?}"))
                    .with_help("the roles are system, developer, user, assistant and tool"))
            }
        }
    }
}
